"""Owners on the lock-based path, in pure Python: who answers for a word, and whether it lives.

A word's control block has room: behind the version its owner's number, and then the owner's pid.
Both are written by who holds the word's lock, so there is neither a table nor a row to take.

A process has one number for each segment, that nobody has had before: the place of a byte of the
segment's file that it keeps locked, as csrc/life.h does for rows.  The kernel ends that lock with
the process.  Where that cannot be had the number is the pid, and tells less: a zombie lives, and so
does whoever has the pid now.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import struct
import sys
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from ..given_lock import is_mine
from ..layout import EVENT_OFFSET, LINE, VALUE_OFFSET
from ..process import ProcessLock, after_fork_in_child

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..given_lock import Guard

#: Cells of a control block, of 64 bits: the version, and these.
OWNER, PROCESS = 1, 2
_CELLS = LINE // 8

#: In the cell of the process: somebody called own(); and the low bits of the PID namespace.
_OWNED = 1 << 32
_NAMESPACE_SHIFT = 40

#: Numbers below are pids.
_FIRST_PLACE = 1 << 32

#: Guards that are kept before it is worth looking which are needed.
_FEW = 64

#: C's struct flock, as the system's own 64-bit calls take it.
_FLOCK = struct.Struct("hhqqi0q")

#: Segments of which this process has a number; and those of them of which it owns a word.
_numbered: weakref.WeakSet[Owners] = weakref.WeakSet()
_owning: set[Owners] = set()

#: Around having a number, and over forks: a child would inherit what is open meanwhile.
_entering = ProcessLock()
_entering.hold_over_forks()


def _forget_parent() -> None:
    for owners in list(_numbered):
        owners.number, owners.release = 0, None
        owners.guards, owners.left = {}, {}  # clear() takes a lock, as get() does
        owners.ending = False
    _numbered.clear()
    _owning.clear()
    if not _ends:
        # multiprocessing's children come to their end by backend.end, os.fork's by this.
        _ends.append(True)
        atexit.register(end)


#: Whether atexit knows of end().
_ends: list[bool] = []

after_fork_in_child(_forget_parent)


def end() -> None:
    """Give back all that this process owns, as it ends."""
    patience = 0.1  # seconds, for who writes just now; in all, since some lock may be a dead one's
    for owners in list(_owning):
        owners.ending = True
        for index, guard in list(owners.guards.items()):
            began = time.monotonic()
            owners.give_back(index, guard, owners.number, patience)
            patience = max(patience - (time.monotonic() - began), 0.0)


class Owners:
    """The owners of one segment's words.

    Args:
        view: of the segment.
        fd: of its file; None where it has none.
        words, stride, controls, count: where its words and control blocks are, in bytes.
        rules: packed, as layout.Rules has them.
        always: there is one rule, whatever the word is.

    Attributes:
        cells: of all control blocks.
        number: of this process; 0: it has none yet.
        release: lets go of what shows that it lives; or None.
        guards: of the words that this process owns, or owned before others wrote them.

    """

    def __init__(
        self,
        view: memoryview,
        fd: int | None,
        words: int,
        stride: int,
        controls: int,
        count: int,
        rules: bytes,
        *,
        always: bool,
    ) -> None:
        begin = words + VALUE_OFFSET
        self._values = view[begin : begin + count * stride - VALUE_OFFSET].cast("i")
        self._step = stride // 4
        self._controls = controls
        self.cells = view[controls : controls + count * LINE].cast("q")
        #: The owners alone.
        self._numbers = self.cells[OWNER::_CELLS]
        self._event = view[EVENT_OFFSET : EVENT_OFFSET + 8].cast("q")
        self._fd = fd
        self._file = _identity(fd)
        pairs = list(struct.iter_unpack("=ii", rules))
        self._always: int | None = pairs[0][1] if always else None
        self._rules: dict[int, int] = {} if always else dict(pairs)
        self._process = 0
        self._many = _FEW
        self.number = 0
        self.release: Callable[[], object] | None = None
        #: Versions of what this process owned and gave back as it ends: a thread may write on, and
        #: then owns it again, unless somebody has written it since.
        self.left: dict[int, int] = {}
        self.ending = False
        self.guards: dict[int, Guard] = {}

    def index_of(self, control_offset: int) -> int:
        """Return which word has that control block."""
        return (control_offset - self._controls) // LINE

    def __del__(self) -> None:
        if getattr(self, "release", None) is not None:
            self.release()  # type: ignore[misc] # asked in the line above

    # -- as a word is written, inside its lock

    def cells_after(self, index: int, number: int, guard: Guard | None) -> tuple[int, int]:
        """Return what a write of this value makes of the cells of owner and process.

        The caller stores them with the value, and calls nothing in between.
        """
        cell = index * _CELLS
        owner, process = self.cells[cell + OWNER], self.cells[cell + PROCESS]
        if process & _OWNED:
            return owner, process
        if self.left.get(index) == self.cells[cell]:
            return self._mine(index, guard, _OWNED)
        if number not in self._rules:
            self._drop(index)
            return 0, 0
        return self._mine(index, guard, 0)

    def is_late(self, index: int, expected: int) -> bool:
        """Tell whether this process ends, and what it would commit is not, or no more, its own."""
        return self.ending and expected in self._rules and not self._has(index)

    def _mine(self, index: int, guard: Guard | None, owned: int) -> tuple[int, int]:
        if not self.number:
            _entering.call(self._enter)
        if guard is not None:
            if len(self.guards) >= self._many:  # others may have written some of those words
                kept = {at: each for at, each in self.guards.items() if self._has(at)}
                self.guards, self._many = kept, 2 * len(kept) + _FEW
            self.guards[index] = guard
            _owning.add(self)
        return self.number, self._process | owned

    def _has(self, index: int) -> bool:
        return self.cells[index * _CELLS + OWNER] == self.number

    def _clear(self, index: int) -> None:
        cell = index * _CELLS
        self.cells[cell + OWNER] = self.cells[cell + PROCESS] = 0
        self._drop(index)

    def _drop(self, index: int) -> None:
        if self.guards.pop(index, None) is not None and not self.guards:
            _owning.discard(self)

    # -- who lives

    def _enter(self) -> None:
        if not self.number:
            self._process = os.getpid() | _namespace() << _NAMESPACE_SHIFT
            _numbered.add(self)
            number, self.release = _lock_a_place(self._fd, self._file) or (os.getpid(), None)
            self.number = number

    def _lives(self, number: int, process: int) -> bool:
        """Tell whether an owner lives; each doubt says so."""
        if number == self.number:
            return True
        held = None if number < _FIRST_PLACE else _is_locked(self._fd, self._file, number)
        return _may_live(process) if held is None else held

    # -- giving back

    def give_back(
        self, index: int, guard: Guard | None, ended: int = 0, patience: float = 0.0
    ) -> bool:
        """Give a word back, if its owner has died or has the number ``ended``.

        False also if somebody holds its lock, for so many seconds.
        """
        cell = index * _CELLS
        if self.cells[cell + OWNER] == 0 or guard is None:
            return False
        semlock = guard.semlock
        held = is_mine(semlock)
        given = False
        # As guarded(), but without waiting.
        try:
            if not held and not semlock.acquire(patience > 0, patience):
                return False
            owner, process = self.cells[cell + OWNER], self.cells[cell + PROCESS]
            if owner and (owner == ended or not self._lives(owner, process)):
                number = self._values[index * self._step]
                after = self._rules.get(number, number) if self._always is None else self._always
                self._values[index * self._step] = after
                self._clear(index)
                self.cells[cell] += 1
                if ended and process & _OWNED:
                    self.left[index] = self.cells[cell]
                self._event[0] += 1
                given = True
            if not held:
                semlock.release()
        except BaseException:
            if not held:
                with contextlib.suppress(AssertionError):  # it is not held
                    semlock.release()
            raise
        return given

    def _dead(self, first: int, count: int) -> list[int]:
        """Return the words whose owners seem to have died."""
        # No slice of the view: python_bound.HAS_GIL says why.
        numbers = [self._numbers[first]]
        if count > 1:
            numbers = self._numbers.tolist()[first : first + count]
        dead = set()
        for number in set(numbers) - {0, self.number}:
            index = first + numbers.index(number)
            if not self._lives(number, self.cells[index * _CELLS + PROCESS]):
                dead.add(number)
        return [first + at for at, number in enumerate(numbers) if number in dead] if dead else []

    def recover(self, first: int, count: int, guard: Guard | None) -> list[int]:
        """Give back what dead processes own, and return the indices of those words."""
        return [index for index in self._dead(first, count) if self.give_back(index, guard)]

    # -- asking and owning

    def owners(self, first: int, count: int, guard: Guard | None) -> list[int | None]:
        """Give back what dead processes own, and return the pids of the words' owners."""
        self.recover(first, count, guard)
        dead = set(self._dead(first, count))
        return [
            None if index in dead else (self.cells[index * _CELLS + PROCESS] & 0xFFFF_FFFF) or None
            for index in range(first, first + count)
        ]

    def own(self, index: int, guard: Guard | None, *, ends: bool) -> int:
        """Have this process own a word, or nobody.  0, or the pid of who owns it.

        The caller holds the word's lock.
        """
        cell = index * _CELLS
        owner, process = self.cells[cell + OWNER], self.cells[cell + PROCESS]
        if owner and owner != self.number:
            if not self.give_back(index, guard):
                return process & 0xFFFF_FFFF
            owner = 0
        if ends:
            if owner:
                self._clear(index)
                self.cells[cell] += 1
            return 0
        if not (owner and process & _OWNED):  # else it is this process's already
            self.cells[cell + OWNER], self.cells[cell + PROCESS] = self._mine(index, guard, _OWNED)
            self.cells[cell] += 1
        return 0


def _identity(fd: int | None) -> tuple[int, int] | None:
    """Return what tells a file from all others."""
    with contextlib.suppress(OSError):
        is_ = os.fstat(-1 if fd is None else fd)
        return is_.st_dev, is_.st_ino
    return None


def _flock(fd: int, command: int, place: int) -> int:
    """Ask for or take the lock of a byte; return what is there."""
    import fcntl  # noqa: PLC0415 - Windows has none

    lock = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
    return int(_FLOCK.unpack(fcntl.fcntl(fd, command, lock))[0])


def _lock_a_place(
    fd: int | None, file: tuple[int, int] | None
) -> tuple[int, Callable[[], object]] | None:
    """Lock a byte that nobody has locked before; return which and what lets go of it, or None."""
    # Asked before: to close what is somebody else's file would end this process's locks of it.
    if sys.platform != "linux" or _identity(fd) != file:
        return None
    try:
        import ctypes  # noqa: PLC0415 - for who leases
        import fcntl  # noqa: PLC0415
        import mmap  # noqa: PLC0415

        opened = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except (ImportError, OSError):
        return None
    place = _FIRST_PLACE + secrets.randbits(61)
    release = None
    try:
        _flock(opened, fcntl.F_OFD_SETLK, place)
        # A page keeps the lock as long as the process has it mapped; no child gets it.
        libc: Any = ctypes.CDLL(None)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 4)
        libc.munmap.argtypes = libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
        page = libc.mmap(None, mmap.PAGESIZE, 0, mmap.MAP_SHARED, opened, 0)
        if page not in (None, ctypes.c_void_p(-1).value):
            release = partial(libc.munmap, page, mmap.PAGESIZE)
            if libc.madvise(page, mmap.PAGESIZE, mmap.MADV_DONTFORK):
                release()
                release = None
    except (AttributeError, OSError):
        pass
    finally:
        os.close(opened)
    return (place, release) if release and _is_locked(fd, file, place) else None


def _is_locked(fd: int | None, file: tuple[int, int] | None, place: int) -> bool | None:
    """Tell whether somebody has the lock of a byte; None if the file cannot be asked."""
    import fcntl  # noqa: PLC0415 - Windows has none

    try:
        kind = _flock(-1 if fd is None else fd, fcntl.F_OFD_GETLK, place)
    except (AttributeError, OSError, ValueError):
        return None
    # Behind it: who closes all descriptors may do so meanwhile, and another gets the number.
    return None if _identity(fd) != file else kind != fcntl.F_UNLCK


def _namespace() -> int:
    """Return the low bits of the inode of this process's PID namespace."""
    with contextlib.suppress(OSError):
        return os.stat("/proc/self/ns/pid").st_ino & 0xFFFF  # noqa: PTH116 - no Path at import
    return 0


def _may_live(process: int) -> bool:
    """Tell whether a pid of this namespace may be somebody's."""
    if process >> _NAMESPACE_SHIFT != _namespace():
        return True
    try:
        if sys.platform == "win32":
            return _runs(process & 0xFFFF_FFFF)
        os.kill(process & 0xFFFF_FFFF, 0)
    except ProcessLookupError:
        return False
    except OSError as error:
        return getattr(error, "winerror", 0) != 87  # Windows: no process has the pid
    return True


def _runs(pid: int) -> bool:
    """Tell whether a process runs, on Windows, where os.kill would send it Ctrl-C, or end it."""
    import _winapi  # noqa: PLC0415

    winapi: Any = _winapi
    handle = winapi.OpenProcess(winapi.SYNCHRONIZE, False, pid)  # noqa: FBT003
    try:
        return bool(winapi.WaitForSingleObject(handle, 0) != winapi.WAIT_OBJECT_0)
    finally:
        winapi.CloseHandle(handle)
