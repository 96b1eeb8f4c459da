"""The board of gunicorn's workers: a row for each worker, in memory that all of them share.

gunicorn imports this module once, in the parent, and its workers inherit the board by fork. A
reload (SIGHUP) runs gunicorn.conf.py again, and finds this module and its board as they were.
"""

from __future__ import annotations

from enum import IntEnum

from atomic_intenum import IntEnumArray, IntEnumValue


class Status(IntEnum):
    """What a worker is doing."""

    FREE = 0  # no worker has this row
    STARTING = 1
    IDLE = 2
    BUSY = 3
    DEAD = 4  # its worker was killed; the next worker takes the row


class Board(IntEnumArray[Status]):
    """A row for each worker."""


board = Board(
    size=64,  # more than workers: a reload starts the new ones before it stops the old ones
    initial=Status.FREE,
    # Whoever writes one of these answers for the row: if that process dies, the row is DEAD.
    on_death={
        Status.STARTING: Status.DEAD,
        Status.IDLE: Status.DEAD,
        Status.BUSY: Status.DEAD,
    },
)

#: This worker's row; None in the parent.
row: IntEnumValue[Status] | None = None


def take() -> None:
    """In a new worker: take a row, a dead worker's if there is one."""
    global row
    for left in (Status.DEAD, Status.FREE):
        index = board.claim(left, Status.STARTING)
        if index is not None:  # 0 is an index
            row = board.at(index)
            return
    raise RuntimeError(f"all {len(board)} rows of the board are taken")


def leave() -> None:
    """In a worker that ends: give the row back."""
    if row is not None:
        row.set(Status.FREE)


def say(status: Status) -> None:
    """In a worker: say what it is doing."""
    if row is not None:
        row.set(status)


def rows() -> list[dict[str, int | str | None]]:
    """Return what the board says of each worker."""
    owners = board.owners()  # first of all: it makes dead workers' rows DEAD
    return [
        {"row": index, "pid": pid, "status": status.name}
        for index, (pid, status) in enumerate(zip(owners, board, strict=True))
        # A row that was taken since has no pid here: the next answer has it.
        if status is Status.DEAD or (pid is not None and status is not Status.FREE)
    ]
