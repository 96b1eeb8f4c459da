"""One process writes all the time, the others read: the reads count."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar

from contenders import ATOMICSHM, BUSY, IDLE, LOCKED, OURS, UNLOCKED, WorkerStatus

from .base import AtomicWords, Scenario

if TYPE_CHECKING:
    from contextlib import ExitStack

    from .base import Batch

READERS = "readers beside a writer"


class Reading(Scenario):
    what, least = READERS, 2

    def counts(self, rank: int) -> bool:
        return rank > 0


class ReadersOurs(Reading):
    who, contender = OURS.label, OURS

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.status = WorkerStatus(IDLE)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        status = self.status

        def write(operations: int) -> None:
            for _ in repeat(None, operations):
                status.set(BUSY)

        def read(operations: int) -> None:
            for _ in repeat(None, operations):
                status.load()

        return read if rank else write


class ReadersAtomicshm(Reading):
    who, contender = ATOMICSHM.label, ATOMICSHM

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.words = AtomicWords(stack)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        cell = self.words.cell(0, stack)

        def write(operations: int) -> None:
            for _ in repeat(None, operations):
                cell.store(2)

        def read(operations: int) -> None:
            for _ in repeat(None, operations):
                cell.load()

        return read if rank else write


class ReadersLocked(Reading):
    who, contender = LOCKED.label, LOCKED
    lock: ClassVar[bool] = True

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.value = context.Value("i", 1, lock=self.lock)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        value = self.value

        def write(operations: int) -> None:
            for _ in repeat(None, operations):
                value.value = 2

        def read(operations: int) -> None:
            for _ in repeat(None, operations):
                value.value  # noqa: B018

        return read if rank else write


class ReadersUnlocked(ReadersLocked):
    who, contender, lock = UNLOCKED.label, UNLOCKED, False
