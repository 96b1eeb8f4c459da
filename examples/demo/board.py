"""The two boards that all processes share: what the workers do, and what became of the jobs."""

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
    """A word for each worker; if the process that owns it dies, it becomes DEAD."""


class Jobs(IntEnumArray[Job]):
    """A word for each job; if the process that claimed it dies, it is given back."""


def make_boards(workers: int, jobs: int) -> tuple[Workers, Jobs]:
    """Return the boards of so many workers and jobs."""
    given_back = {Job.RUNNING: Job.PENDING}
    return (
        Workers(workers, State.STARTING, on_death=State.DEAD),
        Jobs(jobs + 1, Job.COMING, on_death=given_back),
    )
