"""What is measured beside multiprocessing.Value, in one process, by turns."""

from __future__ import annotations

import multiprocessing
from enum import IntEnum
from statistics import median
from time import get_clock_info, perf_counter, thread_time
from timeit import Timer
from typing import TYPE_CHECKING

from screen import say

from atomic_intenum import IntEnumValue

if TYPE_CHECKING:
    from collections.abc import Callable

#: CPU time does not count what other processes run; a clock with coarse ticks cannot be used.
_clock = thread_time if get_clock_info("thread_time").resolution <= 1e-6 else perf_counter


class Status(IntEnum):
    """What is read and claimed."""

    IDLE = 1
    BUSY = 2


#: What is counted, what it is good for, how often a statement does it, and the two statements.
_MEASURED = (
    (
        "polls",
        "reads of a status: a monitor may look as often as it likes",
        1,
        "value.value",
        "status.load()",
    ),
    (
        "claims",
        "of a file or a worker: nobody holds a lock with which it could die",
        2,
        "with value.get_lock():\n    if value.value == 1:\n        value.value = 2\n"
        "with value.get_lock():\n    if value.value == 2:\n        value.value = 1",
        "status.compare_and_set(IDLE, BUSY)\nstatus.compare_and_set(BUSY, IDLE)",
    ),
    (
        "lock sections",
        "for what takes several writes",
        1,
        "with value.get_lock():\n    value.value = 1",
        "with status.get_lock():\n    status.set(IDLE)",
    ),
)


def measure(seconds: float, check: Callable[[], None]) -> None:
    """Measure for so long, and say what came out."""
    found = {
        **Status.__members__,
        "value": multiprocessing.Value("i", Status.IDLE),
        "status": IntEnumValue[Status](Status.IDLE),
    }
    for name, meaning, number, theirs, ours in _MEASURED:
        timers = [Timer("\n".join([text] * 5), timer=_clock, globals=found) for text in (theirs, ours)]
        taken: list[list[float]] = [[], []]
        end = perf_counter() + seconds / len(_MEASURED)
        while perf_counter() < end or not taken[1]:
            check()
            for timer, times in zip(timers, taken, strict=True):
                times.append(timer.timeit(200) / (1000 * number))
        value, status = (1 / median(times) for times in taken)
        say(f"  {name:<13}  {_round(status):>12} a second, {status / value:.1f} times the "
            f"{_round(value)} of multiprocessing.Value\n{'':17}{meaning}")


def _round(rate: float) -> str:
    return f"{rate / 1e6:.1f} million" if rate >= 1e6 else f"{rate / 1e3:.0f},000"
