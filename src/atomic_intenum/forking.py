"""A lock for this process's own bookkeeping that a fork's child finds free."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any


class ProcessLock:
    """A re-entrant lock between the threads of one process; free in a fork's child.

    Another thread of the parent may have held it at the fork, and does not exist in the child.

    Args:
        no_fork: also keep os.fork waiting while another thread is inside.  For a section that takes
            locks of other modules which a child would find taken.

    Attributes:
        held: the lock, for ``with lock.held:``.  It is C's own: in an ``__enter__`` or ``__exit__``
            in Python a signal handler could raise, and leave it taken for ever.  (From CPython 3.14
            on it can with every lock: ``with`` looks at signals once it has entered.)

    """

    __slots__ = ("__weakref__", "held")

    def __init__(self, *, no_fork: bool = False) -> None:
        self.held = threading.RLock()
        _all.add(self)
        if no_fork and hasattr(os, "register_at_fork"):
            # Not by functions of ours, which a signal handler could end before they begin.
            release = self.held.release
            os.register_at_fork(
                before=self.held.acquire,
                after_in_parent=release,
                after_in_child=release,  # by the thread that acquired it: the one that lives
            )


#: All are made at import time, so the set does not change between the hooks of one fork.
_all: weakref.WeakSet[ProcessLock] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for lock in list(_all):
        held: Any = lock.held  # Condition asks it for the same
        # Not owned though it keeps forks waiting: a signal handler ended that wait.
        if not held._is_owned():
            held._at_fork_reinit()


def after_fork_in_child(function: Any) -> None:
    """Have a function called in each child of os.fork; systems without fork need nothing."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


after_fork_in_child(_after_fork_in_child)
