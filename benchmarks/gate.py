"""The speed gate: what is twice as slow as promised passes, what is slower than that does not.

    python benchmarks/gate.py

For CI, where the machine is shared and busy: so it compares ratios within one run, with half of the
bars of bars.py, and measures a row that falls short once more before it says so. Of the lock among
several processes it has the rows without work. What it lets through, the count of instructions
(instructions.py) does not: that one is exact, where there is valgrind.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import machine
from bars import HANDOVERS, ROWS, Row, measure_handovers, sample_backend, sample_rows
from instructions import check as check_instructions
from results import Bar, bar

import atomic_intenum

#: How much slower than the bar a row may be.
GRACE = 2


def allowed(row: Row | Bar) -> float:
    """Return the gate's own limit for a row that has a bar."""
    assert row.bar is not None
    return row.bar / GRACE if row.faster else row.bar * GRACE


def _key(row: Row) -> tuple[str, str]:
    return row.title, row.rival.label


def measure(rows: list[Row]) -> tuple[list[Bar], list[Row]]:
    """Measure rows; returns those that were measured with the gate's limit, and those not there."""
    here = [row for row in rows if row.backend == atomic_intenum.BACKEND]
    taken = dict(zip(map(_key, here), sample_rows(here), strict=True))
    for backend in {row.backend for row in rows} - {atomic_intenum.BACKEND}:
        for row, samples in zip(ROWS, sample_backend(backend), strict=True):
            taken.setdefault(_key(row), samples)
    found, gaps = [], []
    for row in rows:
        samples = taken[_key(row)]
        if samples is None:
            gaps.append(row)
            continue
        ours, theirs = samples
        found.append(
            bar(
                row.title,
                row.rival.label,
                ours,
                theirs,
                allowed(row),
                faster=row.faster,
                python=machine.facts()["python"],
                absolute=row.absolute,
            )
        )
    return found, gaps


def handovers() -> list[Bar]:
    """Measure the lock among several processes, with the gate's limit."""
    return [replace(row, bar=allowed(row)) for row in measure_handovers(HANDOVERS[:1])]


def _show(row: Bar) -> None:
    sign = ">=" if row.faster else "<="
    verdict = "ok" if row.holds else "TOO SLOW"
    limit = f"{sign} {row.limit}"
    print(f"  {row.what:41}{row.rival:36}{row.reached:>9}  {limit:10}  {verdict}")


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
    found += handovers()
    print(f"\nratios, with {GRACE} times the bars' time allowed")
    for row in found:
        _show(row)
    for gap in gaps:
        print(f"  {gap.title:41}{gap.rival.label:36}{gap.rival.absence or gap.ours.absence}")
    slow = {(row.what, row.rival) for row in found if not row.holds}
    if slow:
        print("once more:")
        found, _ = measure([row for row in rows if _key(row) in slow])
        if slow - set(map(_key, rows)):
            found += [row for row in handovers() if (row.what, row.rival) in slow]
        for row in found:
            _show(row)
        slow = {(row.what, row.rival) for row in found if not row.holds}
    print()
    exact = check_instructions()
    print("\nToo slow, or not as counted." if slow or not exact else "\nFast enough.")
    return int(bool(slow) or not exact)


if __name__ == "__main__":
    sys.exit(main())
