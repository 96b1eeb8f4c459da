"""Owners that are killed: what becomes of their words, and who notices, at once or asleep."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from helpers.crew import child
from helpers.owners import (
    DEAD,
    DONE,
    LEASES,
    PENDING,
    ROLES,
    RUNNING,
    Jobs,
    Owned,
    array_word,
    check_given_back,
    fellow,
    kill_owner,
    own_and_stay,
    value_word,
)

if TYPE_CHECKING:
    from collections.abc import Callable


by_role = pytest.mark.parametrize("role", ROLES)


def recover(owned: Owned) -> None:
    """Have a value give back, which tells that."""
    assert owned.job.recover() is True


def ask_owner(owned: Owned) -> None:
    """Look by the owner of a value."""
    assert owned.job.owner is None


def begin_to_wait(owned: Owned) -> None:
    """Look by a wait that begins, and need not sleep."""
    if owned.role.dead is not owned.role.alive:
        assert owned.job.wait_while(owned.role.alive, timeout=0) is owned.role.dead
    else:
        assert owned.job.wait_for(owned.role.dead, timeout=0) is owned.role.dead


def begin_with_changes(owned: Owned) -> None:
    """Look by following the changes of a value."""
    changes = owned.job.changes(timeout=0)
    assert next(changes) is owned.role.alive
    if owned.role.dead is not owned.role.alive:
        assert next(changes) is owned.role.dead
    else:
        with pytest.raises(TimeoutError):
            next(changes)


def own_it(owned: Owned) -> int:
    """Look by owning it oneself, and give that up again, which are two writes."""
    owned.job.own()
    owned.job.disown()
    return 2


VALUE_LOOKS = {
    "recover": recover,
    "owner": ask_owner,
    "wait": begin_to_wait,
    "changes": begin_with_changes,
    "own": own_it,
}


def recover_all(owned: Owned) -> None:
    """Look by recover() of an array, which says which word it was."""
    assert owned.jobs.recover() == [1]
    assert owned.jobs.recover() == []


def ask_owner_of_one(owned: Owned) -> None:
    """Look by the owner of a word."""
    assert owned.jobs.owner(1) is None


def ask_owners(owned: Owned) -> None:
    """Look by the owners of all words."""
    assert owned.jobs.owners() == [None] * 3


def claim(owned: Owned) -> None:
    """Look by a claim that finds nothing before."""
    assert owned.jobs.claim(PENDING, DONE) == (1 if owned.role.dead is PENDING else None)


def begin_to_wait_for_any(owned: Owned) -> None:
    """Look by a wait for the array that begins, and need not sleep."""
    owned.jobs.wait_any(owned.role.dead, timeout=0)


def begin_to_wait_for_all(owned: Owned) -> None:
    """Look by a wait for the whole array that begins, and need not sleep."""
    owned.jobs.wait_all(owned.role.dead, DONE, timeout=0)


def begin_with_all_changes(owned: Owned) -> None:
    """Look by following the changes of an array."""
    changes = owned.jobs.changes(timeout=0)
    assert next(changes)[1] is owned.role.alive
    if owned.role.dead is not owned.role.alive:
        assert next(changes) == {1: owned.role.dead}
    else:
        with pytest.raises(TimeoutError):
            next(changes)


ARRAY_LOOKS = {
    **VALUE_LOOKS,
    "recover all": recover_all,
    "owner of one": ask_owner_of_one,
    "owners": ask_owners,
    "wait_any": begin_to_wait_for_any,
    "wait_all": begin_to_wait_for_all,
    "all changes": begin_with_all_changes,
}


# -- at once


@pytest.mark.parametrize("role", [role for role in ROLES if role != "claimed"])
@pytest.mark.parametrize("look", VALUE_LOOKS.values(), ids=VALUE_LOOKS)
def test_value_is_given_back(look: Callable[[Owned], int | None], role: str) -> None:
    """Whoever looks at a value of a killed owner gives it back at once; who reads does not."""
    owned = value_word(role)
    kill_owner(owned)
    version = owned.job.version
    more = look(owned) or 0
    check_given_back(owned, version + more)


@by_role
@pytest.mark.parametrize("look", ARRAY_LOOKS.values(), ids=ARRAY_LOOKS)
def test_word_is_given_back(look: Callable[[Owned], int | None], role: str) -> None:
    """Whoever looks at an array gives back at once what a killed process owned of it."""
    owned = array_word(role)
    kill_owner(owned)
    version = owned.job.version
    more = look(owned) or 0
    check_given_back(owned, version + more)
    assert [owned.jobs[0], owned.jobs[2]] == [DONE, DONE]


def test_claim_takes_what_is_given_back() -> None:
    """A claim takes a word that it has given back itself, and then owns it."""
    owned = array_word("leased")
    kill_owner(owned)
    assert owned.jobs.claim(PENDING, RUNNING) == 1
    assert owned.jobs.owner(1) == os.getpid()
    assert owned.jobs.claim(PENDING, RUNNING) is None


def test_claim_that_finds_one_gives_nothing_back() -> None:
    """A claim looks for dead owners only before it says None."""
    owned = array_word("leased")
    owned.jobs[0] = PENDING
    kill_owner(owned)
    assert owned.jobs.claim(PENDING, DONE) == 0
    assert owned.jobs[1] is RUNNING
    assert owned.jobs.claim(PENDING, DONE) == 1


@pytest.mark.parametrize(
    ("on_death", "takes"),
    [(LEASES, "jobs.exchange({}, RUNNING)"), (DEAD, "jobs.at({}).own()")],
    ids=["mapping", "member"],
)
def test_all_words_of_a_dead_owner(on_death: Any, takes: str) -> None:
    """All that one process owned of an array comes back in one look, and nothing of another's."""
    jobs = Jobs(200, PENDING, on_death=on_death)
    with fellow(jobs=jobs) as one, fellow(jobs=jobs) as two:
        one.ask("jobs.fill(RUNNING)")
        one.ask("[jobs.at(index).own() for index in range(0, 200, 3)]")
        two.ask(f"[{takes.format('index')} for index in range(1, 200, 3)]")
        pids = [one.pid, two.pid, one.pid if on_death is LEASES else None] * 67
        assert jobs.owners() == pids[:200]
        one.kill()
        assert jobs.recover() == [index for index in range(200) if pids[index] == one.pid]
        assert jobs.owners() == [two.pid if index % 3 == 1 else None for index in range(200)]
        assert jobs.count(RUNNING) == 200 - pids[:200].count(one.pid)
        two.kill()
        assert jobs.recover() == [*range(1, 200, 3)]


# -- who is not dead


@by_role
def test_live_owner_keeps_it(role: str) -> None:
    """Whoever looks at what a live process owns, in whatever way, leaves it as it is."""
    owned = array_word(role)
    with child(own_and_stay, lambda: owned.role.take(owned.jobs, owned.job)) as owner:
        owner.says()
        state = owned.state
        for _ in range(3):
            assert not owned.job.recover()
            assert owned.jobs.recover() == []
            assert owned.job.owner == owned.jobs.owner(1) == owner.pid
            assert owned.jobs.owners() == [None, owner.pid, None]
            assert owned.jobs.claim(PENDING, DEAD) is None
        for method in (owned.job.own, owned.job.disown):
            with pytest.raises(RuntimeError, match=f"process {owner.pid} "):
                method()
        with pytest.raises(TimeoutError):
            owned.job.wait_while(owned.role.alive, timeout=0.3)
        assert owned.state == state
        owner.tell()


@pytest.mark.slow
@by_role
def test_stopped_owner_lives(role: str) -> None:
    """A stopped process is not taken for dead, and goes on as the owner."""
    owned = array_word(role)
    with fellow(jobs=owned.jobs, take=lambda: owned.role.take(owned.jobs, owned.job)) as owner:
        owner.ask("take()")
        os.kill(owner.pid, signal.SIGSTOP)
        state = owned.state
        assert owned.jobs.recover() == []
        assert owned.jobs.owners() == [None, owner.pid, None]
        if owned.role.alive is not DONE:
            assert owned.jobs.claim(PENDING, DEAD) is None
            with pytest.raises(TimeoutError):
                owned.job.wait_while(owned.role.alive, timeout=0.6)
        with pytest.raises(RuntimeError, match=f"process {owner.pid} "):
            owned.job.own()
        assert owned.state == state
        os.kill(owner.pid, signal.SIGCONT)
        assert owner.ask("jobs.compare_and_set(1, jobs[1], DEAD)") is True
        os.kill(owner.pid, signal.SIGSTOP)
        owner.kill()
        assert owned.jobs.recover() == ([1] if role.startswith("owned") else [])
