"""Classes that are collected, and classes that threads make at the same time."""

from __future__ import annotations

import enum
import gc
import pickle
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumValue
from helpers.classes import BaseEnum, DerivedEnum, FooEnum, unchecked
from helpers.marks import classes_are_collected
from helpers.support import (
    COUNTS_REFERENCES,
    IDLE,
    SHM,
    WorkerStatus,
    collect,
    make_enum,
    own_segments,
    segment_of,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


# -- garbage


def dynamic(number: int) -> tuple[Any, Any, Any]:
    """Make an enum, a class and a value that nobody else knows."""
    fresh: Any = make_enum(f"Fresh{number}", "A B C")

    class Status(IntEnumValue[fresh]):
        def from_value(self, value: int) -> str:
            return super().from_value(value)

    value = Status("A")
    unchecked(value).myself = value
    value.get_lock()
    assert (value.name, IntEnumValue[fresh]("B").load()) == ("A", fresh.B)
    return fresh, Status, value


class Static(IntEnumValue[FooEnum]):
    """As dynamic() makes them."""

    def from_value(self, value: int) -> str:
        return super().from_value(value)


def collect_dynamic() -> None:
    """Collect garbage; PyPy's inline caches keep the last class that ran, so that is another."""
    assert Static("A").name == "A"
    collect()


@pytest.fixture
def collected_when_told() -> Iterator[None]:
    """Keep garbage collection from running by itself.

    It may otherwise run inside multiprocessing's resource tracker, which warns of a semaphore that
    dies there (on the lock-based path each value has one).
    """
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@classes_are_collected
@pytest.mark.usefixtures("collected_when_told")
def test_garbage() -> None:
    """Enums, classes and values that were made dynamically are collected when nobody knows them."""
    references = []
    for number in range(10):
        fresh, cls, value = dynamic(number)
        references += [weakref.ref(fresh), weakref.ref(cls), weakref.ref(value)]
        references.append(weakref.ref(unchecked(IntEnumValue)[fresh]))
        del fresh, cls, value
    collect_dynamic()
    assert [reference() for reference in references] == [None] * len(references)


@classes_are_collected
def test_garbage_without_class() -> None:
    """An enum whose value is unbound of class is collected with its last value."""
    fresh: Any = make_enum("Fresh", "A B C")
    value: IntEnumValue[Any] = IntEnumValue(fresh.A)
    reference = weakref.ref(fresh)
    del fresh
    gc.collect()
    assert reference() is value.EnumType
    value.close()
    del value
    gc.collect()
    assert reference() is None


@classes_are_collected
@pytest.mark.usefixtures("collected_when_told")
@pytest.mark.skipif(not SHM.is_dir(), reason="there is no folder that lists shared memory")
def test_garbage_leaves_no_segments() -> None:
    """The segments of 200 enums that came and went are gone after the next allocation."""
    WorkerStatus(IDLE)  # drains what earlier tests left
    IntEnumValue[FooEnum](FooEnum.A)
    before = own_segments()
    for number in range(200):
        dynamic(number)
    collect_dynamic()
    # A pool grows now and then, collect_dynamic()'s too.
    kept: list[Any] = [WorkerStatus(IDLE), Static("A")]
    kept.append(IntEnumValue(unchecked(make_enum("Kept", "A")).A))
    left = own_segments() - before - {segment_of(value) for value in kept}
    # PyPy's inline caches keep a class or two, whatever is collected.
    assert len(left) <= (0 if COUNTS_REFERENCES else 2)


def test_subscription_survives_gc() -> None:
    """A value keeps its class and enum alive, and subscripting again finds the class."""
    fresh: Any = make_enum("Fresh", "A B")
    value = IntEnumValue[fresh](fresh.A)
    gc.collect()
    assert type(value) is IntEnumValue[fresh]


@pytest.mark.only_on("native", "cffi")
def test_nested_subscription_is_pickled() -> None:
    """The class of IntEnumValue[Base][Derived] is found again by who unpickles."""
    narrow = unchecked(IntEnumValue[BaseEnum])[DerivedEnum]
    assert type(pickle.loads(pickle.dumps(narrow(DerivedEnum.X)))) is narrow


# -- making classes at the same time


class Blocking(enum.EnumMeta):
    """Makes an enum that waits for an event once somebody asks for its members."""

    entered = threading.Event()
    leave = threading.Event()

    @property
    def __members__(cls: Any) -> Any:
        if getattr(cls, "blocks", False):
            Blocking.entered.set()
            assert Blocking.leave.wait(20)
        return super().__members__


def test_fork_while_a_class_is_made() -> None:
    """A child that is forked while another thread makes a class can make one itself."""
    import os

    Blocking.entered.clear()
    Blocking.leave.clear()

    class Slow(enum.IntEnum, metaclass=Blocking):
        A = 1

        @enum.property
        def blocks(self) -> bool:
            return True

    unchecked(Slow).blocks = True
    maker = threading.Thread(target=lambda: IntEnumValue[Slow])
    maker.start()
    try:
        assert Blocking.entered.wait(20)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                fresh: Any = make_enum("Fresh", "A")
                status = int(IntEnumValue[fresh]("A").load() is not fresh.A)
            finally:
                os._exit(status)
        ended: list[int] = []

        def child_ended() -> bool:
            found, code = os.waitpid(pid, os.WNOHANG)
            ended.append(code)
            return found == pid

        try:
            until(child_ended, "the end of the child")
        except AssertionError:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            raise
        assert ended[-1] == 0
    finally:
        Blocking.leave.set()
        maker.join()
