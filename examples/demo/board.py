"""The statuses of all workers, side by side in one segment."""

from __future__ import annotations

from enum import IntEnum

from atomic_intenum import IntEnumArray, IntEnumValue


class Status(IntEnum):
    """What a worker is doing."""

    UNAVAILABLE = 1
    IDLE = 2
    CALCULATING = 3


class WorkerStatus(IntEnumValue[Status]):
    """One worker's status: what ``board.at(i, WorkerStatus)`` returns."""


class Board(IntEnumArray[Status]):
    """The statuses of all workers, shared by all processes."""
