"""Arrays of statuses: making, reading and writing them in one process."""

from __future__ import annotations

import errno
import operator
import os
import re
from enum import Enum, IntEnum, IntFlag
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pytest

from atomic_intenum import BACKEND, IntEnumArray, IntEnumValue
from helpers.boards import SHAPES, Board, PlainBoard, Wide
from helpers.crew import Bits
from helpers.names import path_of
from helpers.support import (
    CALCULATING,
    IDLE,
    UNAVAILABLE,
    JobEnum,
    WorkerStatusEnum,
    make_enum,
    own_segments,
    run_script,
)

if TYPE_CHECKING:
    from collections.abc import Callable


by_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)

#: From 8,192 words on a walk gives up the GIL; the tally takes eight words at a time.
LARGE = 8192

SIZES = (1, 7, 8, 9, 63, LARGE - 1, LARGE, LARGE + 5)

T = TypeVar("T", bound=IntEnum)


class LoggedBoard(IntEnumArray[T]):
    """A generic subclass."""


class Pair(LoggedBoard[T], Generic[T]):
    """A generic subclass of that."""


class Colour(Enum):
    RED = 1


class Flags(IntFlag):
    A = 1


class Index:
    """An index that does something when it is looked at."""

    def __init__(self, number: int, act: Callable[[], object] = lambda: None) -> None:
        self.number = number
        self.act = act

    def __index__(self) -> int:
        self.act()
        return self.number


# -- making one


@by_shape
@pytest.mark.parametrize("size", SIZES)
def test_made(size: int, shape: dict[str, Any]) -> None:
    """An array has that many words, and each is the first member."""
    array = Board(size, IDLE, **shape)
    assert len(array) == size
    assert array[0] is array[size - 1] is array[-size] is IDLE
    assert array.snapshot() == [IDLE] * size
    assert array.count(IDLE) == size
    assert array.counts() == {UNAVAILABLE: 0, IDLE: size, CALCULATING: 0}


@pytest.mark.parametrize("member", [*Bits])
def test_first_member(member: Bits) -> None:
    """Any member may be the first: the least, the greatest, 0, by itself or by name."""
    for initial in (member, member.name):
        array = Wide(3, initial)
        assert [*array] == array[:] == array.snapshot() == [member] * 3


@by_shape
def test_cost(shape: dict[str, Any]) -> None:
    """A status costs 72 bytes of shared memory, 128 padded, beside a header."""
    array = Board(10_000, IDLE, **shape)
    assert array._atomic_segment.mapping.size <= 10_000 * (128 if shape else 72) + 4096
    header = array._atomic_segment.header
    assert (header.capacity, header.word_stride) == (10_000, 64 if shape else 8)


@pytest.mark.parametrize("size", [0, -1, -(2**31), -(2**63), -(10**30), False, Index(0)])
def test_size_under_one(size: Any) -> None:
    """An array of no words is refused: ValueError, and nothing is made."""
    before = own_segments()
    with pytest.raises(ValueError, match="an int of 1 or more"):
        Board(size, IDLE)
    assert own_segments() <= before


@pytest.mark.parametrize("size", [None, "3", 3.0, 2j, [3], b"3", WorkerStatusEnum])
def test_size_of_another_type(size: Any) -> None:
    """A size that is no int is a TypeError that says what it is."""
    with pytest.raises(TypeError, match=f"size.*{type(size).__name__}"):
        Board(size, IDLE)


@pytest.mark.parametrize("size", [True, Index(1), UNAVAILABLE])
def test_size_as_an_index(size: Any) -> None:
    """A size is whatever counts as an int."""
    assert len(Board(size, IDLE)) == 1


#: What no /dev/shm has; the lock-based path turns to the disk then, as multiprocessing does.
FAR_TOO_LARGE = [10**9, 2**31, 2**40] if BACKEND != "lock" else [2**44]


@pytest.mark.parametrize("named", [False, True] if BACKEND != "lock" else [False])
@pytest.mark.parametrize("size", [*FAR_TOO_LARGE, 2**57, 2**62, 2**63, 2**64, 10**30])
def test_too_large(size: int, named: bool) -> None:
    """What cannot fit is OSError(ENOSPC), and leaves neither a segment nor a name."""
    name = f"toolarge{os.getpid()}" if named else None
    before = own_segments()
    for shape in SHAPES.values():
        with pytest.raises(OSError, match=r".") as caught:
            Board(size, IDLE, segment_name=name, **shape)
        assert caught.value.errno == errno.ENOSPC
    assert own_segments() <= before
    assert not path_of(f"toolarge{os.getpid()}").exists()
    array = Board(3, IDLE, segment_name=name)
    assert len(array) == 3
    array.unlink()


TOO_LARGE = """
import errno, os, sys
from helpers.boards import Board
from helpers.support import IDLE
ATOMIC = sys.argv[1] != "lock"
for name in [None, f"toolarge{os.getpid()}"] if ATOMIC else [None]:
    for size in (10**9, 10**12, 10**18, 10**30) if ATOMIC else (10**13, 10**18, 10**30):
        try:
            Board(size, IDLE, segment_name=name)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
        else:
            raise AssertionError(size)
    assert name is None or not os.path.exists(f"/dev/shm/intenum.{name}")
"""


@pytest.mark.slow
def test_too_large_says_nothing(backend: str, tmp_path: Path) -> None:
    """A program that asked for too much ends with nothing on stderr."""
    done = run_script(TOO_LARGE, backend, folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("wrong", [2, 2.0, None, b"IDLE", JobEnum.DONE, True, WorkerStatusEnum])
def test_first_member_of_another_type(wrong: Any) -> None:
    """A first member that is none is a TypeError that names both types; nothing is made."""
    before = own_segments()
    with pytest.raises(TypeError, match=rf"WorkerStatusEnum.*{type(wrong).__name__}"):
        Board(3, wrong)
    assert own_segments() <= before


@pytest.mark.parametrize("name", ["", "idle", "NOTHING", "IDLE "])
def test_first_member_of_an_unknown_name(name: str) -> None:
    """A name that no member has is a KeyError."""
    with pytest.raises(KeyError, match=repr(name)):
        Board(3, name)


def test_arguments() -> None:
    """Size and member by position or keyword; the rest by keyword; nothing else."""
    assert len(Board(size=2, initial="IDLE")) == 2
    make: Any = Board
    for arguments, keywords in (
        ((), {}),
        ((2,), {}),
        ((2, IDLE, None), {}),
        ((2, IDLE), {"lock": None}),
        ((2, IDLE), {"size": 2}),
    ):
        with pytest.raises(TypeError):
            make(*arguments, **keywords)


@pytest.mark.only_on("lock")
def test_lock_path_has_no_names() -> None:
    """On the lock-based path a name is a RuntimeError that says why."""
    with pytest.raises(RuntimeError, match="inheritance"):
        Board(2, IDLE, segment_name="name")
    with pytest.raises(RuntimeError, match="inheritance"):
        Board.attach("name")


# -- the enum


def test_bound_and_unbound() -> None:
    """EnumType is the class's, or that of an instance's first member."""
    assert Board.EnumType is IntEnumArray[WorkerStatusEnum].EnumType is WorkerStatusEnum
    unbound: Any = IntEnumArray
    assert unbound.EnumType is PlainBoard.EnumType is IntEnum
    for cls in (unbound, PlainBoard):
        array = cls(2, JobEnum.DONE)
        assert array.EnumType is JobEnum
        array[0] = "PENDING"
        assert array[:] == [JobEnum.PENDING, JobEnum.DONE]
        with pytest.raises(TypeError, match=r"JobEnum.*WorkerStatusEnum"):
            array[0] = IDLE
        for wrong in ("DONE", 3, Colour.RED, Flags.A):
            with pytest.raises(TypeError):
                cls(2, wrong)


def test_subscription() -> None:
    """IntEnumArray[E] is made once, and binds a generic subclass at any depth."""
    base: Any = IntEnumArray
    cls = base[WorkerStatusEnum]
    assert cls is IntEnumArray[WorkerStatusEnum]
    assert Board[WorkerStatusEnum] is Board  # type: ignore[misc]
    assert cls(2, "IDLE")[:] == [IDLE, IDLE]
    generics: list[Any] = [LoggedBoard, Pair]
    for generic in generics:
        array = generic[WorkerStatusEnum](2, "IDLE")
        assert isinstance(array, generic)
        assert array.EnumType is WorkerStatusEnum
        assert array.claim("IDLE", "CALCULATING") == 0
    for wrong in (int, Colour, Flags, IntEnumValue):
        with pytest.raises(TypeError):
            base[wrong]
    with pytest.raises(TypeError, match=r"WorkerStatusEnum.*JobEnum"):
        Board[JobEnum]  # type: ignore[misc]


def test_members_past_32_bits() -> None:
    """An enum with a member that does not fit is an OverflowError."""
    base: Any = IntEnumArray
    with pytest.raises(OverflowError, match="TOO"):
        base[make_enum("Big", {"TOO": 2**31})]


def test_an_array_is_no_value() -> None:
    """Arrays and values are different classes, each of its enum."""
    assert not issubclass(Board, IntEnumValue)
    assert not isinstance(Board(1, IDLE), IntEnumValue)


# -- one word


@by_shape
def test_reading_and_writing(shape: dict[str, Any]) -> None:
    """Each word is its own: what is written to one is read there alone, by each index for it."""
    array = Board(5, IDLE, **shape)
    array[1] = CALCULATING
    array[-1] = "UNAVAILABLE"
    expected = [IDLE, CALCULATING, IDLE, IDLE, UNAVAILABLE]
    assert [array[i] for i in range(5)] == [array[i - 5] for i in range(5)] == expected
    assert [*array] == array.snapshot() == array[:] == expected
    assert all(found is wanted for found, wanted in zip(array, expected, strict=True))
    assert array[True] is CALCULATING
    assert array[Index(-1)] is UNAVAILABLE
    assert CALCULATING in array
    assert [*reversed(array)] == expected[::-1]


@pytest.mark.parametrize(
    "index", [5, -6, 6, 2**31, -(2**31), 2**63 - 1, 2**63, -(2**63), 2**64, -(2**64), 10**40]
)
def test_index_past_the_end(index: int) -> None:
    """An index past either end is an IndexError for each call that takes one."""
    array = Board(5, IDLE)
    anything: Any = array
    for use in (
        lambda: anything[index],
        lambda: operator.setitem(anything, index, IDLE),
        lambda: anything.exchange(index, IDLE),
        lambda: anything.compare_and_set(index, IDLE, CALCULATING),
        lambda: anything.at(index),
    ):
        with pytest.raises(IndexError):
            use()
    assert array[:] == [IDLE] * 5


@pytest.mark.parametrize("index", [None, "0", 0.0, b"0", (0,), (0, 1), [0], ..., object()])
def test_index_of_another_type(index: Any) -> None:
    """An index that is neither int nor slice is a TypeError."""
    array: Any = Board(5, IDLE)
    for use in (
        lambda: array[index],
        lambda: operator.setitem(array, index, IDLE),
        lambda: array.exchange(index, IDLE),
        lambda: array.compare_and_set(index, IDLE, CALCULATING),
        lambda: array.at(index),
    ):
        with pytest.raises(TypeError):
            use()


def test_slices() -> None:
    """A slice is a list, as a list's slice is, for any bounds and step."""
    array = Wide(7, Bits.IDLE)
    model = [Bits.IDLE] * 7
    for i, member in enumerate([Bits.LEFT, Bits.RIGHT, Bits.LOWEST, Bits.HIGHEST, Bits.LEFT]):
        array[i] = model[i] = member
    bounds = [None, 0, 1, 3, 6, 7, 8, -1, -3, -7, -8, 2**70, -(2**70)]
    for start in bounds:
        for stop in bounds:
            for step in (None, 1, 2, 3, 7, -1, -2, -7, 2**70, -(2**70)):
                assert array[start:stop:step] == model[start:stop:step]
    part = array[1:3]
    assert type(part) is list
    array[1] = Bits.IDLE
    assert part == [Bits.RIGHT, Bits.LOWEST]  # a list of its own
    assert array[Index(1) : Index(-1)] == array[1:-1]
    with pytest.raises(ValueError, match="step"):
        array[::0]
    for wrong in ("a", 1.0):
        with pytest.raises(TypeError):
            array[wrong:]


def test_what_arrays_do_not_do() -> None:
    """Slices are not assigned and words not deleted: TypeError."""
    array: Any = Board(5, IDLE)
    for use in (
        lambda: operator.setitem(array, slice(0, 2), [IDLE, IDLE]),
        lambda: operator.setitem(array, slice(None), IDLE),
        lambda: operator.delitem(array, 0),
        lambda: operator.delitem(array, slice(0, 2)),
        lambda: array + array,
        lambda: array * 2,
        lambda: array < array[:],
    ):
        with pytest.raises(TypeError):
            use()
    assert array[:] == [IDLE] * 5


def test_exchange() -> None:
    """exchange() returns the member before, and writes."""
    array = Wide(3, Bits.LOWEST)
    assert array.exchange(1, Bits.HIGHEST) is Bits.LOWEST
    assert array.exchange(-2, "RIGHT") is Bits.HIGHEST
    assert array.exchange(index=1, member=Bits.RIGHT) is Bits.RIGHT
    assert array[:] == [Bits.LOWEST, Bits.RIGHT, Bits.LOWEST]


def test_compare_and_set() -> None:
    """compare_and_set() writes if the word is the old member, and tells whether."""
    array = Wide(3, Bits.LOWEST)
    assert array.compare_and_set(2, Bits.LOWEST, Bits.LEFT) is True
    assert array.compare_and_set(2, Bits.LOWEST, Bits.RIGHT) is False
    assert array.compare_and_set(-1, old="LEFT", new="HIGHEST") is True
    assert array.compare_and_set(index=0, old="LOWEST", new=Bits.LOWEST) is True
    assert array[:] == [Bits.LOWEST, Bits.LOWEST, Bits.HIGHEST]


WRITES: dict[str, Callable[[Any, Any], object]] = {
    "assign": lambda array, member: operator.setitem(array, 0, member),
    "exchange": lambda array, member: array.exchange(0, member),
    "compare": lambda array, member: array.compare_and_set(0, member, IDLE),
    "set": lambda array, member: array.compare_and_set(0, IDLE, member),
    "fill": lambda array, member: array.fill(member),
    "claim": lambda array, member: array.claim(member, IDLE),
    "make": lambda array, member: array.claim(IDLE, member),
    "count": lambda array, member: array.count(member),
    "wait_any": lambda array, member: array.wait_any(member, timeout=0),
    "wait_all": lambda array, member: array.wait_all(IDLE, member, timeout=0),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_wrong_members(write: Callable[[Any, Any], object]) -> None:
    """What is no member is a TypeError with both types, an unknown name a KeyError."""
    array = Board(3, UNAVAILABLE)
    forged = int.__new__(WorkerStatusEnum, 2)
    forged._value_ = 2
    for wrong in (2, True, 2.0, None, b"IDLE", JobEnum.RUNNING, forged, array, array.at(0)):
        given = re.escape(type(wrong).__qualname__)
        with pytest.raises(TypeError, match=rf"WorkerStatusEnum.*{given}"):
            write(array, wrong)
    for name in ("", "idle", "NOTHING"):
        with pytest.raises(KeyError, match=repr(name)):
            write(array, name)
    assert array[:] == [UNAVAILABLE] * 3
    assert array.at(0).version == 0


def test_wrong_numbers_of_arguments() -> None:
    """Too few, too many or unknown arguments are a TypeError."""
    array: Any = Board(3, IDLE)
    for use in (
        lambda: array.exchange(0),
        lambda: array.exchange(0, IDLE, IDLE),
        lambda: array.exchange(0, IDLE, member=IDLE),
        lambda: array.exchange(0, value=IDLE),
        lambda: array.compare_and_set(0, IDLE),
        lambda: array.compare_and_set(0, IDLE, IDLE, IDLE),
        lambda: array.compare_and_set(0, expected=IDLE, new=IDLE),
        array.fill,
        lambda: array.fill(member=IDLE),
        lambda: array.fill(IDLE, IDLE),
        array.count,
        lambda: array.count(member=IDLE),
        lambda: array.counts(IDLE),
        lambda: array.snapshot(0),
        lambda: array.claim(IDLE),
        lambda: array.claim(IDLE, IDLE, 0),
        lambda: array.claim(IDLE, IDLE, old=IDLE),
        array.at,
        lambda: array.at(0, None, None),
    ):
        with pytest.raises(TypeError):
            use()
