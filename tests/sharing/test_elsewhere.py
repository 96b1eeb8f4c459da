"""Values shared with a process in another PID namespace, as containers with one /dev/shm do."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from helpers import elsewhere
from helpers.boards import Board
from helpers.crew import Task, child, hold
from helpers.marks import needs_robust
from helpers.names import own_name, path_of
from helpers.support import (
    CALCULATING,
    DEADLINE,
    IDLE,
    UNAVAILABLE,
    WorkerStatus,
    until,
    word_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from helpers.elsewhere import Elsewhere

pytestmark = [
    pytest.mark.slow,
    pytest.mark.only_on("native", "cffi"),
    pytest.mark.skipif(not elsewhere.can(), reason="no PID namespaces here: it takes root"),
]

REFUSED = "RuntimeError: this value was created in another PID namespace"


class Shared(NamedTuple):
    """A value, an array, and the process in another namespace that has both."""

    value: WorkerStatus
    board: Board
    there: Elsewhere


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A segment name of this test alone."""
    with own_name(request.node.nodeid) as chosen:
        yield chosen


@pytest.fixture(params=["attached", "inherited"])
def shared(request: pytest.FixtureRequest) -> Iterator[Shared]:
    """A process that attaches by name; or a child forked as the parent had unshared."""
    if request.param == "inherited":
        value, board = WorkerStatus(IDLE), Board(3, IDLE)
        with elsewhere.inherited(value=value, board=board, lock=value.get_lock()) as there:
            yield Shared(value, board, there)
        return
    with own_name(f"{request.node.nodeid} 1") as one, own_name(f"{request.node.nodeid} 2") as two:
        value, board = WorkerStatus(IDLE, segment_name=one), Board(3, IDLE, segment_name=two)
        with elsewhere.attached(one, two) as there:
            yield Shared(value, board, there)
        value.unlink()
        board.unlink()


def is_locked(value: Any) -> bool:
    """Tell whether somebody holds its lock, as writers see it."""
    return bool(word_of(value) >> 32 & 1)


def test_reads_and_writes(shared: Shared) -> None:
    """What is written on one side is read on the other, and counted once."""
    value, board, there = shared
    assert there.ask("value.load()") == repr(IDLE)
    value.set(CALCULATING)
    assert there.ask("(value.name, value.version)") == "('CALCULATING', 1)"
    assert there.ask("value.set('UNAVAILABLE')") == "None"
    assert there.ask("value.exchange(IDLE)") == repr(UNAVAILABLE)
    assert there.ask("value.compare_and_set(IDLE, CALCULATING)") == "True"
    assert there.ask("value.compare_and_set(IDLE, UNAVAILABLE)") == "False"
    assert there.ask("value.update(lambda member: UNAVAILABLE)") == repr(UNAVAILABLE)
    assert (value.load(), value.version) == (UNAVAILABLE, 5)
    assert there.ask("board.claim(IDLE, CALCULATING)") == "0"
    assert board.claim(IDLE, UNAVAILABLE) == 1
    assert there.ask("board.counts()[IDLE]") == "1"
    assert there.ask("board.fill('UNAVAILABLE')") == "None"
    assert board.snapshot() == [UNAVAILABLE] * 3


def test_waits(shared: Shared) -> None:
    """Each side sleeps until the other one writes, on a value and on an array."""
    value, board, there = shared
    there.tell("value.wait_for(CALCULATING, timeout=PATIENCE)")
    until(lambda: word_of(value) >> 33 & 1, "it announces that it sleeps")
    value.set(CALCULATING)
    assert there.answer() == repr(CALCULATING)
    sleeper = Task(lambda: value.wait_for(IDLE, timeout=DEADLINE))
    until(lambda: word_of(value) >> 33 & 1, "this thread sleeps")
    assert there.ask("value.set(IDLE)") == "None"
    assert sleeper.result() is IDLE
    there.tell("board.wait_all(UNAVAILABLE, timeout=PATIENCE)")
    assert there.is_silent()
    board.fill(UNAVAILABLE)
    assert there.answer() == "None"
    watcher = Task(lambda: board.wait_any(IDLE, timeout=DEADLINE))
    assert there.ask("board.exchange(2, IDLE)") == repr(UNAVAILABLE)
    assert watcher.result() == 2


@pytest.mark.parametrize(
    "use",
    [
        "value.get_lock().acquire()",
        "value.get_lock().acquire(block=False)",
        "value.get_lock().acquire(timeout=1)",
        "value.get_lock().release()",
        "value.get_lock().__enter__()",
        "board.at(1).get_lock().acquire()",
        "lock.acquire(False)",
    ],
)
def test_lock_is_refused(use: str, shared: Shared) -> None:
    """Who asks for the lock there is told why it cannot be had, and nobody here is kept out."""
    value, board, there = shared
    if use.startswith("lock") and there.ask("'lock' in dir()") == "False":
        there.ask("lock = value.get_lock()")
        use = "value.get_lock()"
    assert there.ask(use).startswith(REFUSED)
    assert not is_locked(value)
    assert not is_locked(board.at(1))
    assert value.get_lock().acquire(timeout=DEADLINE)
    value.get_lock().release()
    assert there.ask("value.set(CALCULATING)") == "None"


@pytest.mark.parametrize(
    ("write", "outcome"),
    [
        ("value.set(CALCULATING)", "None"),
        ("value.exchange(CALCULATING)", repr(UNAVAILABLE)),
        ("value.compare_and_set(UNAVAILABLE, CALCULATING)", "True"),
        ("value.update(lambda member: CALCULATING)", repr(CALCULATING)),
    ],
)
def test_write_waits_until_the_holder_lets_go(write: str, outcome: str, shared: Shared) -> None:
    """A write there keeps out of what the holder of the lock does here, and comes after it."""
    value, _, there = shared
    with value.get_lock():
        value.set(UNAVAILABLE)
        there.tell(write)
        assert there.is_silent()
        value.set(UNAVAILABLE)
        assert value.version == 2
    assert there.answer() == outcome
    assert (value.load(), value.version) == (CALCULATING, 3)


def test_what_does_not_match_waits_for_nobody(shared: Shared) -> None:
    """A read, and a compare_and_set that does not match, are answered there while it is locked."""
    value, _, there = shared
    with value.get_lock():
        assert there.ask("value.compare_and_set(CALCULATING, UNAVAILABLE)") == "False"
        assert there.ask("value.load()") == repr(IDLE)


def test_write_of_an_array_waits_until_the_holder_lets_go(shared: Shared) -> None:
    """A locked word is passed over by who claims there, and waited for if no other one matches."""
    _, board, there = shared
    with board.at(0).get_lock():
        assert there.ask("board.claim(IDLE, CALCULATING)") == "1"
        assert there.ask("board.claim(IDLE, CALCULATING)") == "2"
        there.tell("board.claim(IDLE, CALCULATING)")
        assert there.is_silent()
    assert there.answer() == "0"
    with board.at(0).get_lock():
        there.tell("board.fill(IDLE)")
        assert there.is_silent()
        assert board[0] is CALCULATING
    assert there.answer() == "None"
    assert board.snapshot() == [IDLE] * 3


@needs_robust
def test_holder_that_dies(shared: Shared) -> None:
    """A write there that waits for a holder who is killed goes on once somebody here writes."""
    value, _, there = shared
    with child(hold, value) as holder:
        assert holder.says() == "held"
        there.tell("value.set(CALCULATING)")
        assert there.is_silent()
        holder.kill()
    value.set(UNAVAILABLE)
    assert there.answer() == "None"
    assert value == CALCULATING
    value.get_lock().acquire()
    assert value.abandoned
    value.get_lock().release()


def test_ctrl_c_ends_a_write_that_waits(shared: Shared) -> None:
    """A signal handler that raises ends a write that waits there, with nothing written."""
    value, _, there = shared
    there.ask("import signal, threading")
    there.ask("signal.signal(signal.SIGALRM, lambda *_: 1 / 0)")
    with value.get_lock():
        there.tell("[signal.setitimer(signal.ITIMER_REAL, 0.05), value.set(CALCULATING)]")
        assert there.answer() == "ZeroDivisionError: division by zero"
    assert (value.load(), value.version) == (IDLE, 0)


def create_and_stay(pipe: Connection, name: str) -> None:
    """Create a value of that name, say so, and stay until killed."""
    value = WorkerStatus(CALCULATING, segment_name=name)
    pipe.send(value.name)
    pipe.recv()


@pytest.mark.parametrize("shared", ["attached"], indirect=True)
def test_name_of_a_creator_elsewhere(name: str, shared: Shared) -> None:
    """A name is taken while its creator lives in either namespace, and free once it is killed."""
    there = shared.there
    create = f"fresh = WorkerStatus(IDLE, segment_name={name!r})"
    with child(create_and_stay, name) as creator:
        assert creator.says() == "CALCULATING"
        assert there.ask(create).startswith("FileExistsError")
        creator.kill()
    assert there.ask(create) == "None"
    with pytest.raises(FileExistsError, match="process 1 of another PID namespace"):
        WorkerStatus(IDLE, segment_name=name)
    assert WorkerStatus.attach(name) == IDLE
    there.kill()
    again = WorkerStatus(UNAVAILABLE, segment_name=name)
    assert (again.load(), WorkerStatus.attach(name).load()) == (UNAVAILABLE, UNAVAILABLE)


def test_end_elsewhere_leaves_what_others_have(name: str) -> None:
    """Who attached there ends, and the name stays; its creator there ends, and the name goes."""
    value = WorkerStatus(IDLE, segment_name=name)
    with own_name(f"{name} board") as board_name:
        board = Board(3, IDLE, segment_name=board_name)
        with elsewhere.attached(name, board_name) as there:
            assert there.ask("value.set(CALCULATING)") == "None"
            with own_name(f"{name} there") as made:
                there.ask(f"made = WorkerStatus(IDLE, segment_name={made!r})")
                kept = WorkerStatus.attach(made)
                there.ask("made.close(); del made; collect_unless_counted()")
                until(
                    lambda: not path_of(made).exists(), "its name goes with its creator's last use"
                )
                kept.set(UNAVAILABLE)
                assert kept == UNAVAILABLE
        assert path_of(name).exists()
        assert value == CALCULATING
        board.unlink()
    value.unlink()


@pytest.mark.parametrize("shared", ["attached"], indirect=True)
def test_pickle_goes_there(shared: Shared) -> None:
    """A value without a name goes there as a pickle, and stays while somebody there has it."""
    there = shared.there
    value = WorkerStatus(IDLE)
    assert there.ask(f"got = pickle.loads({pickle.dumps(value)!r})") == "None"
    assert there.ask("got.compare_and_set(IDLE, CALCULATING)") == "True"
    assert value == CALCULATING
    assert there.ask("got.get_lock()").startswith(REFUSED)
    back = pickle.loads(bytes.fromhex(eval(there.ask("pickle.dumps(got).hex()"))))
    assert back.exchange(IDLE) is CALCULATING
    with back.get_lock():
        assert value == IDLE


def test_what_is_made_there_has_a_lock(shared: Shared) -> None:
    """A value that is created there has its lock there, beside those that have none."""
    there = shared.there
    assert there.ask("own = WorkerStatus(IDLE)") == "None"
    assert there.ask("own.get_lock().acquire()") == "True"
    assert there.ask("own.set(CALCULATING)") == "None"
    assert there.ask("own.get_lock().release()") == "None"
    assert there.ask("own.load()") == repr(CALCULATING)
