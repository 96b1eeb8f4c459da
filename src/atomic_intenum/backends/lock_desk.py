"""The lock-based path's desk of an event loop: nobody tells it, so the loop looks in naps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .lock_array import nap
from .python_row import Array

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two looks at what may move and not be counted: a writer to an array may be killed
#: before it counts its write, and an owner at any time.
_ALL = 0.2

#: How much longer than a look works the loop naps: so it takes no more than 2 % of a core.
_SELDOM = 50


class Desk:
    """What one event loop looks at."""

    __slots__ = ("_again", "_cost", "_moved", "_next", "_owned", "_since", "_watched")

    def __init__(self) -> None:
        self._next = 0
        #: By slot: what shows a write, what it showed, and whether that is all there is to know.
        self._watched: dict[int, tuple[Callable[[], object], object, bool]] = {}
        self._moved: dict[int, tuple[Callable[[], object], object, bool]] = {}
        #: By slot: words that processes may own, and their guard.
        self._owned: dict[int, tuple[Any, Any]] = {}
        self._again = 0.0
        self._since = 0.0  # nothing has moved
        self._cost = 0.0  # of the last look

    def fileno(self) -> int:
        return -1

    def nap(self) -> float:
        return max(nap(time.monotonic() - self._since), self._cost * _SELDOM, 0.0005)

    def watch(self, of: Any) -> int:
        binding = of._atomic_open()
        words = binding.words
        whole = isinstance(of, Array)

        def shown() -> object:
            return words.event[()] if whole else (words.number(), words.version())

        self._next += 1
        self._since = time.monotonic()
        if binding.mapping.owned:
            self._owned[self._next] = words, binding.guard
        self._watched[self._next] = shown, shown(), not (whole or binding.mapping.owned)
        return self._next

    def watch_on(self, slot: int, content: bool) -> None:  # noqa: ARG002, FBT001
        moved = self._moved.get(slot)
        if moved is not None:
            self._watched[slot] = moved
            del self._moved[slot]

    def unwatch(self, slot: int) -> None:
        self._watched.pop(slot, None)
        self._moved.pop(slot, None)
        self._owned.pop(slot, None)

    def take(self) -> list[int]:
        now = time.monotonic()
        # Who is held up has not worked; and Windows counts work in ticks, 64 a second.
        began, worked = time.perf_counter(), time.thread_time()
        everything = now >= self._again
        if everything:
            self._again = now + _ALL
            for words, guard in list(self._owned.values()):
                words.notice(guard)
        for slot, (shown, before, counted) in list(self._watched.items()):
            shows = shown()
            if shows != before:
                self._since = now
            elif counted or not everything:
                continue
            self._moved[slot] = shown, shows, counted
            self._watched.pop(slot, None)
        self._cost = min(time.perf_counter() - began, time.thread_time() - worked)
        return list(self._moved)
