"""The compiled core of csrc/ through cffi: for PyPy, and on CPython on request.

cffi gives up the GIL around each call, so nothing here may rely on a call being one step for
Python; the core's own operations are.
"""

from __future__ import annotations

import atexit
import math
import os
from typing import TYPE_CHECKING, Any, NoReturn

from .._cffi import ffi, lib  # type: ignore[import-not-found,import-untyped,unused-ignore]
from ..valuelock import ValueLock
from . import pure
from .contract import PROTOCOL_ATOMIC
from .pure import Table

if TYPE_CHECKING:
    from ..guard import Guard
    from ..segment import Segment

__all__ = ["Mapping", "Table", "Value"]

NAME = "cffi"
PROTOCOL = PROTOCOL_ATOMIC
ABI = (lib.AIE_MUTEX_SIZE, lib.AIE_LIBC, lib.AIE_CONTROL_SIZE)
INHERITED_ONLY = False

_OK, _MISMATCH, _BUSY = lib.AIE_OK, lib.AIE_MISMATCH, lib.AIE_BUSY
_RESULT = lib.AIE_CFFI_RESULT

#: At exit nothing is unmapped any more: daemon threads may still be inside the core.
_exiting: list[bool] = []
atexit.register(_exiting.append, True)  # noqa: FBT003


class Mapping:
    """One mapped segment; unmapped when the last object that uses it is gone."""

    __slots__ = ("__weakref__", "base", "region", "size")

    def __init__(self, fd: int, size: int) -> None:
        region = lib.aie_cffi_map(fd, size)
        if region == ffi.NULL:
            raise OSError(ffi.errno, os.strerror(ffi.errno))
        self.region = region
        self.base = lib.aie_cffi_base(region)
        self.size = size

    def __del__(self) -> None:
        if not _exiting and hasattr(self, "size"):
            lib.aie_region_drop(self.region)

    def at(self, offset: int) -> Any:
        """Return the address of an offset."""
        return self.base + offset

    def view(self) -> memoryview:
        """Return the bytes, writable."""
        return memoryview(ffi.buffer(self.base, self.size))

    def prepare(self, offset: int, count: int, /) -> None:
        """Initialise control blocks."""
        error = lib.aie_cffi_prepare(self.at(offset), count)
        if error:
            raise OSError(error, os.strerror(error))

    def publish(self) -> None:
        """Store the magic."""
        lib.aie_cffi_publish(self.base)

    def published(self) -> int:
        """Return the magic that the segment holds."""
        return int(lib.aie_cffi_published(self.base))


def _raise(result: int) -> NoReturn:
    if result == lib.AIE_NOT_OWNER:
        message = "release of a lock that this thread does not hold"
    elif result == lib.AIE_TOO_MANY:
        message = (
            f"this thread holds {lib.AIE_MAX_HELD} of these locks already: with more, its death "
            f"would leave some of them locked for good"
        )
    elif result == lib.AIE_TOO_DEEP:
        message = "this lock is acquired too many times by its holder"
    else:
        message = "the lock's shared memory is damaged: pthread reports an error"
    raise RuntimeError(message)


class AtomicWord:
    """A state word of the atomic core."""

    __slots__ = ("_control", "_mapping", "_word")

    def __init__(self, mapping: Mapping, word_offset: int, control_offset: int) -> None:
        self._mapping = mapping
        self._word = mapping.at(word_offset)
        self._control = mapping.at(control_offset)

    def load(self) -> int:
        """Return the word."""
        return lib.aie_cffi_load(self._word)  # type: ignore[no-any-return]

    def first(self, number: int) -> None:
        """Give the word its first value."""
        lib.aie_cffi_first(self._word, number)

    def exchange(self, desired: int) -> int:
        """Write and return the value before."""
        outcome = lib.aie_cffi_exchange(self._word, desired)
        if outcome <= _RESULT:
            outcome = self._exchange_locked(desired)
        return outcome  # type: ignore[no-any-return]

    def _exchange_locked(self, desired: int) -> int:
        # Slices of the core's; in between the interpreter looks at signals.
        wait = False
        while True:
            outcome = lib.aie_cffi_exchange_slice(self._word, self._control, desired, wait)
            if outcome > _RESULT:
                return outcome  # type: ignore[no-any-return]
            if _RESULT - outcome != _BUSY:
                _raise(_RESULT - outcome)
            wait = True

    def compare_and_set(self, expected: int, desired: int) -> bool:
        """Write if the value is the expected one; whether it was."""
        result = lib.aie_cffi_compare_and_set(self._word, expected, desired)
        if result > _MISMATCH:
            result = self._compare_and_set_locked(expected, desired)
        return result == _OK  # type: ignore[no-any-return]

    def _compare_and_set_locked(self, expected: int, desired: int) -> int:
        wait = False
        while True:
            result: int = lib.aie_cffi_compare_and_set_slice(
                self._word, self._control, expected, desired, wait
            )
            if result <= _MISMATCH:
                return result
            if result != _BUSY:
                _raise(result)
            wait = True


class Value(pure.Value):
    """A value on the atomic core."""

    __slots__ = ()

    @staticmethod
    def _atomic_word(mapping: Mapping, word_offset: int, control_offset: int) -> AtomicWord:
        return AtomicWord(mapping, word_offset, control_offset)


class Lock:
    """The robust, re-entrant lock of one value, as multiprocessing's SemLock."""

    __slots__ = ("_control", "_mapping", "_word", "abandoned")

    def __init__(self, mapping: Any, word_offset: int, control_offset: int) -> None:
        self._mapping: Mapping = mapping
        self._word = mapping.at(word_offset)
        self._control = mapping.at(control_offset)
        self.abandoned = False

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:  # noqa: FBT001, FBT002
        """Acquire: True, or False if not ``block`` or after ``timeout`` seconds."""
        return self._acquire(self._deadline(timeout) if block else 0, quietly=False)

    def _acquire(self, deadline: float, *, quietly: bool) -> bool:
        result = lib.aie_cffi_lock_try(self._control, self._word)
        while result == _BUSY:
            now = lib.aie_cffi_now()
            if now >= deadline:
                return False
            until = min(deadline, now + lib.AIE_SLICE)
            result = lib.aie_cffi_lock_until(self._control, self._word, until)
        if result != _OK:
            _raise(result)
        if lib.aie_cffi_lock_depth(self._control) == 1:
            # A held robust mutex must stay mapped, whatever becomes of the objects.
            lib.aie_region_hold(self._mapping.region)
            if not quietly:
                self.abandoned = bool(lib.aie_cffi_lock_take_report(self._control))
        return True

    def acquire_quietly(self) -> bool:
        """Acquire for a write: the report of a death stays for an explicit acquire."""
        return self._acquire(math.inf, quietly=True)

    @staticmethod
    def _deadline(timeout: float | None) -> float:
        if timeout is None:
            return math.inf
        seconds = float(timeout)
        if math.isnan(seconds):
            message = "timeout must not be NaN"
            raise ValueError(message)
        if seconds <= 0:
            return 0
        return math.inf if seconds >= 1e9 else lib.aie_cffi_now() + int(seconds * 1e9)

    def release(self) -> None:
        """Undo one acquire; RuntimeError if this thread does not hold the lock."""
        result = lib.aie_cffi_lock_release(self._control, self._word)
        if result == lib.AIE_CFFI_LAST:
            lib.aie_region_drop(self._mapping.region)
        elif result != _OK:
            _raise(result)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *args: object) -> None:
        self.release()

    def _is_mine(self) -> bool:
        return bool(lib.aie_cffi_lock_is_mine(self._control, self._word))

    def _count(self) -> int:
        return int(lib.aie_cffi_lock_depth_in_process(self._control))

    def _is_zero(self) -> bool:
        return bool(lib.aie_cffi_load(self._word) >> 32 & 1)

    def _get_value(self) -> int:
        return int(not self._is_zero())

    def _after_fork(self) -> None:
        """Do nothing: a child never takes itself for its parent."""


def make_lock(segment: Segment, index: int) -> ValueLock:
    """Make the robust lock of a value."""
    semlock = Lock(segment.mapping, segment.word_offset(index), segment.control_offset(index))
    return ValueLock(segment, index, semlock)


def own_guard() -> Guard | None:
    """Return None: without lock=, a write takes no lock."""
    return None


def prepare_class(cls: type[Any], base: type[Any]) -> None:
    """Do nothing: methods in Python are as fast inherited."""
