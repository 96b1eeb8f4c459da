"""Values that were given ``lock=``: each write holds that lock, on any backend."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumValue
from helpers import children
from helpers.crew import Task
from helpers.inside import Guard, guarded
from helpers.marks import classes_are_collected
from helpers.support import (
    CALCULATING,
    DEADLINE,
    IDLE,
    METHODS,
    UNAVAILABLE,
    JobEnum,
    Plain,
    WorkerStatus,
    WorkerStatusEnum,
    collect,
    fork,
    run,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


every_method = pytest.mark.parametrize("method", METHODS)
pickles = pytest.mark.only_on("native", "cffi")
inherits = pytest.mark.only_on("lock")


class Recorder:
    """A lock that notes each acquisition and release, and what the value was then."""

    def __init__(self) -> None:
        self.value: WorkerStatus | None = None
        self.events: list[tuple[str, int | None]] = []
        self.answer: Any = True

    def _note(self, event: str) -> None:
        self.events.append((event, None if self.value is None else self.value.value))

    def acquire(self) -> Any:
        """Note an acquisition."""
        self._note("acquire")
        return self.answer

    def release(self) -> None:
        """Note a release."""
        self._note("release")


@pytest.fixture
def recorder() -> Recorder:
    """Return a lock that records."""
    return Recorder()


@pytest.fixture
def status(recorder: Recorder) -> WorkerStatus:
    """Return an IDLE value that holds the recorder for each write."""
    value = WorkerStatus(IDLE, lock=recorder)
    recorder.value = value
    return value


WRITES: dict[str, Callable[[Any], object]] = {
    "set": lambda status: status.set(CALCULATING),
    "set name": lambda status: status.set("CALCULATING"),
    "value": lambda status: setattr(status, "value", CALCULATING),
    "exchange": lambda status: status.exchange(CALCULATING),
    "compare_and_set": lambda status: status.compare_and_set(IDLE, CALCULATING),
    "update": lambda status: status.update(lambda _: CALCULATING),
}
every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())


def locks() -> Iterator[Any]:
    """Yield every kind of lock that a value may be given."""
    for method in [None, *METHODS]:
        context: Any = multiprocessing.get_context(method)
        for kind in ("Lock", "RLock"):
            yield pytest.param(getattr(context, kind), id=f"{method or 'default'}-{kind}")
    yield pytest.param(threading.Lock, id="threading-Lock")
    yield pytest.param(threading.RLock, id="threading-RLock")
    yield pytest.param(lambda: WorkerStatus(IDLE).get_lock(), id="value-lock")
    yield pytest.param(lambda: multiprocessing.Value("i").get_lock(), id="multiprocessing-Value")
    yield pytest.param(threading.Condition, id="Condition")
    yield pytest.param(lambda: multiprocessing.Semaphore(1), id="Semaphore")


@pytest.mark.parametrize("make", list(locks()))
def test_any_lock(make: Callable[[], Any]) -> None:
    """A lock of any kind makes a value that works, and is what get_lock() returns."""
    lock = make()
    status = WorkerStatus(IDLE, lock=lock)
    assert status.get_lock() is lock
    assert status.lock is lock
    assert status.abandoned is False
    for number, write in enumerate(WRITES.values()):
        write(status)
        assert (status.load(), status.version) == (CALCULATING, 2 * number + 1)
        status.set(IDLE)
    acquired: list[bool] = []

    def acquire() -> None:
        acquired.append(lock.acquire(False))
        if acquired[0]:
            lock.release()

    other = threading.Thread(target=acquire)
    other.start()
    other.join()
    assert acquired == [True], "the lock was not given back"


def test_manager_lock() -> None:
    """A manager's lock serves."""
    with multiprocessing.Manager() as manager:
        for lock in (manager.Lock(), manager.RLock()):
            given: Any = lock
            status = WorkerStatus(IDLE, lock=given)
            assert status.get_lock() is given
            for write in WRITES.values():
                write(status)
                assert status.load() is CALCULATING
                status.set(IDLE)


def test_positional_lock(recorder: Recorder) -> None:
    """The lock may be the second positional argument, as in the original."""
    status = WorkerStatus(IDLE, recorder)
    assert status.get_lock() is recorder  # type: ignore[comparison-overlap]
    status.set(CALCULATING)
    assert [event for event, _ in recorder.events] == ["acquire", "release"]


@every_write
def test_each_write_holds_the_lock(
    status: WorkerStatus, recorder: Recorder, write: Callable[[Any], object]
) -> None:
    """Each kind of write happens between one acquisition and one release of the lock."""
    write(status)
    assert recorder.events == [("acquire", IDLE), ("release", CALCULATING)]


def test_constructing_takes_no_lock(status: WorkerStatus, recorder: Recorder) -> None:
    """Construction, copies and get_lock() take no lock."""
    copy.copy(status)
    status.get_lock()
    assert recorder.events == []


def test_reads_take_no_lock(status: WorkerStatus, recorder: Recorder) -> None:
    """Nothing that reads takes the lock."""
    assert status.load() is IDLE
    assert (status.value, status.name, status.version) == (2, "IDLE", 0)
    assert status == IDLE
    assert status == "IDLE"
    assert status < CALCULATING
    assert status == WorkerStatus(IDLE)
    assert (int(status), str(status), f"{status}", hash(status)) == (
        2,
        "2",
        "2",
        hash(WorkerStatus(IDLE)),
    )
    repr(status)
    assert recorder.events == []


def test_mismatch_takes_no_lock(status: WorkerStatus, recorder: Recorder) -> None:
    """A compare_and_set that doesn't match answers without the lock."""
    assert status.compare_and_set(CALCULATING, UNAVAILABLE) is False
    assert recorder.events == []


def test_bad_write_takes_no_lock(status: WorkerStatus, recorder: Recorder) -> None:
    """A write that is refused never takes the lock."""
    wrong: Any = JobEnum.DONE
    with pytest.raises(TypeError):
        status.set(wrong)
    with pytest.raises(KeyError):
        status.set("SLEEPING")
    assert recorder.events == []


def test_compares_again_inside_the_lock() -> None:
    """A compare_and_set whose old is gone when it has the lock writes nothing and releases."""

    class Changing(Recorder):
        def acquire(self) -> Any:
            super().acquire()
            if len(self.events) == 1:
                twin.set(UNAVAILABLE)

    lock = Changing()
    status = WorkerStatus(IDLE, lock)
    twin = copy.copy(status)
    assert status.compare_and_set(IDLE, CALCULATING) is False
    assert status.load() is UNAVAILABLE
    assert [event for event, _ in lock.events] == ["acquire", "acquire", "release", "release"]


@every_write
@pytest.mark.parametrize("answer", [None, True, 1, "yes"])
def test_what_acquire_answers(
    status: WorkerStatus, recorder: Recorder, write: Callable[[Any], object], answer: Any
) -> None:
    """A lock whose acquire() answers something else than True is released just the same."""
    recorder.answer = answer
    write(status)
    assert [event for event, _ in recorder.events] == ["acquire", "release"]


@every_write
def test_acquire_that_raises(write: Callable[[Any], object]) -> None:
    """What acquire() raises comes out; nothing is written and nothing released."""

    class Failing(Recorder):
        def acquire(self) -> Any:
            raise InterruptedError("no lock today")

    lock = Failing()
    status = WorkerStatus(IDLE, lock)
    with pytest.raises(InterruptedError, match="no lock today"):
        write(status)
    assert (status.load(), status.version, lock.events) == (IDLE, 0, [])


@every_write
def test_release_that_raises(write: Callable[[Any], object]) -> None:
    """What release() raises comes out."""

    class Failing(Recorder):
        def release(self) -> None:
            raise BrokenPipeError("gone")

    status = WorkerStatus(IDLE, Failing())
    with pytest.raises(BrokenPipeError, match="gone"):
        write(status)


@every_write
def test_closed_while_waiting(write: Callable[[Any], object]) -> None:
    """A value that is closed while its write waits for the lock raises ValueError and releases."""

    class Closing(Recorder):
        def acquire(self) -> Any:
            super().acquire()
            closing.close()

    lock = Closing()
    closing = WorkerStatus(IDLE, lock)
    twin = copy.copy(closing)
    with pytest.raises(ValueError, match="closed"):
        write(closing)
    assert twin.load() is IDLE
    assert [event for event, _ in lock.events] == ["acquire", "release"]


@pytest.mark.parametrize("wrong", [3, "lock", object(), True, False, IDLE, [], threading.Event()])
def test_bad_lock(wrong: Any) -> None:
    """A lock without acquire and release is a TypeError that says so; nothing is made."""
    with pytest.raises(TypeError, match="acquire"):
        WorkerStatus(IDLE, lock=wrong)


def test_half_a_lock() -> None:
    """An object with acquire alone, or with a release that cannot be called, is no lock."""

    class Half:
        def acquire(self) -> None:
            pass

        release: Any = None

    with pytest.raises(TypeError, match="release"):
        WorkerStatus(IDLE, lock=Half())


def test_held_by_with(status: WorkerStatus, recorder: Recorder) -> None:
    """A write inside of the lock takes a lock of another kind again: it must be re-entrant."""
    recorder.acquire()
    status.set(CALCULATING)
    recorder.release()
    assert [event for event, _ in recorder.events] == ["acquire", "acquire", "release", "release"]


def test_readme_of_the_original() -> None:
    """A lock that is shared with a multiprocessing.Value keeps both consistent."""

    class WorkerState:
        def __init__(self) -> None:
            self.lock = multiprocessing.RLock()
            self.status = WorkerStatus(IDLE, lock=self.lock)
            self.job_id = multiprocessing.Value("i", -1, lock=self.lock)

        def get_lock(self) -> Any:
            return self.lock

    state = WorkerState()
    assert state.status.get_lock() is state.lock
    with state.get_lock():
        state.status.set(CALCULATING)
        state.job_id.value = 7
    assert (state.status.name, state.job_id.value) == ("CALCULATING", 7)


@pytest.mark.parametrize("method", [None, *METHODS])
@every_write
def test_held_plain_lock(method: str | None, write: Callable[[Any], object]) -> None:
    """A multiprocessing.Lock that this thread holds already is not taken again."""
    context: Any = multiprocessing.get_context(method)
    lock = context.Lock()
    status = WorkerStatus(IDLE, lock)
    with status.get_lock():
        write(status)
        assert status.load() is CALCULATING
        assert lock.acquire(False) is False, "the write gave back a lock that it had not taken"
    assert lock.acquire(False) is True
    lock.release()


def test_plain_lock_held_by_another_thread() -> None:
    """A multiprocessing.Lock that another thread holds is waited for."""
    lock = multiprocessing.Lock()
    status = WorkerStatus(IDLE, lock)
    written = threading.Event()

    def write() -> None:
        status.set(CALCULATING)
        written.set()

    with lock:
        writer = threading.Thread(target=write)
        writer.start()
        assert not written.wait(0.05)
        assert status.load() is IDLE
        assert status.compare_and_set(CALCULATING, IDLE) is False
    assert written.wait(DEADLINE)
    writer.join()
    assert status.load() is CALCULATING


def test_plain_lock_held_by_the_parent() -> None:
    """A child of os.fork does not take its parent's multiprocessing.Lock for its own."""
    lock = multiprocessing.Lock()
    status = WorkerStatus(IDLE, lock)
    go_reader, go_writer = os.pipe()
    reader, writer = os.pipe()

    def child() -> None:
        os.write(writer, b"1" if lock.acquire(timeout=0.05) else b"0")
        os.write(writer, b"w")
        status.set(CALCULATING)
        os.write(writer, b"s")

    with lock:
        pid = fork(child)
        assert os.read(reader, 1) == b"0"
        assert os.read(reader, 1) == b"w"
        # It waits in set() now; were it not to, the write would come within this time.
        waited, _ = os.waitpid(pid, os.WNOHANG)
        timer = threading.Event()
        timer.wait(0.05)
        assert (waited, status.load()) == (0, IDLE)
        status.set(UNAVAILABLE)
        assert status.load() is UNAVAILABLE
    assert os.read(reader, 1) == b"s"
    assert wait_for(pid) == 0
    assert status.load() is CALCULATING
    for descriptor in (go_reader, go_writer, reader, writer):
        os.close(descriptor)


def test_lock_of_another_value() -> None:
    """Values that share one value's lock keep out each other's writers."""
    first = WorkerStatus(IDLE)
    second = IntEnumValue[JobEnum](JobEnum.PENDING, lock=first.get_lock())
    assert second.get_lock() is first.get_lock()
    with second.get_lock():
        first.set(CALCULATING)
        second.set(JobEnum.RUNNING)
        outcome: list[bool] = []
        other = threading.Thread(target=lambda: outcome.append(first.get_lock().acquire(False)))
        other.start()
        other.join()
    assert outcome == [False]
    assert (first.load(), second.load()) == (CALCULATING, JobEnum.RUNNING)


def test_lock_of_a_value_that_is_gone() -> None:
    """A value's lock works on where the value itself was closed and dropped."""
    first = WorkerStatus(IDLE)
    second = WorkerStatus(IDLE, lock=first.get_lock())
    first.close()
    del first
    with second.get_lock():
        second.set(CALCULATING)
    assert second.load() is CALCULATING


def test_copies_hold_the_same_lock(status: WorkerStatus, recorder: Recorder) -> None:
    """A copy holds the same lock for its writes."""
    twin = copy.copy(status)
    assert twin.get_lock() is status.get_lock()
    twin.set(CALCULATING)
    assert recorder.events == [("acquire", IDLE), ("release", CALCULATING)]


def test_deepcopy_shares_the_lock(status: WorkerStatus) -> None:
    """deepcopy, too, gives the same value under the same lock."""
    assert copy.deepcopy(status).get_lock() is status.get_lock()


def test_parameterless_with_lock(recorder: Recorder) -> None:
    """A value without a parameter takes a lock as well."""
    value = Plain(IDLE, lock=recorder)
    value.set("CALCULATING")
    assert [event for event, _ in recorder.events] == ["acquire", "release"]


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not tell a semaphore's value")
def test_semaphore_is_released_once() -> None:
    """What raises inside of a semaphore gives back its own unit, and no other thread's."""
    semaphore = multiprocessing.BoundedSemaphore(2)
    Task(semaphore.acquire).result()

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        guarded(Guard(semaphore), fail)
    assert semaphore.get_value() == 1


def test_threads_do_not_lose_updates() -> None:
    """Increments inside of a given lock lose nothing."""
    lock = threading.RLock()
    status = WorkerStatus(WorkerStatusEnum(1), lock)
    total = [0]

    def work() -> None:
        for _ in range(300):
            with status.get_lock():
                total[0] += 1
                status.set(WorkerStatusEnum(status.value % 3 + 1))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (total[0], status.version, status.value) == (900, 900, 1)


# -- to other processes: as the lock goes


@pytest.mark.slow
@every_method
@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_goes_to_a_child(method: str, kind: str) -> None:
    """A value with a multiprocessing lock of the context goes to its children, with the lock."""
    context: Any = multiprocessing.get_context(method)
    status = WorkerStatus(IDLE, getattr(context, kind)())
    run(method, children.claim_all, {"subclass": status})
    assert (status.load(), status.version) == (UNAVAILABLE, 2)
    with status.get_lock():
        run(method, children.try_lock, status)


@pickles
@pytest.mark.parametrize("make", [multiprocessing.Lock, multiprocessing.RLock])
def test_pickles_as_its_lock_does(make: Callable[[], Any]) -> None:
    """Outside of spawning, a multiprocessing lock refuses to be pickled, and so does its value."""
    status = WorkerStatus(IDLE, make())
    with pytest.raises(RuntimeError, match="inheritance"):
        pickle.dumps(status)


@pickles
def test_threading_lock_is_not_pickled() -> None:
    """A threading lock cannot be pickled, and so its value can't be."""
    with pytest.raises((TypeError, pickle.PicklingError), match="pickle"):
        pickle.dumps(WorkerStatus(IDLE, threading.Lock()))


@pickles
def test_pickles_with_a_values_lock() -> None:
    """A value under another value's lock is pickled with it, as the same lock."""
    first = WorkerStatus(IDLE)
    second = WorkerStatus(IDLE, first.get_lock())
    copied = pickle.loads(pickle.dumps(second))
    copied.set(CALCULATING)
    assert second.load() is CALCULATING
    outcome: list[bool] = []
    with first.get_lock():
        other = threading.Thread(target=lambda: outcome.append(copied.get_lock().acquire(False)))
        other.start()
        other.join()
    assert outcome == [False]


@pickles
def test_pickles_with_a_managers_lock() -> None:
    """A value under a manager's lock goes through a pickle."""
    with multiprocessing.Manager() as manager:
        status = WorkerStatus(IDLE, manager.RLock())
        copied = pickle.loads(pickle.dumps(status))
        copied.set(CALCULATING)
        assert status.load() is CALCULATING


@inherits
def test_given_lock_is_refused_too() -> None:
    """On the lock-based path a value with a given lock is pickled by spawning alone, too."""
    with pytest.raises(RuntimeError, match="inheritance"):
        pickle.dumps(WorkerStatus(IDLE, multiprocessing.RLock()))


class Immutable(tuple[Any, ...]):
    """A lock that was made from a value, which nothing can take out of it again."""

    __slots__ = ()

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


@classes_are_collected
def test_value_of_an_immutable_lock_is_collected() -> None:
    """A value whose lock refers to it is collected, though get_lock() was asked for."""
    value: Any = WorkerStatus.__new__(WorkerStatus)
    value.__init__(IDLE, lock=Immutable((value,)))
    assert value.get_lock() is value.get_lock()
    reference = weakref.ref(value)
    del value
    collect()
    assert reference() is None
