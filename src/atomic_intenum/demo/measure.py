"""Polls and claims per second, beside the same on multiprocessing.Value.

All four loops are of the same form and run in this one process.  Those that are compared take
turns in short slices, so that whatever else the machine does meets both.  The loop itself is part
of each figure.
"""

from __future__ import annotations

import multiprocessing
import time
from itertools import repeat
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from .crew import Status, WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.sharedctypes import Synchronized

__all__ = ["Rates", "measure"]

#: A slice takes at least this many seconds.
_SLICE = 0.01


class Rates(NamedTuple):
    """Operations per second: the median over the slices."""

    ours: float
    theirs: float


def _polls(status: WorkerStatus, number: int) -> None:
    for _ in repeat(None, number):
        status.load()


def _value_polls(status: Synchronized[int], number: int) -> None:
    for _ in repeat(None, number):
        status.value  # noqa: B018


def _claims(status: WorkerStatus, number: int) -> None:
    idle, calculating = Status.IDLE, Status.CALCULATING
    for _ in repeat(None, number // 2):
        status.compare_and_set(idle, calculating)
        status.compare_and_set(calculating, idle)


def _value_claims(status: Synchronized[int], number: int) -> None:
    idle, calculating = Status.IDLE.value, Status.CALCULATING.value
    for _ in repeat(None, number // 2):
        with status.get_lock():
            if status.value == idle:
                status.value = calculating
        with status.get_lock():
            if status.value == calculating:
                status.value = idle


def _slice_size(loop: Callable[[int], None]) -> int:
    """Return how many operations fill a slice."""
    number = 64
    # The best of three: one that was interrupted looks too long.
    while min(_timed(loop, number) for _ in range(3)) < _SLICE:
        number *= 2
    return number


def _timed(loop: Callable[[int], None], number: int) -> float:
    started = time.perf_counter()
    loop(number)
    return time.perf_counter() - started


def _beside(
    ours: Callable[[int], None],
    theirs: Callable[[int], None],
    seconds: float,
    check: Callable[[], None],
) -> Rates:
    deadline = time.perf_counter() + seconds
    loops = [(loop, _slice_size(loop), list[float]()) for loop in (ours, theirs)]
    while True:
        for loop, number, rates in loops:
            check()
            rates.append(number / _timed(loop, number))
        if time.perf_counter() >= deadline:
            return Rates(*(median(rates) for _, _, rates in loops))


def measure(seconds: float, check: Callable[[], None]) -> dict[str, Rates]:
    """Measure a poll and a claim, each beside multiprocessing.Value.

    A poll is ``load()``, beside ``value`` of a multiprocessing.Value("i").  A claim is
    ``compare_and_set()``, beside get_lock(), a comparison and an assignment; all claims succeed.

    Args:
        seconds: for all of it.
        check: called between two slices; raises to end it.

    """
    status = WorkerStatus(Status.IDLE)
    value = multiprocessing.Value("i", Status.IDLE.value)
    return {
        "polls": _beside(
            lambda number: _polls(status, number),
            lambda number: _value_polls(value, number),
            seconds / 2,
            check,
        ),
        "claims": _beside(
            lambda number: _claims(status, number),
            lambda number: _value_claims(value, number),
            seconds / 2,
            check,
        ),
    }
