"""A process of the crew: it claims jobs in the names of its workers, hashes, and commits.

COMING --the supervisor--> PENDING --claim()--> RUNNING --compare_and_set()--> DONE
                           PENDING <--on_death-- RUNNING, if the process that claimed it dies
"""

import multiprocessing
import os
import random
import time
from heapq import heappop, heappush

from board import Common, Job, State
from files import SIZE, digest_of

#: Seconds in which a process brings up its workers; after which it looks whether it has a parent.
_COMING = _LOOK_ROUND = 0.4


def play(common: Common, number: int) -> None:
    """Play a share of the workers, until the jobs are over or the parent is gone."""
    board, jobs, share = common.board, common.jobs, common.shares[number]
    parent, pid = multiprocessing.parent_process(), os.getppid()
    for worker in share:
        board.at(worker).own()  # from here on, the death of this process makes the worker DEAD
        time.sleep(_COMING / len(share))
        board[worker] = State.WAITING
    free, held = list(share), list[tuple[float, int, int]]()  # a heap: done first, first
    while jobs[-1] is not Job.OVER:
        now = time.monotonic()
        while held and held[0][0] <= now:
            _, worker, job = heappop(held)
            common.refused[number] += not jobs.compare_and_set(job, Job.RUNNING, Job.DONE)
            board[worker] = State.WAITING
            free.append(worker)
        timeout = max(held[0][0] - now, 0.0) if held else _LOOK_ROUND
        if not free:
            time.sleep(min(timeout, _LOOK_ROUND))
        elif (found := _claim(common, number, timeout)) is None:
            if os.getppid() != pid or not (parent and parent.is_alive()):
                return
        else:
            worker = free.pop(random.randrange(len(free)))
            board[worker] = State.HASHING
            digest = digest_of(common.paths[found % len(common.paths)])
            common.digests[found * SIZE : (found + 1) * SIZE] = digest
            due = time.monotonic() + common.lasts * random.uniform(0.5, 1.5)  # to be seen
            heappush(held, (due, worker, found))
    for worker in share:
        board.at(worker).disown()  # this end is no death


def _claim(common: Common, number: int, timeout: float) -> int | None:
    """Claim a job, and sleep until there is one if need be; None: it is worth another look."""
    jobs = common.jobs
    job = jobs.claim(Job.PENDING, Job.RUNNING)
    if job is not None:
        return job
    try:
        job = jobs.wait_any(Job.PENDING, Job.OVER, timeout=min(timeout, _LOOK_ROUND))
    except TimeoutError:
        return None
    common.sleeps[number] += 1
    time.sleep(0)  # All who wake are told of the same job, and now others may be faster.
    if jobs.compare_and_set(job, Job.PENDING, Job.RUNNING):
        return job
    common.races[number] += jobs[job] is not Job.OVER
    return None
