"""at(i): one word of an array as a value."""

from __future__ import annotations

import copy
import os
import pickle
import weakref
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumArray, IntEnumValue
from helpers import boards
from helpers.boards import ATOMIC, SHAPES, Board, PlainBoard, Wide, is_polling
from helpers.crew import Bits, Task, child, hold
from helpers.support import (
    CALCULATING,
    IDLE,
    UNAVAILABLE,
    JobEnum,
    Plain,
    WorkerStatus,
    WorkerStatusEnum,
    collect,
    own_segments,
    segment_of,
    until,
    word_of,
)

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

by_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


class Status(WorkerStatus):
    """Has an __init__ that must not run, and attributes."""

    def __init__(self) -> None:
        raise AssertionError


class JobStatus(IntEnumValue[JobEnum]):
    """A value of another enum."""


@by_shape
def test_shares_the_word(shape: dict[str, Any]) -> None:
    """What is written through the value is read through the array, and the other way round."""
    array = Board(5, IDLE, **shape)
    for index in (0, 2, 4, -1, -5):
        value = array.at(index)
        assert value.load() is IDLE
        value.set(CALCULATING)
        assert array[index] is CALCULATING
        assert array.count(CALCULATING) == 1
        array[index] = UNAVAILABLE
        assert (value.load(), value.value, value.name) == (UNAVAILABLE, 1, "UNAVAILABLE")
        assert value == UNAVAILABLE
        value.value = "IDLE"
        assert array.snapshot() == [IDLE] * 5


def test_everything_a_value_does() -> None:
    """Its methods are those of any value."""
    array = Board(2, IDLE)
    value = array.at(1)
    assert value.exchange("CALCULATING") is IDLE
    assert value.compare_and_set(CALCULATING, UNAVAILABLE)
    assert not value.compare_and_set(CALCULATING, UNAVAILABLE)
    assert value.update(lambda member: WorkerStatusEnum(member + 1)) is IDLE
    assert value.version == 3
    assert array.at(0).version == 0
    assert value.wait_for(IDLE) is IDLE
    assert value.wait_while(CALCULATING, timeout=0) is IDLE
    with pytest.raises(TimeoutError):
        value.wait_for(CALCULATING, timeout=0)
    assert next(value.changes()) is IDLE
    assert value.to_value("IDLE") == 2
    assert value.from_value(2) == "IDLE"
    assert (int(value), str(value), f"{value}", [0, 1, 2][value]) == (2, str(IDLE), f"{IDLE}", 2)
    assert value < CALCULATING
    assert value == array.at(0)
    assert repr(value) == "IntEnumValue[WorkerStatusEnum](<WorkerStatusEnum.IDLE: 2>)"
    assert segment_of(value) == segment_of(array)
    with pytest.raises(ValueError, match="segment of its own"):
        value.unlink()
    for wrong in (2, JobEnum.DONE):
        with pytest.raises(TypeError):
            value.set(wrong)  # type: ignore[arg-type]
    assert array[:] == [IDLE, IDLE]


def test_versions_count_writes_through_both() -> None:
    """The version counts what array and values write, a fill and a claim included."""
    array = Board(2, IDLE)
    value = array.at(0)
    array[0] = CALCULATING
    array.exchange(0, CALCULATING)
    array.fill(IDLE)
    assert array.claim(IDLE, CALCULATING) == 0
    assert array.compare_and_set(0, CALCULATING, IDLE)
    assert not array.compare_and_set(0, CALCULATING, IDLE)
    value.set(IDLE)
    assert value.version == array.at(0).version == 6
    assert array.at(1).version == 1


def test_members_at_the_ends() -> None:
    """Negative and far members come through."""
    array = Wide(2, Bits.LOWEST)
    value = array.at(0)
    assert value.exchange(Bits.HIGHEST) is Bits.LOWEST
    assert array[0] is Bits.HIGHEST
    value.set(Bits.RIGHT)
    assert value.value == array[0] == int(Bits.RIGHT)
    assert word_of(array.at(1)) == int(Bits.LOWEST) & 0xFFFF_FFFF


# -- the class


def test_class_of_the_value() -> None:
    """Without a class it is IntEnumValue[EnumType]; a class of that enum is taken."""
    array = Board(2, IDLE)
    found: Any = type(array.at(0))
    assert found is IntEnumValue[WorkerStatusEnum]
    for cls in (WorkerStatus, Status, Plain, IntEnumValue, IntEnumValue[WorkerStatusEnum]):
        value: Any = array.at(0, cls)
        assert type(value) is cls
        assert value.EnumType is WorkerStatusEnum
        assert value.load() is IDLE
    assert type(array.at(index=1, cls=WorkerStatus)) is WorkerStatus
    assert type(array.at(1, None)) is found  # type: ignore[call-overload]
    for unbound in (IntEnumArray(2, JobEnum.DONE), PlainBoard(2, JobEnum.DONE)):
        assert type(unbound.at(0)) is IntEnumValue[JobEnum]
        assert unbound.at(0, JobStatus) == JobEnum.DONE


def test_wrong_class() -> None:
    """A class of another enum is a TypeError that names both; so is what is no value's class."""
    array: Any = Board(2, IDLE)
    with pytest.raises(TypeError, match=r"JobEnum.*WorkerStatusEnum"):
        array.at(0, JobStatus)
    for wrong in (int, Board, IntEnum, WorkerStatusEnum, 3, "WorkerStatus", WorkerStatus(IDLE)):
        with pytest.raises(TypeError, match="IntEnumValue"):
            array.at(0, wrong)


def test_attributes_of_a_subclass() -> None:
    """The value may have attributes of its class, and takes weak references."""
    value: Any = Board(2, IDLE).at(0, WorkerStatus)
    value.note = "a"
    assert copy.copy(value).note == "a"
    assert weakref.ref(value)() is value


# -- its life


def test_keeps_the_segment() -> None:
    """The value works on when its array is closed, or gone, and so is the array's name."""
    array = Board(3, IDLE)
    name, first = segment_of(array), array.at(0)
    second = array.at(1)
    array.close()
    first.set(CALCULATING)
    assert first.load() is CALCULATING
    del array
    collect()
    assert (first.load(), second.load()) == (CALCULATING, IDLE)
    assert name in own_segments()
    first.close()
    with pytest.raises(ValueError, match="closed"):
        first.load()
    with second.get_lock():
        second.set(UNAVAILABLE)
    del first, second
    collect()
    Board(1, IDLE)
    assert name not in own_segments()


def test_closing_the_value() -> None:
    """Closing the value closes neither the array nor another value of the word."""
    array = Board(3, IDLE)
    value, twin = array.at(0), array.at(0)
    value.close()
    twin.set(CALCULATING)
    assert array[0] is CALCULATING
    assert array.at(0) == twin


@pytest.mark.only_on("native", "cffi")
def test_pickle() -> None:
    """A pickled value is the same word again, in the class that it had."""
    array = Board(3, IDLE, padded=True)
    for value in (array.at(1), array.at(1, WorkerStatus)):
        twin = pickle.loads(pickle.dumps(value))
        assert type(twin) is type(value)
        twin.set(CALCULATING)
        assert array[:] == [IDLE, CALCULATING, IDLE]
        array[1] = IDLE
        assert twin.load() is IDLE
        with twin.get_lock():
            assert Task(lambda v=value: v.get_lock().acquire(block=False)).result() is False  # type: ignore[misc]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies(duplicate: Any) -> None:
    """A copy is the same word, with the same lock."""
    array = Board(3, IDLE)
    value = array.at(2)
    twin = duplicate(value)
    twin.set(CALCULATING)
    assert array[2] is CALCULATING
    with twin.get_lock():
        assert Task(lambda: value.get_lock().acquire(block=False)).result() is False


# -- its lock


@by_shape
def test_lock_keeps_writers_out(shape: dict[str, Any]) -> None:
    """While a process holds the word's lock nobody writes that word; others are written."""
    array = Board(3, IDLE, **shape)
    value: Any = array.at(1)
    with child(hold, value) as holder:
        holder.says()
        assert array.at(1).get_lock().acquire(block=False) is False
        writers = [Task(lambda: array.exchange(1, CALCULATING)), Task(lambda: value.set(IDLE))]
        assert all(writer.is_running(0.02) for writer in writers)
        assert value.load() is IDLE
        if ATOMIC:
            array[0] = CALCULATING
            array.at(2).set(CALCULATING)
            assert array[:] == [CALCULATING, IDLE, CALCULATING]
        holder.tell()
        for writer in writers:
            writer.result()


@pytest.mark.only_on("native", "cffi")
def test_each_word_has_a_lock() -> None:
    """Holding one word's lock leaves all others free; two values of a word share one."""
    array = Board(4, IDLE)
    with array.at(1).get_lock():
        for index in (0, 2, 3):
            assert Task(lambda i=index: array.at(i).get_lock().acquire(block=False)).result()  # type: ignore[misc]
        assert not Task(lambda: array.at(1).get_lock().acquire(block=False)).result()


@pytest.mark.only_on("lock")
def test_all_words_have_one_lock() -> None:
    """On the lock path the words of an array have one lock, re-entrant."""
    array = Board(4, IDLE)
    locks = {id(array.at(i).get_lock()) for i in range(4)}
    assert len(locks) == 1
    with array.at(1).get_lock(), array.at(2).get_lock():
        array[3] = CALCULATING
        assert not Task(lambda: array.at(0).get_lock().acquire(block=False)).result()


def die_holding(pipe: Connection, array: Board) -> None:
    """Take a word's lock, tell, and stay."""
    array.at(1).get_lock().acquire()
    pipe.send("held")
    pipe.recv()


@pytest.mark.only_on("native", "cffi")
def test_holder_that_dies() -> None:
    """A killed holder's lock passes on: to a write of the array, and to who acquires it next."""
    array = Board(3, IDLE)
    with child(die_holding, array) as holder:
        holder.says()
        holder.kill()
    array[1] = CALCULATING
    array.fill(IDLE)
    value = array.at(1)
    with value.get_lock():
        assert value.abandoned
    with value.get_lock():
        assert not value.abandoned
    assert not array.at(0).abandoned


# -- waiting


def wait_for_calculating(pipe: Connection, value: Any) -> None:
    """Wait, and tell what came."""
    pipe.send("ready")
    pipe.send(value.wait_for(CALCULATING, timeout=20))


@pytest.mark.parametrize("way", ["assign", "fill", "claim", "twin"])
def test_wait_is_ended_by_the_array(way: str) -> None:
    """Who waits for a word's value is woken by each way that the array writes it."""
    array = Board(3, IDLE)
    with child(wait_for_calculating, array.at(1)) as sleeper:
        sleeper.says()
        if ATOMIC:
            until(lambda: word_of(array.at(1)) >> 33 & 1, "falling asleep")
        array[0] = array[2] = UNAVAILABLE  # wakes nobody there
        if way == "assign":
            array[1] = CALCULATING
        elif way == "fill":
            array.fill(CALCULATING)
        elif way == "claim":
            assert array.claim(IDLE, CALCULATING) == 1
        else:
            array.at(1, WorkerStatus).set(CALCULATING)
        assert sleeper.says() is CALCULATING


def test_wait_and_the_lock() -> None:
    """Waiting for a word whose lock this thread holds is a RuntimeError."""
    array = Board(3, IDLE)
    value = array.at(1)
    with value.get_lock(), pytest.raises(RuntimeError, match="holding"):
        value.wait_for(CALCULATING, timeout=20)
    sleeper = Task(lambda: value.wait_for(CALCULATING, timeout=20))
    until(
        lambda: word_of(value) >> 33 & 1 if ATOMIC else is_polling(),
        "falling asleep",
    )
    with array.at(1).get_lock():
        array[1] = CALCULATING
        assert sleeper.result() is CALCULATING


# -- other processes


def take_lock_and_set(pipe: Connection, value: Any) -> None:
    """Write inside the lock."""
    with value.get_lock():
        pipe.send(value.exchange(CALCULATING))


def test_in_a_forked_child() -> None:
    """A value of a word goes to a child as any value does."""
    array = Board(3, IDLE)
    with child(take_lock_and_set, array.at(2)) as peer:
        assert peer.says() is IDLE
    assert array[:] == [IDLE, IDLE, CALCULATING]


@pytest.mark.only_on("native", "cffi")
def test_value_by_the_arrays_name() -> None:
    """A value's attach refuses an array's segment: there is no one word."""
    name = f"at{os.getpid()}"
    array = Board(1, IDLE, segment_name=name)
    with pytest.raises(ValueError, match="one value"):
        WorkerStatus.attach(name)
    assert boards.Board.attach(name).at(0) == IDLE
    array.unlink()
