"""The results of a run: one schema, one file.

    schema    SCHEMA
    machine   what it was measured on: machine.facts()
    figures   what something took: Figure
    bars      what is promised, as ratios: Bar
    missing   what could not be measured, and why: Missing

Times are in seconds, of one operation.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TypeVar

    R = TypeVar("R")

SCHEMA = 1


class Turns(NamedTuple):
    """How often everybody in an operation is timed by one interpreter.

    Attributes:
        repeats: how many timings count.
        warm_up: how many go before.
        a_set: how many of them, one after the other, make a set, of which there are quiet ones;
            None: all.

    """

    repeats: int
    warm_up: int = 0
    a_set: int | None = None

    def sets(self, samples: Sequence[float]) -> list[Sequence[float]]:
        """Return samples of one or several interpreters as sets."""
        return in_sets(samples, self.a_set or self.repeats)


#: For what reads megabytes, as 10,000 multiprocessing.Value are.  Whether they stay in a cache is
#: up to who else uses it, and changes within a second, by three times; it takes some tenths of a
#: second of reading until they are in it.  A set of these takes a tenth of a second or two.
OF_MEGABYTES = Turns(30, 10, 5)


@dataclass(frozen=True)
class Figure:
    """What something took.

    Attributes:
        part: which benchmark: operations, bindings, contended, wakeups, arrays, memory.
        what: the operation or scenario.
        who: the contender.
        unit: s (of one operation), 1/s (operations of all processes together), bytes.
        median: of the samples.
        low, high: their quartiles.
        samples: how many.
        at: number of processes, or of elements; None where there is no such axis.
        p50, p99: of single operations or of small batches, in seconds; None where not taken.
        spread: quantiles from 1 % to 99 %, in seconds, for a plot; empty where not taken.
        sets: medians of what was measured by turns with the others: in each interpreter or part of
            its turns (of a wake-up: in each turn), of all rounds; where there are none, in each
            round.

    """

    part: str
    what: str
    who: str
    unit: str
    median: float
    low: float
    high: float
    samples: int
    at: int | None = None
    p50: float | None = None
    p99: float | None = None
    spread: list[float] = field(default_factory=list)
    sets: list[float] = field(default_factory=list)

    def times(self, base: Figure) -> float:
        """Return how many times as much as a base this is.

        The median of the quiet sets' own ratios: what a set has of its own is in both sides, and
        cancels out.
        """
        if not (self.sets and base.sets):
            return self.median / base.median
        pairs = [*zip(self.sets, base.sets, strict=True)]
        kept = quiet(pairs, lambda pair: pair[0] * pair[1], self.unit)
        return statistics.median(one / other for one, other in kept)


@dataclass(frozen=True)
class Bar:
    """A promise, and what came of it.

    Attributes:
        what: the operation.
        rival: whom it is compared with.
        python: the version of the interpreter.
        unit: of ours and theirs: s, 1/s or bytes.
        ours, theirs: medians; of a throughput (1/s) the means.
        ratio: of the two; theirs to ours where faster, else ours to theirs.
        low, high: quartiles of the ratios: of the sets that count, or pair by pair.
        bar: what the ratio has to reach (faster) or not to pass, or, where absolute, what ours may
            take; None: for information only.
        faster: which of the two.
        sets: medians of both sides in each interpreter or part of its turns, of all rounds; empty
            where there are none.
        absolute: whether the bar is for ours, whatever the rival takes.

    """

    what: str
    rival: str
    python: str
    unit: str
    ours: float
    theirs: float
    ratio: float
    low: float
    high: float
    bar: float | None
    faster: bool
    sets: list[list[float]] = field(default_factory=list)
    absolute: bool = False

    @property
    def limit(self) -> str:
        """The bar, for people."""
        if self.bar is None:
            return ""
        return amount(self.bar, self.unit) if self.absolute else f"{self.bar:g} x"

    @property
    def reached(self) -> str:
        """What the bar is for, for people."""
        return amount(self.ours, self.unit) if self.absolute else f"{ratio(self.ratio)} x"

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        if self.bar is None:
            return True
        if self.absolute:
            return self.ours <= self.bar
        return self.ratio >= self.bar if self.faster else self.ratio <= self.bar


@dataclass(frozen=True)
class Missing:
    """What could not be measured.

    Attributes:
        part, what, who: as in a Figure; of a Bar, who is the rival.
        reason: why.
        short: whether it is as bad as a bar that does not hold.

    """

    part: str
    what: str
    who: str
    reason: str
    short: bool = False


@dataclass
class Results:
    """All of a run."""

    machine: dict[str, Any]
    figures: list[Figure] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    @property
    def short(self) -> bool:
        """Whether a bar is missed, or can't be shown."""
        return not all(row.holds for row in self.bars) or any(gap.short for gap in self.missing)

    def add(self, other: Results) -> None:
        """Take over what another run has; the machine is this one's."""
        self.figures += other.figures
        self.bars += other.bars
        self.missing += other.missing

    def save(self, path: Path) -> None:
        """Write the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"schema": SCHEMA, **dataclasses.asdict(self)}
        # Four digits are more than a benchmark has, and keep the file small; a figure a line.
        lists = ("figures", "bars", "missing")
        head = json.dumps({key: content[key] for key in content if key not in lists}, indent=1)
        parts = [
            f' "{key}": [\n  '
            + ",\n  ".join(json.dumps(_short(entry)) for entry in content[key])
            + "\n ]"
            for key in lists
        ]
        path.write_text(head.removesuffix("\n}") + ",\n" + ",\n".join(parts) + "\n}\n")


def _short(entry: dict[str, Any]) -> dict[str, Any]:
    def short(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.4g}")
        return [short(each) for each in value] if isinstance(value, list) else value

    return {key: short(value) for key, value in entry.items() if value is not None and value != []}


def load(path: Path) -> Results:
    """Read a file that save() wrote.

    Raises:
        ValueError: it has another schema.

    """
    return loads(path.read_text())


def loads(text: str) -> Results:
    """Read the text of such a file."""
    content = json.loads(text)
    if content.pop("schema") != SCHEMA:
        message = f"this is not of schema {SCHEMA}: measure again"
        raise ValueError(message)
    return Results(
        content["machine"],
        [Figure(**entry) for entry in content["figures"]],
        # What is None is left out of the file; older ones have absolute bars of bytes alone.
        [
            Bar(**{"bar": None, "absolute": entry["unit"] == "bytes", **entry})
            for entry in content["bars"]
        ],
        [Missing(**entry) for entry in content["missing"]],
    )


def quiet(sets: Sequence[R], took: Callable[[R], float], unit: str) -> list[R]:
    """Return the sets in which something took least, or the throughput was most.

    A quarter of them, but three at least.  Others who use the machine only ever take from it; they
    do so for seconds or minutes, in which all takes up to twice as long, and what is locked even
    more.  Nobody chooses by a ratio, nor by one side of it.
    """
    least = max(3, (len(sets) + 3) // 4)
    return sorted(sets, key=took, reverse=unit == "1/s")[:least]


def quietest(samples: Sequence[list[float]]) -> list[float]:
    """Return the samples, of those of several interpreters, whose median is the least."""
    return min(samples, key=statistics.median)


def in_sets(samples: Sequence[float], size: int) -> list[Sequence[float]]:
    """Return samples that were taken one after the other as sets of so many."""
    return [samples[first : first + size] for first in range(0, len(samples), size)]


def quartiles(samples: Sequence[float]) -> tuple[float, float, float]:
    """Return lower quartile, median and upper quartile."""
    if len(samples) < 2:
        return samples[0], samples[0], samples[0]
    low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    return low, statistics.median(samples), high


def figure(
    part: str,
    what: str,
    who: str,
    samples: Sequence[float],
    *,
    unit: str = "s",
    at: int | None = None,
    singles: Sequence[float] = (),
    plotted: bool = False,
    sets: Sequence[Sequence[float]] = (),
) -> Figure:
    """Return the figure of some samples.

    Args:
        part, what, who, unit, at: see Figure.
        samples: one for each repeat.
        singles: seconds of single operations or small batches, for p50 and p99.
        plotted: whether the spread of the singles is kept.
        sets: the samples set by set, where others took turns with this.

    """
    low, median, high = quartiles(samples)
    hundredths = statistics.quantiles(singles, n=100, method="inclusive") if singles else []
    return Figure(
        part,
        what,
        who,
        unit,
        median,
        low,
        high,
        len(samples),
        at,
        hundredths[49] if hundredths else None,
        hundredths[98] if hundredths else None,
        [*hundredths[4:95:5], hundredths[98]] if plotted and hundredths else [],
        [statistics.median(each) for each in sets],
    )


def bar(
    what: str,
    rival: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    limit: float | None,
    *,
    faster: bool,
    python: str,
    unit: str = "s",
    absolute: bool = False,
) -> Bar:
    """Return the bar of two samples of seconds that were taken by turns.

    Args:
        what, rival, python: see Bar.
        ours, theirs: the samples, in seconds.
        limit: the bar.
        faster: whether it is a limit from below, for the rival's time in ours.
        unit: s: of one operation, and what counts is the median; 1/s: windows of equal length are
            taken together for one throughput, the harmonic mean of their seconds per operation.
        absolute: see Bar.

    """
    upper, lower = (theirs, ours) if faster else (ours, theirs)
    pairs = [one / other for one, other in zip(upper, lower, strict=True)]
    low, _, high = quartiles(pairs)
    middle = statistics.harmonic_mean if unit == "1/s" else statistics.median
    mine, other = middle(ours), middle(theirs)
    ratio = other / mine if faster else mine / other
    if unit == "1/s":
        mine, other = 1 / mine, 1 / other
    return Bar(
        what, rival, python, unit, mine, other, ratio, low, high, limit, faster, absolute=absolute
    )


def bar_of_sets(
    what: str,
    rival: str,
    sets: Sequence[Sequence[float]],
    limit: float | None,
    *,
    faster: bool,
    python: str,
    absolute: bool = False,
) -> Bar:
    """Return the bar of both sides' medians in each of several sets; the quiet ones count.

    Args:
        what, rival, python: see Bar.
        sets: ours and theirs, in seconds.
        limit, faster, absolute: see bar().

    """
    kept = quiet(sets, lambda each: each[0] * each[1], "s")
    ours, theirs = zip(*kept, strict=True)
    row = bar(what, rival, ours, theirs, limit, faster=faster, python=python, absolute=absolute)
    middle = statistics.median(theirs / ours if faster else ours / theirs for ours, theirs in kept)
    return replace(row, ratio=middle, sets=[list(each) for each in sets])


def amount(value: float, unit: str) -> str:
    """Return a figure for people."""
    if unit == "bytes":
        return f"{value:.0f} bytes"
    if unit == "1/s":
        return f"{value / 1e6:.3g} M/s" if value >= 1e5 else f"{value:,.0f} /s"
    if value < 0.9995e-6:
        return f"{value * 1e9:.1f} ns" if value < 99.95e-9 else f"{value * 1e9:.0f} ns"
    if value < 0.9995e-3:
        return f"{value * 1e6:.3g} us" if value < 999e-6 else f"{value * 1e6:.0f} us"
    return f"{value * 1e3:.3g} ms"


def ratio(value: float) -> str:
    """Return a ratio for people, without its x."""
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"
