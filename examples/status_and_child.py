"""A status that a parent shares with its child: each waits for the other, and nobody polls.

    python examples/status_and_child.py

prints what each process sees:

    parent: the child is READY
    parent: it has 3 results, and is DONE
    parent: the child ended with 0
"""

from __future__ import annotations

import multiprocessing
from enum import IntEnum
from multiprocessing import Process
from typing import TYPE_CHECKING

from atomic_intenum import IntEnumValue

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue


class Status(IntEnum):
    """What the child is doing."""

    STARTING = 1
    READY = 2  # it waits to be told
    WORKING = 3
    DONE = 4


class ChildStatus(IntEnumValue[Status]):
    """The child's status, in memory that both processes see."""


def work(status: ChildStatus, results: SimpleQueue[int]) -> None:
    """Be the child: wait for the parent's word, work, and say that it is done."""
    status.set(Status.READY)
    status.wait_for(Status.WORKING)
    for number in range(3):
        results.put(number * number)
    status.set(Status.DONE)


def main() -> None:
    """Be the parent: start the child, tell it to work, and wait until it is done."""
    status = ChildStatus(Status.STARTING)
    results: SimpleQueue[int] = multiprocessing.SimpleQueue()
    child = Process(target=work, args=(status, results))
    child.start()
    print("parent: the child is", status.wait_for(Status.READY, timeout=20).name)  # seconds
    status.set(Status.WORKING)
    status.wait_for(Status.DONE, timeout=20)
    found = [results.get() for _ in range(3)]
    print(f"parent: it has {len(found)} results, and is {status.name}")
    child.join()
    print("parent: the child ended with", child.exitcode)


if __name__ == "__main__":
    main()
