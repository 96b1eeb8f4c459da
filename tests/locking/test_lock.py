"""The value's lock: who it keeps out, how it is taken, and what a dead holder leaves."""

from __future__ import annotations

import contextlib
import copy
import gc
import math
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from multiprocessing import synchronize
from typing import TYPE_CHECKING, Any

import pytest

import atomic_intenum
from helpers.crew import PATIENCE, Bits, Status, Task, child, exit_of, hold, is_asleep
from helpers.support import environment, needs_robust, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

#: What release() raises where this thread doesn't hold the lock: multiprocessing's RLock asserts.
NOT_HELD = AssertionError if atomic_intenum.BACKEND == "lock" else RuntimeError

#: How long a killed holder may delay anybody, and a Ctrl-C a blocked call.
DEATH_DELAYS = 1.0
CTRL_C_DELAYS = 0.2

MAX_HELD = 1024


def set_value(value: Status) -> None:
    """Write through the property."""
    value.value = Bits.RIGHT


#: Each way to write LEFT, over which RIGHT is written.
WRITES: dict[str, Callable[[Status], object]] = {
    "set": lambda value: value.set(Bits.RIGHT),
    "exchange": lambda value: value.exchange(Bits.RIGHT),
    "compare_and_set": lambda value: value.compare_and_set(Bits.LEFT, Bits.RIGHT),
    "update": lambda value: value.update(lambda _: Bits.RIGHT),
    "value": set_value,
}

by_each_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


def write_and_tell(pipe: Connection, value: Status, write: Callable[[Status], object]) -> None:
    """Write, and tell before and after."""
    pipe.send("ready")
    write(value)
    pipe.send(time.monotonic())


def acquire_and_tell(pipe: Connection, value: Status) -> None:
    """Enter the lock, and tell before and inside."""
    pipe.send("ready")
    with value.get_lock():
        pipe.send(time.monotonic())


def acquired_elsewhere(lock: Any, **arguments: Any) -> bool:
    """Try in a thread of its own, which lets go again."""

    def attempt() -> bool:
        got = bool(lock.acquire(**arguments))
        if got:
            lock.release()
        return got

    return bool(Task(attempt).result())


# -- whom it keeps out


@by_each_write
def test_keeps_out_writers_of_other_processes(write: Callable[[Status], object]) -> None:
    """A write of another process, which takes no lock, waits until the holder is out."""
    status = Status(Bits.LEFT)
    with status.get_lock(), child(write_and_tell, status, write) as writer:
        writer.says()
        assert writer.is_silent()
        assert status.load() is Bits.LEFT
        status.get_lock().release()
        writer.says()
        assert status.load() is Bits.RIGHT
        status.get_lock().acquire()


@by_each_write
def test_keeps_out_writers_of_other_threads(write: Callable[[Status], object]) -> None:
    """A write of another thread, which takes no lock, waits until the holder is out."""
    status = Status(Bits.LEFT)
    with status.get_lock():
        writer = Task(lambda: write(status))
        assert writer.is_running()
        assert status.load() is Bits.LEFT
    writer.result()
    assert status.load() is Bits.RIGHT


def hammer(pipe: Connection, status: Status) -> None:
    """Write without a lock until told to stop."""
    while not pipe.poll():
        for _ in range(50):
            status.set(Bits.LEFT)
            status.exchange(Bits.RIGHT)
            status.compare_and_set(Bits.RIGHT, Bits.LEFT)


def test_holder_sees_no_write_but_its_own() -> None:
    """Inside, version and member stay as the holder left them, under bare writers' fire."""
    status = Status(Bits.LEFT)
    with child(hammer, status) as first, child(hammer, status) as second:
        until(lambda: status.version > 1000, "the writers write")
        for _ in range(300):
            with status.get_lock():
                version, member = status.version, status.load()
                for _ in range(20):
                    assert (status.version, status.load()) == (version, member)
                status.set(Bits.IDLE)
                for _ in range(20):
                    assert (status.version, status.load()) == (version + 1, Bits.IDLE)
            before = status.version
            until(lambda then=before: status.version != then, "the writers go on")  # type: ignore[misc]
        first.tell()
        second.tell()


def read_all(pipe: Connection, status: Status) -> None:
    """Read in every way, many times."""
    for _ in range(1000):
        assert status.load() is Bits.LEFT
        assert status.value == Bits.LEFT.value
        assert status.name == "LEFT"
        assert status == Bits.LEFT
        assert status.version == 0
    pipe.send("read")


def test_readers_are_never_delayed() -> None:
    """Readers in other processes and threads read on while the lock is held throughout."""
    status = Status(Bits.LEFT)
    with status.get_lock(), child(read_all, status) as reader:
        assert reader.says() == "read"

        def read() -> bool:
            return [status.load() for _ in range(1000)] == [Bits.LEFT] * 1000

        assert Task(read).result()


def test_mismatch_answers_at_once_while_locked() -> None:
    """A compare_and_set that doesn't match returns False though another process has the lock."""
    status = Status(Bits.LEFT)
    with child(hold, status) as holder:
        assert holder.says() == "held"
        assert not status.compare_and_set(Bits.RIGHT, Bits.IDLE)
        assert holder.is_silent(0)
        holder.tell()
        assert holder.says() == "told"


def test_holder_writes_through() -> None:
    """The holder's own writes need not wait, at any depth, and count one version each."""
    status = Status(Bits.LEFT)
    lock = status.get_lock()
    with lock:
        for write in WRITES.values():
            write(status)
            assert status.load() is Bits.RIGHT
            with lock:
                status.set(Bits.LEFT)
            assert not acquired_elsewhere(lock, block=False)
    assert status.version == 2 * len(WRITES)
    assert acquired_elsewhere(lock, block=False)


def test_locks_of_two_values_are_two() -> None:
    """Holding one value's lock keeps nobody from its neighbour in the same segment."""
    first, second = Status(Bits.LEFT), Status(Bits.LEFT)
    with first.get_lock():
        Task(lambda: second.set(Bits.RIGHT)).result()
        assert acquired_elsewhere(second.get_lock(), block=False)
    assert second.load() is Bits.RIGHT


# -- how it is taken


def test_same_object_each_time() -> None:
    """get_lock() and .lock give one object, also to threads that ask at the same time."""
    status = Status(Bits.LEFT)
    barrier = threading.Barrier(4)

    def ask() -> object:
        barrier.wait(PATIENCE)
        return status.get_lock()

    tasks = [Task(ask) for _ in range(4)]
    assert {id(task.result()) for task in tasks} == {id(status.get_lock())}
    assert status.lock is status.get_lock()


def test_is_a_multiprocessing_rlock() -> None:
    """Type hints and isinstance checks for multiprocessing's RLock take it."""
    assert isinstance(Status(Bits.LEFT).get_lock(), synchronize.RLock)


def test_re_entrant() -> None:
    """As many releases as acquires let the next one in, and no fewer."""
    lock = Status(Bits.LEFT).get_lock()
    for _ in range(3):
        assert lock.acquire()
    for _ in range(3):
        assert not acquired_elsewhere(lock, block=False)
        lock.release()
    assert acquired_elsewhere(lock, block=False)


@pytest.mark.parametrize(
    "arguments",
    [(False,), (0,), (True, 0), (True, 0.0), (True, -1), (True, 0.05), (False, 60), (False, None)],
)
def test_acquire_gives_up(arguments: tuple[Any, ...]) -> None:
    """Without block, or once the timeout is past, acquire returns False; nothing is taken."""
    status = Status(Bits.LEFT)
    with status.get_lock():
        lock: Any = status.get_lock()
        assert Task(lambda: lock.acquire(*arguments)).result() is False
    assert acquired_elsewhere(lock, block=False)


def test_timeout_is_kept() -> None:
    """acquire(timeout=) waits for that long and not much longer."""
    status = Status(Bits.LEFT)
    lock = status.get_lock()
    with lock:
        begin = time.monotonic()
        assert not acquired_elsewhere(lock, timeout=0.2)
        assert 0.2 <= time.monotonic() - begin < 2


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"block": True},
        {"block": False},
        {"timeout": None},
        {"timeout": 0},
        {"timeout": -5},
        {"timeout": 60},
        {"block": True, "timeout": 1.5},
        {"block": False, "timeout": 0},
    ],
)
def test_acquire_takes_a_free_lock(arguments: dict[str, Any]) -> None:
    """A free lock is acquired whatever block and timeout say, by keyword too."""
    lock: Any = Status(Bits.LEFT).get_lock()
    assert lock.acquire(**arguments) is True
    lock.release()


@pytest.mark.only_on("native", "cffi")
@pytest.mark.parametrize("timeout", [1e9, 1e18, 1e300, math.inf, 2**80])
def test_huge_timeout_waits(timeout: float) -> None:
    """A timeout past any clock's end waits for the lock, as none would."""
    status = Status(Bits.LEFT)
    lock = status.get_lock()
    assert lock.acquire(timeout=timeout)
    waiter = Task(lambda: acquired_elsewhere(lock, timeout=timeout))
    assert waiter.is_running()
    lock.release()
    assert waiter.result()


@pytest.mark.only_on("native", "cffi")
@pytest.mark.parametrize("block", [True, False])
def test_nan_timeout_is_refused(block: bool) -> None:
    """A timeout that is not a number is a ValueError, and nothing is taken."""
    lock = Status(Bits.LEFT).get_lock()
    with pytest.raises(ValueError, match="NaN"):
        lock.acquire(block, math.nan)
    assert acquired_elsewhere(lock, block=False)


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [((True, None, 1), {}), ((), {"wait": True}), ((True, "1"), {}), ((True,), {"block": True})],
)
def test_wrong_arguments_are_refused(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    """Too many, unknown, doubled or mistyped arguments are a TypeError, and nothing is taken."""
    lock: Any = Status(Bits.LEFT).get_lock()
    with pytest.raises(TypeError):
        lock.acquire(*arguments, **keywords)
    assert acquired_elsewhere(lock, block=False)


def test_exit_stack() -> None:
    """ExitStack, which asks the class for the methods of ``with``, holds the lock to its end."""
    lock: Any = Status(Bits.LEFT).get_lock()
    with contextlib.ExitStack() as stack:
        assert stack.enter_context(lock) is True
        assert lock._semlock._is_mine()
    assert not lock._semlock._is_mine()


def test_with_returns_true() -> None:
    """The with statement yields what multiprocessing's does."""
    with Status(Bits.LEFT).get_lock() as entered:
        assert entered is True


def test_two_objects_for_one_value_are_one_lock() -> None:
    """The lock of a copy is the same lock: re-entrant for its holder, shut for others."""
    status = Status(Bits.LEFT)
    twin = copy.copy(status)
    with status.get_lock():
        assert twin.get_lock().acquire(block=False)
        assert not acquired_elsewhere(twin.get_lock(), block=False)
        status.get_lock().release()
        assert not acquired_elsewhere(status.get_lock(), block=False)
        twin.set(Bits.RIGHT)
        twin.get_lock().release()
        assert acquired_elsewhere(status.get_lock(), block=False)
        status.get_lock().acquire()


@pytest.mark.only_on("native", "cffi")
def test_unpickled_objects_are_the_same_lock() -> None:
    """The lock of an unpickled value, and an unpickled lock, are the same lock."""
    status = Status(Bits.LEFT)
    others = [
        pickle.loads(pickle.dumps(status)).get_lock(),
        pickle.loads(pickle.dumps(status.get_lock())),
        copy.copy(status.get_lock()),
        copy.deepcopy(status.get_lock()),
    ]
    with status.get_lock():
        for other in others:
            assert not acquired_elsewhere(other, block=False)
            assert other.acquire(block=False)
            status.get_lock().release()
        for other in others:
            status.get_lock().acquire()
            other.release()
        assert not acquired_elsewhere(others[0], block=False)
    assert acquired_elsewhere(others[0], block=False)


# -- who may release it


def test_release_of_a_free_lock_is_refused() -> None:
    """Nobody holds it: release raises and leaves it free."""
    lock = Status(Bits.LEFT).get_lock()
    with pytest.raises(NOT_HELD):
        lock.release()
    with lock:
        lock.acquire()
        lock.release()
    with pytest.raises(NOT_HELD):
        lock.release()
    assert acquired_elsewhere(lock, block=False)


def test_release_by_another_thread_is_refused() -> None:
    """A thread that doesn't hold the lock cannot release it, and the holder keeps it."""
    status = Status(Bits.LEFT)
    lock = status.get_lock()
    with lock, lock:
        with pytest.raises(NOT_HELD):
            Task(lock.release).result()
        assert not acquired_elsewhere(lock, block=False)
        lock.release()
        assert not acquired_elsewhere(lock, block=False)
        lock.acquire()


def test_forked_child_does_not_hold_it() -> None:
    """A child of os.fork can't release its parent's lock, nor enter or write while it is held."""
    status = Status(Bits.LEFT)
    lock: Any = status.get_lock()

    def in_child() -> bool:
        if atomic_intenum.BACKEND == "lock":
            # multiprocessing's semaphores forget their parent in a child of Process.
            lock._semlock._after_fork()
        try:
            lock.release()
        except NOT_HELD:
            pass
        else:
            return False
        return not lock._semlock._is_mine() and not lock.acquire(block=False)

    with lock:
        assert exit_of(in_child) == 0
        assert lock._semlock._is_mine()
        assert not acquired_elsewhere(lock, block=False)
        with child(write_and_tell, status, WRITES["set"]) as writer:
            writer.says()
            assert writer.is_silent()
            assert status.load() is Bits.LEFT
            lock.release()
            writer.says()
            lock.acquire()
    assert exit_of(lambda: lock.acquire(block=False)) == 0


@pytest.mark.only_on("native", "cffi")
def test_exit_of_a_forked_child_leaves_the_parents_lock() -> None:
    """A child of a holder that ends, or is killed, doesn't end the parent's hold."""
    status = Status(Bits.LEFT)
    lock = status.get_lock()
    with lock:
        assert exit_of(lambda: True) == 0
        assert exit_of(lambda: os.kill(os.getpid(), signal.SIGKILL)) == -signal.SIGKILL
        assert not acquired_elsewhere(lock, block=False)
    assert acquired_elsewhere(lock, block=False)
    assert not status.abandoned


def test_repr_tells_holder_and_depth() -> None:
    """The repr is multiprocessing's: the holding process and thread, and how often."""
    lock = Status(Bits.LEFT).get_lock()
    assert repr(lock).endswith("Lock(None, 0)>")
    with lock, lock:
        assert repr(lock).endswith("Lock(MainProcess, 2)>")
        assert "Some" in Task(lambda: repr(lock)).result()
    assert repr(lock).endswith("Lock(None, 0)>")


def test_repr_tells_another_thread_from_another_process() -> None:
    """The repr calls a holder in this process a thread, one in another a process."""
    status = Status(Bits.LEFT)
    lock = status.get_lock()
    with lock:
        assert "(SomeOtherThread, nonzero)" in Task(lambda: repr(lock)).result()
    with child(hold, status) as holder:
        holder.says()
        assert "(SomeOtherProcess, nonzero)" in repr(lock)
        holder.tell()
        holder.says()


# -- a holder that dies


def die_holding(pipe: Connection, status: Status) -> None:
    """Hold the lock three deep and wait for the end."""
    with status.get_lock(), status.get_lock(), status.get_lock():
        status.set(Bits.IDLE)
        pipe.send("held")
        pipe.recv()


@needs_robust
@pytest.mark.only_on("native", "cffi")
@pytest.mark.parametrize("write", [None, *WRITES.values()], ids=["acquire", *WRITES])
def test_killed_holder_delays_nobody(write: Callable[[Status], object] | None) -> None:
    """Who waits for a holder that is killed goes on within a second."""
    status = Status(Bits.LEFT)
    waits, arguments = (acquire_and_tell, ()) if write is None else (write_and_tell, (write,))
    with child(die_holding, status) as holder:
        holder.says()
        if write is WRITES["compare_and_set"]:
            arguments = (lambda value: value.compare_and_set(Bits.IDLE, Bits.RIGHT),)
        with child(waits, status, *arguments) as waiter:
            waiter.says()
            assert waiter.is_silent()
            killed = time.monotonic()
            holder.kill()
            assert waiter.says() - killed < DEATH_DELAYS
    assert status.load() is (Bits.IDLE if write is None else Bits.RIGHT)
    assert acquired_elsewhere(status.get_lock(), block=False)


@needs_robust
@pytest.mark.only_on("native", "cffi")
def test_abandoned_tells_the_next_acquirer_once() -> None:
    """After a death the next acquisition says so, and the one after it no longer."""
    status = Status(Bits.LEFT)
    assert not status.abandoned
    with child(die_holding, status) as holder:
        holder.says()
        holder.kill()
    lock: Any = status.get_lock()
    assert not status.abandoned
    with lock:
        assert status.abandoned
        assert lock.abandoned
        with lock:
            assert status.abandoned
        assert status.load() is Bits.IDLE
    assert status.abandoned
    with lock:
        assert not status.abandoned
        assert not lock.abandoned


@needs_robust
@pytest.mark.only_on("native", "cffi")
@by_each_write
def test_abandoned_survives_a_bare_writer(write: Callable[[Status], object]) -> None:
    """A writer that takes no lock repairs, and the next acquirer is told nevertheless."""
    status = Status(Bits.LEFT)
    with child(die_holding, status) as holder:
        holder.says()
        holder.kill()
    assert status.load() is Bits.IDLE
    status.set(Bits.LEFT)
    write(status)
    assert status.load() is Bits.RIGHT
    with status.get_lock():
        assert status.abandoned
    with status.get_lock():
        assert not status.abandoned


@needs_robust
@pytest.mark.only_on("native", "cffi")
def test_abandoned_survives_a_value_guarded_by_the_lock() -> None:
    """A plain set() of another value that has the lock as lock= doesn't swallow the news."""
    status = Status(Bits.LEFT)
    guarded = Status(Bits.LEFT, lock=status.get_lock())
    with child(die_holding, status) as holder:
        holder.says()
        holder.kill()
    guarded.set(Bits.RIGHT)
    with status.get_lock():
        assert status.abandoned


@needs_robust
@pytest.mark.only_on("native", "cffi")
def test_abandoned_is_told_again_after_another_death() -> None:
    """Who is told and dies too leaves it to the next, in this or another process."""
    status = Status(Bits.LEFT)
    for _ in range(3):
        with child(die_holding, status) as holder:
            holder.says()
            holder.kill()

    def told(pipe: Connection) -> None:
        with status.get_lock():
            pipe.send(status.abandoned)

    with child(told) as first:
        assert first.says() is True
    with child(told) as second:
        assert second.says() is False


def test_abandoned_is_false_without_a_death() -> None:
    """No acquisition is called abandoned where nobody died."""
    status = Status(Bits.LEFT)
    assert status.abandoned is False
    for _ in range(2):
        with status.get_lock():
            assert status.abandoned is False


@needs_robust
@pytest.mark.only_on("native", "cffi")
def test_holder_that_exits_is_a_death() -> None:
    """A process that ends in peace while it holds the lock is taken over from as well."""
    status = Status(Bits.LEFT)

    def leave(_: Connection) -> None:
        status.get_lock().acquire()

    with child(leave):
        pass
    with status.get_lock():
        assert status.abandoned


@needs_robust
@pytest.mark.only_on("native", "cffi")
def test_thread_that_dies_holding() -> None:
    """A thread that ends with the lock passes it on, within its process too."""
    status = Status(Bits.LEFT)
    for _ in range(3):
        Task(lambda: [status.get_lock().acquire() for _ in range(2)]).result()
        # Python's join comes a moment before the kernel's end of the thread.
        assert status.get_lock().acquire(timeout=DEATH_DELAYS)
        assert status.abandoned
        status.get_lock().release()
        with status.get_lock():
            assert not status.abandoned


@needs_robust
@pytest.mark.only_on("native", "cffi")
def test_holder_that_executes_another_program() -> None:
    """A holder that execs is gone too, though its pid and thread id live on."""
    status = Status(Bits.LEFT)

    def execute(pipe: Connection) -> None:
        status.get_lock().acquire()
        pipe.send("held")
        os.execv(sys.executable, [sys.executable, "-c", "import sys; sys.exit(0)"])

    with child(execute) as holder:
        holder.says()
        with status.get_lock():
            assert status.abandoned


ATTACH_AGAIN = """
import pickle, sys
lock = pickle.loads(bytes.fromhex(sys.argv[1]))
mine = lock._semlock._is_mine()
try:
    lock.release()
    released = True
except RuntimeError:
    released = False
got = lock.acquire(timeout=5)
print(mine, released, got, lock.abandoned, lock._semlock._count(), flush=True)
lock.release()
"""


@needs_robust
@pytest.mark.only_on("native", "cffi")
def test_same_ids_are_not_the_dead_holder() -> None:
    """A program with the dead holder's own pid and thread id doesn't take itself for it."""
    status = Status(Bits.LEFT)
    lock = status.get_lock()
    read, write = os.pipe()

    def execute(_: Connection) -> None:
        os.dup2(write, 1)
        lock.acquire()
        lock.acquire()
        arguments = ["-c", ATTACH_AGAIN, pickle.dumps(lock).hex()]
        os.execve(sys.executable, [sys.executable, *arguments], environment())

    with child(execute):
        pass
    os.close(write)
    with os.fdopen(read) as lines:
        assert lines.read().split() == ["False", "False", "True", "True", "1"]
    assert acquired_elsewhere(lock, block=False)


# -- the thread's limit


@pytest.mark.only_on("native", "cffi")
def test_a_thread_holds_1024_and_no_more() -> None:
    """The 1,025th lock is a RuntimeError that takes nothing; deeper and other threads still go."""
    values = [Status(Bits.LEFT) for _ in range(MAX_HELD + 1)]
    *locks, last = [value.get_lock() for value in values]
    for lock in locks:
        assert lock.acquire(block=False)
    for block in (True, False):
        with pytest.raises(RuntimeError, match="1024"):
            last.acquire(block)
    assert acquired_elsewhere(last, block=False)
    values[-1].set(Bits.RIGHT)
    values[0].set(Bits.RIGHT)
    with locks[0]:
        pass
    locks[0].release()
    with last, pytest.raises(RuntimeError, match="1024"):
        locks[0].acquire()
    for lock in locks[1:]:
        lock.release()
    for lock in (*locks, last):
        with lock:
            assert not acquired_elsewhere(lock, block=False)


@pytest.mark.only_on("native", "cffi")
def test_forked_child_has_the_whole_limit() -> None:
    """A child of a holder of 1,024 locks holds none, so it may take 1,024 of its own."""
    mine = [Status(Bits.LEFT).get_lock() for _ in range(MAX_HELD)]
    free = [Status(Bits.LEFT).get_lock() for _ in range(MAX_HELD)]
    for lock in mine:
        lock.acquire()

    def take_all() -> bool:
        taken = all(lock.acquire(block=False) for lock in free)
        for lock in free:
            lock.release()
        return taken

    assert exit_of(take_all) == 0
    for lock in mine:
        lock.release()
    for lock in free:
        assert lock.acquire(block=False)
    for lock in free:
        lock.release()


@needs_robust
@pytest.mark.only_on("native", "cffi")
def test_killed_with_1024_strands_none() -> None:
    """A process that is killed with 1,024 locks passes each of them on."""
    values = [Status(Bits.LEFT) for _ in range(MAX_HELD)]

    def hold_all(pipe: Connection) -> None:
        for value in values:
            value.get_lock().acquire()
        pipe.send("held")
        pipe.recv()

    with child(hold_all) as holder:
        holder.says()
        holder.kill()
    killed = time.monotonic()
    for value in values:
        assert value.get_lock().acquire(timeout=DEATH_DELAYS)
        assert value.abandoned
    assert time.monotonic() - killed < DEATH_DELAYS
    for value in values:
        value.get_lock().release()


# -- Ctrl-C, and other threads meanwhile

BLOCKED = """
import os, pickle, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
value = pickle.loads(bytes.fromhex(sys.argv[1]))
members = type(value.load())
try:
    os.write(1, b"ready\\n")
    {statement}
except KeyboardInterrupt:
    os.write(1, str(time.monotonic()).encode())
"""

STATEMENTS = {
    "acquire": "value.get_lock().acquire()",
    "timeout": "value.get_lock().acquire(timeout=60)",
    "with": "value.get_lock().__enter__()",
    "set": "value.set('RIGHT')",
    "exchange": "value.exchange('RIGHT')",
    "update": "value.update(lambda _: members.RIGHT)",
}


@pytest.mark.only_on("native", "cffi")
@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_ctrl_c_ends_a_blocked_call(statement: str) -> None:
    """A KeyboardInterrupt comes through within 200 ms, with nothing written or taken."""
    status = Status(Bits.LEFT)
    program = BLOCKED.format(statement=statement)
    delays = []
    with status.get_lock():
        for _ in range(3):  # the machine may be busy: the best of three is the program's own
            with subprocess.Popen(
                [sys.executable, "-c", program, pickle.dumps(status).hex()],
                stdout=subprocess.PIPE,
                env=environment(),
            ) as process:
                try:
                    assert process.stdout is not None
                    assert process.stdout.readline() == b"ready\n"
                    until(lambda pid=process.pid: is_asleep(pid), "the call blocks")  # type: ignore[misc]
                    interrupted = time.monotonic()
                    process.send_signal(signal.SIGINT)
                    caught, _ = process.communicate(timeout=PATIENCE)
                finally:
                    process.kill()
            assert process.returncode == 0
            delays.append(float(caught) - interrupted)
            if delays[-1] < CTRL_C_DELAYS:
                break
    assert min(delays) < CTRL_C_DELAYS
    assert status.load() is Bits.LEFT
    assert acquired_elsewhere(status.get_lock(), block=False)
    assert not status.abandoned


@pytest.mark.only_on("native", "cffi")
def test_signal_as_the_lock_comes_free() -> None:
    """A handler that raises just as the lock is had leaves it free: nobody would release it."""
    lock: Any = Status(Bits.LEFT).get_lock()
    held = threading.Event()

    def interrupt(*_: object) -> None:
        raise InterruptedError

    def let_go() -> None:
        with lock:
            held.set()
            time.sleep(0.12)  # the main thread is in the middle of a slice
            os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        for _ in range(5):
            held.clear()
            holder = Task(let_go)
            assert held.wait(PATIENCE)
            with pytest.raises(InterruptedError):
                lock.acquire()
            holder.result()
            assert not lock._semlock._is_mine()
            assert acquired_elsewhere(lock, block=False)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("call", ["acquire", "set"])
def test_other_threads_run_meanwhile(call: str) -> None:
    """A thread that waits for the lock leaves the interpreter to the others."""
    status = Status(Bits.LEFT)
    with child(hold, status) as holder:
        holder.says()

        def wait() -> None:
            if call == "set":
                status.set(Bits.RIGHT)
            else:
                with status.get_lock():
                    pass

        waiter = Task(wait)
        assert waiter.is_running()
        # Only a thread of this process that runs can say so; else the holder gives up.
        holder.tell()
        assert holder.says() == "told"
        waiter.result()


# -- with multiprocessing's other objects


def test_condition_across_threads() -> None:
    """multiprocessing.Condition on the lock waits and is notified, at any depth."""
    status = Status(Bits.LEFT)
    condition = multiprocessing.Condition(status.get_lock())
    waiting = threading.Event()

    def wait() -> bool:
        with condition, condition:
            waiting.set()
            return condition.wait(PATIENCE) and status.load() is Bits.RIGHT

    waiter = Task(wait)
    assert waiting.wait(PATIENCE)
    with condition:  # entered once the waiter has let go of both
        status.set(Bits.RIGHT)
        condition.notify()
    assert waiter.result() is True
    assert acquired_elsewhere(status.get_lock(), block=False)


def test_condition_across_processes() -> None:
    """wait_for in other processes returns when notify_all comes after the value it waits for."""
    status = Status(Bits.IDLE)
    condition = multiprocessing.Condition(status.get_lock())

    def wait(pipe: Connection) -> None:
        with condition:
            pipe.send("waiting")
            assert condition.wait_for(lambda: status.load() is Bits.RIGHT, PATIENCE)
            pipe.send(status.name)

    with child(wait) as first, child(wait) as second:
        assert [first.says(), second.says()] == ["waiting", "waiting"]
        for member in (Bits.LEFT, Bits.RIGHT):
            with condition:
                status.set(member)
                condition.notify_all()
        assert [first.says(), second.says()] == ["RIGHT", "RIGHT"]


def test_condition_times_out_and_holds_again() -> None:
    """A wait that times out has the lock again; notify without it is refused."""
    status = Status(Bits.LEFT)
    condition = multiprocessing.Condition(status.get_lock())
    with condition:
        assert condition.wait(0.02) is False
        assert not acquired_elsewhere(status.get_lock(), block=False)
    with pytest.raises(AssertionError):
        condition.notify()


def add_to(pipe: Connection, total: Any, status: Status, times: int) -> None:
    """Add to the total under the status's lock."""
    for _ in range(times):
        with status.get_lock():
            total.value += 1
    pipe.send("added")


def test_lock_of_a_multiprocessing_value() -> None:
    """multiprocessing.Value takes the lock, and both keep out each other's users."""
    status = Status(Bits.LEFT)
    total = multiprocessing.Value("i", 0, lock=status.get_lock())
    assert total.get_lock() is status.get_lock()
    with child(add_to, total, status, 500) as first, child(add_to, total, status, 500) as second:
        for _ in range(500):
            with total.get_lock():
                total.value += 1
        assert [first.says(), second.says()] == ["added", "added"]
    assert total.value == 1500
    with total.get_lock():
        writer = Task(lambda: status.set(Bits.RIGHT))
        assert writer.is_running()
    writer.result()


def in_spawned(lock: Any, condition: Any, value: Any, answers: Any) -> None:
    """Fail to enter, wait to be notified, and tell of the value then."""
    answers.put(lock.acquire(block=False))
    with condition:
        answers.put("waiting")
        condition.wait(PATIENCE)
    answers.put(value.name)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_lock_goes_to_a_spawned_child(method: str) -> None:
    """A lock and a condition on it, given to a process that is started, are the same there."""
    context: Any = multiprocessing.get_context(method)
    status = Status(Bits.LEFT)
    lock = status.get_lock()
    condition = context.Condition(lock)
    answers = context.Queue()
    process = context.Process(target=in_spawned, args=(lock, condition, status, answers))
    try:
        with lock:
            process.start()
            assert answers.get(timeout=PATIENCE) is False
        assert answers.get(timeout=PATIENCE) == "waiting"
        with condition:
            status.set(Bits.RIGHT)
            condition.notify()
        assert answers.get(timeout=PATIENCE) == "RIGHT"
        process.join(PATIENCE)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()
        answers.close()
        answers.join_thread()


@pytest.mark.only_on("native", "cffi")
def test_lock_goes_through_a_queue() -> None:
    """A lock may be sent to a process that runs already."""
    status = Status(Bits.LEFT)

    def receive(pipe: Connection) -> None:
        lock = pipe.recv()
        pipe.send(lock.acquire(block=False))
        lock.acquire()
        pipe.send("held")
        pipe.recv()
        lock.release()

    with child(receive) as peer:
        with status.get_lock():
            peer.tell(status.get_lock())
            assert peer.says() is False
        assert peer.says() == "held"
        assert not acquired_elsewhere(status.get_lock(), block=False)
        peer.tell()


# -- values and lock objects that go while it is held


def test_close_while_held() -> None:
    """A value that is closed under its lock can still be unlocked, and others still work."""
    status = Status(Bits.LEFT)
    twin = copy.copy(status)
    lock = status.get_lock()
    with lock:
        status.close()
        with pytest.raises(ValueError, match="closed"):
            status.get_lock()
        assert not acquired_elsewhere(twin.get_lock(), block=False)
    assert acquired_elsewhere(twin.get_lock(), block=False)
    assert acquired_elsewhere(lock, block=False)


@pytest.mark.only_on("native", "cffi")
def test_dropped_while_held() -> None:
    """With value and lock object gone, the lock stays held, and harms no other lock."""
    status = Status(Bits.LEFT)
    # Another process looks on: the segment must not matter to it.
    with child(acquire_when_told, status) as other:
        status.get_lock().acquire()
        dropped = weakref.ref(status.get_lock())
        del status
        gc.collect()
        assert dropped() is None
        for _ in range(300):  # a pool's segment and more: the old one goes, unmapped or not
            with (value := Status(Bits.LEFT)).get_lock():
                value.set(Bits.RIGHT)
            assert value.load() is Bits.RIGHT
        value = Status(Bits.LEFT)
        gc.collect()
        assert Status(Bits.LEFT).get_lock().acquire(block=False)
        other.tell()
        assert other.says() is False


def acquire_when_told(pipe: Connection, status: Status) -> None:
    """Try to acquire, once told to."""
    pipe.recv()
    pipe.send(status.get_lock().acquire(block=False))


def drop_and_end(pipe: Connection, status: Status) -> None:
    """Hold, drop every object for the value, use others, and end."""
    status.get_lock().acquire()
    copied = pickle.dumps(status)
    del status
    gc.collect()
    for _ in range(300):
        with Status(Bits.LEFT).get_lock():
            pass
    again: Status = pickle.loads(copied)
    pipe.send(again.get_lock().acquire(block=False))
    again.get_lock().release()
    pipe.send("dropped")


@needs_robust
@pytest.mark.only_on("native", "cffi")
def test_exit_of_a_holder_that_dropped_everything() -> None:
    """A holder that lost every object for its lock still holds it, and its end passes it on."""
    status = Status(Bits.LEFT)
    with child(drop_and_end, status) as holder:
        assert holder.says() is True
        holder.says()
        with status.get_lock():
            assert status.abandoned


@pytest.mark.only_on("native", "cffi")
def test_thread_that_dies_with_a_dropped_value() -> None:
    """A thread's death with a lock whose objects are gone breaks no later lock of the process."""

    def leave_held() -> None:
        for _ in range(40):
            Status(Bits.LEFT).get_lock().acquire()

    for _ in range(3):
        Task(leave_held).result()
        gc.collect()
    with Status(Bits.LEFT).get_lock() as entered:
        assert entered


@pytest.mark.only_on("native", "cffi")
def test_exit_while_threads_wait() -> None:
    """A program may end while daemon threads wait for locks, hold them, and write: no crash."""
    program = """
import threading
from enum import IntEnum
from atomic_intenum import IntEnumValue
class E(IntEnum):
    A = 1
values = [IntEnumValue[E](E.A) for _ in range(3)]
held, gone = threading.Event(), threading.Event()
def hold():
    with values[0].get_lock():
        held.set()
        gone.wait()
def churn():
    while True:
        with values[1].get_lock():
            values[1].set(E.A)
threading.Thread(target=hold, daemon=True).start()
held.wait()
for target in (lambda: values[0].get_lock().acquire(), lambda: values[0].set(E.A), churn, churn):
    threading.Thread(target=target, daemon=True).start()
values[2].get_lock().acquire()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
