"""The two boards that all processes share."""

from __future__ import annotations

from enum import IntEnum

from atomic_intenum import IntEnumArray


class State(IntEnum):
    """What a worker does."""

    STARTING = 1
    WAITING = 2
    HASHING = 3
    DEAD = 4


class Job(IntEnum):
    """What became of a file."""

    COMING = 1
    PENDING = 2
    RUNNING = 3
    DONE = 4
    OVER = 5  # the last word alone: there will be no more jobs


class Workers(IntEnumArray[State]):
    """A word for each worker; whoever owns one and dies makes it DEAD."""


class Jobs(IntEnumArray[Job]):
    """A word for each job, and one more for OVER; whoever claims one and dies gives it back."""


def make_boards(workers: int, jobs: int) -> tuple[Workers, Jobs]:
    """Return the boards for so many workers and jobs."""
    given_back = {Job.RUNNING: Job.PENDING}
    return (
        Workers(workers, State.STARTING, on_death=State.DEAD),
        Jobs(jobs + 1, Job.COMING, on_death=given_back),
    )
