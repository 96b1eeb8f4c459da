"""Shared memory of the system: create, open and remove by name.

Creating goes through :class:`multiprocessing.shared_memory.SharedMemory`, so that the resource
tracker removes what a killed creator leaves.  Opening does not: before Python 3.13 that registers
what is only looked at (CPython gh-82300), and taking it back takes the creator's entry too.
"""

from __future__ import annotations

import contextlib
import os
import sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING

from . import layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    M = TypeVar("M")

if sys.platform == "win32":

    class Created:
        """A shared memory that this process created; Windows removes it with its last handle."""

        def __init__(self, name: str, size: int) -> None:
            self.name = name
            self._shm = SharedMemory(name=name, create=True, size=size)

        def unlink(self) -> None:
            """Let go of it."""
            with contextlib.suppress(BufferError):
                self._shm.close()

    def open_and_map(name: str, size: int, factory: Callable[[int, int], M]) -> M:
        """Map what already exists by its tag."""
        existing = SharedMemory(name=name)
        try:
            tagged: Callable[..., M] = factory
            return tagged(-1, existing.size if size == 0 else size, tagname=name)
        finally:
            existing.close()

    def start_time(pid: int) -> int:  # noqa: ARG001
        """Return 0: unknown."""
        return 0

    def pid_namespace() -> int:
        """Return 0: there is no such thing."""
        return 0

else:
    import _posixshmem  # type: ignore[import-not-found] # typeshed has no stub

    class Created:
        """A shared memory that this process created, mode 0600; all its space reserved.

        Raises:
            FileExistsError: there is one of that name.
            OSError: ENOSPC and its like; nothing is left behind.

        """

        def __init__(self, name: str, size: int) -> None:
            self.name = name
            self._shm = SharedMemory(name=name, create=True, size=size)
            # What stays is the name alone; the mapping in use is another one (open_and_map), since
            # SharedMemory unmaps at exit under whoever is still inside.
            self._shm.close()
            try:
                fd = _posixshmem.shm_open("/" + name, os.O_RDWR, mode=0o600)
                try:
                    if hasattr(os, "posix_fallocate"):  # macOS has none
                        os.posix_fallocate(fd, 0, size)
                finally:
                    os.close(fd)
            except BaseException:
                self.unlink()
                raise

        def unlink(self) -> None:
            """Remove the name; who has it mapped keeps it."""
            try:
                self._shm.unlink()
            except FileNotFoundError:
                # Somebody else removed it; the tracker must still forget it, or it warns at exit.
                resource_tracker.unregister("/" + self.name, "shared_memory")

    def open_and_map(name: str, size: int, factory: Callable[[int, int], M]) -> M:
        """Open by name and map; ``size`` 0 stands for all of it.

        Returns:
            What ``factory(fd, size)`` made.

        Raises:
            FileNotFoundError: there is none of that name.
            ValueError: it is shorter than a segment's header.

        """
        fd = _posixshmem.shm_open("/" + name, os.O_RDWR, mode=0o600)
        try:
            existing = os.fstat(fd).st_size
            if existing < layout.HEADER_SIZE:
                message = f"shared memory {name!r} is too short for a segment: {existing} bytes"
                raise ValueError(message)
            return factory(fd, size or existing)
        finally:
            os.close(fd)

    def start_time(pid: int) -> int:
        """Return when a process started, in the system's own ticks; 0 if that is not known."""
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - no Path at import
                # The name in parentheses may hold spaces and parentheses itself.
                return int(file.read().rpartition(b")")[2].split()[19])
        except (OSError, IndexError, ValueError):
            return 0

    def pid_namespace() -> int:
        """Return the inode of this process's PID namespace; 0 where there is no such thing."""
        try:
            return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - no Path at import
        except OSError:
            return 0
