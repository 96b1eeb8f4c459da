"""Each way to wait, and what the tests of waiting look at: who sleeps, how long, at which cost."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

import atomic_intenum
from atomic_intenum import IntEnumArray, IntEnumValue
from helpers.crew import PATIENCE, Bits, Status, Task, is_asleep
from helpers.support import until, word_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from helpers.crew import Peer

ATOMIC = atomic_intenum.BACKEND != "lock"

#: A sleeper looks again by itself after this, if nobody wakes it.
LOOK_AGAIN = 0.25

#: What a busy machine may add to a bound; and what no wake-up takes in the best of a few tries.
SLACK = 2.0
PROMPT = 0.1
TRIES = 3

#: Each wait that ends when LEFT is not the state any more, RIGHT is.
WAITS: dict[str, Callable[..., Bits]] = {
    "wait_for": lambda value, **keywords: value.wait_for(Bits.RIGHT, **keywords),
    "wait_while": lambda value, **keywords: value.wait_while(Bits.LEFT, **keywords),
}

by_each_wait = pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)


def is_polling() -> bool:
    """Whether a thread of this process is in a nap of the lock path."""
    return any(frame.f_code.co_name == "sleep" for frame in sys._current_frames().values())


def until_asleep(value: IntEnumValue[Any], peer: Peer | None = None) -> None:
    """Wait until somebody sleeps on the value's word, in a process or in a thread of this one."""
    if ATOMIC:
        until(lambda: word_of(value) >> 33 & 1, "falling asleep")
    elif peer is None:
        until(is_polling, "falling asleep")
    else:
        until(lambda: is_asleep(peer.pid), "falling asleep")


def wait_and_tell(pipe: Connection, value: Status, timeout: float | None = PATIENCE) -> None:
    """Wait for RIGHT; tell before, and tell what came and when."""
    pipe.send("ready")
    outcome: object
    try:
        outcome = value.wait_for(Bits.RIGHT, timeout=timeout)
    except TimeoutError as error:
        outcome = type(error)
    pipe.send((outcome, time.monotonic()))


SLEEPS: dict[str, Callable[[], Any]] = {
    "value": lambda: Status(Bits.LEFT).wait_for,
    "array": lambda: IntEnumArray[Bits](1000, Bits.LEFT).wait_any,
}


#: How often a sleeper may fall asleep in a second: each time costs 20 to 130 us by the machine, and
#: all of them are to take less than 1 % of a core.
MOST_NAPS = 75
#: What part of a core says that it does not sleep at all: that takes 1.0.
BUSY = 0.1


def second_asleep(what: str) -> tuple[int, float]:
    """Return how often a waiter falls asleep in a second, and the part of a core that it takes.

    The least of three each, if it must be: others, in this process too, only add to it.
    """
    import resource

    who = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
    wait = SLEEPS[what]()
    naps, costs = [], []
    for _ in range(3):
        before = resource.getrusage(who)
        with pytest.raises(TimeoutError):
            wait(Bits.RIGHT, timeout=1)
        after = resource.getrusage(who)
        naps.append(after.ru_nvcsw - before.ru_nvcsw)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if min(naps) < MOST_NAPS and min(costs) < BUSY:
            break
    return min(naps), min(costs)


def quickest(attempt: Callable[[], float]) -> float:
    """Return the shortest of a few delays: a machine with two busy cores makes some longer."""
    best = attempt()
    for _ in range(TRIES - 1):
        if best >= PROMPT:
            best = min(best, attempt())
    return best


def delay_of_thread(
    value: Status, wait: Callable[..., Bits], write: Callable[[Status], object]
) -> float:
    """Return how long after a write a thread that slept goes on; the write is over by then."""
    value.set(Bits.LEFT)  # clears what an earlier sleeper left
    sleeper = Task(lambda: (wait(value, timeout=PATIENCE), time.monotonic()))
    until_asleep(value)
    write(value)
    written = time.monotonic()
    member, woken = sleeper.result()
    assert member is Bits.RIGHT
    return float(woken - written)


def closed(value: Status) -> Status:
    """Return the value, closed."""
    value.close()
    return value
