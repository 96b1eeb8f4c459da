"""How an owner ends: by itself, by exec, by its last thread; and what must not keep it alive."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers.crew import PATIENCE, child
from helpers.forks import Bystander, by_forks
from helpers.marks import named, needs_life_locks, needs_waitid
from helpers.names import own_name
from helpers.owners import (
    DONE,
    PENDING,
    RUNNING,
    Job,
    board,
    forked,
    hold_job,
    leased,
    own_and_stay,
    pipe,
    timed,
)
from helpers.support import METHODS, fork, run_script, until, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

#: Numbers of the system call exit, which ends a thread alone.
EXIT = {"x86_64": 60, "aarch64": 93}


# -- ends that give back by themselves


ENDS = """
import multiprocessing, os, sys, threading
from helpers.owners import DEAD, DONE, LEASES, PENDING, RUNNING, Job, Jobs

def own(leased, owned, jobs):
    leased.set(RUNNING)
    owned.own()
    owned.set(DONE)
    jobs.claim(PENDING, RUNNING)
    jobs.at(1).own()

def own_and_exit(*values):
    own(*values)
    sys.exit(0)

def own_and_raise(*values):
    own(*values)
    sys.stderr = open(os.devnull, "w")
    raise ZeroDivisionError

def own_in_a_thread(*values):
    thread = threading.Thread(target=own, args=values)
    thread.start()
    thread.join()

def own_and_drop(*values):
    own(*values)
    for value in values:
        value.close()

WAYS = {
    "end of main": own,
    "sys.exit": own_and_exit,
    "exception": own_and_raise,
    "thread": own_in_a_thread,
    "closed before": own_and_drop,
}

if __name__ == "__main__":
    method, way = sys.argv[1:]
    if method != "os.fork":
        multiprocessing.set_start_method(method)
    leased, owned = Job(PENDING, on_death=LEASES), Job(PENDING, on_death=DEAD)
    jobs = Jobs(3, PENDING, on_death=LEASES)
    if method == "os.fork":
        if os.fork() == 0:
            WAYS[way](leased, owned, jobs)
            sys.exit()
        os.wait()
    else:
        process = multiprocessing.Process(target=WAYS[way], args=(leased, owned, jobs))
        process.start()
        process.join()
    print(leased.name, owned.name, *(member.name for member in jobs))
    print(leased.version, leased.recover(), owned.owner, jobs.owners())
    print(leased.name, owned.name, *(member.name for member in jobs))
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["end of main", "sys.exit", "exception", "thread", "closed before"])
@pytest.mark.parametrize("method", [*METHODS, "os.fork"])
def test_who_ends_gives_back(method: str, way: str, tmp_path: Path) -> None:
    """A process that ends by itself gives back what it owns before it is gone."""
    done = run_script(ENDS, method, way, folder=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    members, looks, again = done.stdout.splitlines()
    assert members == again == "PENDING DEAD PENDING PENDING PENDING"
    assert looks == "2 False None [None, None, None]"


def exit_at_once() -> None:
    """End as no interpreter does."""
    os._exit(0)


def be_terminated() -> None:
    """End by a signal that nobody handles."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("leave", [exit_at_once, be_terminated])
def test_who_cannot_give_back(leave: Callable[[], None]) -> None:
    """What a process owned that ended by os._exit or a signal comes back when somebody looks."""
    status, jobs = leased(), board()

    def own_and_leave() -> None:
        status.set(RUNNING)
        jobs.at(1).own()
        leave()

    wait_for(fork(own_and_leave))
    assert status.load() is RUNNING
    assert status.recover()
    assert jobs.recover() == [1]
    assert (status.load(), status.owner, jobs.owner(1)) == (PENDING, None, None)


def test_word_that_is_locked_at_the_end() -> None:
    """A process that ends does not wait for the locks of what it owns: that comes back later."""
    status = leased()
    with child(own_and_stay, lambda: status.set(RUNNING)) as owner:
        owner.says()
        with child(hold_job, status) as holder:
            holder.says()
            owner.tell()
            owner.process.join(PATIENCE)
            assert owner.process.exitcode == 0
            assert (status.load(), status.recover(), status.owner) == (RUNNING, False, None)
            holder.tell()
    assert status.recover()


DAEMON = """
import os, sys, threading
from helpers.owners import LEASES, PENDING, RUNNING, Job

status = Job(PENDING, on_death=LEASES)
if os.fork() == 0:
    began = threading.Event()
    def lease():
        while True:
            status.set(RUNNING)
            began.set()
    threading.Thread(target=lease, daemon=True).start()
    began.wait()
    sys.exit()
assert os.wait()[1] == 0
print(status.wait_for(PENDING, timeout=20).name, status.owner)
"""


@pytest.mark.slow
@pytest.mark.only_on(
    "native", "cffi"
)  # the lock path's lock goes with a thread that ends in a write
def test_daemon_thread_that_leases_to_the_end(tmp_path: Path) -> None:
    """What a daemon thread leases while its process ends comes back, then or at the next look."""
    for _ in range(5):
        done = run_script(DAEMON, folder=tmp_path)
        assert (done.stdout, done.stderr, done.returncode) == ("PENDING None\n", "", 0)


# -- what is no life


@needs_waitid
@needs_life_locks
def test_zombie_is_dead() -> None:
    """A process that nobody has reaped is dead, also for a parent that waits and reaps later."""
    status = leased()

    def die() -> None:
        status.set(RUNNING)
        os.kill(os.getpid(), signal.SIGKILL)

    for look in (status.recover, lambda: status.owner is None, lambda: wait(status)):
        with forked(die) as pid:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            assert status.load() is RUNNING
            assert look()
            assert status.load() is PENDING


def wait(status: Job) -> bool:
    """Wait until somebody has given it back."""
    return status.wait_for(PENDING, timeout=PATIENCE) is PENDING


@needs_waitid
@needs_life_locks
def test_sleeper_hears_of_a_zombie() -> None:
    """A parent that sleeps until a child is done hears of its death, which only it could reap."""
    status = leased()

    def own_and_pause() -> None:
        status.set(RUNNING)
        os.write(write, b"leased")
        signal.pause()

    with pipe() as (read, write), forked(own_and_pause) as pid:
        assert os.read(read, 6) == b"leased"
        sleeper = timed(lambda: wait(status))
        assert sleeper.is_running()
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert sleeper.result()[0]


@pytest.mark.skipif(platform.machine() not in EXIT, reason="the number of that call is not known")
@pytest.mark.skipif(sys.platform != "linux", reason="threads end by another call there")
def test_main_thread_that_has_ended() -> None:
    """A process lives as long as a thread of it, though its main thread has ended."""
    status = leased()

    def end_main_thread(pipe: Connection) -> None:
        status.set(RUNNING)

        def go_on() -> None:
            until(lambda: _state(os.getpid()) == "Z", "the main thread's end")
            pipe.send("alone")
            pipe.recv()
            pipe.send(status.compare_and_set(RUNNING, DONE))
            status.set(RUNNING)
            pipe.send("again")
            pipe.recv()

        threading.Thread(target=go_on).start()
        ctypes.CDLL(None).syscall(EXIT[platform.machine()], 0)

    with child(end_main_thread) as peer:
        assert peer.says() == "alone"
        assert not status.recover()
        assert status.owner == peer.pid
        with pytest.raises(TimeoutError):
            status.wait_for(PENDING, timeout=0.3)
        peer.tell()
        assert peer.says() is True
        assert peer.says() == "again"
        assert status.owner == peer.pid
        peer.kill()
        assert status.recover()


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@needs_life_locks
def test_exec_ends_an_owner() -> None:
    """A process that becomes another program owns nothing any more, though its pid goes on."""
    status = leased()

    def become_another_program() -> None:
        status.set(RUNNING)
        os.dup2(until_told, 0)
        os.dup2(write, 1)
        os.write(write, b"leased\n")
        os.execv("/bin/sh", ["sh", "-c", "echo another; read line"])

    with pipe() as (read, write), pipe() as (until_told, _), forked(become_another_program):
        with open(read, closefd=False) as lines:
            assert lines.readline() == "leased\n"
            assert lines.readline() == "another\n"
        assert status.load() is RUNNING
        assert status.recover()
        assert status.owner is None


EXECS = """
import os, sys
from helpers.owners import RUNNING, Job

status = Job.attach(sys.argv[1])
if len(sys.argv) == 2:
    status.own()
    status.set(RUNNING)
    os.execv(sys.executable, [sys.executable, *sys.argv, "again"])
print(status.name, status.owner, status.name)
status.own()
status.set(RUNNING)
print(status.name, status.owner == os.getpid())
"""


@pytest.mark.slow
@named
@needs_life_locks
def test_program_that_becomes_itself_again(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A service that reloads itself by exec owns what it attaches to anew, as anybody."""
    with own_name(request.node.nodeid) as name:
        status = leased(segment_name=name)
        done = run_script(EXECS, name, folder=tmp_path)
        assert done.stdout == "RUNNING None PENDING\nRUNNING True\n", done.stderr
        assert status.load() is PENDING
        status.unlink()


# -- what must not keep it alive


@by_forks
@pytest.mark.parametrize("when", ["before", "after"])
def test_survivor_of_a_fork_keeps_nobody_alive(how: str, when: str) -> None:
    """An owner that is killed is dead, though a child that it forked before or after lives on."""
    status, jobs = leased(), board()
    with Bystander() as bystander:

        def own_and_fork(pipe: Connection) -> None:
            if when == "before":
                bystander.live_in_a_child(how)
            status.set(RUNNING)
            jobs.at(1).own()
            if when == "after":
                bystander.live_in_a_child(how)
            pipe.send("forked")
            pipe.recv()

        with child(own_and_fork) as owner:
            owner.says()
            owner.kill()
        assert bystander.is_alive()
        assert status.recover()
        assert jobs.recover() == [1]
        assert bystander.is_alive()


@by_forks
def test_survivor_that_keeps_all_its_descriptors(how: str) -> None:
    """The same, of a child that has closed nothing of what it inherited."""
    status = leased()
    with Bystander() as bystander, pipe() as (read, write):

        def own_and_fork() -> None:
            status.set(RUNNING)
            bystander.live_in_a_child(how, closing=False)
            os.write(write, b"forked")
            signal.pause()

        with forked(own_and_fork):
            assert os.read(read, 6) == b"forked"
        assert bystander.is_alive()
        assert status.recover()
        assert bystander.is_alive()
