"""The processes of the demo.

Each worker has a status of its own and a pipe on which it gets jobs.  Several dispatchers,
processes too, hand out jobs to the same workers, and none of them asks another: whoever moves a
worker's status from IDLE to CALCULATING by compare_and_set has claimed the worker, and is the
only one to write into its pipe.  There is no other lock around that pipe.  The worker itself goes
back to IDLE when its job is done.

    UNAVAILABLE --worker--> IDLE --a dispatcher, by compare_and_set--> CALCULATING --worker--> IDLE
                            IDLE --the parent, by compare_and_set, at the end--> UNAVAILABLE

The parent is the monitor: it polls the statuses, draws them, and collects the digests.  It alone
listens to Ctrl-C.  A process whose parent is gone ends by itself.
"""

from __future__ import annotations

import math
import multiprocessing
import time
from enum import IntEnum
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, NamedTuple

from ..value import IntEnumValue
from .files import Reading, hash_file
from .interrupt import held_back, ignore

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from .files import Job
    from .screen import Screen

__all__ = ["DISPATCHERS", "CrewError", "Look", "Outcome", "Status", "WorkerStatus", "work"]

#: Enough to compete for the workers.
DISPATCHERS = 2

#: Seconds that a dispatcher sleeps when it finds no idle worker.
_NAP = 0.001


class Status(IntEnum):
    """What a worker is doing."""

    UNAVAILABLE = 1
    IDLE = 2
    CALCULATING = 3


class WorkerStatus(IntEnumValue[Status]):
    """A worker's status, shared by all processes."""


class CrewError(Exception):
    """A process failed."""


class Look(NamedTuple):
    """What the monitor draws of one worker.

    Attributes:
        status: of the worker.
        files: that it has done.
        transitions: of its status, which is its version.

    """

    status: Status
    files: int
    transitions: int


class Outcome(NamedTuple):
    """What came of the work.

    Attributes:
        readings: by the file's index.
        files: hashed in all; those of a second round count again.
        claims: that dispatchers won.
        lost: claims of a worker that was seen IDLE, and that another dispatcher claimed first.
        polls: how often a dispatcher or the monitor read a status.
        transitions: of all statuses together.
        seconds: from the first process's start to the last result.

    """

    readings: dict[int, Reading]
    files: int
    claims: int
    lost: int
    polls: int
    transitions: int
    seconds: float


# -- what the processes run


def worker(status: WorkerStatus, jobs: Connection, results: Connection) -> None:
    """Do jobs until there is None, or the parent is gone.

    Raises:
        CrewError: a job came while the status was not CALCULATING: nobody had claimed this worker.

    """
    ignore()  # the parent stops this process
    orphaned = _parent_sentinel()
    status.set(Status.IDLE)
    while orphaned not in wait([jobs, orphaned]):
        job: Job | None = jobs.recv()
        if job is None:
            return
        try:
            results.send([(index, hash_file(path)) for index, path in job])
        except OSError:
            return  # nobody reads them any more
        if not status.compare_and_set(Status.CALCULATING, Status.IDLE):
            message = f"a worker had a job while its status was {status.name}"
            raise CrewError(message)


def dispatcher(
    statuses: list[WorkerStatus],
    pipes: list[Connection],
    jobs: list[Job],
    seconds: float,
    report: Connection,
) -> None:
    """Claim idle workers and hand them jobs: one round, and as many more as there is time for.

    Sends (claims, lost claims, polls) when the time is up.
    """
    ignore()  # the parent stops this process
    orphaned = _parent_sentinel()
    claims = lost = polls = 0
    workers = len(statuses)
    first = 0
    deadline = time.monotonic() + seconds
    # Each job once at least, however slow the machine: or its digest could not be compared.
    while claims < len(jobs) or time.monotonic() < deadline:
        # Not always the same one first, or the first worker would do most of the work.
        first = (first + 1) % workers
        for number in (*range(first, workers), *range(first)):
            polls += 1
            status = statuses[number]
            if status.load() is not Status.IDLE:
                continue
            if not status.compare_and_set(Status.IDLE, Status.CALCULATING):
                lost += 1
                continue
            # Claimed: from here until the worker sets IDLE nobody else writes into this pipe.
            try:
                pipes[number].send(jobs[claims % len(jobs)])
            except OSError:
                wait([orphaned])  # that worker died: the parent sees it too, and ends this process
                return
            claims += 1
            break
        else:
            if wait([orphaned], _NAP):
                return
    report.send((claims, lost, polls))


def _parent_sentinel() -> int:
    parent = multiprocessing.parent_process()
    if parent is None:
        message = "to be run in a child process"
        raise RuntimeError(message)
    return parent.sentinel


# -- the parent


class _Crew:
    """The processes, and the parent's ends of their pipes."""

    def __init__(self, workers: int, screen: Screen, check: Callable[[], None]) -> None:
        # The first value also starts multiprocessing's resource tracker, which unblocks SIGINT: it
        # must not start while that is held back.
        self.statuses = [WorkerStatus(Status.UNAVAILABLE) for _ in range(workers)]
        self.screen = screen
        self.check = check
        self.processes: list[BaseProcess] = []
        self.jobs: list[Connection] = []
        self.results: dict[Connection, int] = {}
        self.reports: list[Connection] = []
        self.files_done = [0] * workers
        self.jobs_done = 0
        self.readings: dict[int, Reading] = {}
        self.claims = self.lost = self.polls = 0
        self.next_draw = 0.0
        self.started = time.monotonic()

    # -- start and stop

    def start(self, jobs: list[Job], seconds: float) -> None:
        """Start the workers, then the dispatchers."""
        for number, status in enumerate(self.statuses):
            receiver, sender = multiprocessing.Pipe(duplex=False)
            self.jobs.append(sender)
            incoming, results = multiprocessing.Pipe(duplex=False)
            self.results[incoming] = number
            self._start(f"worker {number + 1}", worker, status, receiver, results)
            receiver.close()
            results.close()
        for number in range(DISPATCHERS):
            incoming, report = multiprocessing.Pipe(duplex=False)
            self.reports.append(incoming)
            # Each has its share of the jobs, or, where they are too few, all of them.
            share = jobs[number::DISPATCHERS] or jobs
            arguments = (self.statuses, self.jobs, share, seconds, report)
            self._start(f"dispatcher {number + 1}", dispatcher, *arguments)
            report.close()

    def _start(self, name: str, target: Callable[..., None], *arguments: object) -> None:
        self.check()
        process = multiprocessing.Process(target=target, args=arguments, name=name, daemon=True)
        with held_back():
            process.start()
        self.processes.append(process)

    def stop(self) -> None:
        """End whatever still runs."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join(2)
            if process.exitcode is None:
                process.kill()
                process.join()
        for connection in (*self.jobs, *self.results, *self.reports):
            connection.close()

    # -- the monitor

    def look(self) -> list[Look]:
        """Poll all statuses."""
        self.polls += len(self.statuses)
        return [
            Look(status.load(), files, status.version)
            for status, files in zip(self.statuses, self.files_done, strict=True)
        ]

    def draw(self) -> None:
        """Draw what a poll of all statuses shows."""
        now = time.monotonic()
        self.next_draw = now + self.screen.interval
        self.screen.show(now - self.started, self.look())

    def step(self) -> None:
        """Take what has come within the tenth of a second, and draw if it is time to."""
        self.check()
        timeout = min(max(self.next_draw - time.monotonic(), 0.0), 0.1)
        sentinels: dict[object, BaseProcess] = {
            process.sentinel: process for process in self.processes
        }
        handles = [process.sentinel for process in self.processes]
        for source in wait([*self.results, *self.reports, *handles], timeout):
            if source in self.results:
                self._take_results(source)
            elif source in self.reports:
                self._take_report(source)
            else:
                self._take_end(sentinels[source])
        if time.monotonic() >= self.next_draw:
            self.draw()

    def _take_results(self, connection: Connection) -> None:
        number = self.results[connection]
        try:
            results: list[tuple[int, Reading]] = connection.recv()
        except (EOFError, OSError):
            del self.results[connection]  # its worker is gone; the sentinel tells how
            connection.close()
            return
        self.jobs_done += 1
        self.files_done[number] += len(results)
        for index, reading in results:
            self.readings[index] = _merged(self.readings.get(index, reading), reading)

    def _take_report(self, connection: Connection) -> None:
        self.reports.remove(connection)
        try:
            claims, lost, polls = connection.recv()
        except (EOFError, OSError):
            message = "a dispatcher ended without its report"
            raise CrewError(message) from None
        finally:
            connection.close()
        self.claims += claims
        self.lost += lost
        self.polls += polls

    def _take_end(self, process: BaseProcess) -> None:
        process.join()
        if process.exitcode:
            message = f"{process.name} ended unexpectedly, exit code {process.exitcode}"
            raise CrewError(message)
        self.processes.remove(process)

    def run(self) -> Outcome:
        """Monitor until the time is up and all is done; then retire the workers."""
        while self.reports or self.jobs_done < self.claims:
            self.step()
        seconds = time.monotonic() - self.started
        for status, pipe in zip(self.statuses, self.jobs, strict=True):
            # A claim like any other: the pipe is the parent's from here on.
            while not status.compare_and_set(Status.IDLE, Status.UNAVAILABLE):
                self.check()
                time.sleep(_NAP)
            pipe.send(None)
        self.next_draw = math.inf  # once more, when all is as it will stay
        while self.processes:
            self.step()
        self.draw()
        return Outcome(
            self.readings,
            sum(self.files_done),
            self.claims,
            self.lost,
            self.polls,
            sum(status.version for status in self.statuses),
            seconds,
        )


def _merged(before: Reading, now: Reading) -> Reading:
    """Return what stands for a file that was read before."""
    if before.problem or before == now:
        return before
    if now.problem:
        return now
    if before.stamp != now.stamp:
        return now._replace(problem="changed meanwhile")
    return now._replace(digest=b"")  # two digests of the same: equal to none


def work(
    jobs: list[Job],
    workers: int,
    seconds: float,
    screen: Screen,
    check: Callable[[], None],
) -> Outcome:
    """Have the jobs done by worker processes, drawing their statuses meanwhile.

    Args:
        jobs: again and again for as long as there is time; what is begun is finished.
        workers: number of worker processes.
        seconds: for which jobs are handed out.
        screen: to draw on.
        check: called every tenth of a second or sooner; raises to end it.

    Raises:
        CrewError: a process ended unexpectedly.

    """
    crew = _Crew(workers, screen, check)
    try:
        crew.start(jobs, seconds)
        with screen:
            return crew.run()
    finally:
        crew.stop()
