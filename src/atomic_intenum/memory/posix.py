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
import threading
import time
from collections import deque
from functools import partial
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

from .. import layout, process
from ..errors import is_of_system
from ..process import after_fork_in_child

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    M = TypeVar("M")
    R = TypeVar("R")

#: What tells one shared memory from another, whatever their names: device and inode.
Inode = tuple[int, int]


class EmptyError(ValueError):
    """The shared memory has no size or no space yet: its creator is still at it."""


if sys.platform == "win32":
    from multiprocessing.shared_memory import SharedMemory

    def _map(memory: SharedMemory, factory: Callable[[int, int], M]) -> M:
        tagged: Callable[..., M] = factory
        return tagged(-1, memory.size, tagname=memory.name)

    class Created:
        """A shared memory that this process creates; Windows removes it with its last handle."""

        def __init__(self, name: str) -> None:
            self.name = name
            self.inode: Inode | None = None
            self._shm: SharedMemory | None = None

        def make(self, size: int, factory: Callable[[int, int], M]) -> M:
            """Create it, and map all of it."""
            self._shm = SharedMemory(name=self.name, create=True, size=size)
            return _map(self._shm, factory)

        def unlink(self) -> None:
            """Let go of it."""
            if self._shm is not None:
                with contextlib.suppress(BufferError):
                    self._shm.close()

    def open_and_map(name: str, factory: Callable[[int, int], M]) -> tuple[M, Inode | None]:
        """Map what already exists by its tag."""
        existing = SharedMemory(name=name)
        try:
            return _map(existing, factory), None
        finally:
            existing.close()

    def is_about(error: OSError, name: str) -> bool:  # noqa: ARG001
        """Tell whether a system call has failed; not what a signal handler did."""
        return is_of_system(error)

else:
    import _posixshmem  # type: ignore[import-not-found] # typeshed has no stub
    import errno
    import fcntl
    import mmap
    import stat

    class _Descriptor:
        """A shared memory's descriptor; no signal handler that raises can lose it.

        To open and to take a note of it is one call of C's: a handler could keep an assignment
        from happening.  So is closing.  PyPy's shm_open is Python, with a gap of some instructions
        in which it can be lost nevertheless, and the name with it.

        Attributes:
            close: closes it, if it is open.

        """

        __slots__ = ("_opened", "close")

        def __init__(self) -> None:
            self._opened: list[int] = []
            # What it iterates it does so once: never closed twice, when it is another's.
            self.close: Callable[[], object] = partial(deque, map(os.close, self._opened), 0)

        def open(self, name: str, flags: int = os.O_RDWR) -> int:
            """Open a shared memory, and return the descriptor."""
            call = map(_posixshmem.shm_open, ("/" + name,), (flags,), (0o600,))
            try:
                self._opened.extend(call)
            except OSError as error:
                if error.errno == errno.EACCES and is_about(error, name):
                    message = f"shared memory {name!r} belongs to another user"
                    raise PermissionError(errno.EACCES, message, "/" + name) from None
                if error.filename is None and is_of_system(error):  # PyPy's
                    raise OSError(error.errno, error.strerror, "/" + name) from None
                raise
            return self._opened[0]

        def get(self) -> int | None:
            """Return the descriptor, open or closed; None before it was opened."""
            return self._opened[0] if self._opened else None

    def _with_fd(name: str, function: Callable[[int], R]) -> R:
        """Call a function with the descriptor of a shared memory, and close that."""
        descriptor = _Descriptor()
        try:
            return function(descriptor.open(name))
        finally:
            descriptor.close()

    def _inode(fd: int) -> Inode:
        status = os.fstat(fd)
        return status.st_dev, status.st_ino

    def _path(name: str) -> str | None:
        """Return where a shared memory is among the files; None where it can only be opened."""
        return "/dev/shm/" + name if sys.platform == "linux" else None

    def is_about(error: OSError, name: str) -> bool:
        """Tell whether a call failed for that shared memory; not what a signal handler did."""
        # None: PyPy's, and what is asked of a descriptor.
        return is_of_system(error) and error.filename in (None, "/" + name, _path(name))

    def inode_of(name: str) -> Inode | None:
        """Return the inode of a shared memory; None if there is none of that name."""
        path = _path(name)
        try:
            if path is None:
                return _with_fd(name, _inode)
            # This takes no descriptor and no permission: it may be another user's by now, or none.
            status = os.lstat(path)
        except FileNotFoundError as error:
            if not is_about(error, name):
                raise
            return None
        return status.st_dev, status.st_ino

    #: Bytes that are reserved at a time.
    _PIECE = 1 << 22

    def _reserve(fd: int, size: int) -> None:
        reserve: Callable[[int, int, int], int | None] = os.posix_fallocate
        piece = size
        if sys.platform == "linux" and size > _PIECE:
            # Linux before 6.9 takes back what it has reserved at each signal, and CPython asks
            # again: beside a periodic timer a large memory would never be done.  So by the piece;
            # and what there is no room for has to be found out before all room has been filled.
            piece = _PIECE
            room = os.fstatvfs(fd)
            if room.f_blocks and size > room.f_bavail * room.f_frsize:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        # The last one first: it gives the memory its size, and who attaches sees what is missing.
        for offset in reversed(range(0, size, piece)):
            while error := reserve(fd, offset, min(piece, size - offset)):
                if error != errno.EINTR:  # PyPy returns what CPython raises
                    raise OSError(error, os.strerror(error))

    def _no_room(fd: int, size: int) -> OSError:
        """Return the error of a shared memory that there is no room for."""
        room = os.fstatvfs(fd)
        free, whole = (count * room.f_frsize for count in (room.f_bavail, room.f_blocks))
        where = "/dev/shm" if sys.platform == "linux" else "shared memory"
        message = f"no room in {where} for {size:,} bytes: {free:,} of its {whole:,} are free"
        return OSError(errno.ENOSPC, message)

    #: Seconds that one who looks waits for another.  A child that was forked meanwhile has the
    #: locked descriptor too, and keeps it if its parent is killed in there.
    _PATIENCE = 1.0

    #: Who looks at what here: thread, name, memory.
    _looked_at: set[tuple[int, str, Inode]] = set()
    after_fork_in_child(_looked_at.clear)

    def _has_no_locks(error: OSError) -> bool:
        """Tell whether the system has no locks on shared memory."""
        none = errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP
        denied = errno.EACCES, errno.EPERM
        return error.errno in (*none, errno.EOPNOTSUPP, *denied) and error.filename is None

    def _lock(fd: int) -> None:
        """Wait until nobody else looks, but not for ever."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return
            except OSError as error:
                if not _has_no_locks(error):
                    raise
                return
            else:
                return
            time.sleep(0.001)

    def _with_fd_alone(name: str, function: Callable[[int, Inode], R]) -> R:
        """As _with_fd(), one process at a time: for whoever looks in order to remove it.

        Names are removed in here, so what a name stands for stays so meanwhile; unless somebody
        waited in vain, or the system has no such locks.  A signal handler or finalizer that gets
        here while its own thread is inside does not wait for that.

        Args:
            name: of the shared memory.
            function: gets the descriptor, and what it is.

        Returns:
            What the function did.

        Raises:
            FileNotFoundError: there is none of that name.

        """

        def alone(fd: int) -> R:
            inode = _inode(fd)
            look = threading.get_ident(), name, inode
            if look in _looked_at:
                return function(fd, inode)
            try:
                _lock(fd)
                _looked_at.add(look)
                return function(fd, inode)
            finally:
                # Not by closing: a child that another thread forked has the descriptor too.
                try:
                    fcntl.flock(fd, fcntl.LOCK_UN)
                except OSError as error:
                    if not _has_no_locks(error):
                        raise
                finally:
                    _looked_at.discard(look)

        return _with_fd(name, alone)

    def _remove(name: str, inode: Inode) -> None:
        """Remove the name, if it is that memory's; inside of _with_fd_alone()."""
        look = threading.get_ident(), name, inode
        still = False
        while not still:
            began = time.monotonic()
            if inode_of(name) != inode:
                return
            # Not if this was stopped meanwhile: others may wait no longer.
            still = time.monotonic() - began < _PATIENCE / 2
        try:
            # A signal handler may have removed it, and given the name to another.  None comes
            # between these two lines (on PyPy, where shm_unlink is Python, hardly one).
            if look in _looked_at:
                _posixshmem.shm_unlink("/" + name)
        except FileNotFoundError as error:
            if not is_about(error, name):
                raise
        _looked_at.discard(look)

    def remove(name: str, inode: Inode) -> None:
        """Remove the name, if it still is that memory's."""
        try:
            _with_fd_alone(name, lambda *_: _remove(name, inode))
        except OSError as error:
            # It is gone, or the name is another user's by now, or that of no shared memory.
            if not is_about(error, name) or inode_of(name) == inode:
                raise

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
            self._descriptor = _Descriptor()

        def make(self, size: int, factory: Callable[[int, int], M]) -> M:
            """Create it, and map all of it.

            Returns:
                What ``factory(fd, size)`` made.

            Raises:
                FileExistsError: there is one of that name.
                OSError: ENOSPC and its like; unlink() removes what there is of it.

            """
            process.ensure_tracker()
            fd = self._descriptor.open(self.name, os.O_CREAT | os.O_EXCL | os.O_RDWR)
            self.inode = _inode(fd)
            resource_tracker.register("/" + self.name, "shared_memory")
            if hasattr(os, "posix_fallocate"):
                try:
                    _reserve(fd, size)
                except OSError as error:
                    if error.errno != errno.ENOSPC or not is_about(error, self.name):
                        raise
                    raise _no_room(fd, size) from None
            else:  # macOS
                os.ftruncate(fd, size)
            made = factory(fd, size)
            self._descriptor.close()
            return made

        def unlink(self) -> None:
            """Remove the name, if it still is this memory's; who has it mapped keeps it."""
            if self.inode is None:
                fd = self._descriptor.get()
                if fd is None:
                    return  # it never was there
                self.inode = _inode(fd)
            self._descriptor.close()
            try:
                remove(self.name, self.inode)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                # Out of descriptors: no way to keep others away meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    _posixshmem.shm_unlink("/" + self.name)
            # Also where somebody else removed it: the tracker must forget it, or it warns at exit.
            # Told of it once more, since whoever took the name may share our tracker, which keeps
            # a set: it complains about what it does not know.
            resource_tracker.register("/" + self.name, "shared_memory")
            resource_tracker.unregister("/" + self.name, "shared_memory")

    def _refuse_writable_by_others(name: str, status: os.stat_result) -> None:
        """Raise PermissionError for shared memory that another user owns, or may write.

        A release writes where the mutex's list in shared memory says, so whoever writes that list
        writes this process's memory.  Root could do so anyway.
        """
        if status.st_uid not in (os.geteuid(), 0):
            who = f"user {status.st_uid} owns it"
        elif status.st_mode & 0o022:
            who = f"its mode {stat.S_IMODE(status.st_mode):04o} lets other users write it"
        else:
            return
        message = f"shared memory {name!r} is not safe to attach: {who}"
        raise PermissionError(errno.EACCES, message)

    def open_and_map(name: str, factory: Callable[[int, int], M]) -> tuple[M, Inode | None]:
        """Open by name and map all of it.

        Returns:
            What ``factory(fd, size)`` made, and the inode.

        Raises:
            FileNotFoundError: there is none of that name.
            PermissionError: another user owns it, or may write it.
            EmptyError: it has no size (yet), or not all of its space.
            ValueError: it is shorter than a segment's header.

        """

        def map_it(fd: int) -> tuple[M, Inode]:
            status = os.fstat(fd)
            _refuse_writable_by_others(name, status)
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
            return factory(fd, size), (status.st_dev, status.st_ino)

        return _with_fd(name, map_it)

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

    def examine(name: str, size: int, judge: Callable[[bytes, Callable[[], None]], R]) -> R:
        """Have the first bytes of a shared memory judged, without mapping it for longer.

        One process at a time is inside for the same memory (see _with_fd_alone()), so that of two
        who find it abandoned one removes it and the other finds it gone.

        Args:
            name: of the shared memory.
            size: at most that many bytes are read.
            judge: gets them, and a function that removes the name if it still is this memory's.

        Returns:
            What ``judge`` did.

        Raises:
            FileNotFoundError: there is none of that name.

        """
        return _with_fd_alone(
            name,
            lambda fd, inode: judge(_first_bytes(fd, size), lambda: _remove(name, inode)),
        )

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
        except (FileNotFoundError, ProcessLookupError, PermissionError) as error:
            if error.filename not in (None, f"/proc/{pid}/stat"):
                raise
            return []  # nothing is known; all else, as no descriptor being left, says nothing

    def is_running(pid: int, started: int) -> bool:
        """Tell whether that very process runs: by pid, and by start time where it is known."""
        if pid <= 0:
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except OSError as error:  # it is somebody else's, and runs
            if not is_of_system(error):
                raise
        stat = _stat(pid)
        if len(stat) <= 19:
            return True
        # A zombie has ended; its pid is only not free yet.
        return stat[0] not in (b"Z", b"X") and (started == 0 or int(stat[19]) == started)

    def pid_namespace() -> int:
        """Return the inode of this process's PID namespace; 0 where there is no such thing."""
        try:
            return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - no Path at import
        except OSError as error:
            if not is_of_system(error):
                raise
            return 0
