"""Whose a word is: threads, forks, own() and disown(), and what another process owns."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

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
    Work,
    fellow,
    forked,
    hold_job,
    leased,
    pipe,
    row_of,
)
from helpers.support import fork, until, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

ME = os.getpid


# -- whose it is


def test_forks_child_is_not_its_parent() -> None:
    """A forked child owns nothing of its parent's, and leases by itself."""
    mine, theirs, owned = leased(), leased(), Job(PENDING, on_death=LEASES)
    mine.set(RUNNING)
    owned.own()

    def be_a_child(pipe: Connection) -> None:
        pipe.send((mine.owner, owned.owner, theirs.owner))
        theirs.set(RUNNING)
        for status in (mine, owned):
            for method in (status.own, status.disown):
                with pytest.raises(RuntimeError, match=f"process {os.getppid()} "):
                    method()
        pipe.send(theirs.owner)
        pipe.recv()

    with child(be_a_child) as peer:
        assert peer.says() == (ME(), ME(), None)
        assert peer.says() == peer.pid == theirs.owner
        if ATOMIC:
            assert row_of(theirs) != row_of(mine)
        peer.tell()
    assert (theirs.load(), theirs.owner) == (PENDING, None)
    assert (mine.load(), mine.owner, owned.owner) == (RUNNING, ME(), ME())


@pytest.mark.parametrize("leave", [lambda: None, lambda: os.kill(os.getpid(), signal.SIGKILL)])
def test_end_of_a_forks_child_leaves_its_parents(leave: Callable[[], object]) -> None:
    """A forked child that ends, itself an owner or not, gives back nothing of its parent's."""
    values = [leased() for _ in range(3)]
    values[0].set(RUNNING)
    for takes in (False, True):

        def end(takes: bool = takes) -> None:
            if takes:
                values[1].set(RUNNING)
            leave()

        wait_for(fork(end))
        assert [value.recover() for value in values] == [False, takes, False]
        assert (values[0].load(), values[0].owner) == (RUNNING, ME())


def test_child_of_a_child() -> None:
    """Each process of a chain of forks owns what it wrote itself."""
    jobs = Jobs(4, PENDING, on_death=LEASES)

    def descend(depth: int) -> None:
        assert jobs.claim(PENDING, RUNNING) == depth
        assert jobs.owner(depth) == ME()
        assert all(jobs.owners()[: depth + 1])
        if depth < 3:
            assert wait_for(fork(lambda: descend(depth + 1))) == 0
            assert jobs.owners()[depth + 1 :] == [None] * (3 - depth)
            assert jobs[depth + 1] is PENDING

    descend(0)


def test_threads_are_one_owner() -> None:
    """The process owns, not the thread: what one thread leased or owned any other may give up."""
    status: Any = leased()
    other: Any = Job(PENDING, on_death=DEAD)
    Task(lambda: (status.set(RUNNING), other.own())).result()
    assert status.owner == other.owner == ME()
    assert not status.recover()
    Task(lambda: (status.own(), other.disown())).result()
    assert (status.owner, other.owner) == (ME(), None)
    Task(status.disown).result()
    assert status.owner is None
    assert status.load() is RUNNING


def test_update_whose_function_forks() -> None:
    """Of an update whose function forks, the child leases what it writes by itself."""
    status = leased()

    def fork_in_an_update(pipe: Connection) -> None:
        status.set(RUNNING)
        status.set(DONE)  # this process has its row from here on
        pids: list[int] = []

        def step(member: Work) -> Work:
            if not pids:
                pids.append(os.fork())
            return RUNNING if pids[0] == 0 else member

        status.update(step)
        if pids[0] == 0:
            pipe.send((os.getpid(), status.owner))
            os._exit(0)
        pipe.recv()

    with child(fork_in_an_update) as peer:
        pid, owner = peer.says()
        assert owner == pid != peer.pid
        until(lambda: status.owner is None, "the end of the update's child")
        assert status.load() is PENDING
        peer.tell()


def test_write_whose_signal_handler_forks() -> None:
    """Of a write that waits while a signal handler forks, the child leases it by itself."""
    status, witness = leased(), leased()

    def fork_in_a_handler(pipe: Connection) -> None:
        def handle(*_: object) -> None:
            if os.fork():
                raise ZeroDivisionError

        signal.signal(signal.SIGUSR1, handle)
        witness.set(RUNNING)  # this process has its row from here on
        pipe.send("ready")
        try:
            status.set(RUNNING)
        except ZeroDivisionError:  # the parent
            pipe.recv()
            return
        pipe.send((os.getpid(), status.owner))
        os._exit(0)

    def forked() -> str:
        return Path(f"/proc/{peer.pid}/task/{peer.pid}/children").read_text()

    with child(hold_job, status) as holder:
        assert holder.says() == "held"
        with child(fork_in_a_handler) as peer:
            assert peer.says() == "ready"
            assert peer.is_silent()
            os.kill(peer.pid, signal.SIGUSR1)
            until(forked, "the fork")
            holder.tell()
            pid, owner = peer.says()
            peer.tell()
    assert owner == pid != peer.pid


def test_threads_that_lease_first_at_once() -> None:
    """Threads that lease their first words at once are one owner, which may own them all."""

    def lease_at_once() -> None:
        sys.setswitchinterval(1e-6)
        values = [leased() for _ in range(4)]
        start = threading.Barrier(len(values))
        tasks = [Task(lambda v=value: (start.wait(), v.set(RUNNING))) for value in values]  # type: ignore[misc]
        for task in tasks:
            task.result()
        for value in values:
            value.own()
            assert value.owner == ME()

    for _ in range(20):
        assert wait_for(fork(lease_at_once)) == 0


@pytest.mark.only_on("lock")
def test_thread_that_forks_as_another_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that one thread forks as another one leases keeps nothing of the parent's alive."""
    import fcntl

    status = leased()

    def lease_and_fork() -> None:
        call, asked = fcntl.fcntl, threading.Event()

        def fork_one() -> None:
            asked.wait(PATIENCE)
            if os.fork() == 0:
                os.close(end)
                os.read(to_the_child, 1)
                os._exit(0)

        forker = Task(fork_one)

        def slowly(fd: int, command: int, *arguments: Any) -> Any:
            outcome = call(fd, command, *arguments)
            if command == fcntl.F_OFD_SETLK:
                asked.set()
                forker.is_running(0.5)  # it may have to wait until this is over
            return outcome

        monkeypatch.setattr(fcntl, "fcntl", slowly)
        status.set(RUNNING)
        forker.result()
        os.write(told, b"leased")
        signal.pause()

    with pipe() as (to_the_child, end), pipe() as (from_the_parent, told):
        with forked(lease_and_fork):
            assert os.read(from_the_parent, 6) == b"leased"
        assert status.recover()


# -- by own() and disown()


@pytest.mark.parametrize("on_death", [LEASES, DEAD], ids=["mapping", "member"])
def test_own_twice(on_death: Any) -> None:
    """own() twice, by whichever thread, is own() once; so is disown(); version counts both once."""
    status = Job(PENDING, on_death=on_death)
    status.disown()
    assert status.owner is None
    for _ in range(2):
        status.own()
        assert status.owner == ME()
        Task(status.own).result()
    for _ in range(2):
        status.disown()
        assert status.owner is None
    assert (status.load(), status.version) == (PENDING, 2)


@pytest.mark.parametrize("on_death", [LEASES, DEAD], ids=["mapping", "member"])
def test_own_changes_no_state(on_death: Any) -> None:
    """own() and disown() leave the member as it is, and whoever sleeps sleeps on."""
    status = Job(RUNNING, on_death=on_death)
    sleeper = Task(lambda: status.wait_while(RUNNING, timeout=PATIENCE))
    assert sleeper.is_running()
    status.own()
    status.disown()
    status.own()
    assert (status.load(), status.version) == (RUNNING, 3)
    assert sleeper.is_running()
    status.set(DONE)
    assert sleeper.result() is DONE
    assert (status.version, status.owner) == (4, ME())


def test_own_over_a_lease_of_ones_own() -> None:
    """own() of what this process leases keeps it so, beyond the next write."""
    status = leased()
    status.set(RUNNING)
    status.own()
    assert (status.owner, status.version) == (ME(), 2)
    status.set(DONE)
    assert status.owner == ME()


def test_disown_of_a_lease() -> None:
    """disown() ends a lease as well: the member stays, and nobody answers for it."""
    status = leased()
    with fellow(status=status) as owner:
        owner.ask("status.set(RUNNING)")
        owner.ask("status.disown()")
        assert status.owner is None
        owner.kill()
    assert not status.recover()
    assert status.load() is RUNNING


@pytest.mark.parametrize("how", ["status.own()", "status.set(RUNNING)"])
def test_what_is_another_live_processs(how: str) -> None:
    """own() and disown() of what another live process owns raise RuntimeError with its pid."""
    status = leased()
    with fellow(status=status) as owner:
        assert owner.ask(how) is None
        state = status.load(), status.version
        for method in (status.own, status.disown):
            with pytest.raises(RuntimeError, match=f"^process {owner.pid} owns this value"):
                method()
            assert Task(lambda: status.owner).result() == owner.pid
        assert (status.load(), status.version) == state
        assert owner.ask("status.disown()") is None
        status.own()
        assert owner.ask("status.own()").startswith(f"RuntimeError: process {ME()} ")
        assert owner.ask("status.disown()").startswith(f"RuntimeError: process {ME()} ")
        assert status.owner == ME()


@pytest.mark.parametrize("how", ["status.own()", "status.set(RUNNING)"])
def test_own_of_what_a_dead_one_owned(how: str) -> None:
    """own() of what a dead process owned gives that back first."""
    status = leased()
    with fellow(status=status) as owner:
        assert owner.ask(how) is None
        status.set(RUNNING) if "own" in how else None
        owner.kill()
    version = status.version
    status.own()
    assert (status.load(), status.version) == (PENDING, version + 2)
    assert status.owner == ME()


@pytest.mark.only_on("native", "cffi")  # on the lock path every write takes the lock
def test_own_waits_for_a_dead_owners_word_alone() -> None:
    """own() takes no lock of a word that is nobody's, and waits for that of a dead one's."""
    status: Any = Job(PENDING, on_death=DEAD)
    with child(hold_job, status) as holder:
        assert holder.says() == "held"
        status.own()
        assert status.owner == ME()
        status.disown()
        with fellow(status=status) as owner:
            owner.ask("status.own()")
            owner.kill()
        waiting = Task(status.own)
        assert waiting.is_running()
        assert (status.load(), status.owner) == (PENDING, None)
        holder.tell()
        waiting.result()
    assert (status.load(), status.owner) == (DEAD, ME())


def own_and_tell(pipe: Connection, status: Job) -> None:
    """Own, and tell how that ended, by a handler that raises too."""

    def handle(*_: object) -> None:
        raise ZeroDivisionError

    signal.signal(signal.SIGUSR1, handle)
    pipe.send("ready")
    try:
        status.own()
    except ZeroDivisionError as error:
        pipe.send(type(error))


def test_signal_ends_own() -> None:
    """What a signal handler raises ends an own() that waits for a lock; nobody owns it then."""
    status = Job(PENDING, on_death=DEAD)
    with child(hold_job, status) as holder:
        assert holder.says() == "held"
        if ATOMIC:
            with fellow(status=status) as owner:
                owner.ask("status.own()")
                owner.kill()
        with child(own_and_tell, status) as waiting:
            waiting.says()
            assert waiting.is_silent()
            os.kill(waiting.pid, signal.SIGUSR1)
            assert waiting.says() is ZeroDivisionError
        holder.tell()
    assert status.recover() == ATOMIC
    assert status.owner is None
