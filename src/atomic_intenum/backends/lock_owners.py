"""Owners on the lock-based path, in pure Python: who answers for a word, and whether it lives.

A word's control block has room: behind the version its owner's number, and then the owner's pid.
Both are written by who holds the word's lock, so there is neither a table nor a row to take.

A process has one number for each segment, that nobody has had before: the place of a byte of the
segment's file that it keeps locked, as csrc/life.h does for rows.  The kernel ends that lock with
the process.  Where that cannot be had the number is the pid, and tells less: a zombie lives, and so
does whoever has the pid now.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import struct
import sys
from typing import TYPE_CHECKING, Any

from ..layout import EVENT_OFFSET, LINE, VALUE_OFFSET
from ..process import after_fork_in_child

if TYPE_CHECKING:
    from ..given_lock import Guard

#: Cells of a control block, of 64 bits: the version, and these.
_OWNER, _PROCESS = 1, 2
_CELLS = LINE // 8

#: In the cell of the process: somebody called own(); and the low bits of the PID namespace.
_OWNED = 1 << 32
_NAMESPACE_SHIFT = 40

#: Numbers below are pids.
_FIRST_PLACE = 1 << 32

#: C's struct flock, as the system's own 64-bit calls take it.
_FLOCK = struct.Struct("hhqqi0q")

#: Segments of which this process has a number.
_mine: set[Owners] = set()


def _forget_parent() -> None:
    for owners in _mine:
        owners.number = 0
        owners.guards.clear()
    _mine.clear()


after_fork_in_child(_forget_parent)


def end() -> None:
    """Give back all that this process owns, as it ends."""
    for owners in list(_mine):
        for index, guard in list(owners.guards.items()):
            owners.give_back(index, guard, owners.number)


class Owners:
    """The owners of one segment's words.

    Args:
        view: of the segment.
        fd: of its file; None where it has none.
        words, stride, controls, count: where its words and control blocks are, in bytes.
        rules: packed, as layout.Rules has them.
        always: there is one rule, whatever the word is.

    Attributes:
        number: of this process; 0: it has none yet.
        guards: of the words that this process owns.

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
        self._cells = view[controls : controls + count * LINE].cast("q")
        #: The owners alone.
        self._numbers = self._cells[_OWNER::_CELLS]
        self._event = view[EVENT_OFFSET : EVENT_OFFSET + 8].cast("q")
        self._fd = fd
        self._file = _identity(fd)
        pairs = list(struct.iter_unpack("=ii", rules))
        self._always: int | None = pairs[0][1] if always else None
        self._rules: dict[int, int] = {} if always else dict(pairs)
        self._process = 0
        self.number = 0
        self.guards: dict[int, Guard] = {}

    def index_of(self, control_offset: int) -> int:
        """Return which word has that control block."""
        return (control_offset - self._controls) // LINE

    # -- as a word is written, inside its lock

    def leases(self, number: int) -> bool:
        """Tell whether who writes this value answers for it; have a number for that."""
        if number not in self._rules:
            return False
        if not self.number:
            self._enter()
        return True

    def written(self, index: int, number: int, guard: Guard | None) -> None:
        """Note whose a word is that was written."""
        cell = index * _CELLS
        if self._cells[cell + _PROCESS] & _OWNED:
            return
        if number in self._rules:
            self._set(index, guard, 0)
        elif self._cells[cell + _OWNER]:
            self._clear(index)

    def _set(self, index: int, guard: Guard | None, owned: int) -> None:
        cell = index * _CELLS
        self._cells[cell + _PROCESS] = self._process | owned
        self._cells[cell + _OWNER] = self.number
        if guard is not None:
            self.guards[index] = guard

    def _clear(self, index: int) -> None:
        cell = index * _CELLS
        self._cells[cell + _OWNER] = self._cells[cell + _PROCESS] = 0
        self.guards.pop(index, None)

    # -- who lives

    def _enter(self) -> None:
        self._process = os.getpid() | _namespace() << _NAMESPACE_SHIFT
        self.number = _lock_a_place(self._fd, self._file) or os.getpid()
        _mine.add(self)

    def _lives(self, number: int, process: int) -> bool:
        """Tell whether an owner lives; each doubt says so."""
        if number == self.number:
            return True
        held = None if number < _FIRST_PLACE else _is_locked(self._fd, self._file, number)
        return _may_live(process) if held is None else held

    # -- giving back

    def give_back(self, index: int, guard: Guard | None, ended: int = 0) -> bool:
        """Give a word back, if its owner has died or has the number ``ended``.

        False also if somebody holds its lock.
        """
        cell = index * _CELLS
        if self._cells[cell + _OWNER] == 0 or guard is None:
            return False
        semlock = guard.semlock
        held = semlock._is_mine()
        given = False
        # As guarded(), but without waiting.
        try:
            if not held and not semlock.acquire(False):  # noqa: FBT003
                return False
            owner, process = self._cells[cell + _OWNER], self._cells[cell + _PROCESS]
            if owner and (owner == ended or not self._lives(owner, process)):
                number = self._values[index * self._step]
                after = self._rules.get(number, number) if self._always is None else self._always
                self._values[index * self._step] = after
                self._clear(index)
                self._cells[cell] += 1
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
        numbers = self._numbers[first : first + count].tolist()
        dead = set()
        for number in set(numbers) - {0, self.number}:
            index = first + numbers.index(number)
            if not self._lives(number, self._cells[index * _CELLS + _PROCESS]):
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
        pids: list[int | None] = []
        for index in range(first, first + count):
            process = self._cells[index * _CELLS + _PROCESS]
            pids.append((process & 0xFFFF_FFFF) or None if index not in dead else None)
        return pids

    def own(self, index: int, guard: Guard | None, *, ends: bool) -> int:
        """Have this process own a word, or nobody.  0, or the pid of who owns it.

        The caller holds the word's lock.
        """
        cell = index * _CELLS
        owner, process = self._cells[cell + _OWNER], self._cells[cell + _PROCESS]
        if owner and owner != self.number:
            if not self.give_back(index, guard):
                return process & 0xFFFF_FFFF
            owner = 0
        if ends:
            if owner:
                self._clear(index)
            return 0
        if not self.number:
            self._enter()
        self._set(index, guard, _OWNED)
        return 0


def _identity(fd: int | None) -> tuple[int, int] | None:
    """Return what tells a file from all others."""
    try:
        is_ = os.fstat(-1 if fd is None else fd)
    except OSError:
        return None
    return is_.st_dev, is_.st_ino


def _flock(fd: int, command: int, place: int) -> int:
    """Ask for or take the lock of a byte; return what is there."""
    import fcntl  # noqa: PLC0415 - Windows has none

    lock = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
    kind: int = _FLOCK.unpack(fcntl.fcntl(fd, command, lock))[0]
    return kind


def _lock_a_place(fd: int | None, file: tuple[int, int] | None) -> int | None:
    """Lock a byte of the file that nobody has locked before; None where that cannot be had."""
    if sys.platform != "linux":
        return None
    try:
        import ctypes  # noqa: PLC0415 - for who leases
        import fcntl  # noqa: PLC0415
        import mmap  # noqa: PLC0415

        opened = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
    except (ImportError, OSError):
        return None
    try:
        place = _FIRST_PLACE + secrets.randbits(61)
        if _identity(opened) != file:
            return None
        _flock(opened, fcntl.F_OFD_SETLK, place)
        # A page keeps the lock as long as the process has it mapped; no child gets it.
        libc: Any = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = (
            *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int),
            ctypes.c_long,
        )
        libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        page = libc.mmap(None, mmap.PAGESIZE, 0, mmap.MAP_SHARED, opened, 0)
        if page in (None, ctypes.c_void_p(-1).value):
            return None
        if libc.madvise(page, mmap.PAGESIZE, mmap.MADV_DONTFORK):
            return None
    except (AttributeError, OSError):
        return None
    finally:
        os.close(opened)
    return place if _is_locked(fd, file, place) else None


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
    try:
        return os.stat("/proc/self/ns/pid").st_ino & 0xFFFF  # noqa: PTH116 - no Path at import
    except OSError:
        return 0


def _may_live(process: int) -> bool:
    """Tell whether a pid of this namespace may be somebody's."""
    if process >> _NAMESPACE_SHIFT != _namespace() or sys.platform == "win32":
        return True
    try:
        os.kill(process & 0xFFFF_FFFF, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
