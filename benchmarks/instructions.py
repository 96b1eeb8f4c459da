"""How many instructions of the extension each hot operation takes, counted by callgrind: exact.

    python benchmarks/instructions.py            compare with the budget; 1 if one differs
    python benchmarks/instructions.py --record   write them into the budget

Counted are the instructions inside the extension alone: those of the interpreter and the libc are
others' business and differ with their builds. Each operation runs with two loop counts; the
difference divided by the difference of the counts is what one takes, without what goes before and
after. So the numbers depend on the extension's own code: on compiler, flags and Python headers. The
budget has an entry for each of these; without one for what is here, the gate says so and has
nothing to compare. More instructions are a failure; fewer too, so that the budget
stays true.
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
from hot import OPERATIONS

HERE = Path(__file__).parent
BUDGET = HERE / "budget.json"
COUNT = 2000

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


def _dumps(folder: Path) -> list[Path]:
    return sorted(folder.glob("out.*.*"), key=lambda path: int(path.suffix[1:]))


def count(python: str = sys.executable) -> dict[str, float]:
    """Return instructions inside the extension by operation.

    Raises:
        RuntimeError: callgrind has not counted what it was to count.

    """
    extension = str(Path(str(importlib.import_module("atomic_intenum._native").__file__)).resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [
            "valgrind",
            "--tool=callgrind",
            "--dump-before=getsid",
            f"--callgrind-out-file={folder / 'out.%p'}",
            python,
            str(HERE / "hot.py"),
            str(COUNT),
        ]
        done = subprocess.run(
            command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        # The first ends where the measuring begins.
        dumps = [
            _self_cost(path.read_text(errors="replace"), extension) for path in _dumps(folder)[1:]
        ]
    if done.returncode or len(dumps) != 2 * len(OPERATIONS):
        message = f"callgrind has written {len(dumps)} dumps: {done.stdout.strip()}"
        raise RuntimeError(message)
    pairs = zip(dumps[::2], dumps[1::2], strict=True)
    counted = {
        operation: (twice - once) / COUNT
        for operation, (once, twice) in zip(OPERATIONS, pairs, strict=True)
    }
    if not all(counted.values()):
        message = f"callgrind has found nothing of {extension}: {counted}"
        raise RuntimeError(message)
    return counted


def _flags() -> str:
    """Return the compiler's flags that make other code; setup.py adds the same ones everywhere."""
    given = [*str(sysconfig.get_config_var("CFLAGS")).split()]
    given += os.environ.get("ATOMIC_INTENUM_CFLAGS", "").split()
    silent = ("-W", "-g", "-DNDEBUG", "-ffile-prefix-map", "-fdebug-prefix-map", "-I")
    return " ".join(dict.fromkeys(flag for flag in given if not flag.startswith(silent)))


def key() -> str:
    """Return what the counts depend on: architecture, compiler, flags, and Python's headers."""
    python = ".".join(platform.python_version_tuple()[:2])
    here = f"{platform.machine()}, {machine.facts()['compiler']}, {_flags()}"
    return f"{here}, Python {python}"


def check() -> bool:
    """Print the counts beside the budget; return whether they are equal, or can't be compared."""
    if shutil.which("valgrind") is None:
        print("instructions: SKIPPED, valgrind is not installed")
        return True
    budget = json.loads(BUDGET.read_text()) if BUDGET.exists() else {}
    expected = budget.get(key())
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


def record() -> None:
    """Write the counts into the budget."""
    budget = json.loads(BUDGET.read_text()) if BUDGET.exists() else {}
    budget[key()] = count()
    BUDGET.write_text(json.dumps(dict(sorted(budget.items())), indent=1) + "\n")
    print(json.dumps({key(): budget[key()]}, indent=1))


def main() -> int:
    """Compare, or record."""
    parser = argparse.ArgumentParser(description="Instructions of the hot operations.")
    parser.add_argument("--record", action="store_true", help="write them into the budget")
    if parser.parse_args().record:
        record()
        return 0
    return 0 if check() else 1


if __name__ == "__main__":
    sys.exit(main())
