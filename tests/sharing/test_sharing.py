"""Values in several processes: every way to get them there, and what is left afterwards."""

from __future__ import annotations

import copy
import enum
import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import uuid
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumValue
from helpers import children, support
from helpers.inside import segment
from helpers.support import (
    CALCULATING,
    DEADLINE,
    IDLE,
    METHODS,
    UNAVAILABLE,
    WorkerStatus,
    WorkerStatusEnum,
    environment,
    fork,
    make_enum,
    marked_segments,
    own_segments,
    run,
    run_script,
    until,
    wait_for,
)

if TYPE_CHECKING:
    from pathlib import Path

every_method = pytest.mark.parametrize("method", METHODS)
pickles = pytest.mark.only_on("native", "cffi")
inherits = pytest.mark.only_on("lock")

RING: Any = make_enum("RING", {f"N{i}": i for i in range(89)})


# -- arguments, pools, queues


@every_method
def test_process_arguments(method: str) -> None:
    """Values of every kind of class are the same values in a child that was given them."""
    values = {kind: make() for kind, make in children.KINDS.items()}
    run(method, children.claim_all, values)
    for value in values.values():
        assert (value.load(), value.version) == (UNAVAILABLE, 2)


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
        segment._remove_all()  # os._exit does not

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
        segment._remove_all()

    assert wait_for(fork(child)) == 0
    assert status.load() is CALCULATING


def test_fork_while_a_thread_allocates() -> None:
    """Children that are forked while other threads make values can make values themselves."""
    stop = threading.Event()

    def allocate() -> None:
        while not stop.is_set():
            [WorkerStatus(IDLE) for _ in range(100)]

    def child() -> None:
        values = [WorkerStatus(CALCULATING) for _ in range(3)]
        assert [value.load() for value in values] == [CALCULATING] * 3
        segment._remove_all()

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
from helpers.inside import segment, tracker
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
holder = threading.Thread(target=tracker.creating.call, args=(hold,))
holder.start()
assert held.wait(20)
pid = os.fork()
if pid == 0:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(10)
    for _ in range(300):
        WorkerStatus(IDLE)
    segment._remove_all()
    os._exit(0)
signal.setitimer(signal.ITIMER_REAL, 0)
holder.join()
print(os.waitpid(pid, 0)[1], WorkerStatus(IDLE))
"""


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


# -- pickles


@pickles
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", children.KINDS)
def test_pickle(kind: str, protocol: int) -> None:
    """What is unpickled is the same shared value with the same attributes; __init__ never runs."""
    value = children.KINDS[kind]()
    children.calls.clear()
    copied = pickle.loads(pickle.dumps(value, protocol))
    children.check_kind(kind, copied)
    assert copied is not value
    assert [call for call in children.calls if "__init__" in call] == []
    assert children.calls == (["Stateful.__setstate__"] if kind == "own state" else [])
    copied.set(CALCULATING)
    assert value.load() is CALCULATING
    value.set(UNAVAILABLE)
    assert (copied.load(), copied.version) == (UNAVAILABLE, 2)
    assert copied == value


@pickles
@pytest.mark.parametrize("kind", ["attributes", "slots", "slots and attributes", "own state"])
def test_copy_as_pickle(kind: str) -> None:
    """Copy and deepcopy carry what a pickle would, and never run __init__."""
    value = children.KINDS[kind]()
    children.calls.clear()
    for duplicate in (copy.copy, copy.deepcopy):
        children.check_kind(kind, duplicate(value))
    assert [call for call in children.calls if "__init__" in call] == []


def test_copy_of_attributes() -> None:
    """On every backend copies carry slots and attributes."""
    for kind in ("attributes", "slots", "slots and attributes", "own state"):
        for duplicate in (copy.copy, copy.deepcopy):
            children.check_kind(kind, duplicate(children.KINDS[kind]()))


@pickles
def test_pickle_of_unset_slots() -> None:
    """A slot that was never set stays so in the copy."""
    value = children.Slotted(7, note="fast")
    del value.note
    copied = pickle.loads(pickle.dumps(value))
    assert copied.number == 7
    assert not hasattr(copied, "note")


@pickles
def test_pickle_with_itself_as_attribute() -> None:
    """A value that refers to itself comes back referring to itself."""
    value: Any = children.Noted(7, note="fast")
    value.me = value
    copied = pickle.loads(pickle.dumps(value))
    assert copied.me is copied


@pickles
def test_pickle_is_small() -> None:
    """A pickle is a reference: a few hundred bytes, whatever the enum's size."""
    large: Any = support.Large
    assert len(pickle.dumps(IntEnumValue[large](large.N0))) < 500


@pickles
def test_pickle_of_many() -> None:
    """Values of many segments are unpickled as what they were."""
    values = [WorkerStatus(list(WorkerStatusEnum)[i % 3]) for i in range(600)]
    copied = pickle.loads(pickle.dumps(values))
    assert [value.load() for value in copied] == [value.load() for value in values]
    for value in copied:
        value.set(IDLE)
    assert {value.load() for value in values} == {IDLE}


@pickles
def test_bad_pickles() -> None:
    """A pickle with a wrong index or nonce is refused with ValueError."""
    value = WorkerStatus(IDLE)
    function, (cls, vocabulary, subscripted, place, *lock) = value.__reduce_ex__(4)[:2]
    name, nonce, index = place
    for wrong in ((name, nonce, 100_000), (name, nonce, -1), (name, nonce ^ 1, index)):
        with pytest.raises(ValueError, match=name):
            function(cls, vocabulary, subscripted, wrong, *lock)
    with pytest.raises(FileNotFoundError, match="intenum-nothing"):
        function(cls, vocabulary, subscripted, ("intenum-nothing", nonce, index), *lock)


class Changing(enum.IntEnum):
    A = 1
    B = 2


class ChangingStatus(IntEnumValue[Changing]):
    pass


@pickles
@pytest.mark.parametrize("kind", ["subscribed", "parameterless"])
@pytest.mark.parametrize(
    "members",
    [{"A": 1, "B": 3}, {"A": 1}, {"A": 1, "B": 2, "C": 3}, {"A": 2, "B": 1}, {"X": 1, "Y": 2}],
)
def test_other_members(kind: str, members: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the enum of that name has other members, unpickling is a TypeError that names it."""
    cls = IntEnumValue[Changing] if kind == "subscribed" else IntEnumValue
    value = cls(Changing.A)
    pickled = pickle.dumps(value)
    other = make_enum("Changing", members, module=__name__)
    monkeypatch.setattr(sys.modules[__name__], "Changing", other)
    with pytest.raises(TypeError, match="Changing"):
        pickle.loads(pickled)
    assert value.name == "A"


@pickles
def test_other_members_of_subclass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subclass that is bound to an enum of other members where it arrives is refused."""
    value = ChangingStatus(Changing.A)
    pickled = pickle.dumps(value)
    other: Any = make_enum("Changing", "A B C", module=__name__)
    replaced = type("ChangingStatus", (IntEnumValue[other],), {"__module__": __name__})
    monkeypatch.setattr(sys.modules[__name__], "ChangingStatus", replaced)
    monkeypatch.setattr(sys.modules[__name__], "Changing", other)
    with pytest.raises(TypeError, match="Changing"):
        pickle.loads(pickled)


@pickles
def test_class_bound_to_another_enum(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subclass that holds another enum where it arrives, the old enum still there, is refused."""
    value = ChangingStatus(Changing.A)
    pickled = pickle.dumps(value)
    replaced = type("ChangingStatus", (WorkerStatus,), {"__module__": __name__})
    monkeypatch.setattr(sys.modules[__name__], "ChangingStatus", replaced)
    with pytest.raises(TypeError, match="Changing"):
        pickle.loads(pickled)


@pickles
def test_pickle_after_creator_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpickling what the creator has dropped is a FileNotFoundError that says what to do."""
    segment._drain()
    monkeypatch.setattr(segment, "_LINGER", 0.0)
    monkeypatch.setattr(segment, "_lingering", deque())  # what earlier tests pickled
    fresh: Any = make_enum("Dropped", "A B", module=__name__)
    monkeypatch.setattr(sys.modules[__name__], "Dropped", fresh, raising=False)
    value: Any = IntEnumValue(fresh.A)
    name = value._atomic_segment.name
    pickled = pickle.dumps(value)
    del value
    # The pool that handed it out keeps the segment for as many values as it has room for.
    for _ in range(16):
        IntEnumValue(fresh.A)
    gc.collect()
    WorkerStatus(IDLE)  # an allocation drains
    assert name not in own_segments()
    with pytest.raises(FileNotFoundError, match="keep a reference"):
        pickle.loads(pickled)


@pickles
def test_pickled_segment_lingers() -> None:
    """A segment that was pickled stays for a while after its values are gone."""
    fresh: Any = make_enum("Lingering", "A B")
    pickled, kept = IntEnumValue(fresh.A), None
    name = pickled._atomic_segment.name
    pickled.__reduce_ex__(4)
    other: Any = make_enum("Other", "A B")
    kept = IntEnumValue(other.A)
    gone = kept._atomic_segment.name
    del pickled, kept, fresh, other
    gc.collect()
    WorkerStatus(IDLE)  # an allocation drains
    assert name in own_segments()
    assert gone not in own_segments()


@pickles
def test_stranger_attaches(tmp_path: Path) -> None:
    """A process that nobody spawned unpickles and writes a value, and leaves it at its end."""
    status = WorkerStatus(IDLE)
    (tmp_path / "pickled").write_bytes(pickle.dumps(status))
    done = run_script(
        """
        import pathlib, pickle, sys
        status = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
        print(status.exchange("CALCULATING").name)
        """,
        str(tmp_path / "pickled"),
        folder=tmp_path,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("IDLE\n", "", 0)
    assert status.load() is CALCULATING
    assert status._atomic_segment.name in own_segments()


# -- exit: nothing is left, nothing is said

HEAD = """
import atomic_intenum, enum, gc, multiprocessing, os, sys, threading, time
from atomic_intenum import IntEnumValue

class MARKER(enum.IntEnum):
    IDLE = 1
    BUSY = 2
    DONE = 3

class Status(IntEnumValue[MARKER]):
    pass
"""

CHILDREN = """
def work(status, ready):
    own = [Status("IDLE") for _ in range(30)]
    with own[0].get_lock():
        own[0].set("BUSY")
    assert status.compare_and_set("BUSY", "DONE")
    ready.set()

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    values = [Status("IDLE") for _ in range(40)]
    for _ in range(2):
        status = Status("BUSY")
        ready = context.Event()
        process = context.Process(target=work, args=(status, ready))
        process.start()
        process.join()
        assert process.exitcode == 0, process.exitcode
        assert status == "DONE"
    print("done")
"""

# The parent ends while its children still start: multiprocessing joins them at its exit.
EARLY = """
def work(status, number):
    assert status.load() is MARKER.BUSY
    own = Status("IDLE")
    os.write(1, b"child\\n")

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    status = Status("BUSY")
    for number in range(2):
        context.Process(target=work, args=(status, number)).start()
    del status
    os.write(1, b"child\\n")
"""

EXECUTOR = """
from concurrent.futures import ProcessPoolExecutor

def start(value):
    global status
    status = value

def work(number):
    own = Status("BUSY")
    return status.load().name + own.name

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    status = Status("BUSY")
    with ProcessPoolExecutor(2, mp_context=context, initializer=start, initargs=(status,)) as pool:
        assert set(pool.map(work, range(4))) == {"BUSYBUSY"}
    print("done")
"""

FORKS = """
if __name__ == "__main__":
    status = Status("IDLE")
    if os.fork() == 0:
        status.set("BUSY")
        os._exit(0)
    assert os.wait()[1] == 0
    assert status == "BUSY"
    if os.fork() == 0:
        own = Status("IDLE")
        own.get_lock().acquire()
        status.set("DONE")
        sys.exit(0)
    assert os.wait()[1] == 0
    assert status == "DONE"
    assert Status("IDLE") == "IDLE"
    print("done")
"""

THREADS = """
def forever(status):
    while True:
        status.load()
        status.set("BUSY")
        status == "IDLE", status.name, status.version
        # Not on lock: a daemon thread that exit stops while it makes a semaphore leaks that, as
        # with multiprocessing.Value.
        if atomic_intenum.BACKEND != "lock":
            Status("IDLE").compare_and_set("IDLE", "DONE")

def locks(status):
    while True:
        with status.get_lock():
            status.exchange("DONE")

if __name__ == "__main__":
    status = Status("IDLE")
    for target in (forever, forever, locks):
        threading.Thread(target=target, args=(status,), daemon=True).start()
    while status.version < 2000:
        time.sleep(0.001)
    print("done")
"""

HELD = """
class Circle(Status):
    pass

if __name__ == "__main__":
    circle = Circle("IDLE")
    circle.me = circle
    closed = Status("IDLE")
    closed.close()
    held = Status("IDLE")
    held.get_lock().acquire()
    class Late:
        def __del__(self):
            late.set("DONE")
            Status("BUSY")
    late = Status("IDLE")
    late_one = Late()
    sys.late = (Late(), Status("IDLE"))
    del held
    print("done")
"""

ERROR = """
import atexit
if __name__ == "__main__":
    status = Status("IDLE")
    atexit.register(lambda: print(status.name, Status("BUSY").name))
    sys.exit(3)
"""


def run_marked(
    body: str, *arguments: str, folder: Path
) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run a script with an enum of its own; return its outcome and the segments it left."""
    marker = f"Marked{uuid.uuid4().hex}"
    done = run_script((HEAD + body).replace("MARKER", marker), *arguments, folder=folder)
    return done, marked_segments(marker)


@every_method
@pytest.mark.parametrize("body", [CHILDREN, EXECUTOR], ids=["processes", "executor"])
def test_exit_after_children(body: str, method: str, tmp_path: Path) -> None:
    """A program whose children used and made values ends in silence and leaves nothing."""
    done, left = run_marked(body, method, folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode, left) == ("done\n", "", 0, set())


@pytest.mark.parametrize(
    "method",
    [
        # On the lock-based path the semaphore goes with the parent's objects, as that of every
        # multiprocessing.Lock does: a child that is spawned finds it gone.
        method if method == "fork" else pytest.param(method, marks=pickles)
        for method in METHODS
    ],
)
def test_exit_before_children(method: str, tmp_path: Path) -> None:
    """Children that still start when their parent's program has ended find the values."""
    done, left = run_marked(EARLY, method, folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode, left) == ("child\n" * 3, "", 0, set())


@pytest.mark.parametrize("body", [FORKS, THREADS, HELD], ids=["forks", "threads", "held"])
def test_exit(body: str, tmp_path: Path) -> None:
    """Whatever is still out at exit, a program ends in silence and leaves nothing."""
    done, left = run_marked(body, folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode, left) == ("done\n", "", 0, set())


def test_exit_functions_use_values(tmp_path: Path) -> None:
    """Values work in atexit functions, and a failing program leaves nothing either."""
    done, left = run_marked(ERROR, folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode, left) == ("IDLE BUSY\n", "", 3, set())


KILLED = """
if __name__ == "__main__":
    values = [Status("IDLE") for _ in range(100)]
    print("made", flush=True)
    sys.stdin.read()
"""


def test_killed_creator(tmp_path: Path) -> None:
    """What a creator leaves that is killed with -9, the resource tracker removes."""
    marker = f"Marked{uuid.uuid4().hex}"
    script = tmp_path / "script.py"
    script.write_text((HEAD + KILLED).replace("MARKER", marker))
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"made\n"
        assert marked_segments(marker)
        process.kill()
        process.wait(DEADLINE)
        until(lambda: not marked_segments(marker), "the tracker's removal")
