"""How far two runs on the same machine agree: their ratios, side by side.

    python benchmarks/agree.py ONE.json OTHER.json [--within 15]

Compared are ratios, not times: each bar's; and in each group of figures how many times as much as
this package's native backend each contender takes. Prints the worst, and exits with 1 if one
differs by more than so many per cent. What is not promised is for information: rows without a bar,
and what up to eight processes do on the CPUs at the same time, where the scheduler decides who of
them sleeps. An absolute bar has no ratio.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

from results import Bar, Figure, Results, load

#: What the promise is for. What many processes do at the same time depends on the scheduler.
PROMISED = ("bars", "operations", "bindings", "arrays", "wakeups")


class Difference(NamedTuple):
    """One ratio in two runs."""

    part: str
    name: str
    one: float
    other: float

    @property
    def percent(self) -> float:
        """By how much the larger one is larger."""
        return (max(self.one, self.other) / min(self.one, self.other) - 1) * 100


def _part(bar: Bar) -> str:
    if bar.what.startswith("lock hand-over"):
        return "lock hand-over"
    return "bars" if bar.bar is not None else "rows without a bar"


def _is_ours(figure: Figure) -> bool:
    return figure.who.startswith("atomic_intenum native") or figure.who.endswith(", native")


def ratios(run: Results) -> dict[tuple[str, str], float]:
    """Return all ratios of a run, by part and name."""
    found = {
        (_part(bar), f"{bar.what} / {bar.rival} / {bar.python}"): bar.ratio
        for bar in run.bars
        if not bar.absolute
    }
    bases: dict[tuple[str, str, int | None], Figure] = {}
    for figure in run.figures:
        if _is_ours(figure):
            bases.setdefault((figure.part, figure.what, figure.at), figure)
    for figure in run.figures:
        base = bases.get((figure.part, figure.what, figure.at))
        if base is not None and base is not figure and base.median:
            at = "" if figure.at is None else f" at {figure.at}"
            name = f"{figure.what}{at} / {figure.who}"
            found[figure.part, name] = figure.times(base)
    return found


def compare(one: Results, other: Results) -> list[Difference]:
    """Return how the ratios that both runs have differ, the worst first."""
    first, second = ratios(one), ratios(other)
    differences = [
        Difference(*key, ratio, second[key]) for key, ratio in first.items() if key in second
    ]
    return sorted(differences, key=lambda difference: -difference.percent)


def main() -> int:
    """Compare and print; 1 if they disagree."""
    parser = argparse.ArgumentParser(description="How far two runs agree.")
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--within", type=float, default=15, metavar="PERCENT")
    arguments = parser.parse_args()
    one, other = load(arguments.one), load(arguments.other)
    if one.machine["cpu"] != other.machine["cpu"]:
        print(f"two machines: {one.machine['cpu']} and {other.machine['cpu']}")
        return 1
    differences = compare(one, other)
    failed = not differences
    for part in dict.fromkeys(difference.part for difference in differences):
        mine = [difference for difference in differences if difference.part == part]
        beyond = [each for each in mine if each.percent > arguments.within]
        promised = part in PROMISED
        failed |= promised and bool(beyond)
        note = "" if promised else " (for information: it depends on the scheduler)"
        print(f"{part}: {len(beyond)} of {len(mine)} ratios beyond {arguments.within:g} %{note}")
        for each in mine[: max(3, len(beyond))]:
            print(f"  {each.percent:6.1f} %  {each.one:10.4g} {each.other:10.4g}  {each.name}")
    print("They disagree." if failed else f"They agree within {arguments.within:g} %.")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
