"""The lock that every write of a value holds, where it has one."""

from __future__ import annotations

import weakref
from multiprocessing import synchronize
from typing import Any, Protocol

from .errors import type_name
from .forking import after_fork_in_child
from .valuelock import ValueLock


class LockLike(Protocol):
    """Anything with acquire and release."""

    def acquire(self) -> Any:
        """Wait for the lock and take it."""

    def release(self) -> Any:
        """Give it back."""


#: multiprocessing's locks count for themselves how often they are held, and a child of os.fork
#: inherits the count.
_counting: weakref.WeakSet[synchronize.SemLock] = weakref.WeakSet()


def _forget_parent() -> None:
    for lock in list(_counting):
        lock._semlock._after_fork()  # type: ignore[attr-defined]


after_fork_in_child(_forget_parent)


class Guard:
    """Enters and leaves a lock around one write.

    Args:
        lock: a Lock or RLock of multiprocessing or threading, a manager's, or anything else with
            acquire and release.
        own: the value made it itself, because it was given none.

    Raises:
        TypeError: ``lock`` has no acquire or no release.

    """

    __slots__ = ("_acquire", "_plain", "lock", "own")

    def __init__(self, lock: Any, *, own: bool = False) -> None:
        if not (
            callable(getattr(lock, "acquire", None)) and callable(getattr(lock, "release", None))
        ):
            message = f"lock must have acquire() and release(), which {type_name(lock)} has not"
            raise TypeError(message)
        self.lock: LockLike = lock
        self.own = own
        # A multiprocessing.Lock that this thread holds: another acquire would wait for itself.
        self._plain: Any = None
        self._acquire = lock.acquire
        if isinstance(lock, ValueLock):
            # A write is no explicit acquire: it must not take the report of a death.
            self._acquire = lock._semlock.acquire_quietly
        if isinstance(lock, synchronize.SemLock):
            _counting.add(lock)
            if isinstance(lock, synchronize.Lock):
                self._plain = lock._semlock  # type: ignore[attr-defined]

    def enter(self) -> bool:
        """Take the lock; False if it was this thread's already and was not taken again."""
        if self._plain is not None and self._plain._is_mine():
            return False
        self._acquire()
        return True

    def leave(self) -> None:
        """Give back what enter() took."""
        self.lock.release()
