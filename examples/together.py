"""Several values under one lock: they change together, and a killed writer does no harm.

    python examples/together.py

A status and a job's number belong together: a RUNNING worker has a job, an IDLE one has job 0,
which is none. One lock, the status's own, is for both. It prints

    seen while somebody wrote: IDLE without a job, RUNNING with a job
    a writer was killed between its two writes, and left RUNNING with job 0
    put right: IDLE with job 0

multiprocessing's own lock would stay taken by the killed writer, and everybody would hang.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from enum import IntEnum
from multiprocessing import Process
from typing import TYPE_CHECKING

from atomic_intenum import IntEnumValue

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized


class Status(IntEnum):
    """What the worker is doing."""

    IDLE = 1
    RUNNING = 2


class WorkerStatus(IntEnumValue[Status]):
    """The worker's status."""


class Worker:
    """A status and a job's number; a child gets both as an argument."""

    def __init__(self) -> None:
        self.status = WorkerStatus(Status.IDLE)
        self.lock = self.status.get_lock()
        self.job: Synchronized[int] = multiprocessing.Value("i", 0, lock=self.lock)

    def change(self, status: Status, job: int) -> None:
        """Write both; whoever reads them under the lock sees both or none."""
        with self.lock:
            self.status.set(status)
            self.job.value = job

    def look(self) -> tuple[Status, int]:
        """Read both, and put right what a killed writer has left half done."""
        with self.lock:
            if self.status.abandoned:  # the last holder died inside
                left = f"{self.status.name} with job {self.job.value}"
                print("a writer was killed between its two writes, and left", left)
                self.change(Status.IDLE, 0)
            return self.status.load(), self.job.value


def work(worker: Worker) -> None:
    """Be a writer: begin jobs, and end them."""
    for job in range(1, 101):
        worker.change(Status.RUNNING, job)
        time.sleep(0.001)  # here goes the work
        worker.change(Status.IDLE, 0)
        time.sleep(0.001)


def die(worker: Worker) -> None:
    """Be a writer that is killed between its two writes."""
    with worker.lock:
        worker.status.set(Status.RUNNING)
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Look while somebody writes, and after somebody has died."""
    worker = Worker()
    writer = Process(target=work, args=(worker,))
    writer.start()
    seen = set()
    while writer.is_alive():
        status, job = worker.look()
        seen.add(f"{status.name} {'with' if job else 'without'} a job")
    print("seen while somebody wrote:", ", ".join(sorted(seen)))

    killed = Process(target=die, args=(worker,))
    killed.start()
    killed.join()
    status, job = worker.look()
    print(f"put right: {status.name} with job {job}")


if __name__ == "__main__":
    main()
