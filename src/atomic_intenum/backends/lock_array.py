"""The words of an array on the lock-based path, in pure Python.

Writers hold the array's one lock.  Whoever watches the segment looks at its event word, which each
writer advances after its write: so a watcher need not look at every word again and again.  It does
so once in 250 ms all the same: a writer may be killed between its write and the event word.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from .. import layout
from . import python_bound, python_value

if TYPE_CHECKING:
    from ..given_lock import Guard
    from .contract import Mapping
    from .python_row import Place

#: Seconds.  In Python a nap costs 20 to 130 us of processor time (the most where the processor
#: halts meanwhile), and a sleeper may take no more than 1 % of a core.
_SHORTEST, _LONGEST = 1e-6, 32e-3

#: Words that are written or searched at a time.
_BLOCK = 1024


def event_of(mapping: Mapping) -> memoryview:
    """Return a segment's event word."""
    return mapping.view()[layout.EVENT_OFFSET : layout.EVENT_OFFSET + 4].cast("I")


def advance(event: memoryview) -> None:
    """Tell the watchers of a write; the caller holds the array's lock, and has written."""
    event[0] = (event[0] + 2) & 0xFFFF_FFFF


def nap(slept: float) -> float:
    """Return how long a wait naps next, after it has slept so long; both in seconds.

    A quarter of them, as in csrc/park_poll.h: nobody wakes anybody here, and what comes soon is
    seen soon.
    """
    return min(max(slept / 4, _SHORTEST), _LONGEST)


class LockedWords:
    """The words of an array whose writers hold its lock."""

    __slots__ = ("_cells", "_event", "_found", "_step", "_values")

    def __init__(self, mapping: Mapping, place: Place) -> None:
        end = place.word_offset + place.length * place.word_stride
        content = mapping.view()[place.word_offset : end]
        # Contiguous: PyPy writes to the wrong place through a view with steps.
        self._cells = content.cast("Q")
        self._step = place.word_stride // 8
        self._values = content.cast("i")[layout.VALUE_OFFSET // 4 :: place.word_stride // 4]
        self._event = event_of(mapping)
        self._found = 0  # where claim() begins

    def number(self, index: int) -> int:
        return self._values[index]

    def numbers(self) -> list[int]:
        return self._values.tolist()

    def count(self, number: int) -> int:
        return self.numbers().count(number)

    def counts(self, table: python_bound.Table) -> dict[int, int]:  # noqa: ARG002
        return Counter(self.numbers())

    def exchange(self, index: int, desired: int) -> int:
        cell = index * self._step
        seen = self._cells[cell]
        self._cells[cell] = python_value.successor(seen, desired)
        advance(self._event)
        return python_value.value_of(seen)

    def compare_and_set(self, index: int, expected: int, desired: int) -> bool:
        if self._values[index] != expected:
            return False
        self.exchange(index, desired)
        return True

    def fill(self, start: int, desired: int) -> int:
        end = min(start + _BLOCK, len(self._values))
        for index in range(start, end):
            self.exchange(index, desired)
        return end

    def claim(self, expected: int, desired: int) -> int | None:
        for start, end in ((self._found, len(self._values)), (0, self._found)):
            for block in range(start, end, _BLOCK):
                values = self._values[block : min(block + _BLOCK, end)].tolist()
                if expected in values:
                    self._found = block + values.index(expected)
                    self.exchange(self._found, desired)
                    return self._found
        return None

    def watcher(self, goal: python_bound.Goal, every: bool, guard: Guard | None) -> LockedWatcher:  # noqa: FBT001
        return LockedWatcher(self, goal, guard, every=every)


class LockedWatcher:
    """One wait for words of an array."""

    __slots__ = ("_event", "_every", "_goal", "_guard", "_since", "_values")

    def __init__(
        self, words: LockedWords, goal: python_bound.Goal, guard: Guard | None, *, every: bool
    ) -> None:
        self._values = words._values
        self._event = words._event
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
        seen = self._event[0]
        found = self.look()
        now = time.monotonic()
        until = min(deadline, now + 0.25)
        while found is None and now < until:
            if self._event[0] != seen:
                self._since = now  # somebody writes: more may come soon
                break
            time.sleep(min(nap(now - self._since), until - now))
            now = time.monotonic()
        return self.look() if found is None else found
