"""The speed gate: what is twice as slow as promised passes, what is slower than that does not.

    python benchmarks/gate.py

For CI, where the machine is shared and busy: of the table it has what one process measures and
what several do at a time, with twice the time that the bars allow, and measures again before it
says that something is too slow.  What it lets through, the count of instructions (instructions.py)
does not: that one is exact, where there is valgrind.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import machine
from instructions import check as check_instructions
from results import Collected, Found
from rows import ROWS
from run import absent, measure_operations, printed, ran

import atomic_intenum

#: How much slower than the bar a row may be, and how often everybody has a turn.
GRACE, TURNS = 2, 4


def allowed(row: Found) -> Found:
    """Return a row that has a bar with the gate's own."""
    assert row.limit is not None
    return replace(row, limit=row.limit / GRACE if row.faster else row.limit * GRACE)


def measure() -> list[Found]:
    collected = Collected()
    for backend in ("native", "lock"):
        collected.add(measure_operations(backend, TURNS))
    series, gaps = ran("processes")
    assert series, gaps
    collected.add(series)
    found = map(collected.row, (row for row in ROWS if row.limit is not None))
    return [allowed(row) for row in found if row is not None]


def main() -> int:
    if atomic_intenum.BACKEND != "native":
        print(f"The gate is for the native backend; this is {atomic_intenum.BACKEND}.")
        return 1
    print("\n".join(machine.description(machine.facts())))
    for gap in absent():
        print(f"not measured: {gap.what}: {gap.who}: {gap.reason}")
    print(f"\nratios, with {GRACE} times the bars' time allowed")
    found = measure()
    printed(found)
    slow = {(row.title, row.rival) for row in found if not row.holds}
    if slow:
        print("once more:")
        found = [row for row in measure() if (row.title, row.rival) in slow]
        printed(found)
    exact = check_instructions()
    kept = bool(found) and all(row.holds for row in found)
    print("\nFast enough." if kept and exact else "\nToo slow, or not as counted.")
    return int(not (kept and exact))


if __name__ == "__main__":
    sys.exit(main())
