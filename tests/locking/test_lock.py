"""The value's lock: who it keeps out, how it is taken, and what a dead holder leaves."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import math
import os
import pickle
import signal
import threading
import time
from multiprocessing import synchronize
from typing import TYPE_CHECKING, Any

import pytest

import atomic_intenum
from helpers.crew import PATIENCE, Bits, Status, Task, child, exit_of, hold
from helpers.locks import acquired_elsewhere, write_and_tell
from helpers.support import until
from helpers.writes import WRITES, by_each_write

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection


#: What release() raises where this thread doesn't hold the lock: multiprocessing's RLock asserts.
NOT_HELD = AssertionError if atomic_intenum.BACKEND == "lock" else RuntimeError

LIBC: Any = ctypes.CDLL(None)


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


@pytest.mark.slow
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


@pytest.mark.only_on("native", "cffi")
def test_free_lock_is_had_in_no_time() -> None:
    """Who waited long for it and gave up does not cost others a lock that is free."""
    lock: Any = Status(Bits.LEFT).get_lock()
    with lock:
        assert not acquired_elsewhere(lock, timeout=0.05)  # long enough to be let in first
    for timeout in (1e-9, 1e-7, 1e-5):
        assert lock.acquire(timeout=timeout)
        lock.release()


@pytest.mark.only_on("native", "cffi")
@pytest.mark.skipif(not hasattr(LIBC, "_Fork"), reason="no fork without hooks there")
def test_child_that_ran_no_hooks_of_fork() -> None:
    """A child that takes itself for its parent, by the id that it kept, does not get the lock."""
    lock: Any = Status(Bits.LEFT).get_lock()

    def in_child() -> bool:
        try:
            lock.release()
        except NOT_HELD:
            return not lock._semlock._is_mine() and not lock.acquire(block=False)
        return False

    with lock:
        assert exit_of(in_child, LIBC._Fork) == 0
        assert lock._semlock._is_mine()
        assert not acquired_elsewhere(lock, block=False)
    assert acquired_elsewhere(lock, block=False)


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
