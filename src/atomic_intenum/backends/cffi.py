"""The compiled core of csrc/ through cffi: for PyPy, and on CPython on request.

cffi gives up the GIL around each call: other threads run meanwhile, and a signal handler may raise
right after it.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

from .._cffi import ffi, lib  # type: ignore[import-not-found,import-untyped,unused-ignore]
from ..timeouts import deadline_of
from . import python_bound, python_row, python_value
from .cffi_mapping import Mapping, Use
from .contract import PROTOCOL_ATOMIC
from .python_bound import Bound, Closed, Table, document

if TYPE_CHECKING:
    from ..given_lock import Guard

__all__ = ["Array", "Mapping", "Table", "Value", "document"]

NAME = "cffi"
PROTOCOL = PROTOCOL_ATOMIC
ABI = (lib.AIE_MUTEX_SIZE, lib.AIE_LIBC, lib.AIE_CONTROL_SIZE)
INHERITED_ONLY = False

_OK, _MISMATCH, _BUSY = lib.AIE_OK, lib.AIE_MISMATCH, lib.AIE_BUSY
_RESULT: int = lib.AIE_CFFI_RESULT
_OUTERMOST, _ABANDONED = lib.AIE_CFFI_OUTERMOST, lib.AIE_CFFI_ABANDONED

# Looked up once: ``lib`` finds its functions by name.
_number = lib.aie_cffi_number
_exchange = lib.aie_cffi_exchange
_compare_and_set = lib.aie_cffi_compare_and_set

#: Members further apart are counted in Python.
_WIDEST_TALLY = 1024


def raise_result(result: int) -> NoReturn:
    raise RuntimeError(ffi.string(lib.aie_result_text(result)).decode())


class AtomicWord:
    """A state word of the atomic core."""

    # In a cycle of garbage they are cleared in this order: the use last, here and below.
    __slots__ = ("_address", "_closed", "_control", "_event", "_use")

    def __init__(self, mapping: Mapping, word_offset: int, control_offset: int) -> None:
        self._use = mapping.use
        self._address = lib.aie_cffi_word(mapping.region, word_offset)
        self._control = lib.aie_cffi_control(mapping.region, control_offset)
        self._event = lib.aie_cffi_event(mapping.region)
        self._closed: Closed | None = None  # while a write waits

    def number(self) -> int:
        return _number(self._address)  # type: ignore[no-any-return]

    def version(self) -> int:
        return lib.aie_cffi_version(self._address)  # type: ignore[no-any-return]

    def first(self, number: int) -> None:
        lib.aie_word_first(self._address, number)

    def held_here(self) -> bool:
        return bool(lib.aie_lock_is_mine(self._control, self._address))

    def sleep(self, goal: python_bound.Goal, deadline: float, first: bool) -> None:  # noqa: FBT001
        numbers = ffi.new("int32_t[]", list(goal.numbers))
        until = core_deadline(deadline)
        lib.aie_cffi_await(self._address, numbers, len(numbers), goal.leave, until, first)

    def exchange(self, desired: int) -> int:
        outcome = _exchange(self._address, self._event, desired)
        if outcome <= _RESULT:
            outcome = change_locked(self, self._place(), None, desired)
        return outcome  # type: ignore[no-any-return]

    def compare_and_set(self, expected: int, desired: int) -> bool:
        result = _compare_and_set(self._address, self._event, expected, desired)
        if result > _MISMATCH:
            return change_locked(self, self._place(), expected, desired) > _RESULT
        return result == _OK  # type: ignore[no-any-return]

    def _place(self) -> tuple[Any, Any, Any]:
        return self._address, self._control, self._event


def change_locked(words: Any, place: Any, expected: int | None, desired: int) -> int:
    """Change a word that was seen LOCKED; in slices, between which the interpreter sees signals.

    Args:
        words: of the value or array, which may be closed meanwhile.
        place: word, control block and event word.
        expected: the value that it must have; None: any.
        desired: what to write.

    Returns:
        The value before; _RESULT - _MISMATCH if that was not the expected one.

    Raises:
        ValueError: it was closed.

    """
    wait = False
    while words._closed is None:
        outcome: int = lib.aie_cffi_change_slice(
            *place, expected is not None, expected or 0, desired, wait
        )
        if outcome > _RESULT or outcome == _RESULT - _MISMATCH:
            return outcome
        if _RESULT - outcome != _BUSY:
            raise_result(_RESULT - outcome)
        wait = True
    raise words._closed.error()


def core_deadline(deadline: float) -> int:
    """Return a time of the monotonic clock, in seconds, as the core's nanoseconds."""
    if deadline == math.inf:
        return (1 << 63) - 1
    left = max(deadline - time.monotonic(), 0.0)
    return int(lib.aie_now()) + int(min(left, 1e9) * 1e9)


class AtomicWords:
    """The words of an array of the atomic core."""

    __slots__ = ("_array", "_closed", "_found", "_use")

    def __init__(self, mapping: Mapping, place: python_row.Place) -> None:
        self._use = mapping.use
        base = ffi.cast("unsigned char *", lib.aie_cffi_base(mapping.region))
        self._array = ffi.new("aie_array *")
        self._array.words = base + place.word_offset
        self._array.controls = base + place.control_offset
        self._array.stride = place.word_stride
        self._array.count = place.length
        self._array.event = lib.aie_cffi_event(mapping.region)
        self._found = 0  # where claim() begins
        self._closed: Closed | None = None  # while a write waits

    def number(self, index: int) -> int:
        return lib.aie_array_value(self._array, index)  # type: ignore[no-any-return]

    def numbers(self) -> list[int]:
        count = self._array.count
        values = ffi.new("int32_t[]", count)
        lib.aie_array_read(self._array, 0, count, values)
        return ffi.unpack(values, count)  # type: ignore[no-any-return]

    def count(self, number: int) -> int:
        return lib.aie_array_count(self._array, number)  # type: ignore[no-any-return]

    def counts(self, table: Table) -> dict[int, int]:
        low = min(table.members)
        span = max(table.members) - low + 1
        if span > _WIDEST_TALLY:
            return Counter(self.numbers())
        scratch = ffi.new("size_t[]", span + 1)
        lib.aie_array_tally(self._array, low, span, scratch)
        tallies = ffi.unpack(scratch, span + 1)
        if tallies[span]:
            return Counter(self.numbers())  # a word holds no member's value: which one?
        return {low + offset: times for offset, times in enumerate(tallies[:span])}

    def exchange(self, index: int, desired: int) -> int:
        outcome = lib.aie_cffi_array_exchange(self._array, index, desired)
        if outcome <= _RESULT:
            outcome = change_locked(self, self._at(index), None, desired)
        return outcome  # type: ignore[no-any-return]

    def compare_and_set(self, index: int, expected: int, desired: int) -> bool:
        result = lib.aie_cffi_array_compare_and_set(self._array, index, expected, desired)
        if result > _MISMATCH:
            return change_locked(self, self._at(index), expected, desired) > _RESULT
        return result == _OK  # type: ignore[no-any-return]

    def _at(self, index: int) -> tuple[Any, Any, Any]:
        array = self._array
        return lib.aie_array_word(array, index), lib.aie_array_control(array, index), array.event

    def fill(self, start: int, desired: int) -> int:
        index: int = lib.aie_array_fill(self._array, start, desired)
        if index == self._array.count:
            return index
        self.exchange(index, desired)
        return index + 1

    def claim(self, expected: int, desired: int) -> int | None:
        wait = False
        while self._closed is None:
            index: int = lib.aie_cffi_array_claim(self._array, self._found, expected, desired, wait)
            if index > _RESULT:
                self._found = index
                return index
            result = _RESULT - index
            if result == _MISMATCH:
                return None
            if result != _BUSY:
                raise_result(result)
            wait = True
        raise self._closed.error()

    def watcher(self, goal: python_bound.Goal, every: bool, guard: Guard | None) -> AtomicWatcher:  # noqa: ARG002, FBT001
        return AtomicWatcher(self._use, self._array, goal, every=every)


class AtomicWatcher:
    """One wait for words of an array."""

    __slots__ = ("_array", "_numbers", "_use", "_watch")

    def __init__(self, use: Use, array: Any, goal: python_bound.Goal, *, every: bool) -> None:
        self._use = use
        self._array = array
        self._numbers = ffi.new("int32_t[]", list(goal.numbers))  # of which _watch has the address
        self._watch = ffi.new("aie_watch *")
        self._watch.goal.values = self._numbers
        self._watch.goal.count = len(self._numbers)
        self._watch.goal.leave = goal.leave
        self._watch.all = every

    def look(self) -> int | None:
        met = lib.aie_watch_met(self._array, self._watch)
        return self._watch.index if met else None

    def is_own(self) -> bool:
        return bool(lib.aie_watch_is_own(self._array, self._watch))

    def sleep(self, deadline: float, first: bool) -> int | None:  # noqa: FBT001
        result = lib.aie_watch_await(self._array, self._watch, core_deadline(deadline), first)
        return self._watch.index if result == _OK else None


class _Closing(Bound):
    """A value or an array of which a write may wait as it is closed."""

    __slots__ = ()

    def _atomic_close(self) -> None:
        with contextlib.suppress(AttributeError):  # it is closed, or never was open
            self._atomic_binding.words._closed = self._atomic_closed
        super()._atomic_close()


class Value(_Closing, python_value.Value):
    """A value on the atomic core."""

    __slots__ = ()

    @staticmethod
    def _atomic_word(mapping: Mapping, word_offset: int, control_offset: int) -> AtomicWord:
        return AtomicWord(mapping, word_offset, control_offset)


class Array(_Closing, python_row.Array):
    """An array on the atomic core."""

    __slots__ = ()

    @staticmethod
    def _atomic_words(mapping: Mapping, place: python_row.Place) -> AtomicWords:
        return AtomicWords(mapping, place)


class Lock:
    """The robust, re-entrant lock of one value, as multiprocessing's SemLock."""

    __slots__ = ("_address", "_control", "_region", "_use", "abandoned")

    def __init__(self, mapping: Any, word_offset: int, control_offset: int) -> None:
        self._use = mapping.use
        self._region = mapping.region
        self._address = lib.aie_cffi_word(mapping.region, word_offset)
        self._control = lib.aie_cffi_control(mapping.region, control_offset)
        self.abandoned = False

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:  # noqa: FBT001, FBT002
        """Acquire: True, or False if not ``block`` or after ``timeout`` seconds."""
        deadline = deadline_of(timeout, negative=True)
        return self._acquire(deadline if block else 0.0, quietly=False)

    def acquire_quietly(self) -> bool:
        """Acquire for a write: the report of a death stays for an explicit acquire."""
        return self._acquire(math.inf, quietly=True)

    def _acquire(self, deadline: float, *, quietly: bool) -> bool:
        # After each call a signal handler may raise, here too, and nobody knows of the lock that
        # was taken.  So it is with every lock in Python, multiprocessing's among them; for writes
        # see guarded().
        result = lib.aie_cffi_lock_try(self._region, self._control, self._address, quietly)
        if result == _BUSY:
            if not deadline:
                return False
            result = self._wait(deadline, quietly=quietly)
        if result >= _OUTERMOST:
            if not quietly:
                self.abandoned = result == _ABANDONED
            return True
        if result == _OK:
            return True
        if result == _BUSY:
            return False
        raise_result(result)

    def _wait(self, deadline: float, *, quietly: bool) -> int:
        # Slices of the core's; in between the interpreter looks at signals.
        result: int = _BUSY
        try:
            while result == _BUSY:
                if time.monotonic() >= deadline:
                    break
                until = min(core_deadline(deadline), lib.aie_now() + lib.AIE_SLICE)
                result = lib.aie_cffi_lock_until(
                    self._region, self._control, self._address, quietly, until
                )
        except BaseException:
            # The handler of a signal that came in the slice in which the lock became free.  It was
            # somebody else's, so what this thread holds now it has from here.
            if self._is_mine():
                self.release()
            raise
        return result

    def release(self) -> None:
        """Undo one acquire; RuntimeError if this thread does not hold the lock."""
        result = lib.aie_cffi_lock_release(self._region, self._control, self._address)
        if result not in (_OK, _OUTERMOST):
            raise_result(result)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *args: object) -> None:
        self.release()

    def depth(self) -> int:
        """Tell how often this thread holds it."""
        return self._count() if self._is_mine() else 0

    def _is_mine(self) -> bool:
        return bool(lib.aie_lock_is_mine(self._control, self._address))

    def _count(self) -> int:
        return int(lib.aie_lock_depth_in_process(self._control))

    def _is_zero(self) -> bool:
        return bool(lib.aie_cffi_is_locked(self._address))

    def _get_value(self) -> int:
        return int(not self._is_zero())

    def _after_fork(self) -> None:
        """Do nothing: a child never takes itself for its parent."""


def is_mapped(device: int, inode: int) -> bool:
    return bool(lib.aie_region_is_mapped(device, inode))


def own_guard() -> Guard | None:
    return None


def prepare_class(cls: type[Any], base: type[Any]) -> None:
    """Do nothing: methods in Python are as fast inherited."""
