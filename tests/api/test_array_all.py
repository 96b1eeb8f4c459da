"""Arrays as a whole: fill, count, counts, snapshots, slices."""

from __future__ import annotations

import operator
from collections import Counter
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atomic_intenum import BACKEND, IntEnumArray
from helpers.boards import SHAPES, Board, Wide, write_number
from helpers.crew import Bits, Task
from helpers.support import (
    CALCULATING,
    IDLE,
    UNAVAILABLE,
    WorkerStatusEnum,
    make_enum,
    soaked,
)

if TYPE_CHECKING:
    from collections.abc import Callable


by_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)

#: From 8,192 words on a walk gives up the GIL; the tally takes eight words at a time.
LARGE = 8192

SIZES = (1, 7, 8, 9, 63, LARGE - 1, LARGE, LARGE + 5)


class Aliased(IntEnum):
    LOW = -3
    BOTTOM = -3  # an alias
    ZERO = 0
    HIGH = 4


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
@pytest.mark.parametrize("number", [77, 258, -78, 2**31 - 2, -(2**31) + 1])
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
