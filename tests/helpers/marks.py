"""The marks that several test files use."""

from __future__ import annotations

import os
import sys

import pytest

from atomic_intenum import BACKEND
from helpers.inside import built_with
from helpers.support import FREE_THREADED

#: The lock-based path shares by inheritance only: it has no names.
named = pytest.mark.only_on("native", "cffi")

unnamed = pytest.mark.only_on("lock")

#: For what happens after a lock's holder has died.
needs_robust = pytest.mark.skipif(
    not built_with("ROBUST"), reason="no robust mutexes: a dead holder's lock stays taken"
)

#: For what only a lock of the kernel's tells of a process, and its pid does not.
needs_life_locks = pytest.mark.skipif(
    sys.platform != "linux", reason="no lock shows that a process lives: its pid is asked"
)

#: For tests of zombies: PyPy cannot wait for a child without reaping it.
needs_waitid = pytest.mark.skipif(
    not hasattr(os, "waitid"), reason="no way to wait and leave the zombie"
)

#: For tests of a thousand values: on the lock path each has a semaphore.
needs_many_locks = pytest.mark.skipif(
    BACKEND == "lock" and hasattr(os, "sysconf") and 0 < os.sysconf("SC_SEM_NSEMS_MAX") < 2000,
    reason="this libc has no room for so many semaphores",
)

#: For tests that are two users.
needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be two users"
)

#: For tests that look whether a class is collected.
classes_are_collected = pytest.mark.skipif(
    FREE_THREADED and sys.version_info < (3, 14),
    reason="free-threaded 3.13 keeps every class for good once a thread was started",
)
