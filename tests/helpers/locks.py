"""What the tests of locks do in other threads and processes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from helpers.crew import Status, Task

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection


def write_and_tell(pipe: Connection, value: Status, write: Callable[[Status], object]) -> None:
    """Write, and tell before and after."""
    pipe.send("ready")
    write(value)
    pipe.send(time.monotonic())


def acquire_and_tell(pipe: Connection, value: Status) -> None:
    """Enter the lock, and tell before and inside."""
    pipe.send("ready")
    with value.get_lock():
        pipe.send(time.monotonic())


def acquired_elsewhere(lock: Any, **arguments: Any) -> bool:
    """Try in a thread of its own, which lets go again."""

    def attempt() -> bool:
        got = bool(lock.acquire(**arguments))
        if got:
            lock.release()
        return got

    return bool(Task(attempt).result())
