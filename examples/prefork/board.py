"""The statuses of a web server's workers: a word for each, and the enum of what a worker does."""

from __future__ import annotations

from enum import IntEnum

from atomic_intenum import IntEnumArray, IntEnumValue

#: More than the server ever has workers.
SIZE = 64


class Status(IntEnum):
    """What a worker is doing."""

    FREE = 0  # no worker has this word
    STARTING = 1
    IDLE = 2
    BUSY = 3


class WorkerStatus(IntEnumValue[Status]):
    """One worker's status."""


class Board(IntEnumArray[Status]):
    """The statuses of all workers."""


def page(board: Board) -> bytes:
    """Return what a status page shows: how many workers are in each state."""
    board.recover()  # the words of workers that were killed, if the board has on_death=
    counts = board.counts()
    return "".join(f"{status.name} {counts[status]}\n" for status in Status).encode()
