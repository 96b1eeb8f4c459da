"""Values in several processes: every way to get them there, and what is left afterwards."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumValue
from helpers import children
from helpers.inside import owner
from helpers.support import (
    CALCULATING,
    DEADLINE,
    IDLE,
    METHODS,
    UNAVAILABLE,
    WorkerStatus,
    fork,
    make_enum,
    own_segments,
    run,
    run_script,
    wait_for,
)

if TYPE_CHECKING:
    from pathlib import Path


every_method = pytest.mark.parametrize("method", METHODS)

pickles = pytest.mark.only_on("native", "cffi")

inherits = pytest.mark.only_on("lock")

RING: Any = make_enum("RING", {f"N{i}": i for i in range(89)})


# -- arguments, pools, queues


@pytest.mark.slow
@every_method
def test_process_arguments(method: str) -> None:
    """Values of every kind of class are the same values in a child that was given them."""
    values = {kind: make() for kind, make in children.KINDS.items()}
    run(method, children.claim_all, values)
    for value in values.values():
        assert (value.load(), value.version) == (UNAVAILABLE, 2)


@pytest.mark.slow
@every_method
def test_both_directions(method: str) -> None:
    """Parent and child see each other's writes, one by one."""
    status = WorkerStatus(UNAVAILABLE)
    here, there = multiprocessing.Pipe()
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=children.ping_pong, args=(there, status, 20))
    process.start()
    for _ in range(20):
        status.set(IDLE)
        here.send("yours")
        assert here.poll(DEADLINE)
        assert here.recv() == "mine"
        assert status.load() is CALCULATING
    process.join(DEADLINE)
    assert process.exitcode == 0
    assert status.version == 40


@pytest.mark.slow
@every_method
def test_writes_of_many_processes(method: str) -> None:
    """No update is lost, however many processes update at once."""
    value = IntEnumValue[RING](RING(0))
    context: Any = multiprocessing.get_context(method)
    steps = 300
    workers = [context.Process(target=children.step_many, args=(value, steps)) for _ in range(3)]
    for worker in workers:
        worker.start()
    children.step_many(value, steps)
    for worker in workers:
        worker.join(DEADLINE)
        assert worker.exitcode == 0
    assert (value.value, value.version) == (4 * steps % 89, 4 * steps)


@pytest.mark.slow
@every_method
def test_lock_in_child(method: str) -> None:
    """A child does not get the lock that its parent holds; after release it does."""
    status = WorkerStatus(IDLE)
    with status.get_lock():
        run(method, children.try_lock, status)
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=children.try_lock, args=(status,))
    process.start()
    process.join(DEADLINE)
    assert process.exitcode == 1


@pytest.mark.slow
@every_method
def test_pool_initializer(method: str) -> None:
    """A value given to a pool's initializer is claimed by one of its workers exactly once."""
    status = WorkerStatus(IDLE)
    context: Any = multiprocessing.get_context(method)
    with ProcessPoolExecutor(
        2, mp_context=context, initializer=children.initialize, initargs=(status,)
    ) as executor:
        assert sorted(executor.map(children.claim_inherited, range(10))) == [False] * 9 + [True]
    assert status.load() is CALCULATING


@pytest.mark.slow
@pickles
@every_method
def test_executor_arguments_and_results(method: str) -> None:
    """Values go to an executor's workers and come back as the same values."""
    values = [WorkerStatus(IDLE) for _ in range(4)]
    context: Any = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        returned = list(executor.map(children.claim_and_return, values))
    assert [value.load() for value in values] == [CALCULATING] * 4
    for value, back in zip(values, returned, strict=True):
        assert back is not value
        back.set(UNAVAILABLE)
        assert value.load() is UNAVAILABLE


@pytest.mark.slow
@pickles
@every_method
def test_pool_arguments_and_results(method: str) -> None:
    """Values go to a Pool's workers and come back as the same values."""
    values = [WorkerStatus(IDLE) for _ in range(4)]
    context: Any = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        returned = pool.map(children.claim_and_return, values)
        pool.close()
        pool.join()
    for value, back in zip(values, returned, strict=True):
        assert value.load() is CALCULATING
        back.set(UNAVAILABLE)
        assert value.load() is UNAVAILABLE


@pytest.mark.slow
@pickles
@every_method
def test_queue(method: str) -> None:
    """Values go through a queue and come back as the same values."""
    context: Any = multiprocessing.get_context(method)
    there, back = context.Queue(), context.Queue()
    process = context.Process(target=children.answer_queue, args=(there, back))
    process.start()
    for make in children.KINDS.values():
        value = make()
        there.put(value)
        returned = back.get(timeout=DEADLINE)
        assert type(returned) is type(value)
        assert value.load() is CALCULATING
        returned.set(UNAVAILABLE)
        assert value.load() is UNAVAILABLE
    there.put(None)
    process.join(DEADLINE)
    assert process.exitcode == 0
    for queue in (there, back):
        queue.close()
        queue.join_thread()


@pytest.mark.slow
@pickles
@every_method
def test_value_that_a_child_created(method: str) -> None:
    """A value that a child created works in the parent, and goes with the child."""
    here, there = multiprocessing.Pipe()
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=children.create_and_send, args=(there,))
    process.start()
    assert here.poll(DEADLINE)
    value, name = here.recv()
    assert value.compare_and_set(IDLE, CALCULATING)
    pickled = pickle.dumps(value)
    here.send("claimed")
    process.join(DEADLINE)
    assert process.exitcode == 0
    assert not os.path.exists(f"/dev/shm/{name}")  # noqa: PTH110
    assert value.load() is CALCULATING  # still mapped here
    value.set(IDLE)
    assert pickle.loads(pickled).load() is IDLE
    del value
    gc.collect()
    with pytest.raises(FileNotFoundError, match=name):
        pickle.loads(pickled)


@pytest.mark.slow
@every_method
def test_values_of_a_child_go_with_it(method: str) -> None:
    """What a child creates is removed when it ends."""
    here, there = multiprocessing.Pipe()
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=children.create_only, args=(there,))
    process.start()
    assert here.poll(DEADLINE)
    names = here.recv()
    assert all(os.path.exists(f"/dev/shm/{name}") for name in names)  # noqa: PTH110
    here.send("go")
    process.join(DEADLINE)
    assert process.exitcode == 0
    assert not any(os.path.exists(f"/dev/shm/{name}") for name in names)  # noqa: PTH110


@pytest.mark.slow
@every_method
def test_end_of_a_child_leaves_the_parents(method: str) -> None:
    """A child that ends leaves its parent's segments: the next child finds them."""
    status = WorkerStatus(IDLE)
    name = status._atomic_segment.name
    run(method, children.claim_all, {"subclass": status})
    assert name in own_segments()
    status.set(IDLE)
    run(method, children.claim_all, {"subclass": status})
    assert status.load() is UNAVAILABLE


# -- the lock-based path: by inheritance only


@inherits
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", children.KINDS)
def test_pickling_refused(kind: str, protocol: int) -> None:
    """On the lock-based path pickling is a RuntimeError that says why."""
    with pytest.raises(RuntimeError, match="inheritance"):
        pickle.dumps(children.KINDS[kind](), protocol)


@inherits
def test_sending_refused() -> None:
    """On the lock-based path an executor's arguments are refused with the reason."""
    status = WorkerStatus(IDLE)
    with (
        ProcessPoolExecutor(1) as executor,
        pytest.raises(RuntimeError, match="inheritance"),
    ):
        executor.submit(children.same, status).result(DEADLINE)
    here, there = multiprocessing.Pipe()
    with pytest.raises(RuntimeError, match="inheritance"):
        here.send(status)
    here.close()
    there.close()


# -- fork, threads


def test_fork() -> None:
    """Parent and child of a plain os.fork share the value."""
    status = WorkerStatus(IDLE)
    assert wait_for(fork(lambda: status.set(CALCULATING))) == 0
    assert (status.load(), status.version) == (CALCULATING, 1)


def test_fork_leaves_segments() -> None:
    """A forked child that drops values and allocates others removes nothing of its parent."""
    values = [WorkerStatus(IDLE) for _ in range(300)]
    names = {value._atomic_segment.name for value in values}

    def child() -> None:
        values.clear()
        gc.collect()
        for _ in range(300):
            WorkerStatus(IDLE)

    before = own_segments()
    assert wait_for(fork(child)) == 0
    assert names <= own_segments()
    assert own_segments() == before
    assert [value.load() for value in values] == [IDLE] * 300


def test_fork_allocates_elsewhere() -> None:
    """After a fork, parent and child never hand out the same word."""
    first = WorkerStatus(IDLE)
    reader, writer = os.pipe()

    def child() -> None:
        own = [WorkerStatus(CALCULATING) for _ in range(40)]
        assert all(value._atomic_segment.header.creator_pid == os.getpid() for value in own)
        os.write(writer, b"made")
        first.set(UNAVAILABLE)
        assert [value.load() for value in own] == [CALCULATING] * 40
        owner.remove_all()  # os._exit does not

    pid = fork(child)
    mine = [WorkerStatus(IDLE) for _ in range(40)]
    assert os.read(reader, 4) == b"made"
    assert wait_for(pid) == 0
    os.close(reader)
    os.close(writer)
    assert [value.load() for value in mine] == [IDLE] * 40
    assert first.load() is UNAVAILABLE
    assert {value._atomic_segment.header.creator_pid for value in mine} == {os.getpid()}


@pickles
def test_fork_of_a_fork() -> None:
    """Values reach a grandchild, and values of the child as well."""
    status = WorkerStatus(IDLE)

    def child() -> None:
        own = WorkerStatus(IDLE)
        assert wait_for(fork(lambda: (status.set(CALCULATING), own.set(CALCULATING)))) == 0  # type: ignore[func-returns-value]
        assert own.load() is CALCULATING
        owner.remove_all()

    assert wait_for(fork(child)) == 0
    assert status.load() is CALCULATING


@pytest.mark.slow
def test_fork_while_a_thread_allocates() -> None:
    """Children that are forked while other threads make values can make values themselves."""
    stop = threading.Event()

    def allocate() -> None:
        while not stop.is_set():
            [WorkerStatus(IDLE) for _ in range(100)]

    def child() -> None:
        values = [WorkerStatus(CALCULATING) for _ in range(3)]
        assert [value.load() for value in values] == [CALCULATING] * 3
        owner.remove_all()

    threads = [threading.Thread(target=allocate) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        codes = [wait_for(fork(child)) for _ in range(15)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert codes == [0] * 15


FORK_WAITS = """
import os, threading, warnings

warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads
asked, inside, seen = threading.Event(), [], []
# Hooks before a fork run in the reverse order of their registration.
os.register_at_fork(before=lambda: seen.append(bool(inside)))  # once the lock is taken

from helpers.inside import ProcessLock

lock = ProcessLock(no_fork=True)
os.register_at_fork(before=asked.set)  # before the lock is waited for
held = threading.Event()

def hold():
    inside.append(True)
    held.set()
    assert asked.wait(20)
    inside.clear()

def free():
    taken = []
    def take():
        lock.call(taken.append, True)
    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    taker.join(20)
    return taken == [True]

holder = threading.Thread(target=lock.call, args=(hold,))
holder.start()
assert held.wait(20)
pid = os.fork()
if pid == 0:
    os._exit(0 if seen == [False] and free() else 1)
holder.join()
print(seen, os.waitpid(pid, 0)[1], free())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork_waits_for_the_lock(tmp_path: Path) -> None:
    """os.fork waits for who holds a lock against it; parent and child find that lock free."""
    done = run_script(FORK_WAITS, folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("[False] 0 True\n", "", 0)


FORK_IS_INTERRUPTED = """
import os, signal, threading, warnings
from helpers.inside import owner, process
from helpers.support import IDLE, WorkerStatus

warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads
held, came = threading.Event(), threading.Event()

def handle(*_):
    came.set()
    raise ZeroDivisionError

def hold():
    held.set()
    came.wait(5)

signal.signal(signal.SIGALRM, handle)
os.register_at_fork(before=lambda: signal.setitimer(signal.ITIMER_REAL, 0.05))
holder = threading.Thread(target=process.creating.call, args=(hold,))
holder.start()
assert held.wait(20)
pid = os.fork()
if pid == 0:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(10)
    for _ in range(300):
        WorkerStatus(IDLE)
    owner.remove_all()
    os._exit(0)
signal.setitimer(signal.ITIMER_REAL, 0)
holder.join()
print(os.waitpid(pid, 0)[1], WorkerStatus(IDLE))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork_that_a_handler_ends_waiting_for(tmp_path: Path) -> None:
    """A child is free to create even if a signal handler ended the wait for who was creating."""
    done = run_script(FORK_IS_INTERRUPTED, folder=tmp_path)
    assert (done.stdout, done.returncode) == (f"0 {int(IDLE)}\n", 0)


def test_threads_allocate() -> None:
    """Values that many threads make at once are all on words of their own."""
    made: list[list[WorkerStatus]] = [[] for _ in range(4)]
    start = threading.Barrier(4)

    def make(into: list[WorkerStatus]) -> None:
        start.wait()
        into.extend(WorkerStatus(IDLE) for _ in range(300))

    threads = [threading.Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    places = [
        (value._atomic_segment.name, value._atomic_index) for values in made for value in values
    ]
    assert len(set(places)) == len(places) == 1200
