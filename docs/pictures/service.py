"""A small service, to take pictures of: workers on a board, jobs in an array, and a status.

``python service.py`` starts it: it stands still until there is a line on stdin, and ends with
stdin.  With a role it is one of the processes.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from enum import IntEnum

from atomic_intenum import IntEnumArray, IntEnumValue


class Service(IntEnum):
    """What the service does."""

    STARTING, READY, DRAINING = 1, 2, 3


class Worker(IntEnum):
    """What a worker does."""

    STARTING, IDLE, BUSY, DEAD = 1, 2, 3, 4


class Job(IntEnum):
    """What becomes of a job."""

    PENDING, RUNNING, DONE, FAILED = 1, 2, 3, 4


WORKERS, JOBS = 8, 300

#: So many of the jobs are done as it starts; and of these, one in so many failed.
DONE, ONE_FAILED = 100, 23


def work(number: int) -> None:
    """Answer for a word of the board, and work; at some jobs for long."""
    board, jobs = IntEnumArray[Worker].attach("workers"), IntEnumArray[Job].attach("jobs")
    status = board.at(number)
    status.own()
    while True:
        status.set(Worker.IDLE)
        time.sleep(number % 2 * 0.4)
        job = jobs.claim(Job.PENDING, Job.RUNNING, timeout=None)
        status.set(Worker.BUSY)
        time.sleep(0.1 if number % 2 else 2)
        jobs[job or 0] = Job.DONE


def assign() -> None:
    """Take the lock of a worker's word, and hang."""
    with IntEnumArray[Worker].attach("workers").at(6).get_lock():
        print("locked", flush=True)
        signal.pause()


def report() -> None:
    """Create a value, and be killed: it stays behind."""
    _ = IntEnumValue[Job](Job.RUNNING, segment_name="report")
    signal.raise_signal(signal.SIGKILL)


def serve() -> None:
    """Start everybody, kill a worker, and have all stand still until they may go on."""
    service = IntEnumValue[Service](Service.STARTING, segment_name="service")
    board = IntEnumArray[Worker](
        WORKERS, Worker.STARTING, segment_name="workers", on_death=Worker.DEAD
    )
    jobs = IntEnumArray[Job](
        JOBS, Job.PENDING, segment_name="jobs", on_death={Job.RUNNING: Job.PENDING}
    )
    for index in range(DONE):
        jobs[index] = Job.DONE if index % ONE_FAILED else Job.FAILED

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["python", "service.py", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )

    start("report").wait()
    workers = [start("work", str(number)) for number in range(WORKERS)]
    for number in range(0, WORKERS, 2):
        board.at(number).wait_for(Worker.BUSY, timeout=20)
    service.set(Service.READY)
    locker = start("assign")
    assert locker.stdout is not None
    locker.stdout.readline()
    # Who waits for a job notices a death, and gives back: here all look the other way.
    for worker in workers:
        worker.send_signal(signal.SIGSTOP)
    workers[4].kill()
    workers[4].wait()
    print("ready", flush=True)
    if sys.stdin.readline():
        for worker in workers:
            worker.send_signal(signal.SIGCONT)
        time.sleep(1)
        service.set(Service.DRAINING)
    sys.stdin.read()
    for process in (*workers, locker):
        process.kill()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["work", number]:
            work(int(number))
        case ["assign"]:
            assign()
        case ["report"]:
            report()
        case _:
            serve()
