"""The lock that every write of a value holds, where it has one.

On the lock-based path each value has one, made by lock.own_guard(): there guarded() is where a
writer waits.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .errors import show
from .process import after_fork_in_child

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.synchronize import SemLock


#: Around a write whose lock this thread holds already.
_NOTHING = contextlib.nullcontext()


class LockLike(Protocol):
    """Anything with acquire and release."""

    def acquire(self) -> Any:
        """Wait for the lock and take it."""

    def release(self) -> Any:
        """Give it back."""


#: multiprocessing's locks count for themselves how often they are held, and a child of os.fork
#: inherits the count.
_counting: weakref.WeakValueDictionary[int, SemLock] = weakref.WeakValueDictionary()
after_fork_in_child(
    lambda: [lock._semlock._after_fork() for lock in list(_counting.values())]  # type: ignore[attr-defined]
)


class Guard:
    """The lock around each write of a value.

    What a backend calls are the lock's own bound methods: for locks that are made in C there is
    then no Python frame between taking the lock and giving it back, in which a signal handler could
    raise and leave it taken.  Where a value's own lock is made in Python, a guarded() call looks
    after it; of other locks made in Python nothing is known.

    Args:
        lock: a Lock or RLock of multiprocessing or threading, a manager's, or anything else with
            acquire and release.
        own: the value made it itself, because it was given none.

    Attributes:
        acquire, release: of the lock.
        is_mine: tells whether this thread holds it and must not acquire it again; None if that
            is no question.
        context: acquires and releases it by ``with``.
        depth: tells how often this thread holds it; None where ``with`` is enough: from CPython
            3.14 on a signal handler may raise before its body begins (see ProcessLock.call()).
        semlock: the part in C of a multiprocessing RLock; None for other locks.

    Raises:
        TypeError: ``lock`` has no acquire or no release.

    """

    __slots__ = ("acquire", "context", "depth", "is_mine", "lock", "own", "release", "semlock")

    def __init__(self, lock: Any, *, own: bool = False) -> None:
        methods = (getattr(lock, "acquire", None), getattr(lock, "release", None))
        if isinstance(lock, type) or not all(callable(method) for method in methods):
            message = f"lock must be an object with acquire() and release(), not {show(lock)}"
            raise TypeError(message)
        self.lock: LockLike = lock
        self.own = own
        self.acquire: Callable[[], Any] = lock.acquire
        self.release: Callable[[], Any] = lock.release
        self.is_mine: Callable[[], bool] | None = None
        self.depth: Callable[[], int] | None = None
        self.semlock: Any = None
        self.context: Any = lock if hasattr(lock, "__enter__") else _Context(lock)
        quietly = getattr(getattr(lock, "_semlock", None), "acquire_quietly", None)
        if quietly is not None:  # a value's own
            # A write is no explicit acquire: it must not take the report of a death.
            self.acquire = quietly
            self.context = _Context(self)
            self.depth = getattr(lock._semlock, "depth", None)
        elif _is_semlock(lock):
            semlock = lock._semlock
            _counting.setdefault(id(lock), lock)  # which writes only if it is new
            self.context = semlock
            if _is_semlock(lock, "Lock"):
                # Another acquire by who holds it would wait for itself.
                self.is_mine = partial(is_mine, semlock)
                if sys.version_info >= (3, 14):
                    self.depth = self.is_mine
            elif _is_semlock(lock, "RLock"):
                self.semlock = semlock
        elif sys.version_info >= (3, 14):  # threading's RLock can tell, its Lock cannot
            self.depth = getattr(lock, "_recursion_count", None)

    def held_here(self) -> bool:
        """Tell whether this thread holds the lock; False where the lock cannot tell."""
        if _is_semlock(self.lock):
            return is_mine(self.lock._semlock)  # type: ignore[attr-defined]
        owned = getattr(self.lock, "_is_owned", None)  # threading's RLock
        return bool(owned()) if callable(owned) else False


def _is_semlock(lock: object, kind: str = "SemLock") -> bool:
    """Tell whether a lock is of this class of multiprocessing.synchronize."""
    name = "multiprocessing.synchronize"  # 3 ms to import; no get(): python_bound.Lookup says why
    module = name in sys.modules and sys.modules[name]  # None as the interpreter ends
    return bool(module) and isinstance(lock, getattr(module, kind))


def is_mine(semlock: Any) -> bool:
    """Tell whether this thread holds a lock of multiprocessing.

    Without a GIL its own answer may be wrong while a thread takes it.  For that _count() waits.
    """
    return bool(semlock._is_mine() and semlock._count() and semlock._is_mine())


_R = TypeVar("_R")


def guarded(guard: Guard, function: Callable[[], _R], or_else: Any = None) -> _R:
    """Call a function inside a guard; or return ``or_else``, if given, at once if somebody has it.

    That is for the lock that each array has on the lock-based path.
    """
    semlock = guard.semlock
    if semlock is None:
        return _by_context(guard, function)
    # Not by `with`, which takes three times as long, and has a gap from CPython 3.14 on.
    mine = semlock._is_mine() and is_mine(semlock)
    try:
        if or_else is None:
            if not mine:
                semlock.acquire()
        elif not mine and not semlock.acquire(False):  # noqa: FBT003
            nothing: _R = or_else
            return nothing
        result = function()
        if not mine:
            semlock.release()
    except BaseException:
        # The handler of a signal may have raised on either side of acquire() or of release().
        # No call comes before this one: behind it another handler might raise.
        if not mine:
            try:  # noqa: SIM105
                semlock.release()
            except AssertionError:  # it is not held
                pass
        raise
    return result


def _by_context(guard: Guard, function: Callable[[], _R]) -> _R:
    context = _NOTHING if guard.is_mine is not None and guard.is_mine() else guard.context
    depth = guard.depth
    if depth is None:
        with context:
            return function()
    before = depth()
    try:
        with context:
            return function()
    except BaseException:
        # The handler of a signal may have raised on the way in, behind the acquisition, or on the
        # way out, before the release.
        if depth() > before:
            guard.release()
        raise


class _Context:
    """``with`` for a lock of which only acquire and release are known."""

    __slots__ = ("_acquire", "_release")

    def __init__(self, lock: LockLike) -> None:
        self._acquire = lock.acquire
        self._release = lock.release

    def __enter__(self) -> None:
        self._acquire()

    def __exit__(self, *args: object) -> None:
        self._release()
