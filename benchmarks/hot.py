"""The hot operations for callgrind: each of them twice, with two loop counts, between marks.

    valgrind --tool=callgrind --dump-before=getsid ... python benchmarks/hot.py COUNT

A mark is a call of getsid(), which makes callgrind write what it has counted since the one before.
instructions.py reads that.
"""

from __future__ import annotations

import os
import sys
from enum import IntEnum
from typing import TYPE_CHECKING

from atomic_intenum import IntEnumValue

if TYPE_CHECKING:
    from collections.abc import Callable


class Status(IntEnum):
    """What a worker is doing."""

    IDLE = 1
    BUSY = 2


class WorkerStatus(IntEnumValue[Status]):
    """What a user of this package writes."""


def load(status: WorkerStatus, count: int) -> None:
    """Read the member."""
    for _ in range(count):
        status.load()


def value(status: WorkerStatus, count: int) -> None:
    """Read the number."""
    for _ in range(count):
        status.value  # noqa: B018


def set_(status: WorkerStatus, count: int) -> None:
    """Write."""
    idle = Status.IDLE
    for _ in range(count):
        status.set(idle)


def compare_and_set(status: WorkerStatus, count: int) -> None:
    """Compare and set, which matches each time."""
    idle = Status.IDLE
    for _ in range(count):
        status.compare_and_set(idle, idle)


def acquire_release(status: WorkerStatus, count: int) -> None:
    """Take the value's own lock, which is free, and let it go."""
    lock = status.get_lock()
    for _ in range(count):
        lock.acquire()
        lock.release()


OPERATIONS: dict[str, Callable[[WorkerStatus, int], None]] = {
    "load": load,
    "value": value,
    "set": set_,
    "compare_and_set": compare_and_set,
    "acquire, release": acquire_release,
}


def main() -> None:
    """Run each operation COUNT times and then twice as often."""
    status, count = WorkerStatus(Status.IDLE), int(sys.argv[1])
    for operation in OPERATIONS.values():
        operation(status, count)  # the interpreter specialises it
    os.getsid(0)
    for operation in OPERATIONS.values():
        operation(status, count)
        os.getsid(0)
        operation(status, 2 * count)
        os.getsid(0)


if __name__ == "__main__":
    main()
