"""Lock hand-over: who gets the lock notes when the one before, if another, let it go."""

from __future__ import annotations

from itertools import repeat
from time import perf_counter
from typing import TYPE_CHECKING, Any

from contenders import IDLE, LOCKED, OURS, WorkerStatus

from .base import Scenario

if TYPE_CHECKING:
    from contextlib import ExitStack

    from .base import Batch

LOCK = "lock hand-over"


class Locking(Scenario):
    what = LOCK

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.holder = context.RawValue("i", -1)
        self.released = context.RawValue("d", 0.0)
        self.taken: list[float] = []
        self.lock = self.make(context)

    def make(self, context: Any) -> Any:
        raise NotImplementedError

    def latencies(self) -> list[float] | None:
        taken, self.taken[:] = self.taken[:], []
        return taken

    def open(self, rank: int, stack: ExitStack) -> Batch:
        acquire, release = self.lock.acquire, self.lock.release
        holder, released, note = self.holder, self.released, self.taken.append

        def batch(operations: int) -> None:
            for _ in repeat(None, operations):
                acquire()
                if holder.value != rank:
                    note(perf_counter() - released.value)
                    holder.value = rank
                released.value = perf_counter()
                release()

        return batch


class LockOurs(Locking):
    who, contender = OURS.label, OURS

    def make(self, context: Any) -> Any:
        self.status = WorkerStatus(IDLE)
        return self.status.get_lock()


class LockLocked(Locking):
    who, contender = "multiprocessing.RLock", LOCKED

    def make(self, context: Any) -> Any:
        return context.RLock()
