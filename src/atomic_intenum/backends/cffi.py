"""The compiled core of csrc/ through cffi: for PyPy, and on CPython on request.

cffi gives up the GIL around each call: other threads run meanwhile, and a signal handler may raise
right after it.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from .._cffi import ffi, lib  # type: ignore[import-not-found,import-untyped,unused-ignore]
from ..layout import EVENT_OFFSET
from ..timeouts import deadline_of
from . import python_bound, python_row, python_value
from .cffi_desk import Desk
from .cffi_mapping import Mapping, attach, clean, create, peek, raise_result
from .python_bound import Bound, Closed, Table, document, prepare_class

if TYPE_CHECKING:
    from ..given_lock import Guard

__all__ = [
    "Array",
    "Desk",
    "Table",
    "Value",
    "attach",
    "clean",
    "create",
    "document",
    "peek",
    "prepare_class",
]

NAME = "cffi"
ABI = (lib.AIE_MUTEX_SIZE, lib.AIE_LIBC, lib.AIE_CONTROL_SIZE)
INHERITED_ONLY = False

_OK, _BUSY = lib.AIE_OK, lib.AIE_BUSY
_RESULT: int = lib.AIE_CFFI_RESULT
_ANY: int = lib.AIE_CFFI_ANY
_OUTERMOST, _ABANDONED = lib.AIE_CFFI_OUTERMOST, lib.AIE_CFFI_ABANDONED

#: The outcomes of a call that wrote nothing: no word holds that value; somebody has its lock.
_OTHER: int = _RESULT - lib.AIE_MISMATCH
_LOCKED: int = _RESULT - _BUSY

# Looked up once: ``lib`` finds its functions by name.
_number = lib.aie_cffi_number
_change = lib.aie_cffi_change
_exchange = lib.aie_cffi_exchange
_compare_and_set = lib.aie_cffi_compare_and_set

#: Members further apart are counted in Python.
_WIDEST_TALLY = 1024


def _place_of(
    mapping: Mapping, word_offset: int, control_offset: int, stride: int = 0, count: int = 1
) -> Any:
    """Return the core's description of one word, or of an array's words."""
    base = mapping.region.base
    event = mapping.at("aie_event", EVENT_OFFSET)
    owners = mapping.region.owners
    words = (base + word_offset, base + control_offset, stride, count, event, owners)
    return ffi.new("aie_cffi_place *", (words, mapping.region))


class _Words:
    """What a word and an array's words have in common: how they are written."""

    # In a cycle of garbage they are cleared in this order, those of a subclass before: the use
    # last, here and below.
    __slots__ = ("_closed", "_place", "_use")

    def __init__(self, mapping: Mapping, place: Any) -> None:
        self._use = mapping.use
        self._place = place
        self._closed: Closed | None = None  # set while a write waits

    def notice(self, guard: Guard | None) -> None:  # noqa: ARG002
        """Give back what dead processes own, as a wait does now and then."""
        lib.aie_cffi_notice(self._place)

    def _write(self, index: int, expected: int, desired: int) -> int:
        """Write a word; for one that is LOCKED it waits in slices.

        In between the interpreter looks at signals, and this at whether the value was closed:
        ValueError.

        Returns:
            The value before; _OTHER if that was not the expected one, unless that is _ANY.

        """
        wait = False
        while True:
            outcome: int = _change(self._place, index, expected, desired, wait)
            if outcome > _RESULT or outcome == _OTHER:
                return outcome
            if outcome != _LOCKED:
                raise_result(_RESULT - outcome)
            if self._closed is not None:
                raise self._closed.error()
            wait = True


class AtomicWord(_Words):
    """A state word of the atomic core."""

    __slots__ = ("_address",)

    def __init__(self, mapping: Mapping, word_offset: int, control_offset: int) -> None:
        super().__init__(mapping, _place_of(mapping, word_offset, control_offset))
        self._address = mapping.at("aie_word", word_offset)

    def number(self) -> int:
        return _number(self._address)  # type: ignore[no-any-return]

    def version(self) -> int:
        return lib.aie_cffi_version(self._address)  # type: ignore[no-any-return]

    def first(self, number: int) -> None:
        lib.aie_word_first(self._address, number)

    def held_here(self) -> bool:
        return bool(lib.aie_cffi_is_mine(self._place))

    def sleep(self, goal: python_bound.Goal, deadline: float, first: bool) -> None:  # noqa: FBT001
        numbers = ffi.new("int32_t[]", list(goal.numbers))
        wanted = ffi.new("aie_goal *", (numbers, len(numbers), goal.leave))
        seen = ffi.new("uint64_t *")
        lib.aie_await(self._address, wanted, core_deadline(deadline), first, seen)

    def exchange(self, desired: int) -> int:
        outcome: int = _exchange(self._place, desired)
        return outcome if outcome > _RESULT else self._write(0, _ANY, desired)

    def compare_and_set(self, expected: int, desired: int) -> bool:
        outcome: int = _compare_and_set(self._place, expected, desired)
        if outcome <= _RESULT and outcome != _OTHER:
            outcome = self._write(0, expected, desired)
        return outcome != _OTHER


def core_deadline(deadline: float) -> int:
    """Return a time of the monotonic clock, in seconds, as the core's nanoseconds."""
    if deadline == math.inf:
        return (1 << 63) - 1
    left = max(deadline - time.monotonic(), 0.0)
    return int(lib.aie_now()) + int(min(left, 1e9) * 1e9)


class AtomicWords(_Words):
    """The words of an array of the atomic core."""

    __slots__ = ("_array", "_found")

    def __init__(self, mapping: Mapping, place: python_row.Place) -> None:
        super().__init__(
            mapping,
            _place_of(
                mapping, place.word_offset, place.control_offset, place.word_stride, place.length
            ),
        )
        self._array = ffi.addressof(self._place, "words")
        self._found = 0  # where claim() begins

    def number(self, index: int) -> int:
        return lib.aie_array_value(self._array, index)  # type: ignore[no-any-return]

    def numbers(self, chosen: slice = python_row.ALL) -> list[int]:
        count = self._array.count
        if chosen is not python_row.ALL:
            return [self.number(index) for index in range(*chosen.indices(count))]
        values = ffi.new("int32_t[]", count)
        lib.aie_array_read(self._array, values)
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
        return self._write(index, _ANY, desired)

    def compare_and_set(self, index: int, expected: int, desired: int) -> bool:
        return self._write(index, expected, desired) != _OTHER

    def fill(self, start: int, desired: int) -> int:
        index: int = lib.aie_cffi_fill(self._place, start, desired)
        if index < 0:
            raise_result(_RESULT - index)
        if index == self._array.count:
            return index
        self.exchange(index, desired)
        return index + 1

    def claim(self, expected: int, desired: int, deadline: float, at_last: bool) -> int | None:  # noqa: FBT001
        wait = False
        while self._closed is None:
            how = (self._found, expected, desired, wait, at_last)
            index: int = lib.aie_cffi_claim(self._place, *how)
            if index > _RESULT:
                self._found = index
                return index
            if index == _OTHER:
                return None
            if index != _LOCKED:
                raise_result(_RESULT - index)
            if deadline and time.monotonic() >= deadline:
                return None
            wait = True
        raise self._closed.error()

    def watcher(self, goal: python_bound.Goal, every: bool, guard: Guard | None) -> AtomicWatcher:  # noqa: ARG002, FBT001
        return AtomicWatcher(self, goal, every=every)

    def mover(self, before: bytes, guard: Guard | None) -> AtomicWatcher:  # noqa: ARG002
        return AtomicWatcher(self, python_row.ANYTHING, before=before)


class AtomicWatcher:
    """One wait for words of an array."""

    __slots__ = ("_array", "_before", "_numbers", "_watch", "_words")

    def __init__(
        self,
        words: AtomicWords,
        goal: python_bound.Goal,
        *,
        every: bool = False,
        before: bytes | None = None,
    ) -> None:
        self._words = words
        self._array = words._array
        self._numbers = ffi.new("int32_t[]", list(goal.numbers))  # of which _watch has the address
        wanted = (self._numbers, len(self._numbers), goal.leave)
        self._before = ffi.NULL if before is None else ffi.from_buffer("int32_t[]", before)
        self._watch = ffi.new("aie_watch *", (wanted, every, 0, self._before))

    def look(self) -> int | None:
        met = lib.aie_watch_met(self._array, self._watch)
        return self._watch.index if met else None

    def is_own(self) -> bool:
        return bool(lib.aie_cffi_watch_is_own(self._words._place, self._watch))

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
    _atomic_word = AtomicWord


class Array(_Closing, python_row.Array):
    """An array on the atomic core."""

    __slots__ = ()
    _atomic_words = AtomicWords


class Lock:
    """The robust, re-entrant lock of one value, as multiprocessing's SemLock."""

    __slots__ = ("_address", "_control", "_place", "_use", "abandoned")

    _address: Any
    _control: Any
    _place: Any
    _use: Any
    abandoned: bool

    def __new__(cls, mapping: Any, word_offset: int, control_offset: int) -> Self:
        """Make the lock of a word; RuntimeError where it cannot be had."""
        if mapping.elsewhere:
            raise_result(lib.AIE_ELSEWHERE)
        lock = super().__new__(cls)
        lock._use = mapping.use
        lock._address = mapping.at("aie_word", word_offset)
        lock._control = mapping.at("aie_control", control_offset)
        lock.abandoned = False
        lock._place = _place_of(mapping, word_offset, control_offset)
        return lock

    # At exit it may outlive the module's globals.
    def __del__(self, goes: Any = lib.aie_cffi_lock_goes) -> None:
        if hasattr(self, "_place"):
            goes(self._place)

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:  # noqa: FBT001, FBT002
        """Acquire: True, or False if not ``block`` or after ``timeout`` seconds."""
        deadline = deadline_of(timeout, negative=True)
        return self._acquire(deadline if block else 0.0, quietly=False)

    def acquire_quietly(self) -> bool:
        """Acquire for a write: the report of a death stays for an explicit acquire."""
        return self._acquire(math.inf, quietly=True)

    def _acquire(self, deadline: float, *, quietly: bool) -> bool:
        # A signal handler may raise right after the call, and then the lock stays taken.  Every
        # lock in Python has this gap, multiprocessing's too.  guarded() closes it for writes.
        # First it does not wait, but for who has waited long; then in slices of the core's.
        until = -core_deadline(deadline) if deadline > 0.0 else 0
        try:
            while (result := lib.aie_cffi_lock(self._place, quietly, until)) == _BUSY:
                if time.monotonic() >= deadline:
                    return False
                until = min(core_deadline(deadline), lib.aie_now() + lib.AIE_SLICE)
        except BaseException:
            # A signal handler raised after the slice that took the lock.  The lock was somebody
            # else's before, so this thread has it from this call.
            if until > 0 and self._is_mine():
                self.release()
            raise
        if result not in (_OK, _OUTERMOST, _ABANDONED):
            raise_result(result)
        if result != _OK and not quietly:
            self.abandoned = result == _ABANDONED
        return True

    def release(self) -> None:
        """Undo one acquire; RuntimeError if this thread does not hold the lock."""
        result = lib.aie_cffi_lock_release(self._place)
        if result != _OK:
            raise_result(result)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *args: object) -> None:
        self.release()

    def depth(self) -> int:
        """Tell how often this thread holds it."""
        return self._count() if self._is_mine() else 0

    def _is_mine(self) -> bool:
        return bool(lib.aie_cffi_is_mine(self._place))

    def _count(self) -> int:
        return int(lib.aie_lock_depth_in_process(self._control))

    def _is_zero(self) -> bool:
        return bool(lib.aie_cffi_is_locked(self._address))

    def _get_value(self) -> int:
        return int(not self._is_zero())


#: See Backend.
expire = lib.aie_regions_expire
end = lib.aie_regions_end


def own_guard() -> None:
    """Return nothing: writes take no lock."""
