"""Each process sets a word of its own: neighbours on a cache line, or words that share none."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar

from contenders import ATOMICSHM, BUSY, IDLE, LOCKED, OURS, OURS_MANY, Board, WorkerStatus

from .base import AtomicWords, Scenario

if TYPE_CHECKING:
    from contextlib import ExitStack

    from .base import Batch

DISJOINT = "each sets a word of its own"


class DisjointPacked(Scenario):
    what, who, contender = DISJOINT, f"{OURS.label}, array, packed", OURS_MANY
    padded: ClassVar[bool] = False

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.board = Board(processes, IDLE, padded=self.padded)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        return _setting(self.board.at(rank, WorkerStatus))


class DisjointPadded(DisjointPacked):
    who, padded = f"{OURS.label}, array, padded", True


class DisjointValues(Scenario):
    what, who, contender = DISJOINT, f"{OURS.label}, values", OURS

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.statuses = [WorkerStatus(IDLE) for _ in range(processes)]

    def open(self, rank: int, stack: ExitStack) -> Batch:
        return _setting(self.statuses[rank])


def _setting(status: Any) -> Batch:
    def batch(operations: int) -> None:
        for _ in repeat(None, operations):
            status.set(BUSY)

    return batch


class DisjointAtomicshm(Scenario):
    what, who, contender = DISJOINT, f"{ATOMICSHM.label}, packed", ATOMICSHM

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.words = AtomicWords(stack)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        cell = self.words.cell(rank, stack)

        def batch(operations: int) -> None:
            for _ in repeat(None, operations):
                cell.store(2)

        return batch


class DisjointLocked(Scenario):
    what, who, contender = DISJOINT, LOCKED.label, LOCKED

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.values = [context.Value("i", 1) for _ in range(processes)]

    def open(self, rank: int, stack: ExitStack) -> Batch:
        value = self.values[rank]

        def batch(operations: int) -> None:
            for _ in repeat(None, operations):
                value.value = 2

        return batch
