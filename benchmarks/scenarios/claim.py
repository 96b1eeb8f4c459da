"""Each process claims one of several slots and gives it back."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

from contenders import BUSY, IDLE, LOCKED, OURS, OURS_MANY, Board, WorkerStatus

from .base import Scenario

if TYPE_CHECKING:
    from contextlib import ExitStack

    from .base import Batch

CLAIM = "claim one of 64, and give it back"
SLOTS = 64


class ClaimArray(Scenario):
    what, who, contender = CLAIM, f"{OURS.label}, array", OURS_MANY

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.board = Board(SLOTS, IDLE)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        board = self.board

        def batch(operations: int) -> None:
            for _ in repeat(None, operations):
                index = board.claim(IDLE, BUSY)
                assert index is not None
                board[index] = IDLE

        return batch


class ClaimValues(Scenario):
    what, who, contender = CLAIM, f"{OURS.label}, values", OURS

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.statuses = [WorkerStatus(IDLE) for _ in range(SLOTS)]

    def open(self, rank: int, stack: ExitStack) -> Batch:
        statuses = self.statuses

        def batch(operations: int) -> None:
            for _ in repeat(None, operations):
                for status in statuses:
                    if status.compare_and_set(IDLE, BUSY):
                        status.set(IDLE)
                        break

        return batch


class ClaimLocked(Scenario):
    what, who, contender = CLAIM, "multiprocessing.Array", LOCKED

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.array = context.Array("i", [1] * SLOTS)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        lock, plain = self.array.get_lock(), self.array.get_obj()

        def batch(operations: int) -> None:
            for _ in repeat(None, operations):
                with lock:
                    index = plain[:].index(1)
                    plain[index] = 2
                with lock:
                    plain[index] = 1

        return batch


class ClaimQueue(Scenario):
    what, who, contender = CLAIM, "multiprocessing.SimpleQueue", LOCKED

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.queue = context.SimpleQueue()
        for index in range(SLOTS):
            self.queue.put(index)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        get, put = self.queue.get, self.queue.put

        def batch(operations: int) -> None:
            for _ in repeat(None, operations):
                put(get())

        return batch
