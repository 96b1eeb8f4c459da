"""The lock-based path, in pure Python: every write of a value holds that value's lock.

The way of multiprocessing.Value: where there is no compiled core, or on request.  Reads take no
lock: an aligned load of eight bytes, through a memoryview, is one instruction.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from typing import TYPE_CHECKING

from ..given_lock import Guard, LockLike
from ..layout import HEADER, HEADER_OFFSET, KIND_ARRAY
from . import python_bound, python_row, python_value
from .lock_array import LockedWords, advance, event_of, nap
from .python_bound import Table, document, prepare_class

if TYPE_CHECKING:
    from .contract import Mapping

__all__ = ["Array", "Table", "Value", "document", "prepare_class"]

NAME = "lock"
ABI = (0, 0, 64)
INHERITED_ONLY = True

#: Locks of values that are gone.  Where fork is not the default, freeing a semaphore calls
#: multiprocessing's resource tracker.  Garbage collection may run anywhere, in the tracker's code
#: too.  So a lock waits here until the next value is made.
_graveyard: deque[LockLike] = deque()


class _OwnGuard(Guard):
    """The guard of a value that was given no lock."""

    __slots__ = ()

    #: Kept here: at exit a guard may outlive the module's globals.
    _bury = _graveyard.append

    def __del__(self) -> None:
        if hasattr(self, "lock"):  # a signal handler may have ended __init__
            self._bury(self.lock)


class LockedWord:
    """A state word whose writers hold the value's lock."""

    __slots__ = ("_cell", "_event")

    def __init__(self, mapping: Mapping, word_offset: int, _control_offset: int) -> None:
        # A view of this word alone, so that reading needs no arithmetic.
        self._cell = mapping.view()[word_offset : word_offset + 8].cast("Q")
        #: An array's event word, which a write advances for those who watch the array.
        self._event: memoryview | None = None
        if HEADER.unpack_from(mapping.view(), HEADER_OFFSET)[1] == KIND_ARRAY:
            self._event = event_of(mapping)

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
        began = now if first else now - 0.25  # a wait that goes on begins with long naps
        while not goal.met(self.number()) and now < until:
            time.sleep(min(nap(now - began), until - now))
            now = time.monotonic()

    def exchange(self, desired: int) -> int:
        seen = self._cell[0]
        self._cell[0] = python_value.successor(seen, desired)
        if self._event is not None:
            advance(self._event)
        return python_value.value_of(seen)

    def compare_and_set(self, expected: int, desired: int) -> bool:
        seen = self._cell[0]
        if python_value.value_of(seen) != expected:
            return False
        self._cell[0] = python_value.successor(seen, desired)
        if self._event is not None:
            advance(self._event)
        return True


class Value(python_value.Value):
    """A value whose writers hold its guard's lock."""

    __slots__ = ()
    _atomic_word = LockedWord


class Array(python_row.Array):
    """An array whose writers hold one lock, whichever word they write."""

    __slots__ = ()
    _atomic_words = LockedWords


class Lock:
    """Nobody makes one: a value's lock is multiprocessing's."""

    __slots__ = ()


def expire() -> None:
    """Do nothing: its memory has no names."""


end = expire


def own_guard() -> Guard:
    """Return a guard over a new RLock of the default start method's context."""
    _graveyard.clear()
    method = multiprocessing.get_start_method(allow_none=True)
    # get_context() without an argument would settle the method for the whole program.
    context = multiprocessing.get_context(method or multiprocessing.get_all_start_methods()[0])
    return _OwnGuard(context.RLock(), own=True)
