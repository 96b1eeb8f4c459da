"""Leases: which writes make a process the owner of a word, keep its owner, or clear it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from helpers.crew import PATIENCE
from helpers.owners import (
    DEAD,
    DONE,
    LEASES,
    PENDING,
    RUNNING,
    Job,
    Jobs,
    Work,
    board,
    fellow,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ME = os.getpid


def assign(jobs: Jobs, member: Work) -> None:
    """Assign to word 1."""
    jobs[1] = member


def set_value(jobs: Jobs, member: Work) -> None:
    """Write word 1 through the property of a value."""
    jobs.at(1).value = member


def written_inside_the_lock(jobs: Jobs, member: Work) -> None:
    """Write word 1 as the holder of its lock, through the array and through a value."""
    with jobs.at(1).get_lock():
        jobs[1] = DEAD if member is DONE else DONE
        jobs.at(1).set(member)


#: Each way to make the word 1 of a board, which is PENDING or RUNNING, that member.
WRITES: dict[str, Callable[[Jobs, Work], object]] = {
    "set": lambda jobs, member: jobs.at(1).set(member),
    "name": lambda jobs, member: jobs.at(1).set(member.name),
    "value": set_value,
    "exchange": lambda jobs, member: jobs.at(1).exchange(member),
    "compare_and_set": lambda jobs, member: jobs.at(1).compare_and_set(jobs[1], member),
    "update": lambda jobs, member: jobs.at(1).update(lambda _: member),
    "assign": assign,
    "exchange(i)": lambda jobs, member: jobs.exchange(1, member),
    "compare_and_set(i)": lambda jobs, member: jobs.compare_and_set(1, jobs[1], member),
    "claim": lambda jobs, member: jobs.claim(jobs[1], member),
    "claim, waiting": lambda jobs, member: jobs.claim(jobs[1], member, timeout=PATIENCE),
    "fill": lambda jobs, member: jobs.fill(member),
    "inside the lock": written_inside_the_lock,
}

by_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


# -- what a write does


@by_write
@pytest.mark.parametrize("padded", [False, True], ids=["packed", "padded"])
def test_write_leases(write: Callable[[Jobs, Work], object], padded: bool) -> None:
    """Whoever writes a member that on_death maps answers for the word, by whatever write."""
    jobs = board(padded=padded)
    write(jobs, RUNNING)
    assert jobs[1] is RUNNING
    assert jobs.owner(1) == ME()
    others = [ME()] * 3 if write is WRITES["fill"] else [None, ME(), None]
    assert jobs.owners() == others


@by_write
def test_write_clears(write: Callable[[Jobs, Work], object]) -> None:
    """Whoever writes a member that on_death does not map has nobody answer for the word."""
    for member in (PENDING, DONE, DEAD):
        jobs = board()
        jobs[1] = RUNNING
        if write is WRITES["claim, waiting"] or member is not jobs[1]:
            write(jobs, member)
        assert jobs[1] is member
        assert jobs.owners() == [None] * 3


@by_write
def test_write_takes_over_a_lease(write: Callable[[Jobs, Work], object]) -> None:
    """Whoever writes a mapped member last answers for it, whoever did so before."""
    on_death = {RUNNING: PENDING, DEAD: DONE}
    jobs = board(on_death)
    with fellow(jobs=jobs) as other:
        other.ask("jobs.claim(PENDING, RUNNING)")
        assert jobs.owner(1) == other.pid
        write(jobs, DEAD)
        assert jobs.owner(1) == ME()
        assert other.ask("jobs.owner(1)") == ME()
        other.kill()
    assert jobs.recover() == []
    assert (jobs[1], jobs.owner(1)) == (DEAD, ME())


@by_write
@pytest.mark.parametrize("on_death", [LEASES, DEAD], ids=["mapping", "member"])
def test_write_keeps_the_owner_of_what_is_owned(
    write: Callable[[Jobs, Work], object], on_death: Any
) -> None:
    """What somebody called own() for stays that process's, whatever is written by whom."""
    for member in (RUNNING, DONE):
        jobs = board(on_death)
        jobs.at(1).own()
        write(jobs, member)
        assert jobs[1] is member
        assert jobs.owner(1) == ME()

        jobs = board(on_death)
        with fellow(jobs=jobs) as owner:
            owner.ask("jobs.at(1).own()")
            write(jobs, member)
            assert jobs[1] is member
            assert jobs.owner(1) == owner.pid
            owner.kill()
        assert jobs.recover() == [1]
        assert jobs[1] is (LEASES.get(member, member) if on_death is LEASES else DEAD)


@by_write
def test_nobody_leases_where_on_death_is_a_member(write: Callable[[Jobs, Work], object]) -> None:
    """With a member for on_death no write leases, not even one of that member."""
    for member in (RUNNING, DONE, DEAD):
        jobs = board(DEAD)
        write(jobs, member)
        assert jobs[1] is member
        assert jobs.owners() == [None] * 3


#: Writes of RUNNING over RUNNING that are none, for an owner.
SAME: dict[str, Callable[[Jobs], object]] = {
    "compare_and_set": lambda jobs: jobs.at(1).compare_and_set(RUNNING, RUNNING),
    "compare_and_set(i)": lambda jobs: jobs.compare_and_set(1, RUNNING, RUNNING),
    "update": lambda jobs: jobs.at(1).update(lambda member: member),
    "update by name": lambda jobs: jobs.at(1).update(lambda member: member.name),
    "claim": lambda jobs: jobs.claim(RUNNING, RUNNING),
}

by_same = pytest.mark.parametrize("write", SAME.values(), ids=SAME)


@by_same
def test_same_member_keeps_the_owner(write: Callable[[Jobs], object]) -> None:
    """A compare_and_set to the same member, and what comes to that, leaves the owner alone."""
    jobs = Jobs(3, DONE, on_death=LEASES)
    jobs[1] = RUNNING
    version = jobs.at(1).version
    write(jobs)
    assert jobs.owner(1) == ME()
    assert jobs.at(1).version == version + 1
    with fellow(jobs=jobs) as other:
        other.ask("jobs.at(1).set(RUNNING)")
        write(jobs)
        assert jobs.owner(1) == other.pid
    jobs = Jobs(3, RUNNING, on_death=LEASES)
    write(jobs)
    assert jobs.owners() == [None] * 3


@pytest.mark.only_on("native", "cffi")  # the lock path has no table
@by_same
def test_same_member_takes_no_row(write: Callable[[Jobs], object]) -> None:
    """Who writes what was there and owns nothing shows up in no table."""
    jobs = Jobs(3, RUNNING, on_death=LEASES)
    write(jobs)
    with jobs._atomic_segment.mapping.view() as view:
        table = view[jobs._atomic_segment.header.owners_offset :]
        assert bytes(table).strip(b"\0") == b""


def test_other_ways_to_write_the_same_lease() -> None:
    """set() and exchange() of the member that is there lease it: they are writes of their own."""
    jobs = board({RUNNING: PENDING})
    with fellow(jobs=jobs) as other:
        for write in ("set", "exchange", "assign", "exchange(i)", "fill"):
            assert other.ask("jobs.at(1).set(RUNNING)") is None
            assert jobs.owner(1) == other.pid
            WRITES[write](jobs, RUNNING)
            assert jobs.owner(1) == ME()


def test_mismatch_changes_nothing() -> None:
    """A compare_and_set or a claim that finds another member leases nothing and clears nothing."""
    jobs = board()
    assert not jobs.compare_and_set(1, DEAD, RUNNING)
    assert not jobs.at(1).compare_and_set(DEAD, RUNNING)
    assert jobs.claim(DEAD, RUNNING) is None
    assert jobs.owners() == [None] * 3
    jobs[1] = RUNNING
    assert not jobs.compare_and_set(1, DEAD, PENDING)
    assert not jobs.at(1).compare_and_set(DEAD, RUNNING)
    assert jobs.owner(1) == ME()
    assert jobs.at(1).version == 2


def test_initial_values_never_lease() -> None:
    """What a value or an array is made as has no owner, mapped or not."""
    status = Job(RUNNING, on_death=LEASES)
    jobs = Jobs(9, RUNNING, on_death=LEASES)
    assert status.owner is None
    assert jobs.owners() == [None] * 9
    assert not status.recover()
    assert not jobs.recover()
    assert (status.load(), jobs.counts()[RUNNING]) == (RUNNING, 9)


def test_what_is_given_back_is_nobodys() -> None:
    """A word that is given back as a mapped member is leased by nobody, until somebody writes."""
    status = Job(PENDING, on_death={RUNNING: DONE, DONE: PENDING})
    with fellow(status=status) as owner:
        owner.ask("status.set(RUNNING)")
        owner.kill()
    assert status.recover()
    assert (status.load(), status.owner) == (DONE, None)
    assert not status.recover()
    status.set(DONE)
    assert status.owner == ME()
