"""Real workers: processes that hash files.

The workers' statuses are one board.  Each worker has its own word of it as a value, and a pipe on
which it gets jobs.  Several dispatchers, processes too, hand out jobs to the same workers, and none
of them asks another: claim() finds a worker that is IDLE and makes it CALCULATING, and whoever got
its number is the only one to write into that worker's pipe.  There is no other lock around that
pipe.  The worker itself goes back to IDLE when its job is done.

    UNAVAILABLE --worker--> IDLE --a dispatcher, by claim()--> CALCULATING --worker--> IDLE
                            IDLE --the parent, by claim(), at the end--> UNAVAILABLE

Nobody polls: a worker sleeps until its own status says that it is claimed or dismissed, and a
dispatcher that finds no worker to claim until any of them is IDLE.  The parent is the monitor, and
collects the digests.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, NamedTuple

from .board import Board, Status, WorkerStatus
from .files import Reading, hash_file
from .interrupt import ignore
from .monitor import Monitor
from .processes import CrewError, Parent, Processes

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from .files import Job
    from .screen import Screen

__all__ = ["DISPATCHERS", "Outcome", "work"]

#: Enough to compete for the workers.
DISPATCHERS = 2

#: Seconds after which a sleeper looks whether its parent is gone.
_LOOK_ROUND = 1.0

#: The same for the parent, which has Ctrl-C and dead workers to look for.
_LOOK_ROUND_PARENT = 0.1


class Outcome(NamedTuple):
    """What came of the work.

    Attributes:
        readings: by the file's index.
        files: hashed in all; those of a second round count again.
        claims: that dispatchers won.
        sleeps: of dispatchers that found nobody to claim, until a worker was IDLE.
        lost: sleeps after which there was nobody to claim again: the other dispatcher was faster.
        looks: of the monitor at the board.
        transitions: of all statuses together.
        seconds: from the first process's start to the last result.

    """

    readings: dict[int, Reading]
    files: int
    claims: int
    sleeps: int
    lost: int
    looks: int
    transitions: int
    seconds: float


# -- what the processes run


def worker(
    status: WorkerStatus, jobs: Connection, results: Connection, incoming: Connection
) -> None:
    """Do jobs until the status becomes UNAVAILABLE, or the parent is gone.

    Args:
        status: of this worker.
        jobs: to receive them from.
        results: to send them to.
        incoming: the parent's end of ``results``, which a fork's child has anyway.

    Raises:
        CrewError: the status changed during a job: somebody else claimed this worker too.

    """
    ignore()  # the parent stops this process
    # With the parent gone, a full pipe that this process could read itself would hold it for ever.
    incoming.close()
    parent = Parent()
    status.set(Status.IDLE)
    while True:
        try:
            now = status.wait_for(Status.CALCULATING, Status.UNAVAILABLE, timeout=_LOOK_ROUND)
        except TimeoutError:
            if parent.gone():
                return
            continue
        if now is Status.UNAVAILABLE:
            return
        # Claimed: the job is on its way, unless the one who claimed was ended meanwhile.
        if parent.sentinel in wait([jobs, parent.sentinel]):
            return
        job: Job = jobs.recv()
        try:
            results.send([(index, hash_file(path)) for index, path in job])
        except OSError:
            return  # nobody reads them any more
        if not status.compare_and_set(Status.CALCULATING, Status.IDLE):
            message = f"a worker had a job while its status was {status.name}"
            raise CrewError(message)


def dispatcher(
    board: Board,
    pipes: list[Connection],
    jobs: list[Job],
    seconds: float,
    report: Connection,
) -> None:
    """Claim idle workers and hand them jobs: one round, and as many more as there is time for.

    Sends (claims, sleeps, lost) when the time is up.
    """
    ignore()  # the parent stops this process
    parent = Parent()
    claims = sleeps = lost = 0
    woken = False
    deadline = time.monotonic() + seconds
    # Each job once at least, however slow the machine: or its digest could not be compared.
    while claims < len(jobs) or time.monotonic() < deadline:
        number = board.claim(Status.IDLE, Status.CALCULATING)
        if number is None:
            lost += woken
            woken = False
            # Before each sleep: while workers come and go, none of them lasts until its timeout.
            if parent.gone():
                return
            with contextlib.suppress(TimeoutError):
                board.wait_any(Status.IDLE, timeout=_LOOK_ROUND)
                woken = True
                sleeps += 1
            continue
        woken = False
        # Claimed: from here until the worker sets IDLE nobody else writes into this pipe.
        try:
            pipes[number].send(jobs[claims % len(jobs)])
        except OSError:
            wait(
                [parent.sentinel]
            )  # that worker died: the parent sees it too, and ends this process
            return
        claims += 1
    report.send((claims, sleeps, lost))


# -- the parent


class _Crew:
    """The processes, and the parent's ends of their pipes."""

    def __init__(self, board: Board, screen: Screen, check: Callable[[], None]) -> None:
        self.board = board
        self.processes = Processes(check)
        self.jobs: list[Connection] = []
        self.results: dict[Connection, int] = {}
        self.reports: dict[Connection, BaseProcess] = {}
        self.files_done = [0] * len(board)
        self.jobs_done = 0
        self.readings: dict[int, Reading] = {}
        self.claims = self.sleeps = self.lost = 0
        self.monitor = Monitor(board, screen, self.files_done)

    # -- start and stop

    def start(self, jobs: list[Job], seconds: float) -> None:
        """Start the workers, then the dispatchers."""
        for number in range(len(self.board)):
            receiver, sender = multiprocessing.Pipe(duplex=False)
            self.jobs.append(sender)
            incoming, results = multiprocessing.Pipe(duplex=False)
            self.results[incoming] = number
            status = self.board.at(number, WorkerStatus)
            pipes = (receiver, results, incoming)
            self.processes.start(f"worker {number + 1}", worker, status, *pipes)
            receiver.close()
            results.close()
        for number in range(DISPATCHERS):
            incoming, report = multiprocessing.Pipe(duplex=False)
            # Each has its share of the jobs, or, where they are too few, all of them.
            share = jobs[number::DISPATCHERS] or jobs
            arguments = (self.board, self.jobs, share, seconds, report)
            name = f"dispatcher {number + 1}"
            self.reports[incoming] = self.processes.start(name, dispatcher, *arguments)
            report.close()

    def stop(self) -> None:
        """End whatever still runs."""
        self.processes.stop()
        for connection in (*self.jobs, *self.results, *self.reports):
            connection.close()

    # -- what comes

    def step(self) -> None:
        """Take what has come within the tenth of a second, and look at the board if it is time."""
        sources = [*self.results, *self.reports]
        for source in self.processes.ready(sources, self.monitor.until_next()):
            if source in self.results:
                self._take_results(source)
            else:
                sender = self.reports.pop(source)
                claims, sleeps, lost = self.processes.receive(source, sender)
                self.claims += claims
                self.sleeps += sleeps
                self.lost += lost
        self.monitor.look()

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

    def run(self) -> Outcome:
        """Monitor until the time is up and all is done; then dismiss the workers."""
        while self.reports or self.jobs_done < self.claims:
            self.step()
        seconds = self.monitor.elapsed()
        self._dismiss()
        while self.processes:
            self.step()
        self.monitor.look_now()  # once more, when all is as it will stay
        return Outcome(
            self.readings,
            sum(self.files_done),
            self.claims,
            self.sleeps,
            self.lost,
            self.monitor.looks,
            self.monitor.transitions(),
            seconds,
        )

    def _dismiss(self) -> None:
        """Make every worker UNAVAILABLE as soon as it is IDLE: a claim like any other."""
        dismissed = 0
        while dismissed < len(self.board):
            if self.board.claim(Status.IDLE, Status.UNAVAILABLE) is not None:
                dismissed += 1
                continue
            try:
                self.board.wait_any(Status.IDLE, timeout=_LOOK_ROUND_PARENT)
            except TimeoutError:
                self.step()


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
    board: Board,
    jobs: list[Job],
    seconds: float,
    screen: Screen,
    check: Callable[[], None],
) -> Outcome:
    """Have the jobs done by worker processes, drawing their statuses meanwhile.

    Args:
        board: with a word for each worker, all UNAVAILABLE, as they are again at the end.
        jobs: again and again for as long as there is time; what is begun is finished.
        seconds: for which jobs are handed out.
        screen: to draw on.
        check: called every tenth of a second or sooner; raises to end it.

    Raises:
        CrewError: a process ended unexpectedly.

    """
    crew = _Crew(board, screen, check)
    try:
        crew.start(jobs, seconds)
        with screen:
            return crew.run()
    finally:
        crew.stop()
