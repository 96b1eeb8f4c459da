"""Locks that a fork's child finds free, and what runs in such a child."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_P = ParamSpec("_P")
_R = TypeVar("_R")


class ProcessLock:
    """A re-entrant lock between the threads of one process; free in a fork's child.

    Another thread of the parent may have held it at the fork, and does not exist in the child.
    """

    __slots__ = ("__weakref__", "_depth", "_rlock")

    def __init__(self) -> None:
        # Typed by hand: the methods that threading.Condition calls have no stub.
        self._rlock: Any = threading.RLock()
        #: Returns how often this thread holds it; None where the interpreter cannot tell.
        self._depth: Callable[[], int] | None = getattr(self._rlock, "_recursion_count", None)
        _all.add(self)

    def hold_over_forks(self) -> None:
        """Have each os.fork wait until nobody has it, and have it meanwhile."""
        if hasattr(os, "register_at_fork"):
            release = self._rlock.release
            os.register_at_fork(
                before=self._rlock.acquire, after_in_parent=release, after_in_child=release
            )

    def call(self, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call a function inside the lock; a signal handler that raises does not leave it taken.

        So it is no context manager.  In an ``__enter__`` or ``__exit__`` in Python a handler could
        raise; in CPython 3.12 and 3.13 one that raises as a loop jumps back, at the end of a
        ``with``, leaves without its exit; and from 3.14 on ``with`` looks at signals between what
        it entered, though that is C's, and its body.
        """
        if self._depth is None:
            with self._rlock:
                return function(*args, **kwargs)
        before = self._depth()
        try:
            with self._rlock:
                return function(*args, **kwargs)
        except BaseException:
            if self._depth() > before:
                self._rlock.release()
            raise


#: All are made at import time, so the set does not change between the hooks of one fork.
_all: weakref.WeakSet[ProcessLock] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for lock in list(_all):
        if not lock._rlock._is_owned():
            lock._rlock._at_fork_reinit()


def after_fork_in_child(function: Any) -> None:
    """Have a function called in each child of os.fork; systems without fork need nothing."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


after_fork_in_child(_after_fork_in_child)
