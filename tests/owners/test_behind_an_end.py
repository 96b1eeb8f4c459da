"""What others write to a status whose owner has ended, before and after somebody has looked."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from helpers.boards import until_watched
from helpers.crew import PATIENCE, Task, child
from helpers.owners import (
    ATOMIC,
    DEAD,
    DONE,
    LEASES,
    PENDING,
    RUNNING,
    Job,
    Jobs,
    board,
    leased,
    own_and_stay,
)
from helpers.support import fork, wait_for
from helpers.waits import until_asleep

if TYPE_CHECKING:
    from collections.abc import Callable

    from helpers.crew import Peer
    from helpers.owners import Jobs

by_each_end = pytest.mark.parametrize("end", ["normal", "killed"])


def finish(owner: Peer, how: str) -> None:
    """Have a process end, by itself or not."""
    if how == "killed":
        owner.kill()
    else:
        owner.tell()
        owner.process.join(PATIENCE)


@by_each_end
def test_new_state(end: str) -> None:
    """A supervisor that hears of an end sets a new state, which no look takes for a dead one's."""
    status = Job(PENDING, on_death=DEAD)
    with child(own_and_stay, status.own) as owner:
        owner.says()
        status.set(RUNNING)
        supervisor = Task(lambda: status.wait_for(DEAD, timeout=PATIENCE))
        until_asleep(status)
        finish(owner, end)
        assert supervisor.result() is DEAD
    status.set(PENDING)  # it begins anew
    status.recover()
    assert (status.load(), status.owner) == (PENDING, None)


@by_each_end
def test_claim(end: str) -> None:
    """A job that a dead process owned is the live one's that claims it, and nobody else's."""
    jobs = board()
    with child(own_and_stay, jobs.at(1).own) as owner:
        owner.says()
        finish(owner, end)
    with child(own_and_stay, lambda: jobs.claim(PENDING, RUNNING)) as claimer:
        claimer.says()
        assert jobs[1] is RUNNING
        assert jobs.claim(PENDING, RUNNING) is None
        assert jobs.owner(1) == claimer.pid
        claimer.tell()


def assign(jobs: Jobs) -> None:
    """Assign to word 1."""
    jobs[1] = RUNNING


#: Each other way to make the word 1 of a board RUNNING.
CLAIMS: dict[str, Callable[[Jobs], object]] = {
    "compare_and_set": lambda jobs: jobs.at(1).compare_and_set(PENDING, RUNNING),
    "compare_and_set(i)": lambda jobs: jobs.compare_and_set(1, PENDING, RUNNING),
    "set": lambda jobs: jobs.at(1).set(RUNNING),
    "exchange": lambda jobs: jobs.exchange(1, RUNNING),
    "update": lambda jobs: jobs.at(1).update(lambda _: RUNNING),
    "assign": assign,
    "fill": lambda jobs: jobs.fill(RUNNING),
}


@pytest.mark.parametrize("write", CLAIMS.values(), ids=CLAIMS)
def test_write_that_does_not_look(write: Callable[[Jobs], object]) -> None:
    """What is written to a word that a dead process owned is given back: claim alone looks."""
    jobs = board()
    with child(own_and_stay, jobs.at(1).own) as owner:
        owner.says()
        owner.kill()
    write(jobs)
    assert jobs[1] is RUNNING
    assert jobs.recover() == [1]
    assert (jobs[1], jobs.owner(1)) == (PENDING, None)


@by_each_end
def test_claim_of_what_came_back(end: str) -> None:
    """A job that was claimed, owned and given back is the next claimer's alone, who lives."""
    jobs = board()

    def claim_and_own() -> None:
        jobs.claim(PENDING, RUNNING)
        jobs.at(1).own()

    def claim_next() -> None:
        jobs.claim(PENDING, RUNNING, timeout=PATIENCE)

    with child(own_and_stay, claim_and_own) as owner:
        owner.says()
        with child(own_and_stay, claim_next) as claimer:
            until_watched(jobs, claimer)
            finish(owner, end)
            claimer.says()
            assert jobs.claim(PENDING, RUNNING) is None
            assert jobs.owner(1) == claimer.pid
            claimer.tell()


@pytest.mark.parametrize("end", ["normal", "killed"])
def test_lease_that_ended(end: str) -> None:
    """What was leased, and not owned, is the next writer's, whether anybody has looked or not."""
    status = leased()
    for member in (RUNNING, DONE):
        with child(own_and_stay, lambda: status.set(RUNNING)) as owner:
            owner.says()
            finish(owner, end)
        status.set(member)
        assert not status.recover()
        assert status.load() is member


def test_claim_loses_no_job() -> None:
    """A job that a dead process owned and never began is claimed, and not taken for a begun one."""
    jobs = Jobs(2, PENDING, on_death={RUNNING: DEAD})
    jobs[1] = DONE
    with child(own_and_stay, jobs.at(0).own) as owner:
        owner.says()
        owner.kill()
    assert jobs.claim(PENDING, RUNNING) == 0
    assert (jobs.snapshot(), jobs.owner(0)) == ([RUNNING, DONE], os.getpid())


def test_claim_that_waits_for_a_lock() -> None:
    """Who claims a dead one's job as its lock comes free has it for itself."""
    jobs = Jobs(1, PENDING, on_death=LEASES)
    with child(own_and_stay, jobs.at(0).own) as owner:
        owner.says()
        owner.kill()
    lock = jobs.at(0).get_lock()
    lock.acquire()
    with child(own_and_stay, lambda: jobs.claim(PENDING, RUNNING, timeout=PATIENCE)) as claimer:
        assert claimer.is_silent()  # it waits for the lock
        lock.release()
        claimer.says()
        assert jobs.recover() == []
        assert jobs.claim(PENDING, RUNNING) is None
        assert jobs.owner(0) == claimer.pid
        claimer.tell()


def look(jobs: Any) -> None:
    """Look for dead owners until all is claimed."""
    while jobs.count(PENDING):
        jobs.recover()
        for index in range(0, len(jobs), 10):
            jobs.owner(index)


@pytest.mark.slow
def test_claims_beside_who_looks() -> None:
    """Of what a dead process owned each job is claimed once, though another looks for such jobs."""
    count = 300 if ATOMIC else 30

    def own_all(jobs: Any) -> None:
        for index in range(len(jobs)):
            jobs.at(index).own()

    for _ in range(5):
        jobs = Jobs(count, PENDING, on_death=LEASES)
        with child(own_and_stay, partial(own_all, jobs)) as owner:
            owner.says()
            owner.kill()
        watcher = fork(partial(look, jobs))
        claimed = []
        while (index := jobs.claim(PENDING, RUNNING)) is not None:
            claimed.append(index)
        assert wait_for(watcher) == 0
        assert sorted(claimed) == list(range(count))
        assert jobs.owners() == [os.getpid()] * count
