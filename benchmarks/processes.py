"""Several processes at the same thing: how much they get done, and who has to wait.

    python benchmarks/processes.py            the rows: two on one word, and the lock's hand-over
    python benchmarks/processes.py --growth   1 to 64 readers beside a writer, and 1 to 64 claimers

The processes are forked, and work from one moment to another, the same for all: one such window of
each contender, so many times.  A process looks at the clock after a batch of operations.
"""

from __future__ import annotations

import gc
import multiprocessing
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from time import perf_counter, sleep
from typing import Any, NamedTuple

import operations
import rows
from machine import cpus, pin
from operations import ATOMICSHM, IDLE, LOCKED, NAMES, OURS, RLOCK, Contender, function
from results import Missing, Series, emit

READ, CLAIM = "a read beside a writer", "claim one of 10,000, and give it back"
ALONE = "a read, nobody writes"
NUMBERS = (1, 2, 4, 8, 16, 32, 64)
#: Operations of a batch; seconds until a window begins, longer than it takes to wake everybody.
BATCH, SOON = 50, 0.01


class Window(NamedTuple):
    rate: float  # operations a second
    longest: float  # batch


@dataclass(frozen=True)
class Contest:
    """One contender at one thing; if not each operation counts, its statement adds up `done`."""

    what: str
    who: Contender
    text: str
    first: str = ""  # what the process of rank 0 does, whose operations then do not count
    pinned: bool = True  # whether each process stays on a CPU


TOGGLE = """\
if status.compare_and_set(IDLE, BUSY): done += 1
if status.compare_and_set(BUSY, IDLE): done += 1"""
TOGGLE_CELL = """\
if cell.cas(1, 2) == 1: done += 1
if cell.cas(2, 1) == 2: done += 1"""
TOGGLE_LOCKED = """\
with value.get_lock():
    if value.value == 1:
        value.value = 2
        done += 1
with value.get_lock():
    if value.value == 2:
        value.value = 1
        done += 1"""
HOLD = "with lock: pass"
CLAIM_LOCKED = """\
with lock:
    index = next(index for index, status in enumerate(plain) if status == 1)
    plain[index] = 2
with lock:
    plain[index] = 1"""


def _locked_array(_: ExitStack) -> dict[str, Any]:
    array = multiprocessing.Array("i", [IDLE] * operations.MANY)
    return {"lock": array.get_lock(), "plain": array.get_obj()}


BOARD = Contender(rows.OURS, operations.board)
ARRAY = Contender("multiprocessing.Array", _locked_array)
UNLOCKED = Contender(
    f"{rows.LOCKED}, lock=False", lambda _: {"value": multiprocessing.Value("i", 1, lock=False)}
)
TOGGLING = [
    Contest(rows.TWO, OURS, TOGGLE),
    Contest(rows.TWO, LOCKED, TOGGLE_LOCKED),
    Contest(rows.TWO, ATOMICSHM, TOGGLE_CELL),
]
#: A wait that may run on one CPU alone does not look before it sleeps, so these may go anywhere.
HANDING_OVER = [Contest(rows.HANDOVER, who, HOLD, pinned=False) for who in (OURS, RLOCK)]
READERS = [
    Contest(READ, OURS, "status.load()", "status.set(BUSY)"),
    Contest(READ, ATOMICSHM, "cell.load()", "cell.store(2)"),
    Contest(READ, UNLOCKED, "value.value", "value.value = 2"),
    Contest(READ, LOCKED, "value.value", "value.value = 2"),
]
CLAIMERS = [
    Contest(CLAIM, BOARD, "board[board.claim(IDLE, BUSY)] = IDLE"),
    Contest(CLAIM, ARRAY, CLAIM_LOCKED),
]
NOBODY = [Contest(ALONE, OURS, "status.load()", "pass")]


def _window(batch: Any, names: dict[str, Any], begin: float, seconds: float) -> Window:
    sleep(max(0.0, begin - perf_counter()))
    ends, done, until = [perf_counter()], 0, begin + seconds
    while ends[-1] < until:
        done += batch(BATCH, **names)
        ends.append(perf_counter())
    longest = max((end - start for start, end in pairwise(ends)), default=seconds)
    return Window(done / seconds, longest)


def windows(
    processes: int, contests: Sequence[Contest], turns: int, seconds: float
) -> list[list[list[Window]]]:
    """Have so many processes work by turns; returns windows by contest, turn and process."""
    context, everywhere = multiprocessing.get_context("fork"), cpus()
    begin = context.RawValue("d", 0.0)

    def all_are_here() -> None:
        begin.value = perf_counter() + SOON

    barrier = context.Barrier(processes, all_are_here)
    with ExitStack() as stack:
        shared = [(each, {**NAMES, **each.who.make(stack)}) for each in contests]

        def work(rank: int, results: Connection) -> None:
            gc.disable()
            for contest, names in shared * turns:
                pin(*([everywhere[rank % len(everywhere)]] if contest.pinned else everywhere))
                text = contest.text if rank or not contest.first else contest.first
                batch = function(text, list(names))
                batch(BATCH, **names)  # warms it up
                barrier.wait(timeout=60)
                results.send(_window(batch, names, begin.value, seconds))
                barrier.wait(timeout=60)  # nobody begins, or takes anything away, before all end

        receivers = []
        for rank in range(processes):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=work, args=(rank, sender), daemon=True)
            process.start()
            sender.close()
            stack.callback(process.join)
            stack.callback(process.kill)
            receivers.append(receiver)
        taken: list[list[list[Window]]] = [[] for _ in contests]
        for mine in taken * turns:
            mine.append([receiver.recv() for receiver in receivers])
    return taken


def rates(taken: Sequence[Sequence[Window]], first: int = 0) -> list[float]:
    """Return what the processes from rank `first` on did together, window by window."""
    return [sum(each.rate for each in window[first:]) for window in taken]


def measure_rows() -> list[Series]:
    """Return what two do on one word, and what some get of a lock."""
    found, here = [], [each for each in TOGGLING if not each.who.absence]
    for contest, taken in zip(here, windows(2, here, 5, 0.1), strict=True):
        found.append(Series(rows.TWO, contest.who.label, rates(taken), unit="1/s"))
    for processes in rows.PROCESSES:
        seconds = 0.1 if processes == 1 else 0.3  # longer than anybody may have to wait
        both = windows(processes, HANDING_OVER, 2, seconds)
        for contest, taken in zip(HANDING_OVER, both, strict=True):
            who = contest.who.label
            longest = [max(each.longest for each in window) for window in taken]
            found.append(Series(rows.HANDOVER, who, rates(taken), processes, "1/s"))
            found.append(Series(rows.LONGEST, who, longest, processes))
    return found


def share(processes: int, first: int, count: int) -> float:
    """Return how many of `count` CPUs the ranks from `first` on have, one by one on all of them."""
    on = [len(range(cpu, processes, count)) for cpu in range(count)]
    return sum(1 / on[rank % count] for rank in range(first, processes))


def measure_growth(numbers: Sequence[int] = NUMBERS, seconds: float = 0.1) -> list[Series]:
    """Return what one read, and one claim, take of a core, by how many do it at a time."""
    found = []
    for contests, first in ((READERS, 1), (CLAIMERS, 0)):
        for number in numbers:
            every = [*contests, *NOBODY] if first and number == 1 else contests
            here = [each for each in every if not each.who.absence]
            cores, turns = share(number + first, first, len(cpus())), 5 if number < 4 else 3
            took = windows(number + first, here, turns, seconds)
            for contest, taken in zip(here, took, strict=True):
                # One at least, or a window in which none came to run would take for ever.
                costs = [cores / max(rate, 1 / seconds) for rate in rates(taken, first)]
                found.append(Series(contest.what, contest.who.label, costs, number))
    return found


def missing() -> list[Missing]:
    every = [each for each in (*TOGGLING, *READERS) if each.who.absence]
    return [Missing(each.what, each.who.label, each.who.absence) for each in every]


if __name__ == "__main__":
    emit(measure_growth() if "--growth" in sys.argv else measure_rows(), missing())
