"""Simulated workers: a few processes pretend to be up to thousands of them.

The workers' statuses are one board, and all simulators claim from all of it.  Each has jobs that
come in bursts.  For a job it claims a worker, whichever is IDLE, keeps it for a random time, and
sets it back.  When there are jobs and no worker, it sleeps until a worker is IDLE or its own next
one is due; when there are no jobs, until something is due.

    UNAVAILABLE --a simulator--> IDLE --claim()--> CALCULATING --who claimed it--> IDLE
                                 IDLE --claim(), at the end--> UNAVAILABLE
"""

from __future__ import annotations

import multiprocessing
import random
import time
from heapq import heappop, heappush
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, NamedTuple

from .board import Board, Status, WorkerStatus
from .interrupt import ignore
from .monitor import Monitor
from .processes import Parent, Processes

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from .screen import Screen

__all__ = ["Outcome", "Tally", "simulate"]

#: Seconds that a job takes, and seconds between two bursts of jobs: from, to.
_JOB = (0.1, 0.6)
_PAUSE = (0.2, 0.6)

#: A burst has as many jobs as a simulator's share of the workers, times this: from, to.
_BURST = (0.2, 1.6)

#: The workers come up in this part of the time, so many groups of them one after the other.
_COMING = 0.25
_GROUPS = 50


class Tally(NamedTuple):
    """What one simulator did, or all together.

    Attributes:
        came: workers that it made IDLE at first.
        claims: from IDLE to CALCULATING.
        finished: claimed workers that it set back to IDLE.
        sleeps: until a worker was IDLE, having found nobody to claim.
        lost: sleeps after which there was nobody to claim again: another process was faster.
        twice: claimed workers whose status somebody else wrote before they were set back.
        dismissed: workers that it made UNAVAILABLE at the end.

    """

    came: int
    claims: int
    finished: int
    sleeps: int
    lost: int
    twice: int
    dismissed: int


class Outcome(NamedTuple):
    """What came of the simulation.

    Attributes:
        tally: of all simulators.
        looks: of the monitor at the board.
        transitions: of all statuses together.
        left: workers that are not UNAVAILABLE in the end.
        seconds: from the first process's start to the last one's report.

    """

    tally: Tally
    looks: int
    transitions: int
    left: int
    seconds: float


class _Held(NamedTuple):
    """A claimed worker; the one whose job is done first is the least."""

    due: float
    number: int
    status: WorkerStatus
    version: int


class _Simulator:
    """One process's part: it brings up a share of the workers, and claims from all of them."""

    def __init__(self, board: Board, share: range, seconds: float) -> None:
        self.board = board
        self.coming = list(reversed(share))
        self.size = len(share)
        self.now = self.started = time.monotonic()
        self.deadline = self.started + seconds
        self.step = seconds * _COMING / _GROUPS
        self.next_coming = self.next_burst = self.started
        self.jobs = 0
        self.held: list[_Held] = []
        self.came = self.claims = self.finished = self.sleeps = 0
        self.lost = self.twice = self.dismissed = 0

    def run(self, parent: Parent) -> bool:
        """Simulate until the time is up; return False if the parent is gone."""
        woken = False
        while self.tick() < self.deadline:
            self.bring_up()
            self.finish()
            # At each burst alone: a simulator that never sleeps has to look too.
            if self.take_burst() and parent.gone():
                return False
            due = min(self.next_burst, self.next_coming, self.deadline)
            if self.held:
                due = min(due, self.held[0].due)
            left = self.until(due)
            if not self.jobs:
                if wait([parent.sentinel], left):
                    return False
            elif self.claim():
                woken = False
            else:
                self.lost += woken
                woken = self.sleep(left)
        return self.drain(parent)

    def tick(self) -> float:
        """Return what time it is; all that is due by then is done before the next tick."""
        self.now = time.monotonic()
        return self.now

    def until(self, due: float) -> float:
        """Return the seconds until then, at least 0."""
        return max(due - self.tick(), 0.0)

    def bring_up(self) -> None:
        """Make the next workers IDLE."""
        while self.coming and self.next_coming <= self.now:
            for _ in range(min(-(-self.size // _GROUPS), len(self.coming))):
                self.board[self.coming.pop()] = Status.IDLE
                self.came += 1
            self.next_coming += self.step
        if not self.coming:
            self.next_coming = self.deadline

    def take_burst(self) -> bool:
        """Take the next burst of jobs, if it is time; what is more than anybody could do goes."""
        if self.next_burst > self.now:
            return False
        self.next_burst = self.now + random.uniform(*_PAUSE)
        burst = round(self.size * random.uniform(*_BURST))
        self.jobs = min(self.jobs + burst, 2 * self.size)
        return True

    def claim(self) -> bool:
        """Claim a worker for a job, if there is one."""
        index = self.board.claim(Status.IDLE, Status.CALCULATING)
        if index is None:
            return False
        status = self.board.at(index, WorkerStatus)
        # From here until this process sets it back, nobody else may write this status.
        held = _Held(self.now + random.uniform(*_JOB), index, status, status.version)
        heappush(self.held, held)
        self.jobs -= 1
        self.claims += 1
        return True

    def sleep(self, seconds: float) -> bool:
        """Sleep until a worker is IDLE, or for so long; return whether one is."""
        try:
            self.board.wait_any(Status.IDLE, timeout=seconds)
        except TimeoutError:
            return False
        self.sleeps += 1
        return True

    def finish(self) -> int:
        """Set back those whose jobs are done; return how many."""
        number = 0
        while self.held and self.held[0].due <= self.now:
            held = heappop(self.held)
            alone = held.status.version == held.version
            if held.status.compare_and_set(Status.CALCULATING, Status.IDLE):
                self.finished += 1
            else:
                alone = False
            self.twice += not alone
            number += 1
        return number

    def drain(self, parent: Parent) -> bool:
        """Finish what was begun and dismiss all workers; return False if the parent is gone."""
        while self.held:
            # As many as were set back: to look for more each time would be to poll.
            self.dismiss(self.finish())
            if self.held and wait([parent.sentinel], self.until(self.held[0].due)):
                return False
        # Whatever the others missed.  They sweep too, each after its last write, so nobody is left.
        self.dismiss(len(self.board))
        return True

    def dismiss(self, most: int) -> None:
        """Make IDLE workers UNAVAILABLE, while there are some."""
        for _ in range(most):
            if self.board.claim(Status.IDLE, Status.UNAVAILABLE) is None:
                return
            self.dismissed += 1

    def tally(self) -> Tally:
        """Return what was done."""
        return Tally(
            self.came,
            self.claims,
            self.finished,
            self.sleeps,
            self.lost,
            self.twice,
            self.dismissed,
        )


def simulator(board: Board, share: range, seconds: float, report: Connection) -> None:
    """Simulate for some seconds, and send the tally."""
    ignore()  # the parent stops this process
    part = _Simulator(board, share, seconds)
    if part.run(Parent()):
        report.send(part.tally())


def simulate(
    board: Board,
    processes: int,
    seconds: float,
    screen: Screen,
    check: Callable[[], None],
) -> Outcome:
    """Have some processes claim workers of a board, drawing the statuses meanwhile.

    Args:
        board: with a word for each worker, all UNAVAILABLE.
        processes: that claim.
        seconds: for which they do.
        screen: to draw on.
        check: called every tenth of a second or sooner; raises to end it.

    Raises:
        CrewError: a process ended unexpectedly.

    """
    children = Processes(check)
    reports: dict[Connection, BaseProcess] = {}
    tallies: list[Tally] = []
    size = len(board)
    try:
        monitor = Monitor(board, screen, [])
        for number in range(processes):
            incoming, report = multiprocessing.Pipe(duplex=False)
            share = range(number, size, processes)
            name = f"simulator {number + 1}"
            arguments = (board, share, seconds, report)
            reports[incoming] = children.start(name, simulator, *arguments)
            report.close()
        with screen:
            while reports or children:
                ready = children.ready(reports, monitor.until_next())
                tallies += [children.receive(source, reports.pop(source)) for source in ready]
                monitor.look()
            monitor.look_now()  # once more, when all is as it will stay
        return Outcome(
            Tally(*map(sum, zip(*tallies, strict=True))),
            monitor.looks,
            monitor.transitions(),
            size - board.count(Status.UNAVAILABLE),
            monitor.elapsed(),
        )
    finally:
        children.stop()
        for connection in reports:
            connection.close()
