"""The speed that this package promises, row by row, as ratios to what it is compared with.

    python benchmarks/bars.py

Prints each row with its bar and exits with 1 if one falls short, or can't be shown because a rival
is not installed. Takes about 30 seconds.

What is done against the noise of a shared machine: the two sides of a row are timed by turns, in
repeats so short that most of them are not interrupted; what counts is the ratio of the medians; and
the repeats come from several interpreters, one after the other, each on the CPU that is the fastest
just then, since where an interpreter's memory happens to lie can move a figure by some per cent.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import machine
from operations import (
    ATOMICSHM,
    BUSY,
    FLOOR,
    HOISTED,
    IDLE,
    LOCKED,
    OPERATIONS,
    ORIGINAL,
    OURS,
    Contender,
    WorkerStatus,
    names_of,
)
from timing import Loop, alternate, pin_to_quietest
from wakeups import MissingError
from wakeups import measure as measure_wakeups

import atomic_intenum
from atomic_intenum import IntEnumValue

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier

INTERPRETERS = 16
SHM = Path("/dev/shm")


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
        repeats: how many timings of each side, in each interpreter.

    """

    what: str
    rival: Contender
    bar: float | None
    faster: bool
    seconds: float = 0.0005
    repeats: int = 40


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
    Row("create", LOCKED, 8, faster=True, seconds=0.004, repeats=4),
]
#: Two processes: how many windows each, and how long one is, in seconds.
WINDOWS = 20
WINDOW = 0.1
TWO_PROCESSES_BAR = 10
BYTES_BAR = 192


def _seconds(seconds: float) -> str:
    return f"{seconds * 1e9:.1f} ns" if seconds < 1e-6 else f"{seconds * 1e6:.2f} us"


def _rate(seconds: float) -> str:
    return f"{1 / seconds / 1e6:.3f} M/s"


class Report:
    """The rows as they are printed, and whether one was short."""

    def __init__(self) -> None:
        self.short = False
        self._print("what", "against", "ours", "theirs", "ratio (quartiles)", "bar", "")

    def _print(self, *cells: str) -> None:
        widths = (30, 32, 12, 12, 24, 11, 0)
        line = "".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
        print(line.rstrip(), flush=True)

    def _verdict(self, *, holds: bool) -> str:
        self.short |= not holds
        return "ok" if holds else "SHORT"

    def missing(self, what: str, rival: str, reason: str) -> None:
        """Print a row that can't be shown: as bad as one that is short."""
        self.short = True
        self._print(what, rival, "", "", "", "", reason)

    def ratio(
        self,
        row: Row,
        ours: list[float],
        theirs: list[float],
        show: Callable[[float], str] = _seconds,
    ) -> None:
        """Print a row of two samples, timed by turns: the ratio of their medians, its spread."""
        upper, lower = (theirs, ours) if row.faster else (ours, theirs)
        ratio = statistics.median(upper) / statistics.median(lower)
        pairs = [one / other for one, other in zip(upper, lower, strict=True)]
        low, _, high = statistics.quantiles(pairs, n=4)
        digits = 2 if ratio < 10 else 1 if ratio < 100 else 0
        bar, verdict = "", "no bar"
        if row.bar is not None:
            bar = f"{'>=' if row.faster else '<='} {row.bar:g} x"
            verdict = self._verdict(holds=ratio >= row.bar if row.faster else ratio <= row.bar)
        self._print(
            row.what,
            row.rival.label,
            show(statistics.median(ours)),
            show(statistics.median(theirs)),
            f"{ratio:.{digits}f} x ({low:.{digits}f} - {high:.{digits}f})",
            bar,
            verdict,
        )

    def memory(self, ours: float, theirs: float) -> None:
        """Print the row of shared memory."""
        self._print(
            f"bytes of {SHM} each",
            LOCKED.label,
            f"{ours:.1f}",
            f"{theirs:.1f}",
            "",
            f"<= {BYTES_BAR}",
            self._verdict(holds=ours <= BYTES_BAR),
        )


# -- the rows that one process measures


def sample() -> list[tuple[list[float], list[float]] | None]:
    """Measure each row in this interpreter: our seconds and the rival's; None without the rival."""
    pin_to_quietest()
    samples: list[tuple[list[float], list[float]] | None] = []
    for row in ROWS:
        if row.rival.absence:
            samples.append(None)
            continue
        with ExitStack() as stack:
            ours, theirs = (
                Loop(OPERATIONS[row.what][contender], names_of(contender, stack), row.seconds)
                for contender in (OURS, row.rival)
            )
            samples.append(alternate(ours, theirs, row.repeats))
            ours.prepare()
            theirs.prepare()
    return samples


def report_rows(report: Report, interpreters: int) -> None:
    """Have the rows measured by several interpreters and print them."""
    pooled: list[tuple[list[float], list[float]]] = [([], []) for _ in ROWS]
    for _ in range(interpreters):
        output = subprocess.run(
            [sys.executable, __file__, "--sample"], check=True, stdout=subprocess.PIPE
        ).stdout
        for pool, samples in zip(pooled, json.loads(output), strict=True):
            for mine, new in zip(pool, samples or ([], []), strict=True):
                mine.extend(new)
    for row, (ours, theirs) in zip(ROWS, pooled, strict=True):
        if row.rival.absence:
            report.missing(row.what, row.rival.label, row.rival.absence)
        else:
            report.ratio(row, ours, theirs)


# -- two processes on one word


@dataclass
class Tally:
    """What one process did in one window."""

    seconds: float
    attempts: int
    successes: int


def _contend_ours(status: WorkerStatus, until: float) -> tuple[int, int]:
    attempts = successes = 0
    while perf_counter() < until:
        for _ in range(50):
            if status.compare_and_set(IDLE, BUSY):
                successes += 1
            if status.compare_and_set(BUSY, IDLE):
                successes += 1
        attempts += 100
    return attempts, successes


def _contend_locked(value: Any, until: float) -> tuple[int, int]:
    attempts = successes = 0
    while perf_counter() < until:
        for _ in range(50):
            with value.get_lock():
                if value.value == 1:
                    value.value = 2
                    successes += 1
            with value.get_lock():
                if value.value == 2:
                    value.value = 1
                    successes += 1
        attempts += 100
    return attempts, successes


def _contend(
    status: WorkerStatus, value: Any, barrier: Barrier, results: Connection, cpu: int | None
) -> None:
    """Be one of the two: in turns on our word and on the locked one, from a barrier each time."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    gc.disable()
    tallies = []
    for window in range(2 * WINDOWS):
        barrier.wait(timeout=30)
        start = perf_counter()
        contend, target = ((_contend_ours, status), (_contend_locked, value))[window % 2]
        attempts, successes = contend(target, start + WINDOW)
        tallies.append(Tally(perf_counter() - start, attempts, successes))
    results.send(tallies)


def report_two_processes(report: Report) -> None:
    """Let two processes compare and set one word, ours and a locked one by turns.

    An attempt is the same on both sides: one compare, and an assignment where it matched. Each
    process tries to toggle between two members all the time, whatever the other one does.
    """
    context = multiprocessing.get_context("spawn")
    status, value, barrier = WorkerStatus(IDLE), context.Value("i", IDLE), context.Barrier(2)
    cpus: list[int | None] = [None, None]
    if hasattr(os, "sched_getaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) >= 2:
            cpus = [allowed[0], allowed[-1]]
        else:
            print("   (only one CPU: the two processes take turns on it)")
    started = []
    for cpu in cpus:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_contend, args=(status, value, barrier, sender, cpu))
        process.start()
        sender.close()
        started.append((process, receiver))
    tallies: list[list[Tally]] = []
    for process, receiver in started:
        try:
            tallies.append(receiver.recv() if receiver.poll(60) else [])
        finally:
            process.join(5)
            process.kill()
    windows = [(one, other) for one, other in zip(*tallies, strict=True)]
    # Seconds per attempt of both together: the rates of the two added up.
    seconds = [1 / sum(tally.attempts / tally.seconds for tally in pair) for pair in windows]
    ours, theirs = seconds[::2], seconds[1::2]
    row = Row("two processes, attempts", LOCKED, TWO_PROCESSES_BAR, faster=True)
    report.ratio(row, ours, theirs, _rate)
    useful = [1 / sum(tally.successes / tally.seconds for tally in pair) for pair in windows]
    row = Row("two processes, successes", LOCKED, None, faster=True)
    report.ratio(row, useful[::2], useful[1::2], _rate)


# -- waking a sleeper


def report_wakeups(report: Report) -> None:
    """Print what a turn costs that two processes hand to each other, there and back."""
    event, plain = "multiprocessing.Event", "plain C, the same futex"
    bars = [
        ("spinning", "event", event, 20, True),
        ("asleep", "event", event, 4, True),
        ("asleep", "C asleep", plain, 1.2, False),
        ("spinning", "C spinning", plain, 5, False),
    ]
    try:
        samples = measure_wakeups()
    except MissingError as reason:
        for ours, _, label, *_ in bars:
            report.missing(f"there and back, {ours}", label, str(reason))
        return
    for ours, theirs, label, bar, faster in bars:
        rival = Contender(label, lambda _: {})
        row = Row(f"there and back, {ours}", rival, bar, faster=faster)
        report.ratio(row, samples[ours], samples[theirs])


# -- memory


def _shared_mappings() -> dict[str, int]:
    """Return what this process has mapped of /dev/shm: bytes by name and address."""
    mapped = {}
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, *_, path = line.split(maxsplit=5)
        if path.startswith(f"{SHM}/"):
            low, high = (int(end, 16) for end in place.split("-"))
            mapped[f"{path} at {place}"] = high - low
    return mapped


def _new_bytes(make: Any, count: int) -> float:
    before = _shared_mappings()
    kept = [make() for _ in range(count)]
    after = _shared_mappings()
    assert len(kept) == count
    return sum(size for name, size in after.items() if name not in before) / count


def report_memory(report: Report) -> None:
    """Print how much shared memory a value takes, the headers and the unused rest included."""
    if not Path("/proc/self/maps").exists():
        report.missing(f"bytes of {SHM} each", LOCKED.label, "MISSING: this needs /proc/self/maps")
        return

    class Fresh(IntEnum):  # with segments of its own, so that none has been begun
        ONE = 1

    live = 20_000
    names = {entry.name for entry in SHM.iterdir()}
    cls = IntEnumValue[Fresh]
    kept = [cls(Fresh.ONE) for _ in range(live)]
    # Of the segments that came meanwhile, ours: other programs make some, too.
    mapped = {Path(name.partition(" ")[0]).name for name in _shared_mappings()} - names
    blocks = sum((SHM / name).stat().st_blocks for name in mapped if (SHM / name).exists())
    assert len(kept) == live
    theirs = _new_bytes(lambda: multiprocessing.Value("i", 1), 500)
    report.memory(blocks * 512 / live, theirs)


def main() -> int:
    """Measure and print; 1 if a row is short or missing."""
    parser = argparse.ArgumentParser(description="The speed bars of atomic-intenum.")
    parser.add_argument("--interpreters", type=int, default=INTERPRETERS, help="how many to pool")
    parser.add_argument("--sample", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sample:
        json.dump(sample(), sys.stdout)
        return 0
    print("\n".join(machine.description()))
    if atomic_intenum.BACKEND != "native":
        print(f"The bars are those of the native backend; this is {atomic_intenum.BACKEND}.")
        return 1
    print()
    report = Report()
    report_rows(report, arguments.interpreters)
    report_two_processes(report)
    report_wakeups(report)
    report_memory(report)
    print()
    print("A row fell short." if report.short else "Every row holds.")
    return int(report.short)


if __name__ == "__main__":
    sys.exit(main())
