"""Lock hand-over: each process takes one lock and lets it go, all the time.

With work, a process is busy for a while inside and then for as long outside, and who gets the lock
notes when the one before, if another, let it go.
"""

from __future__ import annotations

from itertools import repeat
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

from contenders import IDLE, OURS, RLOCK, WorkerStatus

from .base import Scenario

if TYPE_CHECKING:
    from contextlib import ExitStack

    from .base import Batch

LOCK = "lock hand-over"


class Locking(Scenario):
    """Attributes:
    work: how many seconds a process is busy inside, and again outside.
    """

    what = LOCK
    # A wait that may run on one CPU alone does not look before it sleeps.
    pinned = False
    work: ClassVar[float] = 0.0

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.holder = context.RawValue("i", -1)
        self.released = context.RawValue("d", 0.0)
        self.taken: list[float] = []
        self.lock = self.make(context)

    def make(self, context: Any) -> Any:
        raise NotImplementedError

    def latencies(self) -> list[float] | None:
        taken, self.taken[:] = self.taken[:], []
        return taken if self.work else None

    def open(self, rank: int, stack: ExitStack) -> Batch:
        lock, work = self.lock, self.work
        holder, released, note = self.holder, self.released, self.taken.append

        def batch(operations: int) -> None:
            for _ in repeat(None, operations):
                with lock:
                    pass

        def busy(operations: int) -> None:
            for _ in repeat(None, operations):
                with lock:
                    now = perf_counter()
                    if holder.value != rank:
                        note(now - released.value)
                        holder.value = rank
                    until = now + work
                    while now < until:
                        now = perf_counter()
                    released.value = now
                until = perf_counter() + work
                while perf_counter() < until:
                    pass

        return busy if work else batch


class LockOurs(Locking):
    who, contender = OURS.label, OURS

    def make(self, context: Any) -> Any:
        self.status = WorkerStatus(IDLE)
        return self.status.get_lock()


class LockLocked(Locking):
    who, contender = RLOCK.label, RLOCK

    def make(self, context: Any) -> Any:
        return context.RLock()


# One at a time, so that its time is that without the lock; alone there is nobody to wait for.


class LockOurs1(LockOurs):
    what, work, at_a_time, least = f"{LOCK}, busy 1 us", 1e-6, 1, 2


class LockLocked1(LockLocked):
    what, work, at_a_time, least = f"{LOCK}, busy 1 us", 1e-6, 1, 2


class LockOurs10(LockOurs):
    what, work, at_a_time, least = f"{LOCK}, busy 10 us", 10e-6, 1, 2


class LockLocked10(LockLocked):
    what, work, at_a_time, least = f"{LOCK}, busy 10 us", 10e-6, 1, 2
