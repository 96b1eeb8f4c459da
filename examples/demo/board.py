"""What all processes share: what the workers do, and what became of the jobs."""

from enum import IntEnum
from multiprocessing.sharedctypes import RawArray
from typing import Any

from files import SIZE

from atomic_intenum import IntEnumArray

#: What a worker does.  PyPy would turn the order of ``STARTING, WAITING, ... = 1, 2, ...``.
State = IntEnum("State", "STARTING WAITING HASHING DEAD")

#: What became of a file to hash; OVER: there will be no more, in one more word at the end.
Job = IntEnum("Job", "COMING PENDING RUNNING DONE OVER")


class Common:
    """The two boards; and plain memory, without a lock that a killed process could keep."""

    def __init__(self, paths: list[str], times: int, workers: int, processes: int) -> None:
        self.paths, self.total, size = paths, len(paths) * times, len(paths) * times + 1
        # Who owns a worker and dies makes it DEAD; who has claimed a job and dies gives it back.
        self.board = IntEnumArray[State](workers, State.STARTING, on_death=State.DEAD)
        self.jobs = IntEnumArray[Job](size, Job.COMING, on_death={Job.RUNNING: Job.PENDING})
        self.digests: Any = RawArray("B", SIZE * self.total)
        # Of each process: sleeps for a job, jobs that another took first, and refused commits.
        self.sleeps, self.races, self.refused = (RawArray("q", processes) for _ in range(3))
        bounds = [workers * number // processes for number in range(processes + 1)]
        self.shares = list(map(range, bounds, bounds[1:]))
        self.lasts = 0.0  # seconds of a job, on the average
