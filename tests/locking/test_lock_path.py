"""The lock-based path: where its cells are, and writes that a handler or a close cuts off."""

from __future__ import annotations

import copy
import errno
import multiprocessing.context
import os
import re
import signal
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumArray
from helpers.boards import SHAPES
from helpers.crew import Bits, Status, Task
from helpers.support import FREE_THREADED, VERSIONS, collect, fork, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.only_on("lock")


def cells_of(value: Any) -> tuple[int, int]:
    """Return what is in shared memory of a value: its number, and how often it was written."""
    segment, index = value._atomic_segment, value._atomic_index
    word, control = segment.word_offset(index), segment.control_offset(index)
    with segment.mapping.view() as view:
        return view[word : word + 8].cast("i")[0], view[control : control + 8].cast("q")[0]


@pytest.mark.skipif(sys.byteorder == "big", reason="the value is in the word's other half")
@pytest.mark.parametrize("shape", [None, *SHAPES.values()], ids=["value", *SHAPES])
def test_cells(shape: dict[str, Any] | None) -> None:
    """The value is its word's first 32 bits, the count of writes its control block's first 64."""
    if shape is None:
        others: list[Any] = [Status(Bits.LEFT) for _ in range(3)]
    else:
        array = IntEnumArray[Bits](3, Bits.LEFT, **shape)
        others = [array.at(index) for index in range(3)]
    value = others.pop(1)
    for number, member in enumerate([Bits.RIGHT, Bits.LOWEST, Bits.HIGHEST, Bits.IDLE]):
        assert cells_of(value)[1] == 2 * number
        value.set(member)
        assert cells_of(value) == (member, 2 * number + 1)
        value.exchange(member)
        assert value.version == 2 * (number + 1)
    assert [cells_of(other) for other in others] == [(Bits.LEFT, 0)] * 2


def test_versions_of_an_array() -> None:
    """Each write of a word, whichever way, counts once, for that word alone."""
    array = IntEnumArray[Bits](3, Bits.LEFT)
    array[1] = Bits.RIGHT
    array[-2] = Bits.LEFT
    assert array.exchange(1, Bits.RIGHT) is Bits.LEFT
    assert array.compare_and_set(1, Bits.RIGHT, Bits.IDLE)
    assert array.claim(Bits.IDLE, Bits.LEFT) == 1
    assert [array.at(index).version for index in range(3)] == [0, 5, 0]
    array.fill(Bits.RIGHT)
    assert [array.at(index).version for index in range(3)] == [1, 6, 1]
    assert array.at(1).version < VERSIONS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.skipif(FREE_THREADED, reason="there a child leaves the parent's alone")
@pytest.mark.skipif(
    sys.implementation.name == "pypy", reason="a reference ends before __del__ is called there"
)
def test_forks_child_frees_its_parents_locks() -> None:
    """Locks of values that a parent dropped are freed by the first value that a child makes."""
    lock = Status(Bits.LEFT).get_lock()
    dropped = weakref.ref(lock)
    del lock
    collect()

    def child() -> None:
        assert dropped() is not None
        Status(Bits.LEFT)
        collect()
        assert dropped() is None

    assert wait_for(fork(child)) == 0


def test_wait_as_the_interpreter_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that an object's end calls still times out, when modules are gone already."""
    status = Status(Bits.LEFT)
    monkeypatch.setitem(sys.modules, "multiprocessing.synchronize", None)
    with pytest.raises(TimeoutError):
        status.wait_for(Bits.RIGHT, timeout=0)


class Interrupt(BaseException):
    """What a signal handler raises."""


class Interrupting:
    """A semlock at one of whose calls a signal handler raises, once."""

    def __init__(self, semlock: Any, when: str) -> None:
        self._semlock = semlock
        self._is_mine = semlock._is_mine
        self._when = when

    def _comes(self, when: str) -> None:
        if when == self._when:
            self._when = ""
            raise Interrupt

    def acquire(self) -> None:
        self._comes("before")
        self._semlock.acquire()
        self._comes("acquired")

    def release(self) -> None:
        self._comes("held")
        self._semlock.release()
        self._comes("released")


WRITES: dict[str, Callable[[Any, Any], object]] = {
    "set": lambda _, value: value.set(Bits.RIGHT),
    "exchange": lambda _, value: value.exchange(Bits.RIGHT),
    "compare_and_set": lambda _, value: value.compare_and_set(Bits.LEFT, Bits.RIGHT),
    "item": lambda array, _: array.__setitem__(1, Bits.RIGHT),
    "fill": lambda array, _: array.fill(Bits.RIGHT),
}


@pytest.mark.parametrize("when", ["before", "acquired", "held", "released"])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_interrupted(when: str, write: Callable[[Any, Any], object]) -> None:
    """A write that a handler interrupts around its lock raises what that did, and holds nothing."""
    array = IntEnumArray[Bits](3, Bits.LEFT)
    guard: Any = array._atomic_guard
    semlock = guard.semlock
    guard.semlock = Interrupting(semlock, when)
    with pytest.raises(Interrupt):
        write(array, array.at(1))
    assert not semlock._is_mine()
    assert Task(lambda: array.at(1).get_lock().acquire(timeout=0)).result()
    done = when in ("held", "released")
    assert array[1] is (Bits.RIGHT if done else Bits.LEFT)
    assert array.at(1).version == done


class Hasty:
    """A semlock as it is, without a GIL, while another thread takes it that this one held last.

    It takes this thread for its holder.  Only _count() waits until the other is through.
    """

    def __init__(self, semlock: Any) -> None:
        self._semlock = semlock
        self._through = False
        self.taken = 0
        self.release = semlock.release

    def _is_mine(self) -> bool:
        return not self._through or self._semlock._is_mine()

    def _count(self) -> int:
        self._through = True
        return 1

    def acquire(self) -> None:
        self.taken += 1
        self._semlock.acquire()


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_another_thread_just_takes_the_lock(write: Callable[[Any, Any], object]) -> None:
    """A write takes its lock, also if that says for a moment that this thread has it already."""
    array = IntEnumArray[Bits](3, Bits.LEFT)
    guard: Any = array._atomic_guard
    guard.semlock = hasty = Hasty(guard.semlock)
    write(array, array.at(1))
    assert hasty.taken == 1
    assert array[1] is Bits.RIGHT


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_inside_of_the_lock(write: Callable[[Any, Any], object]) -> None:
    """A write by who holds the lock takes it no further, and leaves it held, also as it raises."""
    array = IntEnumArray[Bits](3, Bits.LEFT)
    value, closed = array.at(1), copy.copy(array)
    twin = copy.copy(value)
    closed.close()
    twin.close()
    semlock: Any = value.get_lock()._semlock  # type: ignore[union-attr]
    with value.get_lock():
        write(array, value)
        assert semlock._count() == 1
        with pytest.raises(ValueError, match="closed"):
            write(closed, twin)
        assert semlock._count() == 1
    assert (value.load(), value.version) == (Bits.RIGHT, 1)


def test_closed_waits_for_no_lock() -> None:
    """A write to what is closed raises ValueError at once, whoever holds the lock."""
    array = IntEnumArray[Bits](3, Bits.LEFT)
    value, lock = array.at(1), array.at(1).get_lock()
    array.close()
    value.close()
    with lock:
        for write in (lambda: value.set(Bits.RIGHT), lambda: array.__setitem__(1, Bits.RIGHT)):
            with pytest.raises(ValueError, match="closed"):
                Task(write).result()


@pytest.mark.skipif(not hasattr(signal, "SIGVTALRM"), reason="no timer signals")
@pytest.mark.skipif(
    sys.implementation.name != "cpython",
    reason="a signal handler may come between any two bytecodes there",
)
@pytest.mark.parametrize("error", [AttributeError, KeyError, IndexError, AssertionError])
def test_what_a_handler_raises_comes_out(error: type[Exception]) -> None:
    """An error of a signal handler is never taken for an answer of what it interrupted."""
    array = IntEnumArray[Bits](3, Bits.LEFT)
    value = array.at(1)
    raised, came = 0, 0

    def handle(*_: object) -> None:
        nonlocal raised
        raised += 1
        raise error("from the handler")

    def work() -> None:
        for _ in range(50):
            value.set(Bits.RIGHT)
            assert value == array[1] is value.load()
            array[1] = Bits.RIGHT

    before = signal.signal(signal.SIGVTALRM, handle)
    try:
        while raised < 20:
            try:
                signal.setitimer(signal.ITIMER_VIRTUAL, 1e-5)
                while True:
                    work()
            except error as caught:
                came += "from the handler" in str(caught)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert came == raised
    assert Task(lambda: value.get_lock().acquire(timeout=0)).result()


@pytest.mark.parametrize("most", [256, -1], ids=["musl", "other libcs"])
def test_no_more_semaphores(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a process can have no more semaphores, a new value says how many, and what to do."""
    full = OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def refuse(*_: object) -> None:
        raise full

    monkeypatch.setattr(multiprocessing.context.BaseContext, "RLock", refuse)
    monkeypatch.setattr(os, "sysconf_names", {"SC_SEM_NSEMS_MAX": 1}, raising=False)
    monkeypatch.setattr(os, "sysconf", {1: most}.__getitem__, raising=False)
    said = "room for 256 locks .* lock=" if most > 0 else re.escape(str(full))
    with pytest.raises(OSError, match=said):
        IntEnumArray[Bits](3, Bits.LEFT)
