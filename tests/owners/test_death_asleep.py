"""Owners that are killed while others sleep on their words."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from helpers.boards import until_watched
from helpers.crew import PATIENCE, Task, child, is_asleep
from helpers.owners import (
    DEAD,
    DONE,
    NOTICED,
    PENDING,
    RUNNING,
    SLEEPS,
    Job,
    Jobs,
    board,
    fellow,
    leased,
    own_and_stay,
    timed,
)
from helpers.support import until
from helpers.waits import until_asleep

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


@pytest.mark.slow
@pytest.mark.parametrize("sleep", SLEEPS)
def test_sleeper_notices(sleep: str) -> None:
    """Whoever sleeps already notices a death by himself, within 250 ms."""
    jobs = board()
    with child(own_and_stay, lambda: jobs.claim(PENDING, RUNNING)) as owner:
        assert owner.says() == owner.pid
        wait, outcome = SLEEPS[sleep]
        sleeper = timed(lambda: wait(jobs))
        if sleep in ("wait_for", "wait_while"):
            until_asleep(jobs.at(1))
        else:
            until_watched(jobs)
        assert sleeper.is_running(0.3)
        killed = time.monotonic()
        owner.kill()
        result, noticed = sleeper.result()
    assert result == outcome
    assert noticed - killed < NOTICED
    assert jobs[1] is (DEAD if sleep == "claim" else PENDING)


@pytest.mark.parametrize("of", ["value", "array"])
def test_who_follows_changes_notices(of: str) -> None:
    """changes() tells of a death within 250 ms, of a value and of an array."""
    jobs = board()
    changes: Any = jobs.at(1).changes(PATIENCE) if of == "value" else jobs.changes(PATIENCE)
    with child(own_and_stay, lambda: jobs.claim(PENDING, RUNNING)) as owner:
        owner.says()
        first = next(changes)
        assert first == (RUNNING if of == "value" else {0: DONE, 1: RUNNING, 2: DONE})
        follower = timed(lambda: next(changes))
        assert follower.is_running()
        killed = time.monotonic()
        owner.kill()
        change, noticed = follower.result()
    assert change == (PENDING if of == "value" else {1: PENDING})
    assert noticed - killed < NOTICED


@pytest.mark.parametrize("sleep", ["wait_any", "wait_all"])
def test_sleeper_waits_for_what_on_death_says(sleep: str) -> None:
    """A supervisor that waits for DEAD, of any or of all, hears of deaths that it did not see."""
    workers = Jobs(2, PENDING, on_death=DEAD)
    with fellow(workers=workers) as one, fellow(workers=workers) as two:
        one.ask("workers.at(0).own()")
        two.ask("workers.at(1).own()")
        workers.fill(RUNNING)
        wait: Any = getattr(workers, sleep)
        sleeper = timed(lambda: wait(DEAD, timeout=PATIENCE))
        until_watched(workers)
        two.kill()
        if sleep == "wait_all":
            until(lambda: workers[1] is DEAD, "the first death")
            assert sleeper.is_running()
            one.kill()
        result, _ = sleeper.result()
    assert result == (1 if sleep == "wait_any" else None)


@pytest.mark.parametrize("wait", ["wait_for", "wait_any"])
def test_wait_behind_a_look(wait: str) -> None:
    """A wait that begins as this process has just asked notices a death within 250 ms as well."""
    jobs = board()
    with child(own_and_stay, lambda: jobs.claim(PENDING, RUNNING)) as owner:
        owner.says()
        assert jobs.owner(1) == owner.pid
        owner.kill()
        begins = time.monotonic()
        SLEEPS[wait][0](jobs)
        assert time.monotonic() - begins < NOTICED


def sleep_and_tell(pipe: Connection, status: Job) -> None:
    """Wait in another process, and tell what came."""
    pipe.send("ready")
    pipe.send(status.wait_for(PENDING, timeout=PATIENCE))


def test_sleepers_of_other_processes() -> None:
    """One death ends all waits for it, in whichever process; the word is given back once."""
    status = leased()
    with child(own_and_stay, lambda: status.set(RUNNING)) as owner:
        owner.says()
        with child(sleep_and_tell, status) as first, child(sleep_and_tell, status) as second:
            for sleeper in (first, second):
                assert sleeper.says() == "ready"
                until(lambda s=sleeper: is_asleep(s.pid), "falling asleep")  # type: ignore[misc]
            here = Task(lambda: status.wait_for(PENDING, timeout=PATIENCE))
            owner.kill()
            assert [first.says(), second.says(), here.result()] == [PENDING] * 3
    assert status.version == 2


@pytest.mark.slow
def test_wait_for_something_else_goes_on() -> None:
    """A word that is given back as what a sleeper does not wait for lets it sleep, to its time."""
    status = Job(PENDING, on_death={RUNNING: DONE})
    with child(own_and_stay, lambda: status.set(RUNNING)) as owner:
        owner.says()
        sleeper = Task(lambda: status.wait_for(DEAD, timeout=PATIENCE))
        until_asleep(status)
        owner.kill()
        until(lambda: status.load() is DONE, "giving back")
        assert sleeper.is_running()
    with pytest.raises(TimeoutError):
        status.wait_for(DEAD, timeout=0.3)
    status.set(DEAD)
    assert sleeper.result() is DEAD
