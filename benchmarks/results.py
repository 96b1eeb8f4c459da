"""What was measured: series of turns, what they come to, and one file for all of it.

Every runner hands over series: what was done, by whom, and the seconds of one operation turn by
turn.  A fresh interpreter gives one group of turns, so a series ends up with some groups.  A figure
is the median of the groups' medians.  The ratio of a row is taken turn by turn, since ours and the
rival's turns stand next to each other; what counts is the median over the groups of each group's
median.  The spread is that of the groups: quartiles wider than a third make a row "wide".
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rows import Row

SCHEMA, WIDE = 2, 1 / 3
#: What a series is known by: what, who and at.
Key = tuple[str, str, int | None]


@dataclass(frozen=True)
class Series:
    """What one interpreter measured; `unit` is s, 1/s, bytes, %, or empty for a number.

    `at` is the number of processes, words or sleepers, if there is one.
    """

    what: str
    who: str
    turns: list[float]
    at: int | None = None
    unit: str = "s"


@dataclass(frozen=True)
class Figure:
    what: str
    who: str
    unit: str
    low: float
    median: float
    high: float
    at: int | None = None


@dataclass(frozen=True)
class Found:
    """A row of the table: what was promised, and what came of it.

    ``reached`` is the ratio, or what ours takes where the bar is absolute; ``theirs`` may be
    missing there.  Without a ``limit`` the row is for information.
    """

    title: str
    rival: str
    unit: str
    ours: float
    theirs: float | None
    low: float
    reached: float
    high: float
    limit: float | None
    faster: bool
    absolute: bool

    @property
    def holds(self) -> bool:
        if self.limit is None:
            return True
        return self.reached >= self.limit if self.faster else self.reached <= self.limit

    @property
    def wide(self) -> bool:
        """Whether its quartiles are so far apart that another run may give another figure."""
        return self.high - self.low > WIDE * abs(self.reached)

    @property
    def cells(self) -> tuple[str, ...]:
        """The row for people: what, against, ours, theirs, the ratio, its bar, what came of it."""
        unit = self.unit
        theirs = "" if self.theirs is None else amount(self.theirs, unit)
        kind = "" if self.absolute else " faster" if self.faster else " of its time"
        bar = f"({kind.strip()})"
        if self.limit is not None:
            limit = amount(self.limit, unit) if self.absolute else f"{self.limit:g} x"
            bar = f"{'≥' if self.faster else '≤'} {limit}{kind}"
        three = (self.low, self.reached, self.high)
        low, middle, high = (amount(v, unit) if self.absolute else times(v) for v in three)
        spread = f"{middle}{'' if self.absolute else ' x'} ({low} - {high})"
        verdict = "no bar" if self.limit is None else "ok" if self.holds else "MISSED"
        verdict += ", wide" * self.wide
        return self.title, self.rival, amount(self.ours, unit), theirs, spread, bar, verdict


@dataclass(frozen=True)
class Missing:
    what: str
    who: str
    reason: str


@dataclass
class Results:
    machine: dict[str, Any]
    rows: list[Found] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n")

    def of(self, what: str) -> dict[str, list[Figure]]:
        """Return the figures of what grows by contender, the smallest number first."""
        found: dict[str, list[Figure]] = {}
        for figure in sorted(self.figures, key=lambda each: each.at or 0):
            if figure.what == what:
                found.setdefault(figure.who, []).append(figure)
        return found


def load(path: Path) -> Results:
    """Read a file; ValueError if it is of another schema."""
    content = json.loads(path.read_text())
    if content.get("schema") != SCHEMA:
        message = f"{path} has schema {content.get('schema')}, not {SCHEMA}: measure again"
        raise ValueError(message)
    rows = [Found(**each) for each in content["rows"]]
    figures = [Figure(**each) for each in content["figures"]]
    return Results(content["machine"], rows, figures, [Missing(**v) for v in content["missing"]])


def emit(series: Iterable[Series], missing: Iterable[Missing] = ()) -> None:
    print(json.dumps([[asdict(each) for each in series], [asdict(each) for each in missing]]))


def received(text: str) -> tuple[list[Series], list[Missing]]:
    series, missing = json.loads(text)
    return [Series(**each) for each in series], [Missing(**each) for each in missing]


def spread(groups: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Return the quartiles of the groups' medians; of a single group those of its turns."""
    samples = [statistics.median(each) for each in groups] if len(groups) > 1 else [*groups[0]]
    if len(samples) < 2:
        return samples[0], samples[0], samples[0]
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    return low, middle, high


class Collected:
    def __init__(self) -> None:
        self.groups: dict[Key, list[list[float]]] = {}
        self.units: dict[Key, str] = {}

    def add(self, series: Iterable[Series]) -> None:
        for each in series:
            key = each.what, each.who, each.at
            self.groups.setdefault(key, []).append(each.turns)
            self.units[key] = each.unit

    def figures(self) -> list[Figure]:
        every = self.groups.items()
        return [Figure(k[0], k[1], self.units[k], *spread(groups), k[2]) for k, groups in every]

    def row(self, row: Row) -> Found | None:
        """Return what became of a row; None if a side of it was not measured."""
        key = row.what, row.ours, row.at
        ours, theirs = self.groups.get(key), self.groups.get((row.what, row.rival, row.at))
        if ours is None or (theirs is None and not row.absolute):
            return None
        unit, groups = self.units[key], ours
        if theirs is not None and not row.absolute:
            # A rate is the better the more it is, a time the less.
            power = -1 if row.faster == (unit != "1/s") else 1
            groups = [
                [(one / other) ** power for one, other in zip(*pair, strict=True)]
                for pair in zip(ours, theirs, strict=True)
            ]
        sides = spread(ours)[1], spread(theirs)[1] if theirs else None
        taken = (*sides, *spread(groups), row.limit)
        return Found(row.title, row.rival, unit, *taken, faster=row.faster, absolute=row.absolute)


def amount(value: float, unit: str) -> str:
    if unit in ("", "bytes"):
        return f"{value:.0f} {unit}".strip()
    if unit == "%":
        return f"{value:.2g} %"
    if unit == "1/s":
        return f"{value / 1e6:.3g} M/s" if value >= 1e5 else f"{value:,.0f} /s"
    for size, name in ((1e-6, "ns"), (1e-3, "us"), (1, "ms")):
        if abs(value) < 0.9995 * size:
            in_units = value / size * 1000
            return f"{in_units:.{0 if abs(in_units) >= 99.95 else 1}f} {name}"
    return f"{value:.3g} s"


def times(value: float) -> str:
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"
