"""The value's lock beside signals, threads, multiprocessing's objects, and values that go."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumArray
from helpers.crew import (
    PATIENCE,
    Bits,
    Status,
    Task,
    child,
    hold,
    in_a_thread_of_its_own,
    is_asleep,
)
from helpers.locks import acquired_elsewhere
from helpers.marks import needs_robust
from helpers.support import collect, default_method, environment, until

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


CTRL_C_DELAYS = 0.2


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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.only_on("native", "cffi")
def test_signal_as_the_lock_comes_free() -> None:
    """A handler that raises just as the lock is had leaves it free: nobody would release it."""
    lock: Any = Status(Bits.LEFT).get_lock()
    held, acquiring = threading.Event(), threading.Event()

    def interrupt(*_: object) -> None:
        raise InterruptedError

    def let_go() -> None:
        with lock:
            held.set()
            until(lambda: acquiring.is_set() and is_asleep(os.getpid()), "the call blocks")
            time.sleep(0.12)  # the main thread is in the middle of a slice
            os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        for _ in range(5):
            held.clear()
            acquiring.clear()
            holder = Task(let_go)
            assert held.wait(PATIENCE)
            acquiring.set()
            with pytest.raises(InterruptedError):
                lock.acquire()
            holder.result()
            assert not lock._semlock._is_mine()
            assert acquired_elsewhere(lock, block=False)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.only_on("native", "cffi")
def test_signal_as_a_condition_takes_the_lock_back() -> None:
    """A handler that raises meanwhile is heard once the lock is back, so `with` can release it."""
    lock: Any = Status(Bits.LEFT).get_lock()
    condition = threading.Condition(lock)
    main = threading.get_native_id()

    def interrupt(*_: object) -> None:
        raise InterruptedError

    def notify() -> None:
        with condition:
            condition.notify()
            until(lambda: is_asleep(main), "waiting for the lock")
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.12)  # for longer than a slice: the handler runs before the lock is free

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with condition, condition:
            notifier = Task(notify)
            with pytest.raises(InterruptedError):
                condition.wait()
            assert lock._recursion_count() == 2
        notifier.result()
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


@pytest.mark.only_on("native", "cffi")
def test_condition_of_threading() -> None:
    """threading.Condition takes the lock too, at any depth, and only while this thread holds it."""
    status = Status(Bits.LEFT)
    lock: Any = status.get_lock()
    condition = threading.Condition(lock)
    waiting = threading.Event()

    def wait() -> bool:
        with condition, condition:
            waiting.set()
            woken = condition.wait(PATIENCE) and status.load() is Bits.RIGHT
            assert lock._recursion_count() == 2
        return woken and not lock._is_owned()

    waiter = Task(wait)
    assert waiting.wait(PATIENCE)
    with condition:  # entered once the waiter has let go of both
        status.set(Bits.RIGHT)
        condition.notify()
    assert waiter.result() is True
    for call in (condition.notify, condition.wait):
        with pytest.raises(RuntimeError):
            call()
    assert acquired_elsewhere(lock, block=False)


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


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_lock_goes_to_a_spawned_child(method: str) -> None:
    """A lock and a condition on it, given to a process that is started, are the same there."""
    context: Any = multiprocessing.get_context(method)
    with default_method(method):
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
@in_a_thread_of_its_own
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


@pytest.mark.only_on("native", "cffi")
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is mapped")
@in_a_thread_of_its_own
@pytest.mark.parametrize("released", [True, False])
def test_memory_stays_mapped_for_a_lock(released: bool) -> None:
    """Memory without an object stays mapped while a lock in it is held, and no longer."""
    array = IntEnumArray(3, Bits.LEFT)
    name = f"/dev/shm/{array.segment_name}"
    array.at(0).get_lock().acquire()
    collect()
    if released:  # by another object than that which acquired it
        array.at(0).get_lock().release()
    del array
    collect()
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        assert any(name in line for line in maps) is not released


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
