"""The monitor: looks at the board, and draws what changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from board import WorkerStatus

if TYPE_CHECKING:
    from board import Board, Status
    from screen import Lines


class Look(NamedTuple):
    """What one look at the board shows.

    Attributes:
        statuses: of the workers.
        counts: how many workers have each status.
        transitions: of each worker's status, which are its version.
        files: that each worker has hashed.

    """

    statuses: list[Status]
    counts: dict[Status, int]
    transitions: list[int]
    files: list[int]


class Monitor:
    """Draws the board when it has changed, at most once in the screen's interval.

    Args:
        board: to look at.
        screen: to draw on.
        files: done by each worker, kept up to date by whoever hears of them.

    """

    def __init__(self, board: Board, screen: Lines, files: list[int]) -> None:
        self.looks = 0
        self._board = board
        # To read versions by.  All else is read from the board, in one call for all workers.
        self._values = [board.at(index, WorkerStatus) for index in range(len(board))]
        self._screen = screen
        self._files = files
        self._drawn: Look | None = None
        self._started = time.monotonic()
        self._next = self._started

    def elapsed(self) -> float:
        """Return the seconds since the monitor began."""
        return time.monotonic() - self._started

    def until_next(self) -> float:
        """Return the seconds until the next look is due; less than 0 if it is overdue."""
        return self._next - time.monotonic()

    def look(self) -> None:
        """Look if it is time to, and draw if anything has changed since the last drawing."""
        if self.until_next() > 0:
            return
        self._next = time.monotonic() + self._screen.interval
        self.look_now()

    def look_now(self) -> None:
        """Look whether it is time to or not, and draw if anything has changed."""
        self.looks += 1
        transitions = [value.version for value in self._values]
        look = Look(self._board.snapshot(), self._board.counts(), transitions, self._files[:])
        if look != self._drawn:
            self._drawn = look
            self._screen.show(self.elapsed(), look)

    def transitions(self) -> int:
        """Return the transitions of all statuses together."""
        return sum(value.version for value in self._values)
