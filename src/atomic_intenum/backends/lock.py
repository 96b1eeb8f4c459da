"""The lock-based path, in pure Python: every write of a value holds that value's lock.

The way of multiprocessing.Value: where there is no compiled core, or on request.  Reads take no
lock: an aligned load of eight bytes, through a memoryview, is one instruction.
"""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import struct
import time
from collections import deque
from typing import Any

from .. import process
from ..given_lock import Guard, LockLike
from ..layout import HEADER, HEADER_OFFSET, KIND_ARRAY, MAGIC
from . import python_bound, python_row, python_value
from .contract import PROTOCOL_LOCK
from .lock_array import LockedWords, advance, event_of, nap
from .python_bound import Table, document

__all__ = ["Array", "Mapping", "Table", "Value", "document"]

NAME = "lock"
PROTOCOL = PROTOCOL_LOCK
ABI = (0, 0, 64)
INHERITED_ONLY = True

_QWORD = struct.Struct("=Q")

#: Locks of values that are gone.  A semaphore's own end talks to the resource tracker, and garbage
#: collection may come anywhere, in the tracker's code too: so it waits here for the next value.
_graveyard: deque[LockLike] = deque()


class _OwnGuard(Guard):
    """A guard over a lock that nobody gave."""

    __slots__ = ()

    #: Kept here: at exit a guard may outlive the module's globals.
    _bury = _graveyard.append

    def __del__(self) -> None:
        if hasattr(self, "lock"):  # a signal handler may have ended __init__
            self._bury(self.lock)


class Mapping(mmap.mmap):
    """One mapped segment; unmapped when the last object that uses it is gone."""

    def view(self) -> memoryview:
        return memoryview(self)

    def prepare(self, offset: int, count: int, /) -> None:
        """Do nothing: control blocks belong to the atomic core."""

    def publish(self) -> None:
        """Store the magic.

        No release is needed: such a segment reaches other processes by inheritance, through
        system calls that order memory.
        """
        _QWORD.pack_into(self, 0, MAGIC)

    def published(self) -> int:
        (magic,) = _QWORD.unpack_from(self, 0)
        return int(magic)


class LockedWord:
    """A state word whose writers hold the value's lock."""

    __slots__ = ("_cell",)

    def __init__(self, mapping: Mapping, word_offset: int) -> None:
        # A view of this word alone: nothing is multiplied in the hot path.
        self._cell = memoryview(mapping)[word_offset : word_offset + 8].cast("Q")

    def number(self) -> int:
        return python_value.value_of(self._cell[0])

    def version(self) -> int:
        return self._cell[0] >> python_value.VERSION_SHIFT

    def first(self, number: int) -> None:
        self._cell[0] = number & python_value.VALUE_MASK

    def held_here(self) -> bool:
        return False

    def sleep(self, goal: python_bound.Goal, deadline: float, first: bool) -> None:  # noqa: FBT001
        now = time.monotonic()
        until = min(deadline, now + 0.25)
        began = now if first else now - 0.25  # a wait that goes on naps as long as it did
        while not goal.met(self.number()) and now < until:
            time.sleep(min(nap(now - began), until - now))
            now = time.monotonic()

    def exchange(self, desired: int) -> int:
        seen = self._cell[0]
        self._cell[0] = python_value.successor(seen, desired)
        return python_value.value_of(seen)

    def compare_and_set(self, expected: int, desired: int) -> bool:
        seen = self._cell[0]
        if python_value.value_of(seen) != expected:
            return False
        self._cell[0] = python_value.successor(seen, desired)
        return True


class WatchedWord(LockedWord):
    """A state word of an array: its writers tell those who watch the whole segment."""

    __slots__ = ("_event",)

    def __init__(self, mapping: Mapping, word_offset: int) -> None:
        super().__init__(mapping, word_offset)
        self._event = event_of(mapping)

    def exchange(self, desired: int) -> int:
        before = super().exchange(desired)
        advance(self._event)
        return before

    def compare_and_set(self, expected: int, desired: int) -> bool:
        written = super().compare_and_set(expected, desired)
        if written:
            advance(self._event)
        return written


class Value(python_value.Value):
    """A value whose writers hold its guard's lock."""

    __slots__ = ()

    @staticmethod
    def _atomic_word(mapping: Mapping, word_offset: int, control_offset: int) -> LockedWord:  # noqa: ARG004
        kind = HEADER.unpack_from(mapping, HEADER_OFFSET)[-1]
        return (WatchedWord if kind == KIND_ARRAY else LockedWord)(mapping, word_offset)


class Array(python_row.Array):
    """An array whose writers hold one lock, whichever word they write."""

    __slots__ = ()

    @staticmethod
    def _atomic_words(mapping: Mapping, place: python_row.Place) -> LockedWords:
        return LockedWords(mapping, place)


def Lock(*_: object) -> Any:  # noqa: N802
    """Raise: every value here has a guard, and that guard's lock is its lock."""
    message = "a value of the lock-based path has a lock from the start"
    raise RuntimeError(message)


def is_mapped(device: int, inode: int) -> bool:  # noqa: ARG001
    return False


def own_guard() -> Guard:
    """Return a guard over a new RLock.

    Of the spawn context: its semaphores serve every start method, the fork context's refuse to go
    to children of spawn.
    """
    return process.creating.call(_make_guard)


def _make_guard() -> Guard:
    # The tracker's lock is not re-entrant on every version, and a semaphore that is collected as
    # garbage while another is made would ask for it.
    collects = gc.isenabled()
    try:
        gc.disable()
        _graveyard.clear()
        process.ensure_tracker()
        return _OwnGuard(multiprocessing.get_context("spawn").RLock(), own=True)
    finally:
        if collects:
            gc.enable()


def prepare_class(cls: type[Any], base: type[Any]) -> None:
    """Do nothing: methods in Python are as fast inherited."""
