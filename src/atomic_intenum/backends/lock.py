"""The lock-based path, in pure Python: every write of a value holds that value's lock.

The way of multiprocessing.Value: where there is no compiled core, or on request.  Reads take no
lock: an aligned load through a memoryview is one instruction.  So is a store.

Value and version have cells of their own, so that nobody takes a word apart: the value, of 32 bits,
where the core has it; the version, of 64, where the core has the value's lock.  A write stores the
value first.  So nobody takes an old value for the new version's, where the processor shows stores
in their order, as x86-64 does.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import sys
import time
from collections import deque
from functools import partial
from operator import getitem
from typing import TYPE_CHECKING, Any

from ..given_lock import Guard, LockLike, guarded, is_mine
from ..layout import HEADER, HEADER_OFFSET, KIND_ARRAY, LINE, VALUE_OFFSET
from ..process import after_fork_in_child
from . import python_bound, python_row, python_value
from .lock_array import event_of, locked_words, nap
from .lock_desk import Desk
from .lock_owners import OWNER, PROCESS, Owners, end
from .python_bound import Table, document, prepare_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from .contract import Mapping

__all__ = ["Array", "Desk", "Owners", "Table", "Value", "document", "end", "prepare_class"]

NAME = "lock"
ABI = (0, 0, LINE)
INHERITED_ONLY = True

#: Locks of values that are gone.  Where fork is not the default, freeing a semaphore calls
#: multiprocessing's resource tracker.  Garbage collection may run anywhere, in the tracker's code
#: too.  So a lock waits in the last of these until the next value is made.  Without a GIL a fork's
#: child leaves the parent's alone: another thread may have been changing it.
_graveyards: list[deque[LockLike]] = [deque()]
if not python_bound.HAS_GIL:
    after_fork_in_child(lambda: _graveyards.append(deque()))


class _OwnGuard(Guard):
    """The guard of a value that was given no lock."""

    __slots__ = ()

    #: Kept here: at exit a guard may outlive the module's globals.
    _yards = _graveyards

    def __del__(self) -> None:
        if hasattr(self, "lock"):  # a signal handler may have ended __init__
            self._yards[-1].append(self.lock)


class LockedWord:
    """A state word whose writers hold the value's lock.

    ``numbers``, of the table, and ``semlock``, of a guard that has one, are what set() needs.
    """

    __slots__ = ("cell", "event", "number", "numbers", "semlock", "writes")

    def __init__(self, mapping: Mapping, word_offset: int, control_offset: int) -> None:
        # Views of these cells alone, and without a dimension: an index takes a third of the time.
        begin, view = word_offset + VALUE_OFFSET, mapping.view()
        self.cell = view[begin : begin + 4].cast("i", shape=())
        #: Returns the value, without a frame of Python; this tolist() would abort PyPy.
        self.number: Callable[[], Any] = self.cell.tolist
        if sys.implementation.name != "cpython":
            self.number = partial(getitem, self.cell, ())
        self.writes = view[control_offset : control_offset + 8].cast("q", shape=())
        #: An array's event word, which a write advances for those who watch the array.
        self.event: memoryview | None = None
        if HEADER.unpack_from(view, HEADER_OFFSET)[1] == KIND_ARRAY:
            self.event = event_of(mapping)

    def version(self) -> int:
        return self.writes[()] % (1 << 19)  # as many as the core tells apart

    def first(self, number: int) -> None:
        self.cell[()] = number

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
        seen = self.cell[()]
        self.cell[()] = desired
        self.writes[()] += 1
        if self.event is not None:
            self.event[()] += 1
        return seen

    def compare_and_set(self, expected: int, desired: int) -> bool:
        if self.cell[()] != expected:
            return False
        self.exchange(desired)
        return True


class OwnedWord(LockedWord):
    """A word of a segment with owners.  It has no ``semlock``, so set() goes the long way."""

    __slots__ = ("guard", "index", "owner", "owners", "process")

    guard: Guard | None

    def __init__(self, mapping: Any, word_offset: int, control_offset: int) -> None:
        super().__init__(mapping, word_offset, control_offset)
        self.owners: Owners = mapping.owners_here
        self.index = self.owners.index_of(control_offset)
        self.owner, self.process = (
            mapping.view()[begin : begin + 8].cast("q", shape=())
            for begin in (control_offset + 8 * OWNER, control_offset + 8 * PROCESS)
        )

    def notice(self, guard: Guard | None) -> None:
        self.owners.recover(self.index, 1, guard)

    def exchange(self, desired: int) -> int:
        seen = self.cell[()]
        after = self.owners.cells_after(self.index, desired, self.guard)
        # No call from here on, where a signal handler might raise.
        self.cell[()] = desired
        self.process[()] = after[1]
        self.owner[()] = after[0]
        self.writes[()] += 1
        if self.event is not None:
            self.event[()] += 1
        return seen

    def compare_and_set(self, expected: int, desired: int) -> bool:
        if self.cell[()] != expected or self.owners.is_late(self.index, expected):
            return False
        if expected != desired:
            self.exchange(desired)
            return True
        super().exchange(desired)  # who writes what was there does not become its owner
        return True


def _word(mapping: Any, word_offset: int, control_offset: int) -> LockedWord:
    kind = OwnedWord if mapping.owned else LockedWord
    return kind(mapping, word_offset, control_offset)


class Value(python_value.Value):
    """A value whose writers hold its guard's lock."""

    __slots__ = ()
    _atomic_word = staticmethod(_word)

    def _atomic_bind_once(self, binding: python_bound.Binding[Any]) -> None:
        binding.words.numbers = binding.table.numbers
        if isinstance(binding.words, OwnedWord):
            binding.words.guard = binding.guard
        elif binding.guard is not None and binding.guard.semlock is not None:
            binding.words.semlock = binding.guard.semlock
        super()._atomic_bind_once(binding)

    def set(self, value: Any) -> None:
        # guarded() without its frames.  No call stands where KeyError would be taken for an answer:
        # a signal handler may raise it there.
        key = id(value)
        try:
            binding: Any = self._atomic_binding
            number = binding.words.numbers[key]
            semlock = binding.words.semlock
        except (AttributeError, KeyError):
            return python_value.Value.set(self, value)  # super() would cost every call
        mine = semlock._is_mine() and is_mine(semlock)
        try:
            if not mine:
                semlock.acquire()
            words = binding.words  # it may have been closed while this waited
            words.cell[()] = number
            writes = words.writes
            count = writes[()]  # `+= 1` takes 20 ns more
            writes[()] = count + 1
            if words.event is not None:
                words.event[()] += 1
            if not mine:
                semlock.release()
        except BaseException:
            if not mine:
                try:  # noqa: SIM105
                    semlock.release()
                except AssertionError:
                    pass
            raise


class Array(python_row.Array):
    """An array whose writers hold one lock, whichever word they write."""

    __slots__ = ()
    _atomic_words = staticmethod(locked_words)

    def _atomic_bind_once(self, binding: python_bound.Binding[Any]) -> None:
        if binding.mapping.owned:
            binding.words.guard = binding.guard
        super()._atomic_bind_once(binding)

    # The frequent case of either; the base sees to all others, and to every error.

    def __getitem__(self, index: Any) -> Any:
        if type(index) is int:
            try:
                binding: Any = self._atomic_binding
                return binding.table.members[binding.words.values[index]]
            except (AttributeError, LookupError, OverflowError):  # the last is PyPy's
                pass
        return super().__getitem__(index)

    def __setitem__(self, index: Any, member: Any) -> None:
        key = id(member)
        try:
            binding: Any = self._atomic_binding
            number = binding.table.numbers[key]
        except (AttributeError, KeyError):
            return super().__setitem__(index, member)
        length = len(binding.words.values)
        if type(index) is not int or not -length <= index < length:
            return super().__setitem__(index, member)
        guarded(binding.guard, lambda: binding.words.exchange(index, number))
        return None


class Lock:
    """Nobody makes one: a value's lock is multiprocessing's."""

    __slots__ = ()


def expire() -> None:
    """Do nothing: its memory has no names."""


def own_guard() -> Guard:
    """Return a guard over a new RLock of the default start method's context."""
    _graveyards[-1].clear()
    method = multiprocessing.get_start_method(allow_none=True)
    # get_context() without an argument would settle the method for the whole program.
    context = multiprocessing.get_context(method or multiprocessing.get_all_start_methods()[0])
    try:
        return _OwnGuard(context.RLock(), own=True)
    except OSError as error:
        limit = getattr(os, "sysconf_names", {}).get("SC_SEM_NSEMS_MAX")
        if error.errno != errno.EMFILE or not limit or os.sysconf(limit) != 256:  # musl's
            raise
        message = (
            "musl has room for 256 locks in a process, and each value and array takes one: "
            "make one array of many values, or give several values the same lock="
        )
        raise OSError(errno.EMFILE, message) from error
