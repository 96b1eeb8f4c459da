"""Event loops for the tests of asyncio: what is left registered in them, and who watches."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

import atomic_intenum
from helpers.crew import PATIENCE
from helpers.inside import aio
from helpers.support import collect, collect_unless_counted, soaked, until

if TYPE_CHECKING:
    from collections.abc import Coroutine

R = TypeVar("R")

#: Whether a thread of C watches; the lock path takes naps in the loop.
WATCHED = atomic_intenum.BACKEND != "lock"

#: From 3.12 on fork warns of threads, and the one that watches ends a second after the last wait.
forks_beside_the_thread = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def watchers() -> int:
    """Return how many threads watch in this process."""
    if sys.platform != "linux":
        return 0
    found = 0
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended
            found += (task / "comm").read_text().strip() == "intenum-watch"
    return found


def until_watched() -> None:
    """Wait until a thread watches, where one does; it gives itself its name as it begins."""
    until(lambda: watchers() == WATCHED, "a thread that watches")


def run(main: Coroutine[Any, Any, R]) -> R:
    """Run a program in a loop of its own, and leave nothing waiting there."""

    async def whole() -> R:
        async with asyncio.timeout(PATIENCE * soaked(2, 100)):
            result = await main
        assert waited_for() == 0
        return result

    return asyncio.run(whole())


def waited_for() -> int:
    """Return how many values and arrays are waited for in the running loop."""
    desk = aio()._known_desk()
    if desk is None:
        return 0
    assert len(desk.spots) == len(desk._slots)
    return len(desk.spots)


async def until_waiting(count: int = 1) -> None:
    """Let the loop run until so many values and arrays are waited for in it."""
    while waited_for() < count:
        await asyncio.sleep(0)


async def steps(count: int = 20) -> None:
    """Let the loop run for a while."""
    for _ in range(count):
        await asyncio.sleep(0)


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def until_descriptors(count: int) -> None:
    """Wait until no more descriptors are open: garbage may have some, and PyPy's takes its time."""

    def no_more() -> bool:
        collect_unless_counted()
        return descriptors() <= count

    collect()
    until(no_more, f"the end of more than {count} descriptors")


def until_nobody_watches() -> None:
    """Wait until the thread has ended, as it does a second after the last wait."""

    def ended() -> bool:
        collect_unless_counted()  # a loop with waits in it may be garbage
        return watchers() == 0

    until(ended, "the end of the thread")
