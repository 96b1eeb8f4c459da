"""The cast: a few processes play all workers, be they two or thousands.

The workers' statuses are one board, and every process claims from all of it: claim() finds a worker
that is IDLE and makes it CALCULATING, and whoever got its number is the only one to write its
status until the job is done.  There is no other lock.  The job is to hash some files.  Who wants a
worker and finds none sleeps until one is IDLE.

    UNAVAILABLE --a process--> IDLE --claim()--> CALCULATING --who claimed it--> IDLE
                               IDLE --the parent, by claim(), at the end--> UNAVAILABLE

Few workers are kept busy.  Of many only as many as there are processes would be seen at work, so
these have jobs that come in bursts, and each takes a while besides the hashing.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from board import Board, Status, WorkerStatus
from files import hash_file, merge
from monitor import Monitor
from processes import Processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from files import Job, Reading
    from processes import Parent
    from screen import Lines

#: More workers than that have jobs in bursts.
MANY = 128

#: Seconds that a job takes then, and seconds between two bursts of jobs: from, to.
_JOB = (0.1, 0.6)
_PAUSE = (0.2, 0.6)

#: A burst has as many jobs as a process's share of the workers, times this: from, to.
_BURST = (0.2, 1.6)

#: The workers come up in this part of the time, so many groups of them one after the other.
_COMING = 0.25
_GROUPS = 50

#: Seconds from one report of a process to the next, and after which a sleeper looks whether its
#: parent is gone.
_REPORT = 0.1
_LOOK_ROUND = 1.0


class Report(NamedTuple):
    """What a process did since its last report; the last one has the tally and the readings.

    Attributes:
        files: that each worker has hashed.
        tally: see Outcome.
        readings: by the file's index.

    """

    files: Counter[int]
    tally: Counter[str]
    readings: dict[int, Reading]


class Outcome(NamedTuple):
    """What came of the work.

    Attributes:
        tally: of all processes.  came: workers that were made IDLE at first.  claims: from IDLE to
            CALCULATING.  finished: claimed workers that were set back to IDLE.  sleeps: until a
            worker was IDLE, having found nobody to claim.  lost: sleeps after which there was
            nobody to claim again, since another process was faster.  twice: claimed workers whose
            status somebody else wrote before they were set back.  dismissed: workers that were made
            UNAVAILABLE at the end.
        readings: by the file's index.
        files: hashed in all; those of a second round count again.
        looks: of the monitor at the board.
        transitions: of all statuses together.
        left: workers that are not UNAVAILABLE in the end.
        seconds: from the first process's start to the last one's end.

    """

    tally: Counter[str]
    readings: dict[int, Reading]
    files: int
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
    job: Job


class _Player:
    """One process's part: it brings up a share of the workers, and claims from all of them."""

    def __init__(self, board: Board, share: range, jobs: list[Job], seconds: float) -> None:
        self.board = board
        self.jobs = jobs
        self.many = len(board) > MANY
        self.now = time.monotonic()
        self.deadline = self.now + seconds
        self.next_burst = self.next_report = self.now
        self.size = len(share)
        step = seconds * _COMING / _GROUPS if self.many else 0.0
        self.coming = [
            (self.now + step * (place * _GROUPS // self.size), number)
            for place, number in enumerate(share)
        ]
        self.coming.reverse()
        self.held: list[_Held] = []
        self.begun = self.wanted = 0
        self.tally: Counter[str] = Counter()
        self.files: Counter[int] = Counter()
        self.readings: dict[int, Reading] = {}

    def run(self, parent: Parent, send: Callable[[Report], None]) -> None:
        """Work until the time is up and each file was read once, or the parent is gone."""
        woken = False
        while self.held or self.is_on():
            self.bring_up()
            self.finish()
            if self.now >= self.next_report:
                if parent.gone():
                    return
                self.next_report = self.now + _REPORT
                if self.files:
                    send(Report(self.files, Counter(), {}))
                    self.files = Counter()
            self.want()
            if not self.wanted:
                if (self.held or self.is_on()) and parent.gone(self.left()):
                    return
            elif self.claim():
                woken = False
            else:
                self.tally["lost"] += woken
                woken = self.sleep()
        send(Report(self.files, self.tally, self.readings))

    def is_on(self) -> bool:
        """Return whether there is more to begin; all that is due now is done before the next."""
        self.now = time.monotonic()
        return self.now < self.deadline or self.begun < len(self.jobs)

    def left(self) -> float:
        """Return the seconds until something is due, at least 0."""
        due = [self.now + _LOOK_ROUND]
        if self.held:
            due.append(self.held[0].due)
        if self.coming:
            due.append(self.coming[-1][0])
        if self.files:
            due.append(self.next_report)
        if self.now < self.deadline:
            due.append(min(self.deadline, self.next_burst if self.many else math.inf))
        return max(min(due) - time.monotonic(), 0.0)

    def bring_up(self) -> None:
        """Make the next workers IDLE."""
        while self.coming and self.coming[-1][0] <= self.now:
            self.board[self.coming.pop()[1]] = Status.IDLE
            self.tally["came"] += 1

    def want(self) -> None:
        """Find out how many jobs there are to do; what is more than anybody could do goes."""
        if not self.is_on():
            self.wanted = 0
        elif not self.many or self.now >= self.deadline:
            self.wanted = 1
        elif self.now >= self.next_burst:
            self.next_burst = self.now + random.uniform(*_PAUSE)
            burst = round(self.size * random.uniform(*_BURST))
            self.wanted = min(self.wanted + burst, 2 * self.size)

    def claim(self) -> bool:
        """Claim a worker for the next job, if there is one."""
        number = self.board.claim(Status.IDLE, Status.CALCULATING)
        if number is None:
            return False
        status = self.board.at(number, WorkerStatus)
        # From here until this process sets it back, nobody else may write this status.
        lasts = random.uniform(*_JOB) if self.many and self.now < self.deadline else 0.0
        job = self.jobs[self.begun % len(self.jobs)]
        heappush(self.held, _Held(self.now + lasts, number, status, status.version, job))
        self.begun += 1
        self.wanted -= 1
        self.tally["claims"] += 1
        return True

    def sleep(self) -> bool:
        """Sleep until a worker is IDLE or something is due; return whether a worker is."""
        try:
            self.board.wait_any(Status.IDLE, timeout=self.left())
        except TimeoutError:
            return False
        self.tally["sleeps"] += 1
        return True

    def finish(self) -> None:
        """Do the jobs that are due, and set their workers back."""
        while self.held and self.held[0].due <= self.now:
            held = heappop(self.held)
            for index, path in held.job:
                # Once the time is up, what is new alone.
                if index not in self.readings or time.monotonic() < self.deadline:
                    merge(self.readings, index, hash_file(path))
                    self.files[held.number] += 1
            alone = held.status.version == held.version
            if held.status.compare_and_set(Status.CALCULATING, Status.IDLE):
                self.tally["finished"] += 1
            else:
                alone = False
            self.tally["twice"] += not alone


def play(
    parent: Parent,
    send: Callable[[Report], None],
    board: Board,
    share: range,
    jobs: list[Job],
    seconds: float,
) -> None:
    """Play a part in a process of its own."""
    _Player(board, share, jobs, seconds).run(parent, send)


def processes_for(workers: int) -> int:
    """Return how many processes play so many workers.

    Of few, one more than can have a worker: there is always one that sleeps until it gets one.
    """
    return 4 if workers > MANY else min(workers, 8) + 1


def work(
    board: Board,
    jobs: list[Job],
    seconds: float,
    screen: Lines,
    check: Callable[[], None],
) -> Outcome:
    """Have the jobs done by processes that claim workers, drawing the statuses meanwhile.

    Args:
        board: with a word for each worker, all UNAVAILABLE, as they are again at the end.
        jobs: again and again for as long as there is time, and once in any case.
        seconds: for which jobs are begun.
        screen: to draw on.
        check: called every tenth of a second or sooner; raises to end it.

    Raises:
        CrewError: a process ended unexpectedly.

    """
    children = Processes(check)
    files_done = [0] * len(board)
    monitor = Monitor(board, screen, files_done)
    tally: Counter[str] = Counter()
    readings: dict[int, Reading] = {}
    processes = processes_for(len(board))
    try:
        for number in range(processes):
            share = range(number, len(board), processes)
            # Each has its share of the jobs, or, where they are too few, all of them.
            part = board, share, jobs[number::processes] or jobs, seconds
            children.start(f"process {number + 1}", play, *part)
        with screen:
            while children:
                for report in children.messages(monitor.until_next()):
                    tally.update(report.tally)
                    for worker, done in report.files.items():
                        files_done[worker] += done
                    for index, reading in report.readings.items():
                        merge(readings, index, reading)
                monitor.look()
            seconds = monitor.elapsed()
            while board.claim(Status.IDLE, Status.UNAVAILABLE) is not None:
                tally["dismissed"] += 1
            monitor.look_now()  # once more, when all is as it will stay
    finally:
        children.stop()
    left = len(board) - board.count(Status.UNAVAILABLE)
    transitions = monitor.transitions()
    return Outcome(tally, readings, sum(files_done), monitor.looks, transitions, left, seconds)
