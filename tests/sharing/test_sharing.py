"""Values in several processes: every way to get them there, and what is left afterwards."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumValue
from helpers import children
from helpers.boards import Board
from helpers.inside import backend
from helpers.marks import needs_many_locks
from helpers.support import (
    CALCULATING,
    DEADLINE,
    IDLE,
    METHODS,
    UNAVAILABLE,
    WorkerStatus,
    collect,
    default_method,
    fork,
    make_enum,
    own_segments,
    run,
    segment_of,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


pickles = pytest.mark.only_on("native", "cffi")

inherits = pytest.mark.only_on("lock")


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> Iterator[str]:
    """A start method: the default one meanwhile."""
    with default_method(request.param):
        yield request.param


RING: Any = make_enum("RING", {f"N{i}": i for i in range(89)})


# -- arguments, pools, queues


@pytest.mark.slow
def test_process_arguments(method: str) -> None:
    """Values of every kind of class are the same values in a child that was given them."""
    values = {kind: make() for kind, make in children.KINDS.items()}
    run(method, children.claim_all, values)
    for value in values.values():
        assert (value.load(), value.version) == (UNAVAILABLE, 2)


@pytest.mark.slow
@inherits
def test_parent_drops_its_values_as_a_child_starts(method: str) -> None:
    """A value that its parent drops as a child starts, and others after it, reaches the child."""
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=children.claim_all, args=({"subclass": WorkerStatus(IDLE)},))
    process.start()
    IntEnumValue[RING](RING(0))
    collect()
    process.join(DEADLINE)
    assert process.exitcode == 0


@pytest.mark.slow
@inherits
def test_nothing_is_kept_for_a_child_that_has_ended(method: str) -> None:
    """What a child was given goes as the next one starts, though its Process is kept."""
    context: Any = multiprocessing.get_context(method)
    processes, made = [], []
    for _ in range(2):
        array = Board(3, IDLE)
        made.append(segment_of(array))
        processes.append(context.Process(target=len, args=([array],)))
        del array
        processes[-1].start()
        processes[-1].join(DEADLINE)
        assert processes[-1].exitcode == 0
    collect()
    assert made[0] != made[1]
    assert made[0] not in own_segments()


@pytest.mark.slow
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
def test_value_that_a_child_created(method: str) -> None:
    """A value that a child created works in the parent, outlives the child there, and goes."""
    here, there = multiprocessing.Pipe()
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=children.create_and_send, args=(there,))
    process.start()
    assert here.poll(DEADLINE)
    value, name = here.recv()
    assert value.compare_and_set(IDLE, CALCULATING)
    here.send("claimed")
    process.join(DEADLINE)
    assert process.exitcode == 0
    assert os.path.exists(f"/dev/shm/{name}")  # noqa: PTH110
    assert value.exchange(IDLE) is CALCULATING
    del value
    collect()
    assert not os.path.exists(f"/dev/shm/{name}")  # noqa: PTH110


@pytest.mark.slow
@pickles
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
def test_end_of_a_child_leaves_the_parents(method: str) -> None:
    """A child that ends leaves its parent's segments: the next child finds them."""
    status = WorkerStatus(IDLE)
    before = own_segments()
    run(method, children.claim_all, {"subclass": status})
    assert segment_of(status) in own_segments() <= before
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


@needs_many_locks
def test_fork_leaves_segments() -> None:
    """A forked child that drops values and allocates others removes nothing of its parent."""
    values = [WorkerStatus(IDLE) for _ in range(300)]
    names = own_segments()

    def child() -> None:
        values.clear()
        gc.collect()
        for _ in range(300):
            WorkerStatus(IDLE)
        backend.end()  # os._exit does not

    assert wait_for(fork(child)) == 0
    assert {segment_of(value) for value in values} <= own_segments() <= names
    assert [value.load() for value in values] == [IDLE] * 300


def test_fork_allocates_elsewhere() -> None:
    """After a fork, parent and child never hand out the same word."""
    first = WorkerStatus(IDLE)
    reader, writer = os.pipe()

    def child() -> None:
        own = [WorkerStatus(CALCULATING) for _ in range(40)]
        assert not {value._atomic_segment for value in own} & {first._atomic_segment}
        os.write(writer, b"made")
        first.set(UNAVAILABLE)
        assert [value.load() for value in own] == [CALCULATING] * 40
        backend.end()  # os._exit does not

    pid = fork(child)
    mine = [WorkerStatus(IDLE) for _ in range(40)]
    assert os.read(reader, 4) == b"made"
    assert wait_for(pid) == 0
    os.close(reader)
    os.close(writer)
    assert [value.load() for value in mine] == [IDLE] * 40
    assert first.load() is UNAVAILABLE


@pickles
def test_fork_of_a_fork() -> None:
    """Values reach a grandchild, and values of the child as well."""
    status = WorkerStatus(IDLE)

    def child() -> None:
        own = WorkerStatus(IDLE)
        assert wait_for(fork(lambda: (status.set(CALCULATING), own.set(CALCULATING)))) == 0  # type: ignore[func-returns-value]
        assert own.load() is CALCULATING
        backend.end()

    assert wait_for(fork(child)) == 0
    assert status.load() is CALCULATING


def fork_beside_threads(work: Callable[[], object], child: Callable[[], object]) -> None:
    """Fork 15 children while two threads work on and on; each has to end with 0."""
    work()  # imports what it needs: an import amid a fork is CPython's to mend
    stop = threading.Event()

    def work_on() -> None:
        while not stop.is_set():
            work()

    threads = [threading.Thread(target=work_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        codes = [wait_for(fork(child)) for _ in range(15)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert codes == [0] * 15


@pytest.mark.slow
def test_fork_while_a_thread_allocates() -> None:
    """Children that are forked while other threads make values can make values themselves."""
    lock = None
    if backend.NAME == "lock" and sys.implementation.name == "pypy":
        # Its threads run while one is in sem_open, whose lock then stays taken in a child.
        lock = threading.RLock()

    def allocate() -> None:
        [WorkerStatus(IDLE, lock) for _ in range(100)]

    def child() -> None:
        values = [WorkerStatus(CALCULATING, lock) for _ in range(3)]
        assert [value.load() for value in values] == [CALCULATING] * 3
        backend.end()

    fork_beside_threads(allocate, child)


@pytest.mark.slow
def test_fork_while_threads_use_a_value() -> None:
    """Children that are forked while other threads use a value can use it themselves."""
    status = WorkerStatus(IDLE)

    def use() -> None:
        status.set(CALCULATING)
        assert status.exchange(IDLE) in (IDLE, CALCULATING)
        assert status.load() in (IDLE, CALCULATING)
        assert status.name
        assert status.compare_and_set(IDLE, CALCULATING) in (True, False)
        assert (status == IDLE) in (True, False)

    def child() -> None:
        for _ in range(20):
            use()
        backend.end()

    fork_beside_threads(use, child)


@needs_many_locks
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
        (value._atomic_segment.header.nonce, value._atomic_index)
        for values in made
        for value in values
    ]
    assert len(set(places)) == len(places) == 1200
