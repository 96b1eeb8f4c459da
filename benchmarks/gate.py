"""The speed gate: what is twice as slow as promised passes, what is slower than that does not.

    python benchmarks/gate.py

For CI, where the machine is shared and busy: so it compares ratios within one run, with half of the
bars of bars.py, and measures a row that falls short once more before it says so. What it lets
through, the count of instructions (instructions.py) does not: that one is exact, where there is
valgrind.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import machine
from bars import ROWS, Row, sample_rows
from instructions import check as check_instructions
from results import Bar, bar, ratio

import atomic_intenum

#: How much slower than the bar a row may be.
GRACE = 2


def allowed(row: Row) -> float:
    """Return the gate's own limit for a row that has a bar."""
    assert row.bar is not None
    return row.bar / GRACE if row.faster else row.bar * GRACE


def measure(rows: list[Row]) -> tuple[list[Bar], list[Row]]:
    """Measure rows; returns those that were measured with the gate's limit, and those not there."""
    found, gaps = [], []
    for row, samples in zip(rows, sample_rows(rows), strict=True):
        if samples is None:
            gaps.append(row)
            continue
        ours, theirs = samples
        found.append(
            bar(
                row.what,
                row.rival.label,
                ours,
                theirs,
                allowed(row),
                faster=row.faster,
                python=machine.facts()["python"],
            )
        )
    return found, gaps


def _show(row: Bar) -> None:
    sign = ">=" if row.faster else "<="
    verdict = "ok" if row.holds else "TOO SLOW"
    limit = f"{sign} {row.bar:g} x"
    print(f"  {row.what:38}{row.rival:36}{ratio(row.ratio):>6} x  {limit:10}  {verdict}")


def main() -> int:
    """Measure twice at most, count instructions; 1 if something is too slow."""
    if atomic_intenum.BACKEND != "native":
        print(f"The gate is for the native backend; this is {atomic_intenum.BACKEND}.")
        return 1
    print("\n".join(machine.description()))
    # One interpreter only, so each row more often than in the bars.
    rows = [
        replace(row, turns=row.turns._replace(repeats=max(row.turns.repeats, 20)))
        for row in ROWS
        if row.bar is not None
    ]
    found, gaps = measure(rows)
    print(f"\nratios, with {GRACE} times the bars' time allowed")
    for row in found:
        _show(row)
    for gap in gaps:
        print(f"  {gap.what:38}{gap.rival.label:36}{gap.rival.absence or gap.ours.absence}")
    slow = {(row.what, row.rival) for row in found if not row.holds}
    if slow:
        print("once more:")
        found, _ = measure([row for row in rows if (row.what, row.rival.label) in slow])
        for row in found:
            _show(row)
        slow = {(row.what, row.rival) for row in found if not row.holds}
    print()
    exact = check_instructions()
    print("\nToo slow, or not as counted." if slow or not exact else "\nFast enough.")
    return int(bool(slow) or not exact)


if __name__ == "__main__":
    sys.exit(main())
