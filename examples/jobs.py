"""A job table that survives kill -9: a killed worker's job is done by another worker.

    python examples/jobs.py

starts three workers, kills one in the middle of a job, and prints who does what:

    4711 does job 0
    4712 does job 1
    4713 does job 2
    kill -9 4711, in the middle of job 0
    4712 does job 0
    ...
    12 of 12 jobs are DONE; exit codes: -9, 0, 0

Nobody restarts the killed worker, and nobody looks for its job. The table has on_death=: a job
that is RUNNING belongs to the process that claimed it, and is PENDING again if that process dies.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from enum import IntEnum
from multiprocessing import Process
from pathlib import Path

from atomic_intenum import IntEnumArray


class Job(IntEnum):
    """What becomes of a job."""

    PENDING = 1
    RUNNING = 2
    DONE = 3


class Jobs(IntEnumArray[Job]):
    """The table: a word for each job."""


def do(index: int, folder: Path) -> None:
    """Do a job. To do it twice leaves the same as to do it once."""
    print(os.getpid(), "does job", index, flush=True)
    time.sleep(0.2)  # here goes the work
    draft = folder / f"{index}.{os.getpid()}"
    draft.write_text(f"{index} squared is {index * index}")
    draft.replace(folder / f"{index}.txt")


def work(jobs: Jobs, folder: Path) -> None:
    """Be a worker: claim jobs, do them and commit them, until all are DONE."""
    while jobs.count(Job.DONE) < len(jobs):
        index = jobs.claim(Job.PENDING, Job.RUNNING, timeout=0.5)  # seconds
        if index is None:  # 0 is an index
            continue  # the others have what is left, and one of them may die
        do(index, folder)
        # False: somebody else has decided about this job, an operator perhaps.
        jobs.compare_and_set(index, Job.RUNNING, Job.DONE)


def kill_one(jobs: Jobs) -> None:
    """Kill a worker that has a job, as the kernel does when memory runs out."""
    while True:
        index = jobs.wait_any(Job.RUNNING, timeout=20)
        time.sleep(0.1)  # by now it is in the middle
        pid = jobs.owner(index)  # None: it was done meanwhile
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            print("kill -9", f"{pid}, in the middle of job {index}", flush=True)
            return


def main() -> None:
    """Make the table, start the workers, and wait until all jobs are done."""
    jobs = Jobs(12, Job.PENDING, on_death={Job.RUNNING: Job.PENDING})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workers = [Process(target=work, args=(jobs, folder)) for _ in range(3)]
        for worker in workers:
            worker.start()
        kill_one(jobs)
        jobs.wait_all(Job.DONE, timeout=60)
        for worker in workers:
            worker.join()
        codes = ", ".join(str(code) for code in sorted(worker.exitcode or 0 for worker in workers))
        done = len(list(folder.glob("*.txt")))
    print(f"{done} of {len(jobs)} jobs are DONE; exit codes: {codes}")


if __name__ == "__main__":
    main()
