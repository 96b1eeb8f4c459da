"""A lock for this process's own bookkeeping that a fork's child finds free."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any


class ProcessLock:
    """A re-entrant lock between the threads of one process; made anew in a fork's child.

    Another thread of the parent may have held it at the fork, and does not exist in the child.

    Args:
        no_fork: also keep os.fork waiting while another thread is inside.  For a section that takes
            locks of other modules which a child would find taken.

    """

    __slots__ = ("__weakref__", "_lock", "_no_fork")

    def __init__(self, *, no_fork: bool = False) -> None:
        self._lock = threading.RLock()
        self._no_fork = no_fork
        _all.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *args: object) -> None:
        self._lock.release()

    def _after_fork_in_child(self) -> None:
        if self._no_fork:
            self._lock.release()  # the thread that forked took it before, and is the one that lives
        elif not self._lock._is_owned():  # type: ignore[attr-defined] # Condition asks it too
            self._lock = threading.RLock()


#: All are made at import time, so the set does not change between the hooks of one fork.
_all: weakref.WeakSet[ProcessLock] = weakref.WeakSet()


def _before_fork() -> None:
    for lock in list(_all):
        if lock._no_fork:
            lock._lock.acquire()


def _after_fork_in_parent() -> None:
    for lock in list(_all):
        if lock._no_fork:
            lock._lock.release()


def _after_fork_in_child() -> None:
    for lock in list(_all):
        lock._after_fork_in_child()


def after_fork_in_child(function: Any) -> None:
    """Have a function called in each child of os.fork; systems without fork need nothing."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
