"""A process of the crew: it claims jobs in the names of its workers, hashes, and commits.

    COMING --the supervisor--> PENDING --claim()--> RUNNING --compare_and_set()--> DONE
                               PENDING <--on_death-- RUNNING, if the process that claimed it dies

Few workers are a process each.  Of many, a few processes play a share each.  A job lasts for a while
longer than its hashing, so that one can see it.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple

from board import Job, State
from files import SIZE, digest_of
from interrupt import ignore

if TYPE_CHECKING:
    from board import Jobs, Workers

#: Seconds in which a process brings up its workers; in which it looks again whether it has a parent.
_COMING = 0.4
_LOOK_ROUND = 0.5

#: What a process counts: sleeps until a job was there, jobs that another process was faster to
#: claim, and commits that were refused.
SLEEPS, RACES, REFUSED = range(3)


class Common(NamedTuple):
    """What all processes have.

    Attributes:
        board: what the workers do.
        jobs: what became of the jobs; job i hashes path i, and begins again after the last one.
        paths: the files.
        digests: room for the digest of each job.
        tallies: what each process counts.
        shares: which workers each process plays.
        lasts: how many seconds a job lasts, on the average.

    """

    board: Workers
    jobs: Jobs
    paths: list[str]
    digests: Any
    tallies: Any
    shares: list[range]
    lasts: float


def play(common: Common, number: int) -> None:
    """Play a share of the workers, until the jobs are over or the parent is gone."""
    ignore()  # the parent alone listens to Ctrl-C
    board, jobs, share = common.board, common.jobs, common.shares[number]
    parent = multiprocessing.parent_process()
    parent_pid, look = os.getppid(), time.monotonic()
    for worker in share:
        board.at(worker).own()  # from here on, the death of this process makes the worker DEAD
        time.sleep(_COMING / len(share))
        board[worker] = State.WAITING
    free = random.sample(share, len(share))
    held: list[tuple[float, int, int]] = []  # the one that is done first is the least
    while jobs[-1] is not Job.OVER:
        now = time.monotonic()
        if now >= look:
            # With fork, the parent's end closes the pipe only when its later children end as well.
            if os.getppid() != parent_pid or (parent and not parent.is_alive()):
                return
            look = now + _LOOK_ROUND
        while held and held[0][0] <= now:
            _, worker, job = heappop(held)
            if not jobs.compare_and_set(job, Job.RUNNING, Job.DONE):
                _tally(common, number, REFUSED)
            board[worker] = State.WAITING
            free.append(worker)
        timeout = max(min(look, held[0][0] if held else look) - now, 0.0)
        if not free:
            time.sleep(timeout)
        elif (found := _claim(common, number, timeout)) is not None:
            worker = free.pop(random.randrange(len(free)))
            board[worker] = State.HASHING
            digest = digest_of(common.paths[found % len(common.paths)])
            common.digests[found * SIZE : (found + 1) * SIZE] = digest
            lasts = common.lasts * random.uniform(0.5, 1.5)
            heappush(held, (time.monotonic() + lasts, worker, found))
    for worker in share:
        board.at(worker).disown()  # this end is no death


def _claim(common: Common, number: int, timeout: float) -> int | None:
    """Claim a job, and sleep until there is one if need be; None: it is worth another look."""
    jobs = common.jobs
    job = jobs.claim(Job.PENDING, Job.RUNNING)
    if job is not None:
        return job
    try:
        job = jobs.wait_any(Job.PENDING, Job.OVER, timeout=timeout)
    except TimeoutError:
        return None
    _tally(common, number, SLEEPS)
    # All who wake are told of the same job: one of them gets it.
    if jobs.compare_and_set(job, Job.PENDING, Job.RUNNING):
        return job
    if job < len(jobs) - 1:
        _tally(common, number, RACES)
    return None


def _tally(common: Common, number: int, what: int) -> None:
    common.tallies[3 * number + what] += 1
