"""The value's lock when its holder dies, and the limit of what one thread holds."""

from __future__ import annotations

import os
import pickle
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from helpers.crew import Bits, Status, Task, child, exit_of, in_a_thread_of_its_own
from helpers.locks import acquire_and_tell, acquired_elsewhere, write_and_tell
from helpers.marks import needs_robust
from helpers.support import environment
from helpers.writes import WRITES, by_each_write

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection


#: How long a killed holder may delay anybody, and a Ctrl-C a blocked call.
DEATH_DELAYS = 1.0

MAX_HELD = 1024


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
@in_a_thread_of_its_own
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
@in_a_thread_of_its_own
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
@in_a_thread_of_its_own
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
