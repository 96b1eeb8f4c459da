"""Arrays of statuses: making, reading and writing them in one process."""

from __future__ import annotations

import contextlib
import copy
import errno
import gc
import operator
import os
import re
import sys
import threading
import weakref
from collections import Counter
from enum import Enum, IntEnum, IntFlag
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atomic_intenum import BACKEND, IntEnumArray, IntEnumValue
from helpers import boards
from helpers.boards import SHAPES, Board, Noted, PlainBoard, Slotted, Wide, write_number
from helpers.crew import Bits, Task
from helpers.support import (
    CALCULATING,
    IDLE,
    SHM,
    UNAVAILABLE,
    JobEnum,
    WorkerStatus,
    WorkerStatusEnum,
    classes_are_collected,
    collect,
    make_enum,
    own_segments,
    run_script,
    soaked,
)

if TYPE_CHECKING:
    from collections.abc import Callable

by_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)

#: From 8,192 words on a walk gives up the GIL; the tally takes eight words at a time.
LARGE = 8192
SIZES = (1, 7, 8, 9, 63, LARGE - 1, LARGE, LARGE + 5)

T = TypeVar("T", bound=IntEnum)


class Aliased(IntEnum):
    LOW = -3
    BOTTOM = -3  # an alias
    ZERO = 0
    HIGH = 4


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


class Doing(str):  # noqa: SLOT000 - it takes an attribute
    """A name that does something when it is looked up."""

    act: Callable[[], object]

    def __eq__(self, other: object) -> bool:
        self.act()
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        self.act()
        return str.__hash__(self)


def doing(name: str, act: Callable[[], object]) -> Doing:
    """Return such a name."""
    made = Doing(name)
    made.act = act
    return made


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
    used = (SHM / array.segment_name).stat().st_size
    assert used <= 10_000 * (128 if shape else 72) + 4096
    header = array._atomic_segment.header
    assert (header.capacity, header.word_stride) == (10_000, 64 if shape else 8)


@pytest.mark.parametrize("size", [0, -1, -(2**31), -(2**63), -(10**30), False, Index(0)])
def test_size_under_one(size: Any) -> None:
    """An array of no words is refused: ValueError, and nothing is made."""
    before = own_segments()
    with pytest.raises(ValueError, match="1 word or more"):
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


@pytest.mark.parametrize("named", [False, True] if BACKEND != "lock" else [False])
@pytest.mark.parametrize("size", [10**9, 2**31, 2**40, 2**57, 2**62, 2**63, 2**64, 10**30])
def test_too_large(size: int, named: bool) -> None:
    """What cannot fit is OSError(ENOSPC), and leaves neither a segment nor a name."""
    name = f"toolarge{os.getpid()}" if named else None
    before = own_segments()
    for shape in SHAPES.values():
        with pytest.raises(OSError, match=r".") as caught:
            Board(size, IDLE, segment_name=name, **shape)
        assert caught.value.errno == errno.ENOSPC
    assert own_segments() <= before
    assert not (SHM / f"toolarge{os.getpid()}").exists()
    array = Board(3, IDLE, segment_name=name)
    assert len(array) == 3
    array.unlink()


TOO_LARGE = """
import errno, os, sys
from helpers.boards import Board
from helpers.support import IDLE
names = [None] if sys.argv[1] == "lock" else [None, f"toolarge{os.getpid()}"]
for name in names:
    for size in (10**9, 10**12, 10**18, 10**30):
        try:
            Board(size, IDLE, segment_name=name)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
        else:
            raise AssertionError(size)
    assert name is None or not os.path.exists(f"/dev/shm/{name}")
"""


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


# -- all of them


@by_shape
@pytest.mark.parametrize("size", SIZES)
def test_counting(size: int, shape: dict[str, Any]) -> None:
    """count() and counts() agree with a snapshot, whatever the size."""
    members = [*WorkerStatusEnum]
    array = Board(size, IDLE, **shape)
    model = [IDLE] * size
    for i in range(0, size, 3):
        array[i] = model[i] = members[(i * i + i // 7) % 3]
    tally = Counter(model)
    assert array.snapshot() == model
    assert array.counts() == {member: tally[member] for member in members}
    assert [array.count(member) for member in members] == [tally[member] for member in members]
    assert array.count("IDLE") == tally[IDLE]


ENUMS: dict[str, Any] = {
    "dense": WorkerStatusEnum,
    "one member": make_enum("One", {"ONLY": 7}),
    "one far member": make_enum("OneFar", {"ONLY": -(2**31)}),
    "sparse": Bits,
    "ends": make_enum("Ends", {"A": 2**31 - 1, "B": -(2**31)}),
    "negative": make_enum("Negative", {f"N{-i}": i for i in range(-1, -100, -7)}),
    "across 0": make_enum("Across", {"A": 1, "B": -1, "C": 0}),
    "1024 apart": make_enum("Near", {"A": -512, "B": 511}),
    "1025 apart": make_enum("Far", {"A": -512, "B": 512}),
    "at the top": make_enum("Top", {"A": 2**31 - 2, "B": 2**31 - 1}),
    "at the bottom": make_enum("Bottom", {"B": -(2**31) + 1, "A": -(2**31)}),
    "unordered": make_enum("Unordered", {"C": 30, "A": 10, "B": 20}),
    "5000 members": make_enum("Many", {f"M{i}": i * 7 - 9000 for i in range(5000)}),
    "5000 in a row": make_enum("Row", {f"M{i}": i - 9 for i in range(5000)}),
    "aliases": Aliased,
}


@pytest.mark.parametrize("enum", ENUMS.values(), ids=ENUMS)
@pytest.mark.parametrize("size", [40, LARGE + 3])
def test_counts_of_every_kind_of_enum(enum: Any, size: int) -> None:
    """counts() has each member once, in the enum's order, however far apart they are."""
    members = [*enum]
    array: Any = IntEnumArray[enum](size, members[0])
    model = [members[0]] * size
    for i in range(0, size, max(1, size // 500)):
        array[i] = model[i] = members[(i * 31) % len(members)]
    counts = array.counts()
    assert [*counts] == members
    assert all(key is member for key, member in zip(counts, members, strict=True))
    tally = Counter(model)
    assert counts == {member: tally[member] for member in members}
    assert sum(counts.values()) == size
    assert array.snapshot() == model
    for member in members[:3] + members[-3:]:
        assert array.count(member) == tally[member]


def test_aliases() -> None:
    """An alias is its member: written by its name, reported as the member, counted once."""
    array = IntEnumArray[Aliased](3, "BOTTOM")
    assert array[0] is Aliased.LOW
    array[1] = "ZERO"
    assert array.counts() == {Aliased.LOW: 2, Aliased.ZERO: 1, Aliased.HIGH: 0}
    assert array.count("BOTTOM") == 2
    assert array.claim("BOTTOM", "HIGH") == 0
    array[2] = Aliased.BOTTOM
    assert array[2].name == "LOW"


def test_fill() -> None:
    """fill() sets every word, each by one write."""
    for size in SIZES:
        array = Wide(size, Bits.LEFT)
        fill: Any = array.fill
        assert fill(Bits.LOWEST) is None
        assert array.counts()[Bits.LOWEST] == size
        array.fill("HIGHEST")
        assert set(array) == {Bits.HIGHEST}
        assert array.at(0).version == array.at(-1).version == 2


def test_fill_waits_for_a_lock() -> None:
    """fill() waits at a word whose lock is held, and goes on when that is released."""
    array = Board(LARGE + 9, IDLE)
    lock = array.at(5).get_lock()
    with lock:
        filler = Task(lambda: array.fill(CALCULATING))
        if BACKEND != "lock":
            while array[4] is IDLE:
                pass
        assert filler.is_running(0.05)
        assert array[5] is array[6] is array[-1] is IDLE
    filler.result()
    assert array.counts()[CALCULATING] == LARGE + 9


def test_write_waits_for_a_lock() -> None:
    """Each write of a word waits while another thread holds its lock; a mismatch does not."""
    array: Any = Board(3, IDLE)
    writes: list[Callable[[], object]] = [
        lambda: operator.setitem(array, 1, CALCULATING),
        lambda: array.exchange(1, CALCULATING),
        lambda: array.compare_and_set(1, IDLE, CALCULATING),
    ]
    for write in writes:
        array[1] = IDLE
        with array.at(1).get_lock():
            writer = Task(write)
            assert writer.is_running(0.02)
            assert Task(lambda: array.compare_and_set(1, CALCULATING, IDLE)).result() is False
            assert Task(lambda: array[1]).result() is IDLE
        writer.result()
        assert array[1] is CALCULATING


def test_holder_of_a_lock_writes() -> None:
    """Who holds a word's lock writes it through the array as well."""
    array = Board(3, IDLE)
    with array.at(1).get_lock():
        array[1] = UNAVAILABLE
        assert array.exchange(1, IDLE) is UNAVAILABLE
        assert array.compare_and_set(1, IDLE, CALCULATING)
        assert array.claim(CALCULATING, UNAVAILABLE) == 1
        array.fill(IDLE)
    assert array[:] == [IDLE] * 3


@pytest.mark.parametrize("enum", [Bits, WorkerStatusEnum], ids=["sparse", "dense"])
@pytest.mark.parametrize("number", [77, -78, 2**31 - 2, -(2**31) + 1])
@pytest.mark.parametrize("size", [3, LARGE])
def test_foreign_number(enum: Any, number: int, size: int) -> None:
    """A word that holds no member's number is a ValueError with that number; others still work."""
    array: Any = IntEnumArray[enum](size, "IDLE")
    write_number(array, 1, number)
    for use in (
        lambda: array[1],
        lambda: array[:],
        lambda: array[1:2],
        lambda: [*array],
        array.snapshot,
        array.counts,
    ):
        with pytest.raises(ValueError, match=f"{number} is not"):
            use()
    assert array[0] is array[2] is enum.IDLE
    assert array.count("IDLE") == size - 1
    assert array.compare_and_set(1, "IDLE", "IDLE") is False
    assert repr(array)
    with pytest.raises(TimeoutError):
        array.wait_all("IDLE", timeout=0)
    assert array.wait_any("IDLE", timeout=0) == 0
    with pytest.raises(ValueError, match=f"{number} is not"):
        array.exchange(1, "IDLE")  # which has happened
    assert array.snapshot() == [enum.IDLE] * size
    write_number(array, 1, number)
    array[1] = "IDLE"
    assert array.counts()[enum.IDLE] == size


OPERATIONS = st.one_of(
    st.tuples(st.just("set"), st.integers(-12, 11), st.sampled_from(Bits)),
    st.tuples(st.just("exchange"), st.integers(-12, 11), st.sampled_from(Bits)),
    st.tuples(
        st.just("compare"), st.integers(-12, 11), st.sampled_from(Bits), st.sampled_from(Bits)
    ),
    st.tuples(st.just("claim"), st.sampled_from(Bits), st.sampled_from(Bits)),
    st.tuples(st.just("fill"), st.sampled_from(Bits)),
    st.tuples(st.just("slice"), st.slices(12)),
    st.tuples(st.just("wait"), st.sampled_from(Bits)),
    st.tuples(st.just("value"), st.integers(-12, 11), st.sampled_from(Bits)),
)


class Pairing:
    """An array beside the list that it should be."""

    def __init__(self, size: int, padded: bool) -> None:
        self.array: Any = Wide(size, Bits.IDLE, padded=padded)
        self.model = [Bits.IDLE] * size

    def write(self, act: Callable[[], object], index: int, member: Bits | None) -> Any:
        """Do what writes a member, if the index is one; return what that gave."""
        if not -len(self.model) <= index < len(self.model):
            with pytest.raises(IndexError):
                act()
            return None
        before = self.model[index]
        if member is not None:
            self.model[index] = member
        found = act()
        return (before, found)

    def do_set(self, index: int, member: Bits) -> None:
        """Assign."""
        self.write(lambda: operator.setitem(self.array, index, member), index, member)

    def do_exchange(self, index: int, member: Bits) -> None:
        """Exchange."""
        outcome = self.write(lambda: self.array.exchange(index, member.name), index, member)
        assert outcome is None or outcome[0] is outcome[1]

    def do_compare(self, index: int, old: Bits, new: Bits) -> None:
        """Compare and set."""
        valid = -len(self.model) <= index < len(self.model)
        matches = valid and self.model[index] is old
        outcome = self.write(
            lambda: self.array.compare_and_set(index, old, new), index, new if matches else None
        )
        assert outcome is None or outcome[1] is matches

    def do_claim(self, old: Bits, new: Bits) -> None:
        """Claim: some index of a word that was old, None if there is none."""
        index = self.array.claim(old, new)
        if index is None:
            assert old not in self.model
        else:
            assert self.model[index] is old
            self.model[index] = new

    def do_fill(self, member: Bits) -> None:
        """Fill."""
        self.array.fill(member)
        self.model = [member] * len(self.model)

    def do_slice(self, part: slice) -> None:
        """Slice."""
        assert self.array[part] == self.model[part]

    def do_wait(self, member: Bits) -> None:
        """Wait for one, and for all, without waiting."""
        if member in self.model:
            assert self.array.wait_any(member, timeout=0) == self.model.index(member)
        else:
            with pytest.raises(TimeoutError):
                self.array.wait_any(member, timeout=0)
        if set(self.model) == {member}:
            self.array.wait_all(member, timeout=0)
        else:
            with pytest.raises(TimeoutError):
                self.array.wait_all(member, timeout=0)

    def do_value(self, index: int, member: Bits) -> None:
        """Write through a value."""
        self.write(lambda: self.array.at(index).set(member), index, member)

    def agree(self) -> None:
        """Check that both are the same."""
        array, model = self.array, self.model
        assert len(array) == len(model)
        assert [*array] == array.snapshot() == array[:] == model
        assert array.counts() == {member: model.count(member) for member in Bits}
        assert all(array.count(member) == model.count(member) for member in Bits)


def run_operations(size: int, padded: bool, operations: list[tuple[Any, ...]]) -> None:
    """Do them all to an array and to a list."""
    pair = Pairing(size, padded)
    for name, *arguments in operations:
        getattr(pair, f"do_{name}")(*arguments)
        pair.agree()


@pytest.mark.scaled
def test_agrees_with_a_list() -> None:
    """Whatever is done to an array, it is what a plain list would be."""
    check = given(st.integers(1, 12), st.booleans(), st.lists(OPERATIONS, max_size=25))
    options = settings(
        max_examples=soaked(60, 3000),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    options(check(run_operations))()


# -- closed, or never open

USES: dict[str, Callable[[Any], object]] = {
    "len": len,
    "index": lambda array: array[0],
    "slice": lambda array: array[:],
    "iteration": lambda array: [*array],
    "assign": lambda array: operator.setitem(array, 0, IDLE),
    "exchange": lambda array: array.exchange(0, IDLE),
    "compare_and_set": lambda array: array.compare_and_set(0, IDLE, IDLE),
    "by name": lambda array: array.compare_and_set(0, "IDLE", "IDLE"),
    "claim": lambda array: array.claim(IDLE, IDLE),
    "snapshot": operator.methodcaller("snapshot"),
    "count": lambda array: array.count(IDLE),
    "counts": operator.methodcaller("counts"),
    "fill": lambda array: array.fill(IDLE),
    "wait_all": lambda array: array.wait_all(IDLE),
    "wait_any": lambda array: array.wait_any(IDLE, timeout=0),
    "at": lambda array: array.at(0),
    "segment_name": lambda array: array.segment_name,
    "unlink": operator.methodcaller("unlink"),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda array: array.__reduce_ex__(4),
}

by_each_use = pytest.mark.parametrize("use", USES.values(), ids=USES)


@by_each_use
def test_closed(use: Callable[[Any], object]) -> None:
    """Every use of a closed array is a ValueError; closing it again is not."""
    array = Board(3, IDLE)
    twin = copy.copy(array)
    array.close()
    array.close()
    with pytest.raises(ValueError, match="closed"):
        use(array)
    assert repr(array) == "<Board, closed>"
    assert twin[:] == [IDLE] * 3  # no other object is


@by_each_use
def test_never_initialised(use: Callable[[Any], object]) -> None:
    """An array whose __init__ never ran acts as closed, until it is initialised."""
    array = Board.__new__(Board)
    array.close()
    with pytest.raises(ValueError, match="closed"):
        use(array)
    assert repr(array) == "<Board, closed>"
    array.__init__(3, IDLE)  # type: ignore[misc]
    assert array[:] == [IDLE] * 3


@pytest.mark.parametrize("method", ["_atomic_words", "_atomic_bind", "_atomic_number"])
def test_inner_methods_on_nothing(method: str) -> None:
    """The inner methods, called with anything, raise."""
    for array in (Board.__new__(Board), Board(2, IDLE)):
        inner: Any = getattr(array, method, len)
        for arguments in ((), (None,), (None,) * 8, (1, 2, 3, 4, 5, 6, 7, 8)):
            if method == "_atomic_bind" and BACKEND != "native" and len(arguments) == 8:
                continue  # Python cannot tell, and trusts
            with pytest.raises((TypeError, ValueError, RuntimeError, AttributeError)):
                inner(*arguments)


def test_initialised_twice() -> None:
    """__init__ of an array that was initialised is a RuntimeError, closed or not, and no harm."""
    array = Board(3, IDLE)
    array[0] = CALCULATING
    again: Any = array.__init__  # type: ignore[misc]
    for _ in range(2):
        with pytest.raises(RuntimeError, match="initialised before"):
            again(4, UNAVAILABLE)
    assert array[:] == [CALCULATING, IDLE, IDLE]
    array.close()
    with pytest.raises(RuntimeError, match="initialised before"):
        again(4, UNAVAILABLE)


def test_initialised_after_a_failure() -> None:
    """An __init__ that failed may be tried again."""
    array: Any = Board.__new__(Board)
    for arguments, error in (
        ((0, IDLE), ValueError),
        ((2, 2), TypeError),
        ((2, "NOTHING"), KeyError),
        ((10**30, IDLE), OSError),
    ):
        with pytest.raises(error):
            array.__init__(*arguments)
        with pytest.raises(ValueError, match="closed"):
            len(array)
    array.__init__(2, IDLE)
    assert len(array) == 2


def test_initialised_within_itself() -> None:
    """An __init__ that runs __init__ again, by its size, makes one array and raises once."""
    array: Any = Board.__new__(Board)
    with pytest.raises(RuntimeError, match="initialised before"):
        array.__init__(Index(3, lambda: array.__init__(2, CALCULATING)), IDLE)
    assert array[:] == [CALCULATING] * 2
    collect()


def test_initialised_by_threads() -> None:
    """Of threads that initialise one array at once one does, and the others raise."""
    for _ in range(20):
        array: Any = Board.__new__(Board)
        barrier = threading.Barrier(4)

        def initialise(array: Any = array, barrier: threading.Barrier = barrier) -> int:
            barrier.wait()
            try:
                array.__init__(3, IDLE)
            except RuntimeError:
                return 0
            return 1

        tasks = [Task(initialise) for _ in range(4)]
        assert sum(task.result() for task in tasks) == 1
        assert array[:] == [IDLE] * 3


@pytest.mark.parametrize(
    "use",
    [
        lambda array, index, _: array[index],
        lambda array, index, _: array[index:],
        lambda array, index, _: array[::index],
        lambda array, index, _: operator.setitem(array, index, IDLE),
        lambda array, _, name: operator.setitem(array, 0, name),
        lambda array, index, _: array.exchange(index, IDLE),
        lambda array, _, name: array.exchange(0, name),
        lambda array, index, _: array.compare_and_set(index, IDLE, IDLE),
        lambda array, _, name: array.compare_and_set(0, name, IDLE),
        lambda array, _, name: array.compare_and_set(0, IDLE, name),
        lambda array, _, name: array.claim(name, IDLE),
        lambda array, _, name: array.claim(IDLE, name),
        lambda array, _, name: array.count(name),
        lambda array, _, name: array.fill(name),
        lambda array, _, name: array.wait_any(name, timeout=0),
        lambda array, _, name: array.wait_all(CALCULATING, name, timeout=0),
    ],
)
def test_closed_by_an_argument(use: Callable[..., object]) -> None:
    """An array that its own argument closes in mid-call is closed, and nothing is written."""
    array = Board(3, IDLE)
    twin = copy.copy(array)
    with pytest.raises(ValueError, match="closed"):
        use(array, Index(1, array.close), doing("IDLE", array.close))
    assert twin[:] == [IDLE] * 3
    assert twin.at(0).version == 0


def test_dropped_by_an_argument() -> None:
    """An array whose last reference goes in mid-call lasts until the call is over."""
    holder: list[Any] = [Board(3, IDLE)]

    def drop() -> None:
        holder.clear()
        collect()

    assert holder[0].exchange(Index(1, drop), "CALCULATING") is IDLE
    holder.append(Board(3, IDLE))
    assert holder[0][Index(0, drop) :] == [IDLE] * 3
    holder.append(Board(3, IDLE))
    assert holder[0].claim(doing("IDLE", drop), "IDLE") == 0


def test_closed_while_iterated() -> None:
    """Iterating goes on to the end that the array has, and raises once that is closed."""
    array = Board(5, IDLE)
    members = iter(array)
    assert next(members) is IDLE
    array[1] = CALCULATING
    assert next(members) is CALCULATING  # each is loaded when it is reached
    array.close()
    with pytest.raises(ValueError, match="closed"):
        next(members)


class Named(IntEnumArray[WorkerStatusEnum]):
    """An array whose items are the names of its members."""

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(index).name


def test_iteration_by_the_item() -> None:
    """Iteration and ``in`` give what a subclass's __getitem__ does."""
    array: Any = Named(3, IDLE)
    array[1] = CALCULATING
    assert [*array] == [array[0], array[1], array[2]] == ["IDLE", "CALCULATING", "IDLE"]
    assert "CALCULATING" in array
    assert "UNAVAILABLE" not in array
    assert IDLE not in array
    assert array.snapshot() == [IDLE, CALCULATING, IDLE]


def test_closed_under_other_threads() -> None:
    """close() while other threads are at it makes that a ValueError there, and nothing else."""

    def use_until_closed(array: Any, use: Callable[[Any], object], used: threading.Event) -> str:
        try:
            while True:
                use(array)
                used.set()
        except ValueError as error:
            return str(error)

    for name in ("index", "assign", "snapshot", "counts", "count", "fill", "claim", "at", "slice"):
        array = Board(LARGE, IDLE)
        used = threading.Event()
        task = Task(lambda a=array, n=name, u=used: use_until_closed(a, USES[n], u))  # type: ignore[misc]
        assert used.wait(20)
        array.close()
        del array
        assert "closed" in task.result()


# -- its life as an object


def test_name_goes_with_the_array() -> None:
    """A segment is removed and unmapped when its array and the values of it are gone."""
    array = Board(3, IDLE)
    name = array.segment_name
    value = array.at(1)
    assert name in own_segments()
    del array
    collect()
    assert value.load() is IDLE
    assert name in own_segments()
    del value
    collect()
    Board(1, IDLE)
    assert name not in own_segments()
    assert name not in Path("/proc/self/maps").read_text()


def test_cycles() -> None:
    """An array in a cycle is collected, and its segment with it."""
    array: Any = Noted(3, note="cyclic")
    array.me = array
    array.value = array.at(0, WorkerStatus)
    array.value.array = array
    name = array.segment_name
    gone = weakref.ref(array)
    del array
    collect()
    assert gone() is None
    Board(1, IDLE)
    assert name not in own_segments()


@classes_are_collected
def test_collected_with_its_class() -> None:
    """An array of a class and an enum that go with it is collected, seen by its own finalizer."""
    seen = []

    def make() -> weakref.ref[Any]:
        local: Any = make_enum("Local", "A B")

        class Locals(IntEnumArray[local]):
            def __del__(self) -> None:
                seen.append((len(self), self[0].name, self.counts()[local.B]))

        array: Any = Locals(4, "A")
        array.cycle = [array, local]
        local.keeper = array
        return weakref.ref(array)

    gone = make()
    collect()
    assert gone() is None
    assert seen == [(4, "A", 0)]


def test_weak_references() -> None:
    """Arrays take weak references, whose callbacks run when they go."""
    for make in (lambda: Board(1, IDLE), lambda: Slotted(1, note="")):
        gone: list[object] = []
        array: Any = make()
        reference = weakref.ref(array, gone.append)
        assert reference() is array
        del array
        collect()
        assert gone == [reference]


def test_subclasses() -> None:
    """Subclasses may have an __init__, attributes or slots of their own."""
    noted, slotted = Noted(2, note="a"), Slotted(2, note="b")
    noted.other = 1  # type: ignore[attr-defined]
    assert (noted.note, slotted.note) == ("a", "b")
    assert (len(noted), len(slotted)) == (2, 2)
    with pytest.raises(AttributeError):
        slotted.other = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        IntEnumArray[WorkerStatusEnum](1, IDLE).other = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", boards.KINDS)
def test_copies(kind: str, duplicate: Callable[[Any], Any]) -> None:
    """A copy is the same shared array, with the attributes; __init__ does not run for it."""
    array = boards.KINDS[kind]()
    before = len(boards.calls)
    twin = duplicate(array)
    assert twin is not array
    boards.check_kind(kind, twin)
    assert len(boards.calls) == before
    twin[1] = CALCULATING
    assert array[1] is CALCULATING
    assert array.claim(CALCULATING, IDLE) == 1
    assert twin[1] is IDLE
    array.close()
    assert twin[:] == [IDLE] * 5


def test_deep_copies_of_attributes() -> None:
    """copy() shares attributes, deepcopy() copies them, cycles included."""
    array: Any = Noted(2, note="a")
    array.things = [array]
    shallow, deep = copy.copy(array), copy.deepcopy(array)
    assert shallow.things is array.things
    assert deep.things == [deep]
    assert deep.things is not array.things


def test_repr_and_truth() -> None:
    """repr() says class, size and enum; an array is as true as its size, so always."""
    array = Board(3, IDLE)
    assert repr(array) == str(array) == "<Board of 3 WorkerStatusEnum>"
    assert repr(IntEnumArray(1, JobEnum.DONE)) == "<IntEnumArray of 1 JobEnum>"
    assert bool(array)
    assert array == array  # noqa: PLR0124 - by identity
    assert array != copy.copy(array)
    assert len({array, copy.copy(array)}) == 2


# -- what calls cost

LEAKS: dict[str, Callable[[Any], object]] = {
    **{name: use for name, use in USES.items() if name not in ("unlink", "wait_all")},
    "wait_all": lambda array: array.wait_all(IDLE),
    "at a class": lambda array: array.at(1, IntEnumValue),
    "repr": repr,
    "len of a slice": lambda array: array[0:2],
    "past the end": lambda array: array[7],
    "a wrong member": lambda array: array.fill(7),
    "an unknown name": lambda array: array.count("NOTHING"),
    "timeout": lambda array: array.wait_any(CALCULATING, timeout=0),
    "negative timeout": lambda array: array.wait_any(CALCULATING, timeout=-1),
    "nothing to claim": lambda array: array.claim(CALCULATING, IDLE),
    "a float": lambda array: array[0.5],
    "deleted": lambda array: operator.delitem(array, 0),
    "initialised again": lambda array: array.__init__(3, IDLE),
}


@pytest.mark.scaled
@pytest.mark.skipif(not hasattr(sys, "getrefcount"), reason="no reference counts there")
@pytest.mark.parametrize("use", LEAKS.values(), ids=LEAKS)
def test_reference_counts(use: Callable[[Any], object]) -> None:
    """No call leaves a reference too many or too few, nor an object behind, failed or not."""
    array = Board(3, IDLE)
    rounds = soaked(300, 100_000)
    kept: list[Any] = [IDLE, CALCULATING, WorkerStatusEnum, array, array._atomic_segment, Board]
    kept += [array._atomic_vocabulary, array._atomic_segment.mapping, IntEnumValue]
    if sys.version_info < (3, 12):
        kept += [None, True, False]  # later ones are immortal, and are not counted

    def once() -> None:
        with contextlib.suppress(LookupError, TypeError, ValueError, TimeoutError, RuntimeError):
            use(array)

    for _ in range(10):
        once()
    gc.collect()
    gc.disable()
    try:
        objects = len(gc.get_objects())
        before = [sys.getrefcount(thing) for thing in kept]
        for _ in range(rounds):
            once()
        after = [sys.getrefcount(thing) for thing in kept]
        gc.collect()
        more_objects = len(gc.get_objects()) - objects
    finally:
        gc.enable()
    for thing, more, less in zip(kept, after, before, strict=True):
        assert abs(more - less) < rounds // 3, thing
    assert more_objects < rounds // 3
