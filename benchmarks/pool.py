"""Puts the rounds of a run together, and says whether what is promised holds.

    python benchmarks/pool.py ROUND.json [ROUND.json ...] --output RESULTS.json

A machine that others use as well is busy for minutes at a time, longer than any benchmark's turns;
then all takes up to twice as long, and what is locked even more. Rounds that follow each other
measure the same at other times. What counts of each figure is the median of the quiet rounds. Of a
ratio it is the median of the quiet ones of all rounds' interpreters, those in which both sides
together (multiplied) took least; of a wake-up's turns; where several processes work together, and
for the wake-ups among the bars, of the rounds. quiet() in results.py says how many these are.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from results import Bar, Figure, Results, bar_of_sets, load, quiet

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

Entry = TypeVar("Entry")


def _by_key(entries: Iterable[tuple[Hashable, Entry]]) -> Iterable[list[Entry]]:
    """Return lists of what has the same key, in the order of the keys' first."""
    found: dict[Hashable, list[Entry]] = {}
    for key, entry in entries:
        found.setdefault(key, []).append(entry)
    return found.values()


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _figure(rounds: Sequence[Figure], of: int) -> Figure:
    """Return the median of the quiet rounds; `of` so many could have measured it."""
    sets = [*chain(*(each.sets or [each.median] for each in rounds))]
    whole = len(rounds) == of
    rounds = quiet(rounds, lambda each: each.median, rounds[0].unit)
    return replace(
        rounds[0],
        median=statistics.median(each.median for each in rounds),
        low=statistics.median(each.low for each in rounds),
        high=statistics.median(each.high for each in rounds),
        samples=sum(each.samples for each in rounds),
        p50=_median(each.p50 for each in rounds),
        p99=_median(each.p99 for each in rounds),
        spread=[
            statistics.median(quantiles)
            for quantiles in zip(*(each.spread for each in rounds), strict=True)
        ],
        sets=sets if whole and len(sets) > 1 else [],
    )


def _bar(rounds: Sequence[Bar]) -> Bar:
    first = rounds[0]
    if first.sets:
        sets = [*chain(*(each.sets for each in rounds))]
        return bar_of_sets(
            first.what,
            first.rival,
            sets,
            first.bar,
            faster=first.faster,
            python=first.python,
            absolute=first.absolute,
        )
    rounds = quiet(rounds, lambda each: each.ours * each.theirs, rounds[0].unit)
    return replace(
        rounds[0],
        ours=statistics.median(each.ours for each in rounds),
        theirs=statistics.median(each.theirs for each in rounds),
        ratio=statistics.median(each.ratio for each in rounds),
        low=statistics.median(each.low for each in rounds),
        high=statistics.median(each.high for each in rounds),
    )


def pooled(rounds: Sequence[Results]) -> Results:
    """Return one run of several rounds: its figures are medians of the quiet ones.

    What one of them could not measure is missing in all.

    Raises:
        ValueError: they are not of one machine.

    """
    machines = list(dict.fromkeys(each.machine["cpu"] for each in rounds))
    if len(machines) > 1:
        message = f"not of one machine: {', '.join(machines)}"
        raise ValueError(message)
    figures = _by_key(
        ((each.part, each.what, each.who, each.at), each) for run in rounds for each in run.figures
    )
    bars = _by_key(((row.what, row.rival, row.python), row) for run in rounds for row in run.bars)
    missing = _by_key(((gap.part, gap.what, gap.who), gap) for run in rounds for gap in run.missing)
    return Results(
        {**rounds[0].machine, "rounds": len(rounds)},
        [_figure(each, len(rounds)) for each in figures],
        [_bar(each) for each in bars],
        [each[0] for each in missing],
    )


def main() -> int:
    """Put together, write, and judge; 1 if a bar is short or missing."""
    parser = argparse.ArgumentParser(description="One run of several rounds.")
    parser.add_argument("rounds", type=Path, nargs="+", metavar="ROUND")
    parser.add_argument("--output", type=Path, metavar="PATH", required=True)
    arguments = parser.parse_args()
    run = pooled([load(path) for path in arguments.rounds])
    run.save(arguments.output)
    print(arguments.output)
    for row in run.bars:
        if not row.holds:
            against = f"{row.what} against {row.rival}, Python {row.python}"
            print(f"SHORT: {against}: {row.reached}")
    for gap in run.missing:
        print(f"{gap.part}: {gap.what}: {gap.who}: {gap.reason}")
    return int(run.short)


if __name__ == "__main__":
    sys.exit(main())
