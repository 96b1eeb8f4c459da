"""Shared memory of the system: create, open and remove by name.

What is created is what :class:`multiprocessing.shared_memory.SharedMemory` opens, and the resource
tracker is told, so that it removes what a killed creator leaves.  It isn't created by that class:
interrupted by a signal handler that raises, it leaves the name, and nobody knows whose that is.
Nor opened: before Python 3.13 it registers what is only looked at (CPython gh-82300), and taking it
back takes the creator's entry too.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections import deque
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

from . import layout, tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    M = TypeVar("M")

#: What tells one shared memory from another, whatever their names: device and inode.
Inode = tuple[int, int]


class EmptyError(ValueError):
    """The shared memory has no size or no space yet: its creator is still at it."""


if sys.platform == "win32":
    from multiprocessing.shared_memory import SharedMemory

    class Created:
        """A shared memory that this process creates; Windows removes it with its last handle."""

        def __init__(self, name: str) -> None:
            self.name = name
            self.inode: Inode | None = None
            self._shm: SharedMemory | None = None

        def make(self, size: int) -> None:
            """Create it."""
            self._shm = SharedMemory(name=self.name, create=True, size=size)

        def unlink(self) -> None:
            """Let go of it."""
            if self._shm is not None:
                with contextlib.suppress(BufferError):
                    self._shm.close()

    def open_and_map(name: str, factory: Callable[[int, int], M]) -> tuple[M, Inode | None]:
        """Map what already exists by its tag."""
        existing = SharedMemory(name=name)
        try:
            tagged: Callable[..., M] = factory
            return tagged(-1, existing.size, tagname=name), None
        finally:
            existing.close()

    def inode_of(name: str) -> Inode | None:  # noqa: ARG001
        """Return None: unknown."""
        return None

    def is_running(pid: int, started: int) -> bool:  # noqa: ARG001
        """Return True: nothing outlives its creator here."""
        return True

    def start_time(pid: int) -> int:  # noqa: ARG001
        """Return 0: unknown."""
        return 0

    def pid_namespace() -> int:
        """Return 0: there is no such thing."""
        return 0

else:
    import _posixshmem  # type: ignore[import-not-found] # typeshed has no stub
    import errno
    import fcntl
    import mmap

    def _open(name: str) -> int:
        try:
            fd: int = _posixshmem.shm_open("/" + name, os.O_RDWR, mode=0o600)
        except OSError as error:
            if error.filename is None:  # PyPy's
                raise OSError(error.errno, error.strerror, "/" + name) from None
            raise
        return fd

    def _inode(fd: int) -> Inode:
        status = os.fstat(fd)
        return status.st_dev, status.st_ino

    def inode_of(name: str) -> Inode | None:
        """Return the inode of a shared memory; None if there is none of that name."""
        try:
            fd = _open(name)
        except FileNotFoundError:
            return None
        try:
            return _inode(fd)
        finally:
            os.close(fd)

    def _reserve(fd: int, size: int) -> None:
        reserve: Callable[[int, int, int], int | None] = os.posix_fallocate
        error = reserve(fd, 0, size)
        if error:  # PyPy returns what CPython raises
            raise OSError(error, os.strerror(error))

    @contextlib.contextmanager
    def _opened_alone(name: str) -> Iterator[int]:
        """Open a shared memory, one process at a time: whoever looks in order to remove it.

        Names are only ever removed in here, so what a name stands for stays so meanwhile.

        Raises:
            FileNotFoundError: there is none of that name.

        """
        fd = _open(name)
        locks = False
        try:
            with contextlib.suppress(OSError):  # a system without locks on shared memory
                fcntl.flock(fd, fcntl.LOCK_EX)
                locks = True
            yield fd
        finally:
            if locks:  # not by closing: a child that another thread forked has the descriptor too
                fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    class Created:
        """A shared memory that this process creates, mode 0600; all its space reserved.

        What a signal handler interrupts by raising, anywhere in here, unlink() undoes.

        Args:
            name: of what is to be created; make() does it.

        Attributes:
            name: of the shared memory.
            inode: what it is, from make() on.

        """

        def __init__(self, name: str) -> None:
            self.name = name
            self.inode: Inode | None = None
            #: The descriptor, while it is being made.
            self._opened: list[int] = []

        def make(self, size: int) -> None:
            """Create it.

            Raises:
                FileExistsError: there is one of that name.
                OSError: ENOSPC and its like; unlink() removes what there is of it.

            """
            tracker.ensure_running()
            # One call of C's opens it and puts the descriptor where it is found: a signal handler
            # could keep an assignment from happening.
            opening = (("/" + self.name,), (os.O_CREAT | os.O_EXCL | os.O_RDWR,), (0o600,))
            self._opened.extend(map(_posixshmem.shm_open, *opening))
            fd = self._opened[0]
            self.inode = _inode(fd)
            resource_tracker.register("/" + self.name, "shared_memory")
            if hasattr(os, "posix_fallocate"):
                _reserve(fd, size)
            else:  # macOS
                os.ftruncate(fd, size)
            self._close()

        def _close(self) -> None:
            # Forgotten and closed by one call of C's: never closed twice, when it is another's.
            deque(map(os.close, map(list.pop, [self._opened] * len(self._opened))), maxlen=0)

        def unlink(self) -> None:
            """Remove the name, if it still is this memory's; who has it mapped keeps it."""
            if self.inode is None:
                if not self._opened:
                    return  # it never was there
                self.inode = _inode(self._opened[0])
            self._close()
            looked = False
            with contextlib.suppress(OSError):  # out of descriptors: no way to look first
                remove(self.name, self.inode)
                looked = True
            if not looked:
                with contextlib.suppress(FileNotFoundError):
                    _posixshmem.shm_unlink("/" + self.name)
            # Also where somebody else removed it: the tracker must forget it, or it warns at exit.
            # Told of it once more, since whoever took the name may share our tracker, which keeps
            # a set: it complains about what it does not know.
            resource_tracker.register("/" + self.name, "shared_memory")
            resource_tracker.unregister("/" + self.name, "shared_memory")

    def _remove(name: str, inode: Inode) -> None:
        """Remove the name, if it is that memory's; inside of _opened_alone()."""
        with contextlib.suppress(FileNotFoundError):
            fd = _open(name)
            try:
                still = _inode(fd) == inode
            finally:
                os.close(fd)
            if still:
                _posixshmem.shm_unlink("/" + name)

    def remove(name: str, inode: Inode) -> None:
        """Remove the name, if it still is that memory's."""
        with contextlib.suppress(FileNotFoundError), _opened_alone(name):
            _remove(name, inode)

    def open_and_map(name: str, factory: Callable[[int, int], M]) -> tuple[M, Inode | None]:
        """Open by name and map all of it.

        Returns:
            What ``factory(fd, size)`` made, and the inode.

        Raises:
            FileNotFoundError: there is none of that name.
            EmptyError: it has no size (yet), or not all of its space.
            ValueError: it is shorter than a segment's header.

        """
        fd = _open(name)
        try:
            status = os.fstat(fd)
            size = status.st_size
            if size == 0:
                message = f"shared memory {name!r} is empty"
                raise EmptyError(message)
            if sys.platform == "linux" and status.st_blocks * 512 < size:
                # Touching what is not there takes a page, and a full /dev/shm has none: SIGBUS.
                message = f"shared memory {name!r} is no segment: its space is not reserved"
                raise EmptyError(message)
            if size < layout.HEADER_SIZE:
                message = f"shared memory {name!r} is too short for a segment: {size} bytes"
                raise ValueError(message)
            return factory(fd, size), _inode(fd)
        finally:
            os.close(fd)

    def _first_bytes(fd: int, size: int) -> bytes:
        """Return at most ``size`` bytes."""
        size = min(size, os.fstat(fd).st_size)
        if size == 0:
            return b""
        try:
            return os.pread(fd, size, 0)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        # macOS reads shared memory by mapping it only.  Elsewhere that could be a SIGBUS: memory
        # whose space is not reserved takes a page when it is touched.
        with mmap.mmap(fd, size, access=mmap.ACCESS_READ) as mapped:
            return mapped[:]

    @contextlib.contextmanager
    def examined(name: str, size: int) -> Iterator[tuple[bytes, Callable[[], None]]]:
        """Read the first bytes of a shared memory, without mapping it for longer.

        One process at a time is inside for the same memory, so that of two who find it abandoned
        one removes it and the other finds it gone.

        Yields:
            At most ``size`` bytes, and a function that removes the name if it still is this
            memory's.

        Raises:
            FileNotFoundError: there is none of that name.

        """
        with _opened_alone(name) as fd:
            yield _first_bytes(fd, size), lambda: _remove(name, _inode(fd))

    def start_time(pid: int) -> int:
        """Return when a process started, in the system's own ticks; 0 if that is not known."""
        stat = _stat(pid)
        return int(stat[19]) if len(stat) > 19 else 0

    def _stat(pid: int) -> list[bytes]:
        """Return a process's fields of /proc from its state on; empty where there are none."""
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - no Path at import
                # The name in parentheses may hold spaces and parentheses itself.
                return file.read().rpartition(b")")[2].split()
        except OSError:
            return []

    def is_running(pid: int, started: int) -> bool:
        """Tell whether that very process runs: by pid, and by start time where it is known."""
        if pid <= 0:
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # it is somebody else's, and runs
        stat = _stat(pid)
        if len(stat) <= 19:
            return True
        # A zombie has ended; its pid is only not free yet.
        return stat[0] not in (b"Z", b"X") and (started == 0 or int(stat[19]) == started)

    def pid_namespace() -> int:
        """Return the inode of this process's PID namespace; 0 where there is no such thing."""
        try:
            return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - no Path at import
        except OSError:
            return 0
