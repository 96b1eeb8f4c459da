"""Two processes that compare and set one word all the time: ours and a locked one by turns.

An attempt is the same on both sides: one compare, and an assignment where it matched. Each
process tries to toggle between two members all the time, whatever the other one does.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from contenders import BUSY, IDLE, WorkerStatus

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier

#: How many windows each, and how long one is, in seconds.
WINDOWS = 20
WINDOW = 0.1


@dataclass
class Tally:
    """What one process did in one window."""

    seconds: float
    attempts: int
    successes: int


@dataclass
class Samples:
    """Seconds per attempt, and per successful one, of both processes together, by window."""

    ours: list[float]
    theirs: list[float]
    ours_useful: list[float]
    theirs_useful: list[float]


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


def measure() -> Samples:
    """Measure for a few seconds; each of the two stays on a CPU of its own where there are two."""
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
    useful = [1 / sum(tally.successes / tally.seconds for tally in pair) for pair in windows]
    return Samples(seconds[::2], seconds[1::2], useful[::2], useful[1::2])
