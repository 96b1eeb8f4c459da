"""compare_and_set on one word: each process toggles it all the time, whatever the others do."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

from contenders import ATOMICSHM, BUSY, IDLE, LOCKED, OURS, WorkerStatus

from .base import AtomicWords, Scenario

if TYPE_CHECKING:
    from contextlib import ExitStack

    from .base import Batch

ONE_WORD = "compare_and_set on one word"


class OneWordOurs(Scenario):
    what, who, contender = ONE_WORD, OURS.label, OURS

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.status = WorkerStatus(IDLE)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        compare_and_set = self.status.compare_and_set

        def batch(operations: int) -> None:
            for _ in repeat(None, operations // 2):
                compare_and_set(IDLE, BUSY)
                compare_and_set(BUSY, IDLE)

        return batch


class OneWordAtomicshm(Scenario):
    what, who, contender = ONE_WORD, ATOMICSHM.label, ATOMICSHM

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.words = AtomicWords(stack)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        cas = self.words.cell(0, stack).cas

        def batch(operations: int) -> None:
            for _ in repeat(None, operations // 2):
                cas(1, 2)
                cas(2, 1)

        return batch


class OneWordLocked(Scenario):
    what, who, contender = ONE_WORD, LOCKED.label, LOCKED

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.value = context.Value("i", 1)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        lock, plain = self.value.get_lock(), self.value.get_obj()

        def batch(operations: int) -> None:
            for _ in repeat(None, operations // 2):
                with lock:
                    if plain.value == 1:
                        plain.value = 2
                with lock:
                    if plain.value == 2:
                        plain.value = 1

        return batch
