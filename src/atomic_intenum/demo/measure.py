"""Polls, claims and counts per second, beside the same on multiprocessing.Value.

The two loops that are compared are of the same form and run in this one process.  They take turns
in short slices, so that whatever else the machine does meets both.  The loop itself is part of
each figure.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from itertools import repeat
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from .board import Status, WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.sharedctypes import Synchronized

    from .board import Board

__all__ = ["MOST_VALUES", "Rates", "measure", "measure_board"]

#: A slice takes at least this many seconds.
_SLICE = 0.01

#: Each multiprocessing.Value has a semaphore and pages of its own: so many stand for all.
MOST_VALUES = 1_000


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


def _board_claims(board: Board, number: int) -> None:
    idle, calculating = Status.IDLE, Status.CALCULATING
    for _ in repeat(None, number):
        while board.claim(idle, calculating) is not None:
            pass
        board.fill(idle)


def _values_claims(values: list[Synchronized[int]], number: int) -> None:
    idle, calculating = Status.IDLE.value, Status.CALCULATING.value
    for _ in repeat(None, number):
        for status in values:
            with status.get_lock():
                if status.value == idle:
                    status.value = calculating
        for status in values:
            status.value = idle


def _board_counts(board: Board, number: int) -> None:
    for _ in repeat(None, number):
        board.counts()


def _values_counts(values: list[Synchronized[int]], number: int) -> None:
    for _ in repeat(None, number):
        Counter([status.value for status in values])


def _slice_size(loop: Callable[[int], None]) -> int:
    """Return how many operations fill a slice."""
    number = 1
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
    units: tuple[int, int] = (1, 1),
) -> Rates:
    """Let two loops take turns; ``units`` is what one operation of each counts for."""
    deadline = time.perf_counter() + seconds
    loops = []
    for loop, unit in zip((ours, theirs), units, strict=True):
        check()
        loops.append((loop, unit, _slice_size(loop), list[float]()))
    while True:
        for loop, unit, number, rates in loops:
            check()
            rates.append(unit * number / _timed(loop, number))
        if time.perf_counter() >= deadline:
            return Rates(*(median(rates) for *_, rates in loops))


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


def measure_board(board: Board, seconds: float, check: Callable[[], None]) -> dict[str, Rates]:
    """Measure claiming and counting on a board, beside multiprocessing.Values, up to MOST_VALUES.

    The rates are of single statuses, since the board may have more of them.  Claims: every status
    is claimed, one after the other, and then all are made IDLE again; on the board by ``claim()``
    and ``fill()``, beside get_lock(), a comparison and an assignment, and an assignment.  Counts:
    how many have each status, by ``counts()``, beside reading and counting them all.

    Args:
        board: that nobody uses any more.
        seconds: for all of it.
        check: called between two slices; raises to end it.

    """
    board.fill(Status.IDLE)
    values: list[Synchronized[int]] = []
    for _ in range(min(len(board), MOST_VALUES)):
        check()
        values.append(multiprocessing.Value("i", Status.IDLE.value))
    units = (len(board), len(values))
    return {
        "claims": _beside(
            lambda number: _board_claims(board, number),
            lambda number: _values_claims(values, number),
            seconds / 2,
            check,
            units,
        ),
        "counts": _beside(
            lambda number: _board_counts(board, number),
            lambda number: _values_counts(values, number),
            seconds / 2,
            check,
            units,
        ),
    }
