"""How many instructions of the extension each hot operation takes, counted by callgrind: exact.

    python benchmarks/instructions.py            compare with the budget; 1 if one differs
    python benchmarks/instructions.py --record   write them into the budget
    python benchmarks/instructions.py --run N    what is counted: each operation N and 2 N times

Counted are the instructions inside the extension alone, by the difference of two loop counts. So
the numbers depend on its own code: on compiler, flags and Python headers. The budget has an entry
for each of these; without one for what is here, the gate says so and has nothing to compare. More
instructions are a failure; fewer too, so that the budget stays true.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import machine
from operations import WorkerStatus, WorkerStatusEnum, function

BUDGET, COUNT = Path(__file__).with_name("budget.json"), 2000
OPERATIONS = {
    "load": "status.load()",
    "value": "status.value",
    "set": "status.set(first)",
    "compare_and_set": "status.compare_and_set(first, first)",
    "acquire, release": "lock.acquire()\nlock.release()",
}

_COMPRESSED = re.compile(r"^(c?ob)=(\(\d+\))(?: (.*))?$")


def _self_cost(text: str, extension: str) -> int:
    """Return the instructions that one dump has inside an object, calls to others left out.

    The format: `ob=` names the object that the lines after it are in, once with a number that
    stands for it later; the line after `calls=` is what the called function took, which is counted
    there.
    """
    names: dict[str, str] = {}
    inside = called = False
    total = 0
    for line in text.splitlines():
        found = _COMPRESSED.match(line)
        if found:
            kind, number, name = found.groups()
            if name is not None:
                names[number] = name
            if kind == "ob":
                inside = names[number] == extension
        elif line.startswith("calls="):
            called = True
        elif line and line[0] in "0123456789+-*":
            _, *cost = line.split()  # a cost of 0 is left out
            if inside and not called and cost:
                total += int(cost[0])
            called = False
    return total


def run(count: int) -> None:
    """Run each operation so often and then twice as often; at getsid() callgrind writes a dump."""
    # The first member alone is found at once wherever the members lie in memory.
    first = WorkerStatusEnum.UNAVAILABLE
    status = WorkerStatus(first)
    names = {"status": status, "lock": status.get_lock(), "first": first}
    loops = [function(text, list(names)) for text in OPERATIONS.values()]
    for loop in loops:
        loop(count, **names)  # the interpreter specialises it
    os.getsid(0)
    for loop in loops:
        for times in (1, 2):
            loop(times * count, **names)
            os.getsid(0)


def count() -> dict[str, float]:
    """Return instructions inside the extension by operation; RuntimeError if it can't."""
    extension = str(Path(str(importlib.import_module("atomic_intenum._native").__file__)).resolve())
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", "--dump-before=getsid"]
        command += [f"--callgrind-out-file={folder}/out.%p", sys.executable, __file__]
        done = subprocess.run(
            [*command, "--run", str(COUNT)], check=False, text=True, capture_output=True
        )
        paths = sorted(Path(folder).glob("out.*.*"), key=lambda path: int(path.suffix[1:]))
        # The first ends where the measuring begins.
        dumps = [_self_cost(path.read_text(errors="replace"), extension) for path in paths[1:]]
    pairs = zip(dumps[::2], dumps[1::2], strict=len(dumps) % 2 == 0)
    taken = [(twice - once) / COUNT for once, twice in pairs]
    if done.returncode or len(dumps) != 2 * len(OPERATIONS) or not all(taken):
        message = f"callgrind has counted {taken}: {done.stdout}{done.stderr}"
        raise RuntimeError(message)
    return dict(zip(OPERATIONS, taken, strict=True))


def key() -> str:
    """Return what the counts depend on: architecture, compiler, flags, and Python's headers."""
    given = str(sysconfig.get_config_var("CFLAGS")).split()
    given += os.environ.get("ATOMIC_INTENUM_CFLAGS", "").split()
    silent = ("-W", "-g", "-DNDEBUG", "-ffile-prefix-map", "-fdebug-prefix-map", "-I")
    flags = " ".join(dict.fromkeys(flag for flag in given if not flag.startswith(silent)))
    python = ".".join(platform.python_version_tuple()[:2])
    return f"{platform.machine()}, {machine.facts()['compiler']}, {flags}, Python {python}"


def check() -> bool:
    """Print the counts beside the budget; return whether they are equal, or can't be compared."""
    if shutil.which("valgrind") is None:
        print("instructions: SKIPPED, valgrind is not installed")
        return True
    expected = json.loads(BUDGET.read_text()).get(key())
    if expected is None:
        print(f"instructions: SKIPPED, {BUDGET.name} has nothing for {key()}")
        return True
    print(f"instructions inside the extension, {key()}")
    counted = count()
    for operation, number in counted.items():
        budgeted = expected.get(operation, 0)
        verdict = "ok" if number == budgeted else "DIFFERENT"
        print(f"  {operation:18} {number:8g}  budget {budgeted:8g}  {verdict}")
    return dict(counted) == dict(expected)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Instructions of the hot operations.")
    parser.add_argument("--record", action="store_true", help="write them into the budget")
    parser.add_argument("--run", type=int, metavar="N", help="run them, to be counted")
    arguments = parser.parse_args()
    if arguments.run:
        run(arguments.run)
    elif arguments.record:
        budget = {**json.loads(BUDGET.read_text()), key(): count()}
        BUDGET.write_text(json.dumps(dict(sorted(budget.items())), indent=1) + "\n")
        print(json.dumps({key(): budget[key()]}, indent=1))
    else:
        sys.exit(not check())
