"""The lock-based path's memory: multiprocessing's own, which has no name.

A child has it by inheritance, or gets it as it is started; no kill can leave it behind.
"""

from __future__ import annotations

import errno
import os
from multiprocessing import heap, util
from typing import TYPE_CHECKING, Any

from .. import layout
from ..backends import backend
from ..given_lock import guarded
from . import refused

if TYPE_CHECKING:
    from ..given_lock import Guard
    from ..layout import Header

#: Linux's, which PyPy does not name.  What does not know it finds that one cannot write a folder.
_O_TMPFILE = getattr(os, "O_TMPFILE", 0o20000000 | getattr(os, "O_DIRECTORY", 0))

#: What Windows says where there is no room: not enough memory, and the paging file is too small.
_NO_ROOM = (8, 1455)


class Memory:
    """One segment's memory: what the lock-based path has for a Mapping."""

    __slots__ = ("_arena", "owners_here", "size")

    #: No PID decides anything here.
    elsewhere = False

    def __init__(self, arena: Any) -> None:
        self._arena = arena
        self.size: int = arena.size
        #: The backend's, of a segment with on_death.
        self.owners_here: Any = None

    @property
    def owned(self) -> bool:
        """Whether it has owners."""
        return self.owners_here is not None

    def set_owners(self, *place: Any) -> None:
        """See contract.Mapping."""
        words, stride, controls, count, _, rules, always = place
        fd = getattr(self._arena, "fd", None)
        make: Any = backend
        self.owners_here = make.Owners(
            self.view(), fd, words, stride, controls, count, rules, always=always
        )

    def own(self, index: int, ends: bool, guard: Any, /) -> int:  # noqa: FBT001
        """See contract.Mapping."""
        pid: int = guarded(guard, lambda: self.owners_here.own(index, guard, ends=ends))
        return pid

    def owners(self, first: int, count: int, guard: Guard | None, /) -> list[int | None]:
        """See contract.Mapping."""
        return self.owners_here.owners(first, count, guard)  # type: ignore[no-any-return]

    def recover(self, first: int, count: int, guard: Guard | None, /) -> list[int]:
        """See contract.Mapping."""
        return self.owners_here.recover(first, count, guard)  # type: ignore[no-any-return]

    def view(self) -> memoryview:
        """Return its bytes."""
        return memoryview(self._arena.buffer)

    def pickled(self) -> None:
        """Do nothing: whoever gets it keeps it."""

    def unlink(self) -> int:
        """Do nothing: it has no name."""
        return 0

    def __reduce__(self) -> tuple[Any, ...]:
        return Memory, (self._arena,)


def create(header: Header, head: bytes, size: int, first: int) -> Memory:
    """Create a segment's memory.

    Args:
        header: of the segment.
        head: header and vocabulary as they are in memory.
        size: bytes.
        first: value of each word.

    Raises:
        OSError: there is no room (ENOSPC).

    """
    try:
        memory = Memory(_without_a_name(size) or heap.Arena(size))
        fd = getattr(memory._arena, "fd", None)  # Windows has none
        if fd is not None and hasattr(os, "posix_fallocate"):
            _fill(fd, size)  # a full system would answer a later touch with SIGBUS
    except OSError as error:
        full = getattr(error, "winerror", 0) in _NO_ROOM
        if full or error.errno in (errno.ENOSPC, errno.EFBIG, errno.ENOMEM):
            raise refused.no_room(size, error.errno) from error
        raise
    view = memory.view()
    view[: len(head)] = head
    if first:  # fresh memory is 0
        word = layout.WORD.pack(first & 0xFFFF_FFFF).ljust(header.word_stride, b"\0")
        begin = header.header_size
        end = begin + header.capacity * header.word_stride
        some = word * min(header.capacity, 4096)  # by the block: it may be many millions
        for offset in range(begin, end, len(some)):
            block = min(len(some), end - offset)
            view[offset : offset + block] = some[:block]
    return memory


def _fill(fd: int, size: int) -> None:
    """Have all of the file's pages; OSError if there is no room."""
    while code := os.posix_fallocate(fd, 0, size):  # type: ignore[func-returns-value]
        if code != errno.EINTR:  # PyPy returns it
            raise OSError(code, os.strerror(code))


def _without_a_name(size: int) -> Any:
    """Create an arena on memory that never had a name; None where the system cannot.

    An arena of its own making has one for a moment, and keeps it if a signal handler raises then.
    """
    try:
        fd = os.open("/dev/shm", _O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except (AttributeError, OSError):
        return None
    try:
        _fill(fd, size)
        arena: Any = heap.Arena(size, fd)
    except BaseException as error:
        os.close(fd)
        if isinstance(error, OSError):
            return None
        raise
    util.Finalize(arena, os.close, (fd,))
    return arena
