"""The resource tracker of multiprocessing, which removes what a killed process leaves."""

from __future__ import annotations

import contextlib
import os
from multiprocessing import resource_tracker
from typing import Any

from .process import ProcessLock

#: Around everything here that talks to the resource tracker, whose own lock a fork's child would
#: find taken.
creating = ProcessLock(no_fork=True)

#: What the tracker raises, from 3.12.1 on, where a call interrupts another one of the same thread:
#: it is there then, or on its way.
_REENTRANT: Any = getattr(resource_tracker, "ReentrantCallError", ())


def ensure_running() -> None:
    """Start the tracker, unless it runs; for whoever is about to create what it must know of.

    Only POSIX has one: elsewhere names go with the last process that uses them.

    multiprocessing itself starts it when the name is there already, which stays if that fails.

    Raises:
        OSError: no process can be started.
        RuntimeError: this interpreter may not start any.

    """
    if os.name != "posix":
        return
    with contextlib.suppress(_REENTRANT):
        resource_tracker.ensure_running()
