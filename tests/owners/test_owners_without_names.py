"""Owners of segments whose names, descriptors or creators have gone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers.crew import PATIENCE, Task, child
from helpers.inside import as_elsewhere
from helpers.marks import named, needs_life_locks
from helpers.names import own_name, path_of
from helpers.owners import (
    DEAD,
    DONE,
    LEASES,
    PENDING,
    RUNNING,
    Job,
    Jobs,
    board,
    fellow,
    leased,
)
from helpers.support import collect, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

pytestmark = needs_life_locks


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A segment name of this test alone."""
    with own_name(request.node.nodeid) as chosen:
        yield chosen


def close_all_but(descriptor: int) -> None:
    """Close all descriptors, as daemons do, but the first three and this one."""
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, 4096)


def descriptors() -> set[str]:
    """Return which descriptors are open, and for a moment the one that lists them."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def closing(pipe: Connection, action: Callable[[], object], when: str) -> None:
    """Do something, all descriptors being closed before it or after it; tell its outcome."""
    if when == "before":
        close_all_but(pipe.fileno())
    outcome = action()
    if when == "after":
        close_all_but(pipe.fileno())
    pipe.send(outcome)
    pipe.recv()


# -- closed descriptors


@pytest.mark.parametrize("when", ["before", "after"])
def test_owner_that_closes_its_descriptors(when: str) -> None:
    """A process that closes all its descriptors owns, before that and after, until it dies."""
    status, jobs = leased(), board()

    def own() -> None:
        status.set(RUNNING)
        jobs.at(1).own()

    with child(closing, own, when) as owner:
        owner.says()
        assert status.owner == jobs.owner(1) == owner.pid
        assert not status.recover()
        owner.kill()
    assert status.recover()
    assert jobs.recover() == [1]


def test_owner_that_closes_its_descriptors_ends_by_itself() -> None:
    """Such a process gives back as it ends, as any other."""
    status = leased()
    with child(closing, lambda: status.set(RUNNING), "after") as owner:
        owner.says()
        assert status.owner == owner.pid
        owner.tell()
    assert status.load() is PENDING


def test_observer_that_closes_its_descriptors() -> None:
    """A process that closes all its descriptors still tells who lives, and who does not."""
    status, jobs = leased(), board()

    def look(pipe: Connection) -> None:
        status.owner  # noqa: B018 - as its descriptors are there
        close_all_but(pipe.fileno())
        while pipe.recv():
            pipe.send((status.recover(), jobs.recover(), status.owner, jobs.owners()))

    with child(look) as observer, fellow(status=status, jobs=jobs) as owner:
        owner.ask("(status.set(RUNNING), jobs.claim(PENDING, RUNNING))")
        observer.tell("look")
        assert observer.says() == (False, [], owner.pid, [None, owner.pid, None])
        owner.kill()
        observer.tell("look")
        assert observer.says() == (True, [1], None, [None] * 3)
        observer.tell("")


def test_descriptors_of_others_are_left_alone() -> None:
    """What a process opens by the number of a descriptor that it closed is not taken for ours."""
    status = leased()

    def look(pipe: Connection) -> None:
        status.set(DONE)
        close_all_but(pipe.fileno())
        others = [os.open("/dev/null", os.O_RDONLY) for _ in range(64)]
        pipe.send("ready")
        pipe.recv()
        found = status.owner
        status.set(RUNNING)
        mine = status.owner
        status.set(DONE)
        still = {str(Path(f"/proc/self/fd/{each}").readlink()) for each in others}
        pipe.send((found, mine == os.getpid(), still))

    with child(look) as observer, fellow(status=status) as owner:
        observer.says()
        owner.ask("status.set(RUNNING)")
        observer.tell()
        assert observer.says() == (owner.pid, True, {"/dev/null"})


@named
def test_descriptors_are_opened_once_again(name: str) -> None:
    """Who has closed its descriptors opens one anew, by the name, and not one for each look."""
    status = leased(segment_name=name)

    def look(pipe: Connection) -> None:
        close_all_but(pipe.fileno())
        before = descriptors()
        for _ in range(50):
            status.owner  # noqa: B018
        pipe.send(len(descriptors() - before))

    status.own()
    with child(look) as observer:
        assert observer.says() <= 1
    status.disown()
    status.unlink()


# -- names that are gone


@named
@pytest.mark.parametrize("kind", ["value", "array"])
def test_name_that_is_gone_before_the_owner(kind: str, name: str) -> None:
    """Whoever has a segment mapped hears of deaths when its name is gone, sleeping or not."""
    made = leased(segment_name=name) if kind == "value" else board(segment_name=name)
    word = made if isinstance(made, Job) else made.at(1, Job)
    with fellow(word=word) as owner:
        owner.ask("word.set(RUNNING)")
        made.unlink()
        assert not path_of(name).exists()
        assert word.owner == owner.pid
        sleeper = Task(lambda: word.wait_for(PENDING, timeout=PATIENCE))
        assert sleeper.is_running()
        owner.kill()
        assert sleeper.result() is PENDING
    with fellow(word=word) as owner:
        assert owner.ask("word.set(RUNNING)") is None  # who comes to own it now
        assert word.owner == owner.pid
        owner.kill()
    assert word.recover()


@named
def test_name_that_another_segment_has_now(name: str) -> None:
    """Owners of one segment are not looked for in another that has its name by now."""
    old = leased(segment_name=name)
    with fellow(old=old) as owner:
        owner.ask("old.set(RUNNING)")
        old.unlink()
        new = leased(segment_name=name)
        assert (old.owner, new.owner) == (owner.pid, None)

        def look(pipe: Connection) -> None:
            close_all_but(pipe.fileno())
            pipe.send((old.owner, new.owner))

        with child(look) as observer:
            assert observer.says() == (owner.pid, None)
        owner.kill()
    assert old.recover()
    assert not new.recover()
    new.unlink()


@named
def test_observer_without_descriptor_and_name(name: str) -> None:
    """Where nothing leads to the segment any more, pids tell who has ended and was reaped."""
    status = leased(segment_name=name)

    def look(pipe: Connection) -> None:
        close_all_but(pipe.fileno())
        while pipe.recv():
            pipe.send((status.owner, status.recover()))

    with child(look) as observer, fellow(status=status) as owner:
        owner.ask("status.set(RUNNING)")
        status.unlink()
        observer.tell("look")
        assert observer.says() == (owner.pid, False)
        owner.kill()
        observer.tell("look")
        assert observer.says() == (None, False)
        observer.tell("")
    assert (status.load(), status.version) == (PENDING, 2)


@named
@pytest.mark.parametrize("end", ["normal", "killed"])
def test_creator_that_has_gone(end: str, name: str) -> None:
    """What outlives its creator has owners as before, and takes new ones."""

    def create(pipe: Connection) -> None:
        kept = leased(segment_name=name)
        kept.set(RUNNING)
        pipe.send("created")
        pipe.recv()

    def attach(pipe: Connection) -> None:
        with as_elsewhere():
            attached = Job.attach(name)
        pipe.send("attached")
        while pipe.recv():
            attached.set(RUNNING)
            pipe.send(attached.owner)

    with child(create) as creator:
        assert creator.says() == "created"
        status = Job.attach(name)
        assert status.owner == creator.pid
        with child(attach) as owner:
            assert owner.says() == "attached"
            if end == "killed":
                creator.kill()
                assert status.recover()
                path_of(name).unlink()
            else:
                creator.tell()
                until(lambda: status.load() is PENDING, "the creator's end")
                until(lambda: not path_of(name).exists(), "the end of its name")
            owner.tell("own")
            assert owner.says() == owner.pid == status.owner
            owner.kill()
        assert status.recover()
        status.own()
        assert status.owner == os.getpid()


# -- the last object


@pytest.mark.parametrize("end", ["normal", "killed"])
@pytest.mark.parametrize("kind", ["value", "array"])
def test_owner_that_drops_its_last_object(kind: str, end: str) -> None:
    """A process owns what it owned until it ends, also if it has no object of it any more."""
    made = [leased() if kind == "value" else board()]
    mine = made[0]

    def own_and_drop(pipe: Connection) -> None:
        nonlocal mine
        word = mine if isinstance(mine, Job) else mine.at(1, Job)
        word.own()
        word.set(RUNNING)
        made.clear()
        del word, mine
        collect()
        pipe.send("dropped")
        pipe.recv()

    with child(own_and_drop) as owner:
        assert owner.says() == "dropped"
        word = made[0] if isinstance(made[0], Job) else made[0].at(1, Job)
        assert word.owner == owner.pid
        assert not word.recover()
        owner.kill() if end == "killed" else owner.tell()
    if end == "killed":
        assert word.load() is RUNNING
        assert word.recover()
    assert (word.load(), word.owner) == (PENDING, None)


@named
def test_owner_that_drops_and_attaches_again(name: str) -> None:
    """Who drops what it owns and attaches to it again is the owner still, and may give it up."""
    status = Job(PENDING, segment_name=name, on_death=DEAD)

    def own_again(pipe: Connection) -> None:
        nonlocal status
        del status
        collect()
        for _ in range(3):
            attached = Job.attach(name)
            attached.own()
            del attached
            collect()
        pipe.send("owned")
        pipe.recv()
        Job.attach(name).disown()
        pipe.send("given up")
        pipe.recv()

    with child(own_again) as owner:
        assert owner.says() == "owned"
        assert status.owner == owner.pid
        owner.tell()
        assert owner.says() == "given up"
        assert status.owner is None
        owner.kill()
    assert not status.recover()
    assert status.load() is PENDING
    status.unlink()


@named
def test_creator_that_drops_what_it_owns(name: str) -> None:
    """A creator that drops a named value lets go of the name, and owns the value until it ends."""

    def create_and_drop(pipe: Connection) -> None:
        created = Jobs(3, PENDING, segment_name=name, on_death=LEASES)
        pipe.send("created")
        pipe.recv()
        created.fill(RUNNING)
        del created
        collect()
        pipe.send("dropped")
        pipe.recv()

    with child(create_and_drop) as owner:
        owner.says()
        jobs = Jobs.attach(name)
        owner.tell()
        owner.says()
        assert not path_of(name).exists()
        assert jobs.owners() == [owner.pid] * 3
        owner.kill()
    assert jobs.recover() == [0, 1, 2]
