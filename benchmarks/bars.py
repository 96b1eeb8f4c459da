"""The speed that this package promises, row by row, as ratios to what it is compared with.

    python benchmarks/bars.py

Prints each row with its bar and exits with 1 if one falls short, or can't be shown because a rival
is not installed. Takes about two minutes.

What is done against the noise of a shared machine: the two sides of a row are timed by turns, by
the CPU time of their thread, in repeats so short that most of them are not interrupted; what counts
is the ratio of the medians; and the repeats come from several interpreters, one after the other,
each on the CPU that is the fastest just then, since where an interpreter's memory happens to lie
can move a figure by some per cent.  Of these the quiet ones count (quiet() in results.py); of what
reads megabytes, the quiet moments within them.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import machine
import memory
import wakeups
from contenders import (
    ATOMICSHM,
    FLOOR,
    HOISTED,
    LOCKED,
    LOCKED_VALUES,
    NUMPY,
    ORIGINAL,
    OURS,
    OURS_MANY,
    Contender,
    names_of,
)
from operations import COUNTS, OPERATIONS
from results import OF_MEGABYTES, Bar, Missing, Results, Turns, amount, bar, bar_of_sets, ratio
from timing import Loop, on_quietest_cpu, take_turns
from two_processes import TwoProcesses

import atomic_intenum

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
        bar: at most this many times as long, or at least this many times as fast; None: for
            information only.
        faster: which of the two.
        seconds: how long one timing takes, about.
        turns: of the two sides, in each interpreter.
        interpreters: how many, evenly among all of them.
        ours: on our side.

    """

    what: str
    rival: Contender
    bar: float | None
    faster: bool
    seconds: float = 0.0005
    turns: Turns = USUAL
    interpreters: int = INTERPRETERS
    ours: Contender = OURS


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
]
TWO_PROCESSES, TWO_PROCESSES_BAR = "two processes", 10
#: How many windows of the two processes on each side, before each of the interpreters.
WINDOWS = 5
BYTES_BAR = 192
EVENT, PLAIN_C = "multiprocessing.Event", "plain C, the same futex"
#: Ours and theirs of wakeups.py, who theirs is, the bar, and whether it is for faster.
WAKEUPS = [
    ("spinning", "event", EVENT, 20, True),
    ("asleep", "event", EVENT, 4, True),
    ("asleep", "C asleep", PLAIN_C, 1.2, False),
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
    """Measure the rows in this interpreter: our seconds and the rival's; None: not this row.

    Args:
        number: of this interpreter, from 0.
        of: how many there are.

    """
    wanted = [row if number % max(of // row.interpreters, 1) == 0 else None for row in ROWS]
    return sample_rows(wanted)


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
        command = [sys.executable, __file__, "--sample", str(number), str(interpreters)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        for mine, samples in zip(taken, json.loads(output), strict=True):
            if samples is not None:
                mine.append(samples)
    for row, samples in zip(ROWS, taken, strict=True):
        if not samples:
            reason = row.rival.absence or row.ours.absence or "not measured"
            report.gap(row.what, row.rival.label, reason)
        else:
            label = row.rival.label
            sets = [
                [median(ours), median(theirs)]
                for sides in samples
                for ours, theirs in zip(*map(row.turns.sets, sides), strict=True)
            ]
            report.row(
                bar_of_sets(row.what, label, sets, row.bar, faster=row.faster, python=PYTHON)
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
