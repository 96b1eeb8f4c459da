"""One value in one process: construction, reading, writing, comparing, closing."""

from __future__ import annotations

import copy
import enum
import gc
import math
import operator
import threading
import weakref
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumValue
from helpers.support import (
    CALCULATING,
    IDLE,
    UNAVAILABLE,
    JobEnum,
    Plain,
    WorkerStatus,
    WorkerStatusEnum,
    make_enum,
    until,
    write_word,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Extreme(enum.IntEnum):
    LOWEST = -(2**31)
    MINUS = -1
    ZERO = 0
    HIGHEST = 2**31 - 1


class Aliased(enum.IntEnum):
    ON = 1
    OFF = 0
    ACTIVE = 1


class Shade(enum.IntEnum):
    """An enum whose members say their own str and format."""

    DARK = 1
    LIGHT = 2

    def __str__(self) -> str:
        return f"a {self.name.lower()} shade"

    def __format__(self, format_spec: str) -> str:
        return f"<{self.name}{format_spec}>"

    def __repr__(self) -> str:
        return f"Shade/{self.name}"


class Bits(enum.IntFlag):
    A = 1


class Small(int):
    """An int that is no enum."""


@pytest.fixture
def status() -> WorkerStatus:
    """Return a value that is IDLE."""
    return WorkerStatus(IDLE)


# -- construction


@pytest.mark.parametrize("member", list(WorkerStatusEnum))
def test_construct_by_member(member: WorkerStatusEnum) -> None:
    """A value starts as the member that it was given."""
    status = WorkerStatus(member)
    assert status.load() is member
    assert status.value == member.value
    assert status.name == member.name
    assert status.version == 0


@pytest.mark.parametrize("member", list(WorkerStatusEnum))
def test_construct_by_name(member: WorkerStatusEnum) -> None:
    """A value starts as the member whose name it was given."""
    assert WorkerStatus(member.name).load() is member


def test_construct_by_keyword() -> None:
    """The first member may be given as the keyword that the original calls it."""
    assert WorkerStatus(value="IDLE").load() is IDLE
    assert WorkerStatus(value=IDLE, lock=None).load() is IDLE


def test_construct_by_subscription() -> None:
    """IntEnumValue[E] makes values without a subclass being written."""
    assert IntEnumValue[WorkerStatusEnum]("IDLE").load() is IDLE


def test_construct_by_unknown_name() -> None:
    """A name that no member has is a KeyError that has the name."""
    with pytest.raises(KeyError, match="SLEEPING"):
        WorkerStatus("SLEEPING")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (2, "int"),
        (True, "bool"),
        (JobEnum.RUNNING, r"support\.JobEnum"),
        (2.0, "float"),
        (None, "NoneType"),
        (b"IDLE", "bytes"),
        (WorkerStatusEnum, "EnumType"),
    ],
)
def test_construct_by_something_else(wrong: Any, named: str) -> None:
    """Anything but a member or a name is a TypeError that names both types."""
    with pytest.raises(TypeError, match=rf"support\.WorkerStatusEnum.*{named}"):
        WorkerStatus(wrong)


def test_construct_by_value(status: WorkerStatus) -> None:
    """Another value is no member: it is refused, as its number would be."""
    wrong: Any = status
    with pytest.raises(TypeError, match="WorkerStatusEnum"):
        WorkerStatus(wrong)


def test_pretended_member() -> None:
    """An instance of the enum's class that the enum does not list is refused."""
    pretended = int.__new__(WorkerStatusEnum, 2)
    with pytest.raises(TypeError, match="WorkerStatusEnum"):
        WorkerStatus(pretended)
    status = WorkerStatus(IDLE)
    with pytest.raises(TypeError, match="WorkerStatusEnum"):
        status.set(pretended)


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        ((), {}),
        ((IDLE, None, None), {}),
        ((IDLE,), {"value": IDLE}),
        ((IDLE,), {"locked": None}),
        ((IDLE, None), {"lock": None}),
    ],
)
def test_constructor_arguments(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    """Missing, surplus, unknown and doubled arguments of the constructor are TypeErrors."""
    with pytest.raises(TypeError):
        WorkerStatus(*arguments, **keywords)


def test_construct_without_parameter() -> None:
    """Without a parameter, a value is bound to its first member's enum."""
    value: IntEnumValue[Any] = IntEnumValue(IDLE)
    assert value.EnumType is WorkerStatusEnum
    value.set(CALCULATING)
    with pytest.raises(TypeError, match=r"WorkerStatusEnum.*JobEnum"):
        value.set(JobEnum.DONE)
    value.set("UNAVAILABLE")
    assert value.load() is UNAVAILABLE


@pytest.mark.parametrize("wrong", ["IDLE", 2, None, Bits.A])
def test_first_member_without_parameter(wrong: Any) -> None:
    """Without a parameter, the first member must be a member: a name says no enum."""
    with pytest.raises(TypeError, match=r"IntEnum"):
        Plain(wrong)


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
@pytest.mark.parametrize("arguments", [("CALCULATING",), ("SLEEPING",), (CALCULATING, 3)])
def test_second_init(status: WorkerStatus, arguments: tuple[Any, ...], closed: bool) -> None:
    """A second __init__ raises RuntimeError, whatever it is given, and changes nothing."""
    twin = copy.copy(status)
    lock = status.get_lock()
    if closed:
        status.close()
    with pytest.raises(RuntimeError, match="this value was initialised before"):
        status.__init__(*arguments)  # type: ignore[misc]
    assert twin.load() is IDLE
    if closed:
        with pytest.raises(ValueError, match="closed"):
            status.load()
    else:
        assert status.load() is IDLE
        assert status.get_lock() is lock


def test_init_of_an_attached_value(status: WorkerStatus) -> None:
    """A value that was copied or attached is initialised, too, though its __init__ never ran."""
    twin = copy.copy(status)
    with pytest.raises(RuntimeError, match="initialised before"):
        twin.__init__(CALCULATING)  # type: ignore[misc]
    assert status.load() is IDLE


# -- comparisons

OPERATORS: list[Callable[[Any, Any], bool]] = [
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
]


@pytest.mark.parametrize("compare", OPERATORS)
@pytest.mark.parametrize(
    "other",
    [
        *WorkerStatusEnum,
        *JobEnum,
        0,
        1,
        2,
        3,
        -1,
        True,
        False,
        Small(2),
        Small(5),
        2**31,
        -(2**31),
        2**63 - 1,
        -(2**63),
        2**63,
        2**200,
        -(2**200),
        2 + 2**32,
        2 + 2**64,
    ],
)
def test_compare_with_int(
    status: WorkerStatus, compare: Callable[[Any, Any], bool], other: int
) -> None:
    """Comparisons with a member, an int or a bool are the number's, from either side."""
    assert compare(status, other) is compare(2, int(other))
    assert compare(other, status) is compare(int(other), 2)


@pytest.mark.parametrize("compare", OPERATORS)
@pytest.mark.parametrize("left", list(Extreme))
@pytest.mark.parametrize("right", [*Extreme, 2**31, -(2**31) - 1, 2**32 - 1])
def test_compare_extremes(compare: Callable[[Any, Any], bool], left: Extreme, right: int) -> None:
    """Comparisons are right for negative and 32-bit-extreme members."""
    value = IntEnumValue[Extreme](left)
    assert compare(value, right) is compare(int(left), int(right))
    assert compare(right, value) is compare(int(right), int(left))


@pytest.mark.parametrize("compare", OPERATORS)
@pytest.mark.parametrize("other", list(WorkerStatusEnum))
def test_compare_with_value(
    status: WorkerStatus, compare: Callable[[Any, Any], bool], other: WorkerStatusEnum
) -> None:
    """Comparisons with values of the same enum, of whichever class, are the numbers'."""
    for right in (WorkerStatus(other), IntEnumValue[WorkerStatusEnum](other), Plain(other)):
        assert compare(status, right) is compare(2, int(other))
        assert compare(right, status) is compare(int(other), 2)


@pytest.mark.parametrize("compare", OPERATORS)
def test_compare_with_itself(status: WorkerStatus, compare: Callable[[Any, Any], bool]) -> None:
    """A value equals itself."""
    assert compare(status, status) is compare(2, 2)


@pytest.mark.parametrize("compare", OPERATORS)
def test_compare_with_value_of_other_enum(
    status: WorkerStatus, compare: Callable[[Any, Any], bool]
) -> None:
    """Comparing values of two enums is a TypeError that names both."""
    other = IntEnumValue[JobEnum](JobEnum.RUNNING)
    with pytest.raises(TypeError, match=r"support\.WorkerStatusEnum.*support\.JobEnum"):
        compare(status, other)
    with pytest.raises(TypeError, match=r"support\.JobEnum.*support\.WorkerStatusEnum"):
        compare(other, status)


@pytest.mark.parametrize("compare", OPERATORS)
@pytest.mark.parametrize(
    ("other", "named"),
    [
        (2.0, "float"),
        (math.nan, "float"),
        (None, "NoneType"),
        (b"IDLE", "bytes"),
        ((2,), "tuple"),
        (2 + 0j, "complex"),
        (Fraction(2), r"fractions\.Fraction"),
        (object(), "object"),
        (WorkerStatusEnum, "EnumType"),
        (WorkerStatus, "type"),
    ],
)
def test_compare_with_something_else(
    status: WorkerStatus, compare: Callable[[Any, Any], bool], other: object, named: str
) -> None:
    """Comparing with anything but an int, a member, a value or a name is a TypeError."""
    with pytest.raises(TypeError, match=rf"support\.WorkerStatusEnum.*{named}"):
        compare(status, other)
    with pytest.raises(TypeError):
        compare(other, status)


def test_compare_with_name(status: WorkerStatus) -> None:
    """== and != take a member's name, from either side; aliases too."""
    assert status == "IDLE"
    assert not status == "CALCULATING"  # noqa: SIM201
    assert status != "CALCULATING"
    assert not status != "IDLE"  # noqa: SIM202
    assert "IDLE" == status  # noqa: SIM300
    assert "CALCULATING" != status  # noqa: SIM300
    assert IntEnumValue[Aliased](Aliased.ON) == "ACTIVE"


def test_compare_with_unknown_name(status: WorkerStatus) -> None:
    """== and != with a name that no member has is a KeyError that has the name."""
    with pytest.raises(KeyError, match="SLEEPING"):
        assert status == "SLEEPING"
    with pytest.raises(KeyError, match="SLEEPING"):
        assert status != "SLEEPING"
    with pytest.raises(KeyError, match="SLEEPING"):
        assert "SLEEPING" == status  # noqa: SIM300


@pytest.mark.parametrize("compare", OPERATORS[2:])
def test_order_with_name(status: WorkerStatus, compare: Callable[[Any, Any], bool]) -> None:
    """A name has no order: < and its like are TypeErrors."""
    for name in ("IDLE", "SLEEPING"):
        with pytest.raises(TypeError, match="str"):
            compare(status, name)
        with pytest.raises(TypeError):
            compare(name, status)


def test_membership(status: WorkerStatus) -> None:
    """A value is found among members by its number."""
    assert status in (UNAVAILABLE, IDLE)
    assert status not in (UNAVAILABLE, CALCULATING)
    assert status in range(1, 4)


# -- hash, truth, conversions


def test_hash(status: WorkerStatus) -> None:
    """Hash is that of (EnumType, value), so equal values of one enum hash alike."""
    assert hash(status) == hash((WorkerStatusEnum, 2))
    assert hash(status) == hash(Plain(IDLE))
    assert hash(status) != hash(IntEnumValue[JobEnum](JobEnum.RUNNING))
    status.set(CALCULATING)
    assert hash(status) == hash((WorkerStatusEnum, 3))


@pytest.mark.parametrize("member", list(Extreme))
def test_hash_extremes(member: Extreme) -> None:
    """Hash works for every number, also those whose own hash is special (-1)."""
    assert hash(IntEnumValue[Extreme](member)) == hash((Extreme, int(member)))


def test_dict_key(status: WorkerStatus) -> None:
    """Values of one enum find each other in a dict; the int that they equal does not."""
    table = {status: "found"}
    assert table[WorkerStatus(IDLE)] == "found"
    assert {2: "int"}.get(status) is None  # type: ignore[call-overload]


@pytest.mark.parametrize("member", list(Extreme))
def test_always_true(member: Extreme) -> None:
    """A value is always true, also where its number is 0."""
    value = IntEnumValue[Extreme](member)
    assert bool(value) is True
    value.close()
    assert bool(value) is True


@pytest.mark.parametrize("member", list(Extreme))
def test_int_and_index(member: Extreme) -> None:
    """int() and index give the number."""
    value = IntEnumValue[Extreme](member)
    assert int(value) == member
    assert type(int(value)) is int
    assert operator.index(value) == member
    assert hex(value) == hex(member)


def test_index_into_sequence(status: WorkerStatus) -> None:
    """A value indexes a sequence."""
    assert "abcd"[status] == "c"
    assert list(range(status)) == [0, 1]


@pytest.mark.parametrize("spec", ["", "d", "5", "<5", "05d", "x", "+d", ",", "e"])
def test_str_and_format(spec: str) -> None:
    """str() and format() answer as the member does."""
    for member in (IDLE, Extreme.LOWEST, Shade.DARK):
        value: IntEnumValue[Any] = IntEnumValue(member)
        assert str(value) == str(member)
        assert format(value, spec) == format(member, spec)
        assert f"{value}" == f"{member}"


def test_bad_format(status: WorkerStatus) -> None:
    """A format that the member refuses is refused."""
    with pytest.raises(ValueError, match="format"):
        format(status, "no such")


def test_repr(status: WorkerStatus) -> None:
    """repr() has the class and the member's own repr."""
    assert repr(status) == "WorkerStatus(<WorkerStatusEnum.IDLE: 2>)"
    assert repr(IntEnumValue[Shade](Shade.DARK)) == "IntEnumValue[Shade](Shade/DARK)"
    assert repr(Plain(IDLE)) == "Plain(<WorkerStatusEnum.IDLE: 2>)"


def test_to_value_and_from_value(status: WorkerStatus) -> None:
    """to_value() and from_value() turn names into numbers and back."""
    assert status.to_value("CALCULATING") == 3
    assert status.from_value(3) == "CALCULATING"
    with pytest.raises(KeyError, match="SLEEPING"):
        status.to_value("SLEEPING")
    with pytest.raises(ValueError, match="77"):
        status.from_value(77)


# -- unusual enums


@pytest.mark.parametrize("member", list(Extreme))
def test_extreme_members(member: Extreme) -> None:
    """Negative and 32-bit-extreme members go in and come out whole."""
    value = IntEnumValue[Extreme](Extreme.ZERO)
    value.set(member)
    assert value.load() is member
    assert value.value == member
    assert value.name == member.name
    assert value.version == 1
    assert value.exchange(Extreme.MINUS) is member
    assert value.compare_and_set(Extreme.MINUS, member) is True
    assert value.update(lambda found: found) is member
    assert value.version == 4


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1, 2**32, 2**64, -(2**100)])
def test_member_past_32_bits(number: int) -> None:
    """A member that does not fit 32 bits is an OverflowError when the class is made."""
    big: Any = make_enum("Big", {"SMALL": 1, "HUGE": number})
    with pytest.raises(OverflowError, match=r"HUGE.*32"):
        IntEnumValue[big]
    with pytest.raises(OverflowError, match=r"HUGE.*32"):

        class Status(IntEnumValue[big]):
            pass

    with pytest.raises(OverflowError, match=r"HUGE.*32"):
        Plain(big.SMALL)


@pytest.mark.parametrize(
    "numbers",
    [
        [2**i for i in range(31)],
        [-(2**i) for i in range(32)],
        [i * 65536 for i in range(-1000, 1000, 7)],
        list(range(1000)),
        [i * 2654435769 % 2**31 for i in range(500)],
        [0],
        [5, 3, 1_000_000, -7],
    ],
    ids=["powers", "negative powers", "sparse", "large", "scattered", "one", "unordered"],
)
def test_unusual_enum(numbers: list[int]) -> None:
    """Sparse, power-of-two and large enums find each member by number, name and identity."""
    unusual: Any = make_enum("Unusual", {f"N{i}": number for i, number in enumerate(numbers)})
    value: IntEnumValue[Any] = IntEnumValue(unusual.N0)
    for member in unusual:
        value.set(member)
        assert value.load() is member
        assert value.value == int(member)
        assert value.name == member.name
        assert value == member
        assert value == member.name
        value.set(member.name)
        assert value.load() is member
    for number in {min(numbers) - 1, max(numbers) + 1, 17, 65535} - set(numbers):
        if -(2**31) <= number < 2**31:
            write_word(value, number)
            with pytest.raises(ValueError, match=str(number)):
                value.load()


def test_aliases() -> None:
    """An alias is accepted as a name and as a member, and reports the canonical one."""
    value = IntEnumValue[Aliased]("ACTIVE")
    assert value.load() is Aliased.ON
    assert value.name == "ON"
    value.set(Aliased.OFF)
    value.set(Aliased.ACTIVE)
    assert value.name == "ON"
    assert value.exchange("OFF") is Aliased.ON
    assert value.compare_and_set("OFF", "ACTIVE") is True
    assert value.to_value("ACTIVE") == 1
    assert value.from_value(1) == "ON"


def test_missing_is_not_asked() -> None:
    """The enum's _missing_ is not asked, neither for a name nor for a number."""

    class Lenient(enum.IntEnum):
        ONE = 1

        @classmethod
        def _missing_(cls, value: object) -> Lenient:  # noqa: ARG003
            return cls.ONE

    value = IntEnumValue[Lenient](Lenient.ONE)
    write_word(value, 7)
    with pytest.raises(ValueError, match="7"):
        value.load()
    with pytest.raises(ValueError, match="7"):
        value.from_value(7)
    with pytest.raises(KeyError):
        value.set("TWO")


# -- a word that holds no member


def test_foreign_number(status: WorkerStatus) -> None:
    """Of a word that holds no member, value answers; load and name raise with the number."""
    for number in (0, 77, -5, -(2**31), 2**31 - 1):
        write_word(status, number, 3)
        assert status.value == number
        assert int(status) == number
        assert status.version == 3
        assert status == number
        assert (status > 2) is (number > 2)
        assert status != IDLE
        for read in (status.load, lambda: status.name, lambda: str(status)):
            with pytest.raises(ValueError, match=rf"(?<!\d){number}\b.*WorkerStatusEnum"):
                read()
        assert str(number) in repr(status)
        assert hash(status) == hash((WorkerStatusEnum, number))


def test_write_over_foreign_number(status: WorkerStatus) -> None:
    """A word that holds no member can be written, and works from then on."""
    write_word(status, 77, 3)
    assert status.compare_and_set(IDLE, CALCULATING) is False
    status.set(CALCULATING)
    assert (status.load(), status.version) == (CALCULATING, 4)


def test_exchange_foreign_number(status: WorkerStatus) -> None:
    """exchange() over a word that holds no member has happened, and raises with the number."""
    write_word(status, 77)
    with pytest.raises(ValueError, match="77"):
        status.exchange(CALCULATING)
    assert (status.load(), status.version) == (CALCULATING, 1)


def test_update_foreign_number(status: WorkerStatus) -> None:
    """update() of a word that holds no member raises with the number and writes nothing."""
    write_word(status, 77)
    with pytest.raises(ValueError, match="77"):
        status.update(lambda _: IDLE)
    assert (status.value, status.version) == (77, 0)


# -- references, copies


def test_weakref() -> None:
    """A value can be referred to weakly, and dies when nobody refers to it."""
    status = WorkerStatus(IDLE)
    reference = weakref.ref(status)
    assert reference() is status
    del status
    gc.collect()
    assert reference() is None


def test_weakref_with_slots() -> None:
    """A value whose class has no __dict__ can be referred to weakly too."""
    value = IntEnumValue[WorkerStatusEnum](IDLE)
    assert weakref.ref(value)() is value


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copy(status: WorkerStatus, duplicate: Callable[[WorkerStatus], WorkerStatus]) -> None:
    """Copy and deepcopy give another object for the same shared value."""
    twin = duplicate(status)
    assert twin is not status
    assert type(twin) is WorkerStatus
    twin.set(CALCULATING)
    assert status.load() is CALCULATING
    assert (twin.version, status.version) == (1, 1)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("cls", [Plain, IntEnumValue, IntEnumValue[WorkerStatusEnum]])
def test_copy_of_other_classes(
    cls: type[IntEnumValue[Any]], duplicate: Callable[[IntEnumValue[Any]], IntEnumValue[Any]]
) -> None:
    """Values of parameterless and of subscripted classes are copied alike."""
    value = cls(IDLE)
    twin = duplicate(value)
    assert type(twin) is type(value)
    assert twin.EnumType is WorkerStatusEnum
    value.set(CALCULATING)
    assert twin.load() is CALCULATING


class Annotated(IntEnumValue[WorkerStatusEnum]):
    """A value with an attribute, and an __init__ that must not run for a copy."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__(IDLE)
        self.notes = notes
        self.myself = self


def test_copy_carries_attributes() -> None:
    """Copy carries the attributes, deepcopy copies them deeply; neither calls __init__."""
    value = Annotated(["a"])
    shallow, deep = copy.copy(value), copy.deepcopy(value)
    assert shallow.notes is value.notes
    assert shallow.myself is value
    assert deep.notes == ["a"]
    assert deep.notes is not value.notes
    assert deep.myself is deep
    value.set(CALCULATING)
    assert [shallow.load(), deep.load()] == [CALCULATING, CALCULATING]


def test_deepcopy_keeps_identity(status: WorkerStatus) -> None:
    """Deepcopy of a structure that has a value twice has its copy twice."""
    first, second = copy.deepcopy([status, status])
    assert first is second


def test_lock_of_copy(status: WorkerStatus) -> None:
    """The lock of a copy is the same lock."""
    twin = copy.copy(status)
    with status.get_lock():
        outcome: list[bool] = []
        other = threading.Thread(target=lambda: outcome.append(twin.get_lock().acquire(False)))
        other.start()
        other.join()
    assert outcome == [False]


# -- as the original's README has it


class WorkerState:
    """The property pattern of the original's README."""

    def __init__(self) -> None:
        self._status = WorkerStatus(IDLE)

    @property
    def status(self) -> WorkerStatusEnum:
        """Return the status, which acts like the member."""
        return self._status  # type: ignore[return-value]

    @status.setter
    def status(self, status: WorkerStatusEnum | str) -> None:
        self._status.set(status)

    def get_lock(self) -> Any:
        """Return the status's lock."""
        return self._status.get_lock()


def test_property_pattern() -> None:
    """A property that hides the value reads and assigns like an enum attribute."""
    state = WorkerState()
    assert state.status.name == "IDLE"
    with state.get_lock():
        state.status = CALCULATING
    assert state.status.name == "CALCULATING"
    assert state.status.value == 3
    assert state.status == CALCULATING
    state.status = "UNAVAILABLE"
    assert state.status == WorkerStatusEnum.UNAVAILABLE


def test_threads_see_writes(status: WorkerStatus) -> None:
    """What one thread writes, another reads."""
    other = threading.Thread(target=status.set, args=(CALCULATING,))
    other.start()
    until(lambda: status == CALCULATING, "the other thread's write")
    other.join()
