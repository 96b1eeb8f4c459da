"""Owners in other PID namespaces, as in containers that share one /dev/shm."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from helpers import elsewhere
from helpers.boards import Board
from helpers.crew import Task, child, hold
from helpers.marks import named, needs_robust, needs_waitid
from helpers.names import own_name
from helpers.owners import own_and_stay
from helpers.support import (
    CALCULATING,
    DEADLINE,
    IDLE,
    UNAVAILABLE,
    WorkerStatus,
    run_script,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from helpers.elsewhere import Elsewhere

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not elsewhere.can(), reason="no PID namespaces here: it takes root"),
]

LEASES: Any = {CALCULATING: IDLE}


class Shared(NamedTuple):
    """A value, an array, and the process in another namespace that has both."""

    value: WorkerStatus
    board: Board
    there: Elsewhere


def make(**more: Any) -> tuple[WorkerStatus, Board]:
    """Make a value and an array that may have owners."""
    name = more.get("segment_name")
    other: dict[str, Any] = {} if name is None else {"segment_name": f"{name}-b"}
    value = WorkerStatus(IDLE, on_death=LEASES, **more)
    return value, Board(3, UNAVAILABLE, on_death=LEASES, **other)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A segment name of this test alone."""
    with own_name(request.node.nodeid) as chosen:
        yield chosen


@pytest.fixture(params=[pytest.param("attached", marks=named), "inherited"])
def shared(request: pytest.FixtureRequest, name: str) -> Iterator[Shared]:
    """A process that attaches by name; or a child forked as the parent had unshared."""
    if request.param == "inherited":
        value, board = make()
        with elsewhere.inherited(value=value, board=board) as there:
            yield Shared(value, board, there)
        return
    value, board = make(segment_name=name)
    with elsewhere.attached(name, f"{name}-b") as there:
        yield Shared(value, board, there)
    value.unlink()
    board.unlink()


#: The pid of the first process of a namespace, there.
FIRST = 1


# -- deaths there and here


def test_owner_there_dies(shared: Shared) -> None:
    """What a process in another namespace owned comes back as it dies; till then it lives."""
    value, board, there = shared
    there.ask("value.set(CALCULATING)")
    there.ask("board.at(1).own()")
    assert value.owner == board.owner(1) == FIRST
    assert (value.recover(), board.recover()) == (False, [])
    with pytest.raises(RuntimeError, match=f"process {FIRST} "):
        value.own()
    there.kill()
    assert value.load() is CALCULATING
    assert value.owner is None
    assert value.load() is IDLE
    assert board.recover() == [1]


def test_owner_here_dies(shared: Shared) -> None:
    """What a process here owned comes back as it dies, for one in another namespace."""
    value, board, there = shared

    def own() -> None:
        value.set(CALCULATING)
        board.at(1).own()

    with child(own_and_stay, own) as owner:
        owner.says()
        assert there.ask("(value.owner, board.owner(1))") == f"({owner.pid}, {owner.pid})"
        assert there.ask("(value.recover(), board.recover())") == "(False, [])"
        assert there.ask("value.own()").startswith(f"RuntimeError: process {owner.pid} ")
        owner.kill()
    assert there.ask("value.recover()") == "True"
    assert there.ask("board.owners()") == "[None, None, None]"
    assert (value.load(), board.recover()) == (IDLE, [])
    assert there.ask("value.own()") == "None"
    assert value.owner == FIRST


def test_sleeper_here(shared: Shared) -> None:
    """Whoever sleeps here hears of a death there."""
    value, _, there = shared
    there.ask("value.set(CALCULATING)")
    sleeper = Task(lambda: value.wait_for(IDLE, timeout=DEADLINE))
    assert sleeper.is_running()
    there.kill()
    assert sleeper.result() is IDLE


@pytest.mark.parametrize(
    ("wait", "outcome"),
    [
        ("value.wait_for(IDLE, timeout=PATIENCE)", repr(IDLE)),
        ("board.wait_any(IDLE, timeout=PATIENCE)", "1"),
        ("board.claim(IDLE, UNAVAILABLE, timeout=None)", "1"),
    ],
)
def test_sleeper_there(wait: str, outcome: str, shared: Shared) -> None:
    """Whoever sleeps there hears of a death here."""
    value, board, there = shared

    def own() -> None:
        value.set(CALCULATING)
        board[1] = CALCULATING

    with child(own_and_stay, own) as owner:
        owner.says()
        there.tell(wait)
        assert there.is_silent()
        owner.kill()
        assert there.answer() == outcome


@named
def test_end_there(name: str) -> None:
    """A process that ends by itself in another namespace gives back what it owned."""
    value, board = make(segment_name=name)
    with elsewhere.attached(name, f"{name}-b") as there:
        there.ask("value.set(CALCULATING)")
        there.ask("board.at(1).own()")
        assert value.owner == FIRST
    assert (value.load(), value.version, board.at(1).version) == (IDLE, 2, 2)
    assert value.recover() is False
    assert value.owner is None
    assert board.owners() == [None] * 3
    value.unlink()
    board.unlink()


# -- several namespaces


def test_two_of_equal_pids() -> None:
    """Of two processes of equal pids in two namespaces one is not taken for the other."""
    value, board = make()
    with (
        elsewhere.inherited(value=value, board=board) as one,
        elsewhere.inherited(value=value, board=board) as two,
    ):
        one.ask("value.set(CALCULATING)")
        assert one.ask("value.owner") == two.ask("value.owner") == str(FIRST)
        for use in ("value.own()", "value.disown()"):
            assert two.ask(use).startswith(f"RuntimeError: process {FIRST} ")
        two.ask("board.at(1).own()")
        assert one.ask("(value.recover(), board.recover())") == "(False, [])"
        one.kill()
        assert two.ask("value.recover()") == "True"
        assert two.ask("board.owner(1)") == str(FIRST)
        two.kill()
    assert value.recover() is False
    assert board.recover() == [1]


def test_sleeper_in_a_third_namespace() -> None:
    """A death in one namespace ends a wait in another; this process only made the value."""
    value, board = make()
    with (
        elsewhere.inherited(value=value) as one,
        elsewhere.inherited(value=value, board=board) as two,
    ):
        one.ask("value.set(CALCULATING)")
        two.tell("value.wait_for(IDLE, timeout=PATIENCE)")
        assert two.is_silent()
        one.kill()
        assert two.answer() == repr(IDLE)
    assert (value.load(), value.version) == (IDLE, 2)


# -- locks, which mean nothing there


def test_locked_word_is_left_there(shared: Shared) -> None:
    """A dead process's word whose lock somebody holds is left there, and comes back later."""
    value, _, there = shared
    with child(own_and_stay, lambda: value.set(CALCULATING)) as owner:
        owner.says()
        with child(hold, value) as holder:
            holder.says()
            owner.kill()
            assert there.ask("value.recover()") == "False"
            assert there.ask("value.owner") == "None"
            there.tell("value.own()")
            assert there.is_silent()
            assert value.load() is CALCULATING
            holder.tell()
        assert there.answer() == "None"
    assert (value.load(), value.owner) == (IDLE, FIRST)


@needs_robust
def test_holder_that_died(shared: Shared) -> None:
    """A word whose lock a dead process held comes back by whoever may take that lock, here."""
    value, _, there = shared

    def own_inside(pipe: Any) -> None:
        with value.get_lock():
            own_and_stay(pipe, lambda: value.set(CALCULATING))

    with child(own_inside) as owner:
        owner.says()
        owner.kill()
    assert there.ask("value.recover()") == "False"
    assert value.recover() is True
    assert there.ask("(value.load(), value.owner)") == f"({IDLE!r}, None)"


NOT_MINE = """
import ctypes, os, sys
from helpers.owners import LEASES, PENDING, RUNNING, Job

name = sys.argv[1]
job = Job(PENDING, segment_name=name, on_death=LEASES)
mine = os.fork()
if mine == 0:
    os._exit(0)
os.waitid(os.P_PID, mine, os.WEXITED | os.WNOWAIT)
ready, tell = os.pipe()
until, end = os.pipe()
if os.fork() == 0:
    os.close(end)
    assert ctypes.CDLL(None).unshare(0x20000000) == 0
    if os.fork() == 0:  # the first one there
        with open("/proc/sys/kernel/ns_last_pid", "w") as last:
            last.write(str(mine - 1))
        if os.fork() == 0:
            assert os.getpid() == mine
            job.set(RUNNING)
            os.write(tell, b".")
            os.read(until, 1)
            os._exit(0)
    os.wait()
    os._exit(0)
os.close(tell)
assert os.read(ready, 1) == b"."
os.unlink(f"/dev/shm/intenum.{name}")
os.closerange(3, end)
os.closerange(end + 1, 4096)
print(job.recover(), job.owner == mine, job.name)
"""


@needs_waitid
@named
def test_pid_of_a_child_and_of_somebody_else(name: str, tmp_path: Path) -> None:
    """Where pids alone tell, a dead child is not taken for an owner of that pid elsewhere."""
    if not os.access("/proc/sys/kernel/ns_last_pid", os.W_OK):
        pytest.skip("pids cannot be chosen here")
    done = run_script(NOT_MINE, name, folder=tmp_path)
    assert done.stdout == "False True RUNNING\n", done.stderr
