"""The words of an array on the lock-based path, in pure Python.

Writers hold the array's one lock.  Whoever watches the segment looks at its event word, which each
writer advances after its write: so a watcher need not look at every word again and again.  It does
so once in 250 ms all the same: a writer may be killed between its write and the event word.
Values and versions are where those of single values are: lock.py.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from .. import layout
from . import python_bound, python_row
from .lock_owners import OWNER, PROCESS

if TYPE_CHECKING:
    from ..given_lock import Guard
    from .contract import Mapping
    from .lock_owners import Owners

#: Seconds.  In Python a nap costs 20 to 130 us of processor time (the most where the processor
#: halts meanwhile), and a sleeper may take no more than 1 % of a core.
_SHORTEST, _LONGEST = 1e-6, 32e-3

#: Words that are written or searched at a time.
_BLOCK = 1024

#: The bytes of a value, the lowest first.
_BYTES = range(4) if sys.byteorder == "little" else range(3, -1, -1)

#: From one version to the next: control blocks are on lines of their own.
_LEAP = layout.LINE // 8


def event_of(mapping: Mapping) -> memoryview:
    """Return a segment's event word, which has its cache line for itself."""
    return mapping.view()[layout.EVENT_OFFSET : layout.EVENT_OFFSET + 8].cast("q", shape=())


def nap(slept: float) -> float:
    """Return how long a wait naps next, after it has slept so long; both in seconds.

    A quarter of them, as in csrc/park_nap.h: nobody wakes anybody here, and what comes soon is
    seen soon.
    """
    return min(max(slept / 4, _SHORTEST), _LONGEST)


class LockedWords:
    """The words of an array whose writers hold its lock."""

    __slots__ = ("_found", "cells", "event", "step", "values", "writes")

    def __init__(self, mapping: Mapping, place: python_row.Place) -> None:
        begin = place.word_offset + layout.VALUE_OFFSET
        end = begin + place.length * place.word_stride
        #: Each step-th is a value.  For writing: PyPy takes a wrong place in a view with steps.
        self.cells = mapping.view()[begin:end].cast("i")
        self.step = place.word_stride // 4
        self.values = self.cells[:: self.step]
        begin, end = place.control_offset, place.control_offset + place.length * layout.LINE
        #: Each _LEAP-th is a word's version.
        self.writes = mapping.view()[begin:end].cast("q")
        self.event = event_of(mapping)
        self._found = 0  # where claim() begins

    def number(self, index: int) -> int:
        return self.values[index]

    def numbers(self, chosen: slice = python_row.ALL) -> list[int]:
        if python_bound.HAS_GIL:
            return self.values[chosen].tolist()
        return list(map(self.values.__getitem__, range(*chosen.indices(len(self.values)))))

    def count(self, number: int) -> int:
        return self.numbers().count(number)

    def counts(self, table: python_bound.Table) -> dict[int, int]:
        if all(0 <= number < 256 for number in table.members):
            # One copy, of which C counts the values' lowest bytes; the others have to be 0.
            copied, stride = self.cells.tobytes(), 4 * self.step
            low, *rest = (copied[byte::stride] for byte in _BYTES)
            counted = {number: low.count(number) for number in table.members}
            if sum(counted.values()) == len(low) and not any(part.strip(b"\0") for part in rest):
                return counted
        return Counter(self.numbers())

    def exchange(self, index: int, desired: int) -> int:
        seen = self.values[index]
        self.cells[index * self.step] = desired
        self.writes[index * _LEAP] += 1
        self.event[()] += 1
        return seen

    def compare_and_set(self, index: int, expected: int, desired: int) -> bool:
        if self.values[index] != expected:
            return False
        self.exchange(index, desired)
        return True

    def fill(self, start: int, desired: int) -> int:
        end = min(start + _BLOCK, len(self.values))
        for index in range(start, end):
            self.exchange(index, desired)
        return end

    def find(self, number: int) -> int | None:
        for start, end in ((self._found, len(self.values)), (0, self._found)):
            for block in range(start, end, _BLOCK):
                values = self.numbers(slice(block, min(block + _BLOCK, end)))
                if number in values:
                    return block + values.index(number)
        return None

    def claim(self, expected: int, desired: int, deadline: float, at_last: bool) -> int | None:  # noqa: ARG002, FBT001
        index = self.find(expected)
        while index is not None and self.given_back(index):
            index = self.find(expected)
        if index is not None:
            self._found = index
            if not self.compare_and_set(index, expected, desired):
                return None  # this process ends, and it is somebody else's
        return index

    def given_back(self, index: int) -> bool:  # noqa: ARG002
        return False

    def watcher(self, goal: python_bound.Goal, every: bool, guard: Guard | None) -> LockedWatcher:  # noqa: FBT001
        return LockedWatcher(self, goal, guard, every=every)

    def mover(self, before: bytes, guard: Guard | None) -> LockedWatcher:
        return LockedMover(self, before, guard)


class OwnedWords(LockedWords):
    """The words of an array with owners."""

    __slots__ = ("guard", "owners")

    guard: Guard | None

    def __init__(self, mapping: Any, place: python_row.Place) -> None:
        super().__init__(mapping, place)
        self.owners: Owners = mapping.owners_here

    def notice(self, guard: Guard | None) -> None:
        self.owners.recover(0, len(self.values), guard)

    def given_back(self, index: int) -> bool:
        """Give a word back, if a dead process owns it, and not claim it for that."""
        return self.owners.give_back(index, self.guard)

    def exchange(self, index: int, desired: int) -> int:
        index %= len(self.values)
        seen, cell = self.values[index], index * _LEAP
        cells = self.owners.cells
        after = self.owners.cells_after(index, desired, self.guard)
        # No call from here on, where a signal handler might raise.
        self.cells[index * self.step] = desired
        cells[cell + PROCESS] = after[1]
        cells[cell + OWNER] = after[0]
        self.writes[cell] += 1
        self.event[()] += 1
        return seen

    def compare_and_set(self, index: int, expected: int, desired: int) -> bool:
        if self.values[index] != expected or self.owners.is_late(index, expected):
            return False
        if expected != desired:
            self.exchange(index, desired)
            return True
        super().exchange(index, desired)  # who writes what was there does not become its owner
        return True


def locked_words(mapping: Any, place: python_row.Place) -> LockedWords:
    """Return the words of an array."""
    return (OwnedWords if mapping.owned else LockedWords)(mapping, place)


class LockedWatcher:
    """One wait for words of an array."""

    __slots__ = ("_event", "_every", "_goal", "_guard", "_since", "_values")

    def __init__(
        self, words: LockedWords, goal: python_bound.Goal, guard: Guard | None, *, every: bool
    ) -> None:
        self._values = words.values
        self._event = words.event
        self._goal = goal
        self._guard = guard
        self._every = every
        self._since = time.monotonic()  # nobody has written

    def look(self) -> int | None:
        goal = self._goal
        values = self._values.tolist()
        if self._every:
            return 0 if all(goal.met(number) for number in set(values)) else None
        meeting = [number for number in set(values) if goal.met(number)]
        return min(values.index(number) for number in meeting) if meeting else None

    def is_own(self) -> bool:
        return self._guard is not None and self._guard.held_here()

    def sleep(self, deadline: float, first: bool) -> int | None:  # noqa: ARG002, FBT001
        # The event word first: a write after this is seen by it, one before by the look.
        seen = self._event[()]
        found = self.look()
        now = time.monotonic()
        until = min(deadline, now + 0.25)
        while found is None and now < until:
            if self._event[()] != seen:
                self._since = now  # somebody writes: more may come soon
                break
            time.sleep(min(nap(now - self._since), until - now))
            now = time.monotonic()
        return self.look() if found is None else found


class LockedMover(LockedWatcher):
    """One wait for any change of an array."""

    __slots__ = ("_before",)

    def __init__(self, words: LockedWords, before: bytes, guard: Guard | None) -> None:
        super().__init__(words, python_row.ANYTHING, guard, every=False)
        self._before = before

    def look(self) -> int | None:
        return None if self._values.tobytes() == self._before else 0
