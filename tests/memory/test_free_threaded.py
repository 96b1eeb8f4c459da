"""Without the GIL: threads that use one value object at once, and race with its life."""

from __future__ import annotations

import copy
import enum
import functools
import gc
import itertools
import os
import subprocess
import sys
import threading
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import BACKEND, IntEnumArray, IntEnumValue
from helpers.support import (
    CALCULATING,
    DEADLINE,
    FREE_THREADED,
    IDLE,
    UNAVAILABLE,
    WorkerStatus,
    WorkerStatusEnum,
    collect,
    environment,
    make_enum,
    soaked,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: The user may switch it on even there.
GIL_ASKED_FOR = os.environ.get("PYTHON_GIL") == "1" or sys._xoptions.get("gil") == "1"

pytestmark = [
    pytest.mark.skipif(not FREE_THREADED, reason="this interpreter is built with the GIL"),
    pytest.mark.skipif(GIL_ASKED_FOR, reason="the GIL is switched on (PYTHON_GIL=1 or -X gil=1)"),
]

THREADS = 4
#: A write of the lock-based path is a semaphore and some Python.
ROUNDS = soaked(2000, 40_000) if BACKEND == "native" else soaked(400, 4000)

MEMBERS = tuple(WorkerStatusEnum)


class Board(IntEnumArray[WorkerStatusEnum]):
    """Several words of one segment."""


class Far(enum.IntEnum):
    """An enum that shares no number with the others."""

    A = 1001
    B = 1002
    C = 1003


def race(*bodies: Callable[[int], object], rounds: int, ends: Sequence[int] = ()) -> None:
    """Call each body in a thread of its own, `rounds` times, all at once; raise what one raised.

    Each is given the number of its round.  Where `ends` names bodies by index, all others go on
    until those have done their rounds.
    """
    start = threading.Barrier(len(bodies))
    failures: list[BaseException] = []
    going = set(ends)

    def run(number: int) -> None:
        try:
            start.wait(DEADLINE)
            for turn in itertools.count():
                if failures or (turn >= rounds if number in ends or not ends else not going):
                    break
                bodies[number](turn)
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the test
            failures.append(error)
        finally:
            going.discard(number)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()  # the test's own timeout ends it
    if failures:
        raise failures[0]


def unchecked(thing: Any) -> Any:
    """Return it as something that type checkers let one do anything with."""
    return thing


def bearing(body: Callable[[], object], *documented: str) -> Callable[[int], None]:
    """Return a body for race() that takes errors with one of these texts for an answer."""

    def call(_turn: int) -> None:
        try:
            body()
        except (TypeError, ValueError, RuntimeError, OSError) as error:
            if not any(text in str(error) for text in documented):
                raise

    return call


CLOSED = "closed, or its __init__ never ran"


def test_import_leaves_the_gil_off() -> None:
    """Importing the package doesn't switch the GIL on, nor warn that it would."""
    code = "import sys, atomic_intenum; print(atomic_intenum.BACKEND, sys._is_gil_enabled())"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env=environment(),
        check=False,
    )
    assert (result.stdout, result.stderr) == (f"{BACKEND} False\n", "")
    assert not unchecked(sys)._is_gil_enabled()


def test_token_is_taken_once() -> None:
    """Of threads that compare_and_set the same member away, exactly one gets True each time."""
    status = WorkerStatus(MEMBERS[0])
    taken = [0] * THREADS

    def step(number: int) -> Callable[[int], None]:
        def body(_turn: int) -> None:
            member = status.load()
            following = MEMBERS[(MEMBERS.index(member) + 1) % len(MEMBERS)]
            taken[number] += status.compare_and_set(member, following)

        return body

    race(*map(step, range(THREADS)), rounds=ROUNDS)
    assert sum(taken) == status.version
    assert status.load() is MEMBERS[sum(taken) % len(MEMBERS)]


def test_exchange_loses_nothing() -> None:
    """What the exchanges of all threads return, with what is left, is what was put in."""
    status = WorkerStatus(IDLE)
    put: list[list[WorkerStatusEnum]] = [[] for _ in range(THREADS)]
    got: list[list[WorkerStatusEnum]] = [[] for _ in range(THREADS)]

    def swap(number: int) -> Callable[[int], None]:
        def body(turn: int) -> None:
            member = MEMBERS[(turn + number) % len(MEMBERS)]
            put[number].append(member)
            got[number].append(status.exchange(member))

        return body

    race(*map(swap, range(THREADS)), rounds=ROUNDS)
    assert Counter(itertools.chain([IDLE], *put)) == Counter(itertools.chain([status.load()], *got))
    assert status.version == THREADS * ROUNDS


def test_array_is_read_in_parts() -> None:
    """Threads read, claim and ask for the owners of one array's words at once, and none fails."""
    board = Board(6, IDLE, on_death={CALCULATING: IDLE})
    single = WorkerStatus(IDLE, on_death={CALCULATING: IDLE})

    def read(_turn: int) -> None:
        assert {*board[1:4], *board.snapshot(), *board.counts()} <= set(MEMBERS)

    def claim(_turn: int) -> None:
        index = board.claim(IDLE, CALCULATING)
        if index is not None:
            assert board.exchange(index, IDLE) is CALCULATING

    def ask(_turn: int) -> None:
        assert {*board.owners(), board.owner(0), single.owner} <= {None, os.getpid()}

    race(read, claim, ask, read, claim, ask, rounds=4 * ROUNDS)
    assert board[:] == [IDLE] * 6


def test_update_counts_each_step() -> None:
    """update() of all threads takes as many steps as it was called."""
    status = WorkerStatus(MEMBERS[0])

    def following(member: WorkerStatusEnum) -> WorkerStatusEnum:
        return MEMBERS[(MEMBERS.index(member) + 1) % len(MEMBERS)]

    rounds = ROUNDS // 2
    race(*[lambda _turn: status.update(following)] * THREADS, rounds=rounds)
    assert status.version == THREADS * rounds
    assert status.load() is MEMBERS[THREADS * rounds % len(MEMBERS)]


def test_ping_pong_with_readers() -> None:
    """Two threads wake each other in turn; readers see members only, in each way of reading."""
    status = WorkerStatus(IDLE)
    rounds = ROUNDS // 4

    def ping(_turn: int) -> None:
        assert status.compare_and_set(IDLE, CALCULATING)
        status.wait_for(IDLE, timeout=DEADLINE)

    def pong(_turn: int) -> None:
        status.wait_for(CALCULATING, timeout=DEADLINE)
        status.set("IDLE")

    def read(_turn: int) -> None:
        assert status.load() in (IDLE, CALCULATING)
        assert status.name in ("IDLE", "CALCULATING")
        assert status != UNAVAILABLE
        assert status.value in (IDLE, CALCULATING)
        assert hash(status) in {hash((WorkerStatusEnum, int(m))) for m in (IDLE, CALCULATING)}

    race(ping, pong, read, rounds=rounds, ends=(0, 1))
    assert status.version == 2 * rounds


def test_lock_keeps_every_other_thread_out() -> None:
    """While a thread holds the lock nobody else writes, with the lock or without."""
    status = WorkerStatus(IDLE)

    def locked(_turn: int) -> None:
        with status.get_lock():
            before = status.version
            status.set(CALCULATING)
            status.set(UNAVAILABLE)
            assert status.load() is UNAVAILABLE
            assert status.version == before + 2

    def bare(_turn: int) -> None:
        status.set(IDLE)

    race(locked, locked, bare, bare, rounds=ROUNDS // 8)
    assert status.version == (2 * 2 + 2) * (ROUNDS // 8)


def test_all_threads_get_the_same_lock() -> None:
    """get_lock() of threads that ask first, at once, is one object."""
    values = [WorkerStatus(IDLE) for _ in range(200)]
    found: list[list[Any]] = [[] for _ in range(THREADS)]

    def ask(number: int) -> Callable[[int], None]:
        return lambda turn: found[number].append(values[turn].get_lock())

    race(*map(ask, range(THREADS)), rounds=len(values))
    for locks in zip(*found, strict=True):
        assert len(set(map(id, locks))) == 1


def uses(status: Any) -> list[Callable[[], object]]:
    """Return every way of using a value, for a race with its end."""
    return [
        status.load,
        lambda: status.set(CALCULATING),
        lambda: status.set("IDLE"),
        lambda: status.exchange(UNAVAILABLE),
        lambda: status.compare_and_set(IDLE, "CALCULATING"),
        lambda: status.wait_while(IDLE, UNAVAILABLE, CALCULATING, timeout=0),
        lambda: status.update(lambda member: member),
        lambda: status.name,
        lambda: status.version,
        lambda: status == IDLE,
        lambda: status < "IDLE",
        lambda: hash(status),
        lambda: repr(status),
        lambda: copy.copy(status).load(),
        status.get_lock,
        lambda: status.segment_name,
        lambda: locked(status.get_lock()),
    ]


def locked(lock: Any) -> None:
    """Take a lock and give it back."""
    with lock:
        pass


def test_close_races_with_every_use() -> None:
    """close() in one thread leaves the others values or documented errors, whatever they do."""
    values = [WorkerStatus(IDLE) for _ in range(ROUNDS // 4)]
    documented = (CLOSED, ": still ", "cannot compare", "this thread does not hold", "by name")

    def use(number: int) -> Callable[[int], None]:
        def body(turn: int) -> None:
            every = uses(values[turn])
            for shift in range(3):
                bearing(every[(3 * turn + number + shift) % len(every)], *documented)(turn)

        return body

    race(lambda turn: values[turn].close(), use(0), use(1), use(2), rounds=len(values))


def test_init_in_many_threads_binds_once() -> None:
    """Of threads that initialise one object at once, one does; the others get RuntimeError."""
    values: list[Any] = [WorkerStatus.__new__(WorkerStatus) for _ in range(ROUNDS // 10)]
    wins = [0] * THREADS

    def initialise(number: int) -> Callable[[int], None]:
        def body(turn: int) -> None:
            try:
                values[turn].__init__(MEMBERS[number % len(MEMBERS)])
            except RuntimeError:  # it was initialised before
                return
            wins[number] += 1

        return body

    race(*map(initialise, range(THREADS)), rounds=len(values))
    assert sum(wins) == len(values)
    assert all(value.load() in MEMBERS for value in values)


def test_closing_ends_a_wait() -> None:
    """A thread that waits gets ValueError when another closes the value."""
    for _ in range(20):
        status = WorkerStatus(IDLE)
        wait = functools.partial(status.wait_for, CALCULATING, timeout=DEADLINE)
        raised: list[str] = []
        race(until_closed(wait, raised), until_closed(wait, raised), closing(status), rounds=1)
        assert [CLOSED in text for text in raised] == [True, True]


def until_closed(wait: Callable[[], object], raised: list[str]) -> Callable[[int], None]:
    """Return a body for race() that keeps the text of a ValueError."""

    def body(_turn: int) -> None:
        try:
            wait()
        except ValueError as error:
            raised.append(str(error))

    return body


def closing(status: WorkerStatus) -> Callable[[int], None]:
    """Return a body for race() that closes."""
    return lambda _turn: status.close()


@pytest.mark.only_on("native", "cffi")
def test_attach_races_with_create_and_unlink() -> None:
    """Threads that attach a name find the value that has it, or FileNotFoundError."""
    name = f"race-{os.getpid()}"
    kept: list[Any] = []

    def create(_turn: int) -> None:
        value = WorkerStatus(CALCULATING, segment_name=name)
        kept.append(value)
        value.unlink()
        value.close()
        kept.clear()

    def attach(_turn: int) -> None:
        try:
            found = WorkerStatus.attach(name)
        except FileNotFoundError:
            return
        assert found.load() is CALCULATING
        found.close()

    race(create, attach, attach, rounds=ROUNDS // 10, ends=(0,))
    with pytest.raises(FileNotFoundError):
        WorkerStatus.attach(name)


@pytest.mark.only_on("native", "cffi")
def test_name_is_created_once() -> None:
    """Of threads that create a name at once, one succeeds; the others get FileExistsError."""
    made: list[list[Any]] = [[] for _ in range(THREADS)]

    def create(number: int) -> Callable[[int], None]:
        def body(turn: int) -> None:
            try:
                made[number].append(WorkerStatus(IDLE, segment_name=f"once-{os.getpid()}-{turn}"))
            except FileExistsError:
                made[number].append(None)

        return body

    race(*map(create, range(THREADS)), rounds=20)
    for values in zip(*made, strict=True):
        assert sum(value is not None for value in values) == 1


def test_words_are_handed_out_once() -> None:
    """Threads that create values at once get a word each."""
    fresh = make_enum("Fresh", {"A": 1, "B": 2})
    found: list[list[Any]] = [[] for _ in range(THREADS)]

    def create(number: int) -> Callable[[int], None]:
        return lambda _turn: found[number].append(IntEnumValue(fresh.A))

    race(*map(create, range(THREADS)), rounds=150)
    values = list(itertools.chain(*found))
    places = {(id(value._atomic_segment), value._atomic_index) for value in values}
    assert len(places) == len(values) == THREADS * 150
    assert len({id(value._atomic_vocabulary) for value in values}) == 1


def test_new_enum_gets_one_vocabulary_and_one_class() -> None:
    """Threads that subscribe to the same new enum at once get the same class."""
    enums = [make_enum(f"New{i}", {"A": 1, "B": 2}) for i in range(100)]
    found: list[list[Any]] = [[] for _ in range(THREADS)]

    def subscribe(number: int) -> Callable[[int], None]:
        def body(turn: int) -> None:
            bound: Any = unchecked(IntEnumValue)[enums[turn]]
            found[number].append(bound)
            assert bound(enums[turn].B).name == "B"

        return body

    race(*map(subscribe, range(THREADS)), rounds=len(enums))
    for classes in zip(*found, strict=True):
        assert len(set(classes)) == 1
        assert len({id(cls._atomic_class_vocabulary) for cls in classes}) == 1


def test_subclasses_made_at_once_answer_by_their_mro() -> None:
    """Classes derived in many threads, overrides before and behind, act as plain Python's do."""

    def derive(_turn: int) -> None:
        left: Any = type("Left", (WorkerStatus,), {})
        right: Any = type("Right", (WorkerStatus,), {"load": lambda _self: "mine"})
        both: Any = type("Both", (left, right), {})
        assert left(IDLE).load() is IDLE
        assert right(IDLE).load() == "mine"
        assert both(IDLE).load() == "mine"
        assert both(IDLE).name == "IDLE"

    shared: Any = type("Shared", (WorkerStatus,), {})

    def share(_turn: int) -> None:
        override: Any = type("Override", (WorkerStatus,), {"exchange": lambda _self, _new: 7})
        both: Any = type("Both", (shared, override), {})
        assert both(IDLE).exchange(IDLE) == 7
        assert shared(CALCULATING).load() is CALCULATING

    race(derive, derive, share, share, rounds=30)


def test_garbage_collection_races_with_use() -> None:
    """Values in cycles are collected while others are made, locked, closed and copied."""
    left: list[weakref.ref[Any]] = []

    class Node(WorkerStatus):
        """Has attributes, so that it can be in a cycle."""

    def make(_turn: int) -> None:
        nodes: Any = [Node(IDLE) for _ in range(3)]
        for node, other in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
            node.other = other
            node.own = node.get_lock()
        nodes[0].close()
        twin = copy.copy(nodes[2])
        assert twin.other is nodes[0]
        left.append(weakref.ref(nodes[2]))

    # No more collections than rounds: one after the other, they would leave the others no time.
    race(make, make, make, lambda _turn: gc.collect(), rounds=20)
    collect()
    assert not [reference for reference in left if reference() is not None]


def test_given_lock_is_held_by_every_thread_that_writes() -> None:
    """With lock=, each write of each thread holds that lock, which is free at the end."""

    class Counting:
        """A lock that sees whether somebody is inside already."""

        def __init__(self) -> None:
            self._lock = threading.Lock()
            self.inside = 0
            self.writes = 0

        def acquire(self) -> bool:
            self._lock.acquire()
            assert self.inside == 0
            self.inside += 1
            return True

        def release(self) -> None:
            self.inside -= 1
            self.writes += 1
            self._lock.release()

    lock = Counting()
    status = WorkerStatus(IDLE, lock=lock)
    rounds = ROUNDS // 4
    race(*[lambda turn: status.set(MEMBERS[turn % 3])] * THREADS, rounds=rounds)
    assert (lock.inside, lock.writes, status.version) == (0, THREADS * rounds, THREADS * rounds)
