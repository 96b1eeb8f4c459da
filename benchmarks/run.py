"""Everything but the operations, which pytest measures, into one file.

    python benchmarks/run.py --operations OPERATIONS.json --output ROUND.json [--also PYTHON ...]

``make bench`` runs both, as often as it has rounds, and has pool.py put them together. ``--also``
names a further Python (a command, split as a shell does) that has this package and the rivals: its
bars go beside this one's, its bindings beside the others'.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import arrays
import contended
import groups
import machine
from results import Missing, Results, load
from sleepers import Sleepers
from worker import Interpreter, WorkerError

from atomic_intenum import BACKEND

HERE = Path(__file__).parent
#: What the bindings are compared in.
BOUND = ("load", "compare_and_set", "set")
ABOUT = (
    "import json, platform; from importlib.util import find_spec;"
    " print(json.dumps([platform.python_implementation(), platform.python_version(),"
    " [name for name, needs in (('native', 'sys'), ('cffi', '_cffi_backend'))"
    " if find_spec('atomic_intenum._' + name) and find_spec(needs)]]))"
)


def _say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def measure_bars(command: list[str], label: str, run: Results) -> None:
    """Have a Python print its bars, and take them over."""
    _say(f"the bars, {label}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bars.json"
        done = subprocess.run([*command, str(HERE / "bars.py"), "--json", str(path)], check=False)
        if path.exists():
            run.add(load(path))
        else:
            reason = f"MISSING: bars.py ended with {done.returncode}"
            run.missing.append(Missing("bars", "all", label, reason, short=True))


def measure_bindings(pythons: list[tuple[list[str], str, list[str]]], run: Results) -> None:
    """Measure native and cffi of each Python by turns."""
    _say("the bindings beside each other")
    interpreters = [
        Interpreter(tuple(command), backend, f"{label}, {backend}")
        for command, label, built in pythons
        for backend in built
    ]
    wanted = {operation: [groups.ours(name) for name in groups.BACKENDS] for operation in BOUND}
    run.add(groups.results(groups.measure(wanted, interpreters, sets=16), "bindings"))


def _about(command: list[str]) -> tuple[str, list[str]]:
    """Return a Python's name and the backends that it has."""
    answer = subprocess.run([*command, "-c", ABOUT], check=True, stdout=subprocess.PIPE).stdout
    implementation, version, built = json.loads(answer)
    return f"{implementation} {version}", built


def main() -> int:
    """Measure, print, and write; whether the bars hold is for pool.py to say."""
    parser = argparse.ArgumentParser(description="All benchmarks but the operations.")
    parser.add_argument("--operations", type=Path, metavar="PATH", help="what pytest has written")
    parser.add_argument("--output", type=Path, metavar="PATH", required=True)
    parser.add_argument("--also", action="append", default=[], metavar="PYTHON")
    arguments = parser.parse_args()
    if BACKEND != "native":
        print(f"These benchmarks begin with the native backend; this is {BACKEND}.")
        return 1
    run = Results(machine.facts())
    if arguments.operations:
        run.add(load(arguments.operations))
    here = [sys.executable]
    pythons = [(here, *_about(here))]
    pythons += [(command, *_about(command)) for command in map(shlex.split, arguments.also)]
    run.machine["pythons"] = [label for _, label, _ in pythons]
    sleepers = Sleepers()

    def wake_sleepers() -> None:
        _say("waking a sleeper")
        sleepers.measure()

    for command, label, built in pythons:
        if "native" in built:
            wake_sleepers()
            measure_bars(command, label, run)
    wake_sleepers()
    try:
        measure_bindings(pythons, run)
    except WorkerError as error:
        run.missing.append(Missing("bindings", "all", "", f"MISSING: {error}"))
    wake_sleepers()
    _say("arrays")
    run.add(arrays.measure())
    wake_sleepers()
    _say("several processes")
    found = contended.measure()
    contended.show(found)
    run.add(found)
    wake_sleepers()
    run.add(sleepers.results())
    run.save(arguments.output)
    print(f"\n{arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
