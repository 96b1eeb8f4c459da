"""The speed that this package promises, row by row, as ratios to what it is compared with.

    python benchmarks/bars.py

Prints each row with its bar and exits with 1 if one falls short, or can't be shown because a rival
is not installed. Takes about three minutes.

What is done against the noise of a shared machine: the two sides of a row are timed by turns, by
the CPU time of their thread, in repeats so short that most of them are not interrupted; what counts
is the ratio of the medians; and the repeats come from several interpreters, one after the other,
each on the CPU that is the fastest just then, since where an interpreter's memory happens to lie
can move a figure by some per cent.  Of these the quiet ones count (quiet() in results.py); of what
reads megabytes, the quiet moments within them.  The lock-based path has interpreters of its own, in
which the original is beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import contended
import machine
import memory
import wakeups
from contenders import (
    A_VALUE,
    ATOMICSHM,
    FLOOR,
    HOISTED,
    LOCKED,
    LOCKED_VALUES,
    NUMPY,
    ORIGINAL,
    OURS,
    OURS_MANY,
    OURS_OWNED,
    OURS_WITH_OWNERS,
    RLOCK,
    WITHOUT_OWNERS,
    Contender,
    names_of,
)
from operations import COUNTS, OPERATIONS, RECOVER
from results import OF_MEGABYTES, Bar, Missing, Results, Turns, amount, bar, bar_of_sets, ratio
from scenarios.lock import (
    LockLocked,
    LockLocked1,
    LockLocked10,
    LockOurs,
    LockOurs1,
    LockOurs10,
)
from timing import Loop, on_quietest_cpu, take_turns
from two_processes import TwoProcesses

import atomic_intenum

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scenarios import Scenario
    from two_processes import Samples

INTERPRETERS = 16
USUAL = Turns(40)
PYTHON = platform.python_version()


@dataclass(frozen=True)
class Row:
    """A promise.

    Attributes:
        what: the operation.
        rival: whom it is compared with.
        bar: at most this many times as long, or at least this many times as fast, or, where
            absolute, at most this many seconds; None: for information only.
        faster: which of the two.
        seconds: how long one timing takes, about.
        turns: of the two sides, in each interpreter.
        interpreters: how many, evenly among all of them.
        ours: on our side.
        backend: of our side.
        absolute: whether the bar is for ours, whatever the rival takes.

    """

    what: str
    rival: Contender
    bar: float | None
    faster: bool
    seconds: float = 0.0005
    turns: Turns = USUAL
    interpreters: int = INTERPRETERS
    ours: Contender = OURS
    backend: str = "native"
    absolute: bool = False

    @property
    def title(self) -> str:
        """What the tables call it."""
        return self.what if self.backend == "native" else f"{self.backend} path: {self.what}"


def _lock_path(what: str, limit: float, turns: Turns = USUAL, seconds: float = 0.0005) -> Row:
    return Row(what, ORIGINAL, limit, faster=False, turns=turns, seconds=seconds, backend="lock")


ROWS = [
    Row("load", ATOMICSHM, 1.1, faster=False),
    Row("value", FLOOR, 1.15, faster=False),
    Row("value", LOCKED, 3, faster=True),
    Row("name", ORIGINAL, 20, faster=True),
    Row("set", ATOMICSHM, 1.15, faster=False),
    Row("set", LOCKED, 5, faster=True),
    Row("compare_and_set", ATOMICSHM, 1.15, faster=False),
    Row("compare_and_set", LOCKED, 15, faster=True),
    Row("compare_and_set", HOISTED, None, faster=True),
    Row("compare_and_set, no match", ATOMICSHM, None, faster=False),
    Row("== member", ORIGINAL, 8, faster=True),
    # Long enough for several segments a repeat, so that their cost is spread as in a long run.
    Row("create", LOCKED, 8, faster=True, seconds=0.004, turns=Turns(4)),
    Row(COUNTS, LOCKED_VALUES, 50, faster=True, turns=OF_MEGABYTES, ours=OURS_MANY),
    Row(COUNTS, NUMPY, 2, faster=True, interpreters=4, ours=OURS_MANY),
    Row("with lock", RLOCK, 2, faster=True),
    Row("acquire, release", RLOCK, 1, faster=False),
    Row("with get_lock(), set", ORIGINAL, 2, faster=True),
    Row("board[i]", A_VALUE, 1.3, faster=False, ours=OURS_MANY),
    Row("board[i] = m", A_VALUE, 1.3, faster=False, ours=OURS_MANY),
    Row("board.at(i)", FLOOR, 1.5e-6, faster=False, ours=OURS_MANY, absolute=True),
    Row("claim, on_death", WITHOUT_OWNERS, 1.2, faster=False, ours=OURS_OWNED),
    Row(
        RECOVER,
        FLOOR,
        100e-6,
        faster=False,
        interpreters=4,
        ours=OURS_WITH_OWNERS,
        absolute=True,
    ),
    _lock_path("value", 1),
    _lock_path("name", 1),
    _lock_path("load", 1),
    _lock_path("== member", 1),
    _lock_path("set", 1.5),
    _lock_path("create", 1.3, Turns(4), 0.004),
]
#: The backends, and so the interpreters, that it takes.
BACKENDS = tuple(dict.fromkeys(row.backend for row in ROWS))
TWO_PROCESSES, TWO_PROCESSES_BAR = "two processes", 10
#: How many windows of the two processes on each side, before each of the interpreters.
WINDOWS = 5
BYTES_BAR = 192
#: Ours and theirs among several processes, and how many times the rate ours has to have.
HANDOVERS: list[tuple[type[Scenario], type[Scenario], float | None]] = [
    (LockOurs, LockLocked, 1.5),
    (LockOurs1, LockLocked1, None),
    (LockOurs10, LockLocked10, None),
]
#: How many windows of each, and how long: longer than anybody may have to wait for the lock.
HANDOVER_WINDOWS, HANDOVER_WINDOW = 3, 0.3
STARVED = 0.1
EVENT, PLAIN_C = "multiprocessing.Event", "plain C, the same futex"
#: Ours and theirs of wakeups.py, who theirs is, the bar, and whether it is for faster.
WAKEUPS = [
    ("spinning", "event", EVENT, 20, True),
    ("asleep", "event", EVENT, None, True),
    ("asleep", "C asleep", PLAIN_C, 1.15, False),
    ("spinning", "C spinning", PLAIN_C, 5, False),
    # With the rounds in which an interrupted one fell asleep, and then the other.
    ("spinning" + wakeups.MEAN, "event" + wakeups.MEAN, EVENT, None, True),
    ("spinning" + wakeups.MEAN, "C spinning" + wakeups.MEAN, PLAIN_C, None, False),
]


class Report(Results):
    """The rows, printed as they come."""

    def __init__(self) -> None:
        super().__init__(machine.facts())
        self._print("what", "against", "ours", "theirs", "ratio (quartiles)", "bar", "")

    def _print(self, *cells: str) -> None:
        widths = (41, 36, 12, 12, 24, 14, 0)
        line = "".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
        print(line.rstrip(), flush=True)

    def gap(self, what: str, rival: str, reason: str) -> None:
        """Print a row that can't be shown: as bad as one that is short."""
        self.missing.append(Missing("bars", what, rival, reason, short=True))
        self._print(what, rival, "", "", "", "", reason)

    def row(self, row: Bar) -> None:
        """Print a row."""
        self.bars.append(row)
        sign = ">=" if row.faster else "<="
        self._print(
            row.what,
            row.rival,
            amount(row.ours, row.unit),
            amount(row.theirs, row.unit),
            f"{ratio(row.ratio)} x ({ratio(row.low)} - {ratio(row.high)})",
            "" if row.bar is None else f"{sign} {row.limit}",
            "no bar" if row.bar is None else "ok" if row.holds else "SHORT",
        )


# -- the rows that one process measures


def sample(number: int, of: int) -> list[tuple[list[float], list[float]] | None]:
    """Measure its backend's rows in this interpreter: our seconds and the rival's; None: another.

    Args:
        number: of this interpreter, from 0.
        of: how many there are.

    """
    mine = [row if row.backend == atomic_intenum.BACKEND else None for row in ROWS]
    return sample_rows(
        [row if row and number % max(of // row.interpreters, 1) == 0 else None for row in mine]
    )


def sample_backend(
    backend: str, number: int = 0, of: int = 1
) -> list[tuple[list[float], list[float]] | None]:
    """Have a backend's rows measured by an interpreter of its own: see sample()."""
    command = [sys.executable, __file__, "--sample", str(number), str(of)]
    environment = {**os.environ, "ATOMIC_INTENUM_BACKEND": backend}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    found: list[tuple[list[float], list[float]] | None] = json.loads(done.stdout)
    return found


def sample_rows(
    rows: Sequence[Row | None],
) -> list[tuple[list[float], list[float]] | None]:
    """Measure rows in this interpreter: our seconds and the rival's; None: not there to measure."""
    with on_quietest_cpu():
        return [None if row is None else _sample(row) for row in rows]


def _sample(row: Row) -> tuple[list[float], list[float]] | None:
    if row.rival.absence or row.ours.absence:
        return None
    with ExitStack() as stack:
        loops = [
            Loop(OPERATIONS[row.what][contender], names_of(contender, stack), row.seconds)
            for contender in (row.ours, row.rival)
        ]
        ours, theirs = take_turns(loops, row.turns.repeats, row.turns.warm_up)
        for loop in loops:
            loop.prepare()
    return ours, theirs


def measure_rows(report: Report, interpreters: int, between: Callable[[], None]) -> None:
    """Have the rows measured by several interpreters and print them.

    Args:
        report: where they go.
        interpreters: how many.
        between: called between two of them, for what wants to be measured now and then.

    """
    taken: list[list[tuple[list[float], list[float]]]] = [[] for _ in ROWS]
    for number in range(interpreters):
        if number:
            between()
        for backend in BACKENDS:
            found = sample_backend(backend, number, interpreters)
            for mine, sides in zip(taken, found, strict=True):
                if sides is not None:
                    mine.append(sides)
    for row, samples in zip(ROWS, taken, strict=True):
        if not samples:
            reason = row.rival.absence or row.ours.absence or "not measured"
            report.gap(row.title, row.rival.label, reason)
        else:
            sets = [
                [median(ours), median(theirs)]
                for sides in samples
                for ours, theirs in zip(*map(row.turns.sets, sides), strict=True)
            ]
            report.row(
                bar_of_sets(
                    row.title,
                    row.rival.label,
                    sets,
                    row.bar,
                    faster=row.faster,
                    python=PYTHON,
                    absolute=row.absolute,
                )
            )


# -- the rows that need several processes


def report_two_processes(report: Report, samples: Samples) -> None:
    """Print what two processes achieved on one word."""
    for what, ours, theirs, limit in (
        (f"{TWO_PROCESSES}, attempts", samples.ours, samples.theirs, TWO_PROCESSES_BAR),
        (f"{TWO_PROCESSES}, successes", samples.ours_useful, samples.theirs_useful, None),
    ):
        label = LOCKED.label
        report.row(bar(what, label, ours, theirs, limit, faster=True, python=PYTHON, unit="1/s"))


def measure_handovers(
    pairs: Sequence[tuple[type[Scenario], type[Scenario], float | None]] = HANDOVERS,
) -> list[Bar]:
    """Measure what several processes get of a lock, and the longest that one had to do without.

    Of the rates the mean of all windows counts; of the longest of each window, of all pairs, the
    median.
    """
    rows = []
    for processes in contended.PROCESSES:
        among = f"{processes} process{'es' if processes > 1 else ''}"
        mine = [pair for pair in pairs if processes >= pair[0].least]
        wanted = [side for ours, theirs, _ in mine for side in (ours, theirs)]
        taken = contended.windows(processes, wanted, HANDOVER_WINDOWS, HANDOVER_WINDOW)
        every_ours, every_theirs = taken[::2], taken[1::2]
        for (scenario, _, limit), ours, theirs in zip(mine, every_ours, every_theirs, strict=True):
            rows.append(
                bar(
                    f"{scenario.what}, {among}",
                    RLOCK.label,
                    [1 / rate for rate in contended.rates(ours)],
                    [1 / rate for rate in contended.rates(theirs)],
                    limit,
                    faster=True,
                    python=PYTHON,
                    unit="1/s",
                )
            )
        if processes > 1:
            rows.append(
                bar(
                    f"longest without the lock, {among}",
                    RLOCK.label,
                    [longest for ours in every_ours for longest in contended.longest(ours)],
                    [longest for theirs in every_theirs for longest in contended.longest(theirs)],
                    STARVED,
                    faster=False,
                    python=PYTHON,
                    absolute=True,
                )
            )
    return rows


def report_wakeups(report: Report, samples: wakeups.Samples) -> None:
    """Print what a turn costs that two processes hand to each other, there and back."""
    for ours, theirs, label, limit, faster in WAKEUPS:
        what = f"there and back, {ours}"
        mine, other = samples[ours], samples[theirs]
        report.row(bar(what, label, mine, other, limit, faster=faster, python=PYTHON))


def measure_memory(report: Report) -> None:
    """Print what a value takes of shared memory."""
    what = f"bytes of {memory.SHM} each"
    try:
        ours, theirs = memory.measure()
    except OSError as error:
        report.gap(what, LOCKED.label, f"MISSING: {error}")
        return
    share = ours / theirs
    spread = (share, share, share)
    report.row(
        Bar(
            what,
            LOCKED.label,
            PYTHON,
            "bytes",
            ours,
            theirs,
            *spread,
            BYTES_BAR,
            faster=False,
            absolute=True,
        )
    )


def main() -> int:
    """Measure and print; 1 if a row is short or missing."""
    parser = argparse.ArgumentParser(description="The speed bars of atomic-intenum.")
    parser.add_argument("--interpreters", type=int, default=INTERPRETERS, help="how many to pool")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where to write the results")
    parser.add_argument("--sample", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sample is not None:
        json.dump(sample(*arguments.sample), sys.stdout)
        return 0
    print("\n".join(machine.description()))
    if atomic_intenum.BACKEND != "native":
        print(f"The bars are those of the native backend; this is {atomic_intenum.BACKEND}.")
        return 1
    print()
    report = Report()
    with TwoProcesses() as two, ExitStack() as stack:
        missing = ""
        try:
            turns = stack.enter_context(wakeups.Wakeups())
        except wakeups.MissingError as reason:
            turns, missing = None, str(reason)

        def measure_others() -> None:
            two.measure(WINDOWS)
            if turns is not None:
                turns.measure()

        measure_others()
        measure_rows(report, arguments.interpreters, measure_others)
    report_two_processes(report, two.samples)
    for row in measure_handovers():
        report.row(row)
    if turns is not None:
        report_wakeups(report, turns.samples)
    else:
        for ours, _, label, *_ in WAKEUPS:
            report.gap(f"there and back, {ours}", label, missing)
    measure_memory(report)
    print()
    print("A row fell short." if report.short else "Every row holds.")
    if arguments.json:
        Results(report.machine, report.figures, report.bars, report.missing).save(arguments.json)
    return int(report.short)


if __name__ == "__main__":
    sys.exit(main())
