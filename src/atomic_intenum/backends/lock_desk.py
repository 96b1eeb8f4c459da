"""The lock-based path's desk of an event loop: nobody tells it, so the loop looks in naps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .lock_array import nap
from .python_row import Array

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two looks at all of it: a writer may have been killed before it counted its
#: write, and an owner at any time.
_ALL = 0.2


class Desk:
    """What one event loop looks at."""

    __slots__ = ("_again", "_next", "_since", "_told", "_watched")

    def __init__(self) -> None:
        self._next = 0
        #: By slot: what counts the writes, and what that was.
        self._watched: dict[int, tuple[Callable[[], int], int]] = {}
        self._told: dict[int, Callable[[], int]] = {}
        self._again = 0.0
        self._since = 0.0  # nothing has moved

    def fileno(self) -> int:
        return -1

    def nap(self) -> float:
        return max(nap(time.monotonic() - self._since), 0.0005)

    def watch(self, of: Any) -> int:
        words = of._atomic_open().words
        writes = words.event.tolist if isinstance(of, Array) else words.version
        self._next += 1
        self._since = time.monotonic()
        self._watched[self._next] = writes, writes()
        return self._next

    def watch_on(self, slot: int, content: bool) -> None:  # noqa: ARG002, FBT001
        writes = self._told.pop(slot)
        self._watched[slot] = writes, writes()

    def unwatch(self, slot: int) -> None:
        self._watched.pop(slot, None)
        self._told.pop(slot, None)

    def take(self, into: list[int]) -> None:
        now = time.monotonic()
        everything = now >= self._again
        if everything:
            self._again = now + _ALL
        for slot, (writes, seen) in list(self._watched.items()):
            moved = writes() != seen
            if moved:
                self._since = now
            if moved or everything:
                del self._watched[slot]
                self._told[slot] = writes
                into.append(slot)
