"""A lock for this process's own bookkeeping that a fork's child finds free."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any


class ProcessLock:
    """A re-entrant lock between the threads of one process; made anew in a fork's child.

    Another thread of the parent may have held it at the fork, and does not exist in the child.
    """

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _all.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *args: object) -> None:
        self._lock.release()

    def _renew(self) -> None:
        self._lock = threading.RLock()


_all: weakref.WeakSet[ProcessLock] = weakref.WeakSet()


def _renew_all() -> None:
    for lock in list(_all):
        lock._renew()


def after_fork_in_child(function: Any) -> None:
    """Have a function called in each child of os.fork; systems without fork need nothing."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


after_fork_in_child(_renew_all)
