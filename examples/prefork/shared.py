"""The board of this process and of those that it forks.

A module is imported once a process: a configuration that is read again (SIGHUP) finds the same
board.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from board import SIZE, Board, Status

if TYPE_CHECKING:
    from atomic_intenum import IntEnumValue

board = Board(SIZE, Status.FREE)

#: This worker's own status; None in the parent.
mine: IntEnumValue[Status] | None = None
