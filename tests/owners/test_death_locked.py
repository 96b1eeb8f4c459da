"""Owners that are killed while somebody holds the locks of their words."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from helpers.crew import PATIENCE, Task, child
from helpers.marks import needs_robust
from helpers.owners import (
    ATOMIC,
    DONE,
    LEASES,
    NOTICED,
    PENDING,
    RUNNING,
    Jobs,
    Owned,
    array_word,
    board,
    check_given_back,
    fellow,
    hold_job,
    kill_owner,
    own_and_stay,
    value_word,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [False, True], ids=["runs", "is stopped"])
def test_locked_word_is_left_until_later(stopped: bool) -> None:
    """A word whose lock somebody holds is left as it is, keeps nobody waiting, and comes later."""
    jobs = board()
    with fellow(jobs=jobs) as owner:
        assert owner.ask("jobs.claim(PENDING, RUNNING)") == 1
        with child(hold_job, jobs.at(1)) as holder:
            assert holder.says() == "held"
            if stopped:
                os.kill(holder.pid, signal.SIGSTOP)
            owner.kill()
            began = time.monotonic()
            for _ in range(5):
                assert jobs.recover() == []
                assert not jobs.at(1).recover()
                assert jobs.owners() == [None] * 3  # nobody alive
                assert jobs.claim(PENDING, DONE) is None
            assert time.monotonic() - began < NOTICED
            with pytest.raises(TimeoutError):
                jobs.wait_any(PENDING, timeout=0.3)
            sleeper = Task(lambda: jobs.wait_any(PENDING, timeout=PATIENCE))
            assert sleeper.is_running()
            assert (jobs[1], jobs.at(1).version) == (RUNNING, 2)
            if stopped:
                os.kill(holder.pid, signal.SIGCONT)
            holder.tell()
            assert sleeper.result() == 1
    assert (jobs[1], jobs.at(1).version) == (PENDING, 3)


def test_other_words_are_not_kept_back() -> None:
    """Of a dead owner's words only those that are locked are left."""
    jobs = Jobs(3, PENDING, on_death=LEASES)
    with fellow(jobs=jobs) as owner:
        owner.ask("jobs.fill(RUNNING)")
        with child(hold_job, jobs.at(1)) as holder:
            holder.says()
            owner.kill()
            assert jobs.recover() == ([0, 2] if ATOMIC else [])  # one lock an array
            holder.tell()
    assert jobs.recover() == ([1] if ATOMIC else [0, 1, 2])


HELD: dict[str, Callable[[Owned], object]] = {
    "recover": lambda owned: owned.job.recover(),
    "owner": lambda owned: owned.job.owner,
    "wait": lambda owned: owned.job.wait_for(PENDING, timeout=0),
    "array": lambda owned: owned.jobs.recover(),
}


@pytest.mark.parametrize("look", HELD.values(), ids=HELD)
def test_who_holds_the_lock_gives_back(look: Callable[[Owned], object]) -> None:
    """The holder of a word's lock gives it back as anybody, and a wait inside it sees that."""
    for make in (array_word, value_word):
        owned = make("leased")
        kill_owner(owned)
        version = owned.job.version
        with owned.job.get_lock():
            if make is array_word or look is not HELD["array"]:
                look(owned)
                check_given_back(owned, version)
        assert owned.job.recover() is (make is value_word and look is HELD["array"])


@needs_robust
def test_owner_that_dies_inside_the_lock() -> None:
    """What a process owned that was killed inside the word's lock comes back as well."""
    jobs = board()

    def own_inside(pipe: Connection) -> None:
        with jobs.at(1).get_lock():
            own_and_stay(pipe, lambda: jobs.claim(PENDING, RUNNING))

    for look in (jobs.recover, lambda: jobs.claim(PENDING, PENDING)):
        with child(own_inside) as owner:
            owner.says()
            owner.kill()
        assert look() in ([1], 1)
        assert jobs[1] is PENDING
        word: Any = jobs.at(1)
        assert word.get_lock().acquire(timeout=PATIENCE)
        assert word.abandoned  # who gave back took no report of the death
        word.get_lock().release()
