"""How each thing grows: its line of cost, and what that means for a machine with more cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import arrays
import processes
import rows
import wakeups
from results import Results, amount

#: The machine that the sentences compute for: its cores, and how many times as long a cache line
#: takes from another socket as from another core of this one.
CORES, FURTHER = 256, 3


class Line(NamedTuple):
    fixed: float  # seconds
    each: float  # so many more for each one more

    def at(self, number: float) -> float:
        return self.fixed + self.each * number


def fit(points: Sequence[tuple[float, float]]) -> Line:
    """Return the line that is off by the least share of each point, and has nothing below 0."""
    weighed = [(1 / cost**2, number, cost) for number, cost in points]
    total = sum(w for w, *_ in weighed)
    x, y = sum(w * n for w, n, _ in weighed) / total, sum(w * c for w, _, c in weighed) / total
    xx = sum(w * (n - x) ** 2 for w, n, _ in weighed)
    slope = max(sum(w * (n - x) * (c - y) for w, n, c in weighed) / xx, 0.0) if xx else 0.0
    if y >= slope * x:
        return Line(y - slope * x, slope)
    squares = sum(w * n * n for w, n, _ in weighed)
    return Line(0.0, sum(w * n * c for w, n, c in weighed) / squares)


def line_of(run: Results, what: str, who: str = rows.OURS) -> Line:
    return fit([(figure.at or 0, figure.median) for figure in run.of(what)[who]])


def described(run: Results, what: str, who: str) -> str:
    line = line_of(run, what, who)
    more = f"{_time(line.each)} a {GROWTH[what][0]}" if line.each else ""
    return " + ".join([_time(line.fixed)] * bool(line.fixed) + [more] * bool(more))


def _time(seconds: float) -> str:
    return amount(seconds, "s")


def _rate(seconds: float) -> str:
    return f"{1 / seconds / 1e6:,.{0 if seconds < 1e-8 else 1}f} million a second"


def _first(run: Results, what: str, number: int = 1) -> float:
    return next(each.median for each in run.of(what)[rows.OURS] if each.at == number)


def _reads(run: Results) -> str:
    alone, beside = _first(run, processes.ALONE), _first(run, processes.READ)
    back = max(beside - alone, 0.0)
    return (
        f"A read takes {_time(alone)} of a core while nobody writes, and {_time(back)} more beside "
        f"a writer on another core, whose line has to come back. {CORES} cores read "
        f"{_rate(beside / CORES)} beside one writer; if its line comes from another socket, "
        f"{FURTHER} times as far, {_rate((alone + FURTHER * back) / CORES)}."
    )


def _claims(run: Results) -> str:
    one, two = _first(run, processes.CLAIM), _first(run, processes.CLAIM, 2)
    moved = max(two - one, 1e-9)
    return (
        f"A core alone claims {_rate(one)}. Of two each takes {_time(moved)} more, in which a "
        f"cache line moves between them. If {CORES} cores all want the same line, they wait for "
        f"each other and claim {_rate(moved)} together; across sockets, with {FURTHER} times as "
        f"long a way, {_rate(FURTHER * moved)}. Boards of their own have no such line."
    )


def _sleepers(run: Results) -> str:
    line, cores = line_of(run, wakeups.WAKE_ALL), run.machine["cpus"]
    return (
        f"The {cores} cores here take turns at running those who wake: {CORES} of them are awake "
        f"after {_time(line.at(CORES))}. With a core for each, what is left is the kernel's walk "
        f"from one to the next: between {_time(line.at(1))} and {_time(line.at(CORES))}. 10,000 "
        f"sleepers take at most {_time(line.at(10_000))}."
    )


def _values(run: Results) -> str:
    line = line_of(run, arrays.CREATE)
    size = next((row.ours for row in run.rows if row.title == rows.BYTES), 0.0)
    return (
        f"A process creates 10 million in {_time(line.at(1e7))}, in {size / 100:.2g} GB. Each "
        f"process has a pool of its own, so {CORES} cores create {_rate(line.each / CORES)}."
    )


def _counts(run: Results) -> str:
    line = line_of(run, arrays.COUNT)
    return (
        f"A core reads {8 / line.each / 1e9:.3g} GB of words a second, and 100 million words in "
        f"{_time(line.at(1e8))}; if each line comes from another socket, {FURTHER} times as far, "
        f"in {_time(FURTHER * line.at(1e8))} at most. {CORES} cores that count the same words only "
        f"read: together {CORES * 8 / line.each / 1e9:,.0f} GB a second, or what the memory has."
    )


def _looks(run: Results) -> str:
    none, one = line_of(run, arrays.CLAIM_NONE), line_of(run, arrays.CLAIM_ONE)
    return (
        f"Who finds nothing has looked at every word; who finds one at once takes "
        f"{_time(one.fixed)}, however long the array is. {CORES} cores that look in vain only "
        f"read, and take {_time(none.at(1e6))} for a million words each, or {FURTHER} times as "
        f"long where all of them lie in another socket's memory."
    )


#: By what each thing grows, and what its line means.
GROWTH: dict[str, tuple[str, Callable[[Results], str]]] = {
    processes.READ: ("reader", _reads),
    processes.CLAIM: ("claimer", _claims),
    wakeups.WAKE_ALL: ("sleeper", _sleepers),
    arrays.CREATE: ("value", _values),
    arrays.COUNT: ("word", _counts),
    arrays.CLAIM_NONE: ("word", _looks),
}
