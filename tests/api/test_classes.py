"""Classes derived from IntEnumValue: which enum they hold, and what they override."""

from __future__ import annotations

import abc
import enum
import gc
import pickle
import random
import sys
import threading
import typing
import weakref
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from unittest import mock

import pytest

from atomic_intenum import IntEnumValue
from helpers.support import (
    CALCULATING,
    IDLE,
    SHM,
    UNAVAILABLE,
    Plain,
    WorkerStatus,
    WorkerStatusEnum,
    classes_are_collected,
    collect,
    make_enum,
    own_segments,
    until,
    write_word,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T", bound=enum.IntEnum)
E = TypeVar("E", bound=enum.IntEnum)
U = TypeVar("U")


class FooEnum(enum.IntEnum):
    A = 1
    B = 2


class BarEnum(enum.IntEnum):
    C = 1
    D = 2


class Foo(IntEnumValue[FooEnum]):
    pass


class Bar(IntEnumValue[BarEnum]):
    pass


class BaseEnum(enum.IntEnum):
    """An IntEnum without members, for others to derive from."""

    def label(self) -> str:
        """Return the name in small letters."""
        return self.name.lower()


class DerivedEnum(BaseEnum):
    X = 1
    Y = 2


class OtherDerivedEnum(BaseEnum):
    Z = 1


class Logged(IntEnumValue[T]):
    """A generic subclass."""

    __slots__ = ("log",)

    log: list[str]

    def set(self, value: T | str) -> None:
        super().set(value)
        self.log = [*getattr(self, "log", []), self.name]


def unchecked(cls: Any) -> Any:
    """Return the class as something that type checkers let one do anything with."""
    return cls


# -- EnumType


def test_enum_type() -> None:
    """EnumType is the enum that the class was given, on class and instance; else IntEnum."""
    assert IntEnumValue.EnumType is enum.IntEnum
    assert Plain.EnumType is enum.IntEnum
    assert WorkerStatus.EnumType is WorkerStatusEnum
    assert WorkerStatus(IDLE).EnumType is WorkerStatusEnum
    assert IntEnumValue[FooEnum].EnumType is FooEnum


def test_enum_type_of_parameterless_instance() -> None:
    """An instance of a parameterless class has its first member's enum; the class has IntEnum."""
    first, second = Plain(IDLE), Plain(FooEnum.A)
    assert first.EnumType is WorkerStatusEnum
    assert second.EnumType is FooEnum
    assert Plain.EnumType is enum.IntEnum
    with pytest.raises(TypeError):
        assert first == second


def test_subscription_is_cached() -> None:
    """IntEnumValue[E] is the same class each time, and a subclass of IntEnumValue."""
    bound = IntEnumValue[FooEnum]
    assert bound is IntEnumValue[FooEnum]
    assert bound is not unchecked(IntEnumValue[BarEnum])
    assert isinstance(bound, type)
    assert issubclass(bound, IntEnumValue)
    assert issubclass(Foo, bound)
    assert isinstance(bound(FooEnum.A), bound)
    assert Foo.__mro__[1] is bound


def test_names_of_subscription() -> None:
    """IntEnumValue[E] says so in its names and repr."""
    bound = unchecked(IntEnumValue[FooEnum])
    assert bound.__name__ == "IntEnumValue[FooEnum]"
    assert bound.__qualname__ == "IntEnumValue[FooEnum]"
    assert "IntEnumValue[FooEnum]" in repr(bound)
    assert bound.__module__ == IntEnumValue.__module__
    assert repr(bound(FooEnum.B)) == "IntEnumValue[FooEnum](<FooEnum.B: 2>)"
    assert bound.__doc__ == IntEnumValue.__doc__


def test_subscription_in_threads() -> None:
    """Threads that subscript at the same time get the same class."""
    fresh: Any = make_enum("Fresh", "A B")
    start = threading.Barrier(8)
    found = []

    def subscript() -> None:
        start.wait()
        found.append(IntEnumValue[fresh])

    threads = [threading.Thread(target=subscript) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_subscribing_again() -> None:
    """A concrete class may be subscripted by its own enum, and is then itself."""
    assert unchecked(Bar)[BarEnum] is Bar
    assert unchecked(IntEnumValue[BarEnum])[BarEnum] is IntEnumValue[BarEnum]

    class Again(unchecked(Bar)[BarEnum]):  # type: ignore[misc]
        pass

    assert Again.EnumType is BarEnum
    assert issubclass(Again, Bar)
    assert Again(BarEnum.C).load() is BarEnum.C


@pytest.mark.parametrize("cls", [Bar, IntEnumValue[BarEnum]])
def test_subscribing_wrongly(cls: Any) -> None:
    """Subscripting a concrete class by another enum is a TypeError that names both enums."""
    with pytest.raises(TypeError, match=r"BarEnum.*FooEnum"):
        cls[FooEnum]
    with pytest.raises(TypeError, match=r"BarEnum.*IntEnum"):
        cls[enum.IntEnum]


def test_deriving() -> None:
    """Subclasses of subclasses, with mixins before and after, have the enum of their MRO."""

    class Mixin:
        pass

    class Sub(Foo):
        pass

    class Before(Mixin, Foo):
        pass

    class After(Foo, Mixin):
        pass

    class SubSub(Before, Sub):
        pass

    for cls in (Sub, Before, After, SubSub):
        assert cls.EnumType is FooEnum
        value = cls(FooEnum.B)
        assert value.load() is FooEnum.B
        with pytest.raises(TypeError, match=r"FooEnum.*BarEnum"):
            value.set(unchecked(BarEnum.C))


def test_multiple_inheritance() -> None:
    """Of two values with different enums, a common subclass holds the first in its MRO."""

    class FooOrBar(Foo, Bar):
        pass

    class BarOrFoo(Bar, Foo):
        pass

    class Sub(FooOrBar):
        pass

    assert FooOrBar.EnumType is FooEnum
    assert BarOrFoo.EnumType is BarEnum
    assert Sub.EnumType is FooEnum
    assert FooOrBar("A").load() is FooEnum.A
    assert BarOrFoo("C").load() is BarEnum.C
    with pytest.raises(KeyError):
        FooOrBar("C")
    with pytest.raises(TypeError, match=r"FooEnum.*BarEnum"):
        FooOrBar(unchecked(BarEnum.C))


def test_unbound_before_bound() -> None:
    """A parameterless base before a bound one does not hide the bound one's enum."""

    class Mixin(IntEnumValue[Any]):
        pass

    class Status(Mixin, Foo):
        pass

    assert Status.EnumType is FooEnum
    assert Status("A").load() is FooEnum.A


def test_generic_base_before_bound() -> None:
    """A generic base that was left open before a bound one does not hide the bound one's enum."""

    class Status(Logged, Foo):  # type: ignore[type-arg]
        pass

    assert Status.EnumType is FooEnum
    status: Any = Status("A")
    status.value = "B"
    assert status.log == ["B"]


@pytest.mark.parametrize("parameter", [T, Any, "FooEnum", typing.ForwardRef("FooEnum")])
def test_alias(parameter: Any) -> None:
    """A TypeVar, a string or Any gives the ordinary alias, whose class stays unbound."""
    alias = unchecked(IntEnumValue)[parameter]
    assert typing.get_origin(alias) is IntEnumValue
    assert not isinstance(alias, type)

    class Status(alias):  # type: ignore[misc, valid-type]
        pass

    assert Status.EnumType is enum.IntEnum
    assert Status(FooEnum.A).load() is FooEnum.A
    assert alias(FooEnum.A).EnumType is FooEnum


def test_alias_as_annotation() -> None:
    """Aliases work in annotations, unions and isinstance's origin."""
    union = unchecked(IntEnumValue[FooEnum]) | None
    assert typing.get_args(union) == (IntEnumValue[FooEnum], type(None))
    listed = list[IntEnumValue[FooEnum]]
    assert typing.get_args(listed) == (IntEnumValue[FooEnum],)


@pytest.mark.parametrize("generic", [Logged, unchecked(Logged)[E], unchecked(Logged)[Any]])
def test_generic_subclass_stays_open(generic: Any) -> None:
    """A generic subclass is unbound until it is subscripted by an enum."""
    assert generic.EnumType is enum.IntEnum
    value = generic(FooEnum.A)
    value.value = "B"
    assert value.log == ["B"]


def test_generic_subclass() -> None:
    """A generic subclass is subscripted like IntEnumValue itself."""
    bound = Logged[FooEnum]
    assert bound is Logged[FooEnum]
    assert bound.EnumType is FooEnum
    assert issubclass(bound, Logged)
    assert unchecked(bound).__name__ == "Logged[FooEnum]"
    assert bound.__module__ == __name__
    value = bound(FooEnum.A)
    value.set("B")
    assert value.log == ["B"]

    class Status(Logged[BarEnum]):
        pass

    assert Status.EnumType is BarEnum
    assert Logged.EnumType is enum.IntEnum

    class Further(Logged[E]):
        pass

    assert Further[FooEnum].EnumType is FooEnum
    assert issubclass(Further[FooEnum], Logged)


class Tagged(IntEnumValue[T], Generic[T, U]):
    """A class with another type parameter after the enum's."""


class TaggedFirst(IntEnumValue[T], Generic[U, T]):
    """A class with another type parameter before the enum's."""


class TaggedStatus(IntEnumValue[FooEnum], Generic[U]):
    """A bound class with a type parameter of its own."""


def test_two_type_parameters() -> None:
    """With several type parameters, the one that IntEnumValue was given says the enum."""

    class After(Tagged[FooEnum, str]):
        pass

    class Before(TaggedFirst[str, FooEnum]):
        pass

    assert After.EnumType is FooEnum
    assert Before.EnumType is FooEnum
    assert After("A").load() is FooEnum.A
    assert Before("A").load() is FooEnum.A


def test_partly_given_type_parameters() -> None:
    """A class that gives the enum and leaves the other parameter open is bound."""

    class Half(Tagged[FooEnum, U]):
        pass

    class Whole(Half[int]):
        pass

    assert Half.EnumType is FooEnum
    assert Whole.EnumType is FooEnum

    class OtherHalf(TaggedFirst[int, T]):
        pass

    assert OtherHalf.EnumType is enum.IntEnum
    assert OtherHalf[FooEnum].EnumType is FooEnum


def test_two_type_parameters_subscripted() -> None:
    """Instances of a class with several type parameters work from the subscription, too."""
    assert Tagged[FooEnum, str](FooEnum.A).load() is FooEnum.A
    assert TaggedFirst[str, FooEnum](FooEnum.A).load() is FooEnum.A


def test_type_parameter_that_is_not_the_enum() -> None:
    """A bound class's own type parameter may be anything."""
    alias = unchecked(TaggedStatus)[str]
    assert alias("A").load() is FooEnum.A

    class Status(TaggedStatus[str]):
        pass

    class Open(TaggedStatus[U]):
        pass

    assert Status.EnumType is FooEnum
    assert Open.EnumType is FooEnum
    assert unchecked(Open)[BarEnum]("B").load() is FooEnum.B


def test_generic_mixin() -> None:
    """A generic mixin's argument is not taken for the enum."""

    class Mixin(Generic[U]):
        pass

    class Before(Mixin[BarEnum], IntEnumValue[FooEnum]):
        pass

    class After(IntEnumValue[FooEnum], Mixin[BarEnum]):
        pass

    class Open(Mixin[U], IntEnumValue[T], Generic[T, U]):
        pass

    class Given(Open[FooEnum, BarEnum]):
        pass

    assert Before.EnumType is FooEnum
    assert After.EnumType is FooEnum
    assert Given.EnumType is FooEnum


def test_protocol_base() -> None:
    """A class may say that it implements a protocol."""

    class Named(Protocol):
        @property
        def name(self) -> str: ...

    class Status(Foo, Named):
        pass

    assert Status(FooEnum.A).name == "A"


PEP_695 = """
class Logged[E: enum.IntEnum](IntEnumValue[E]):
    def set(self, value):
        super().set(value)
        self.log = [*getattr(self, "log", ()), self.name]

class Status(Logged[FooEnum]):
    pass

class Tagged[U, E: enum.IntEnum](IntEnumValue[E]):
    pass

class TaggedStatus(Tagged[str, FooEnum]):
    pass

class Bound[U](IntEnumValue[FooEnum]):
    pass
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is 3.12's")
def test_pep_695() -> None:
    """Classes with type parameters in brackets are bound as those with TypeVars are."""
    names: dict[str, Any] = {
        "__name__": __name__,
        "enum": enum,
        "IntEnumValue": IntEnumValue,
        "FooEnum": FooEnum,
    }
    exec(PEP_695, names)
    assert names["Logged"].EnumType is enum.IntEnum
    assert names["Logged"][FooEnum] is names["Logged"][FooEnum]
    assert names["TaggedStatus"].EnumType is FooEnum
    assert names["Bound"][BarEnum]("A").load() is FooEnum.A
    for cls in (names["Logged"][FooEnum], names["Status"]):
        assert cls.EnumType is FooEnum
        value = cls("A")
        value.value = FooEnum.B
        assert value.log == ["B"]


class Flags(enum.IntFlag):
    A = 1
    B = 2


class IntAndEnum(int, enum.Enum):
    A = 1


class PlainEnum(enum.Enum):
    A = 1


@pytest.mark.parametrize(
    "wrong",
    [Flags, IntAndEnum, PlainEnum, int, bool, str, FooEnum.A, 3, None, int | None, list[int]],
)
@pytest.mark.parametrize("cls", [IntEnumValue, Plain, Logged])
def test_parameter_that_is_no_int_enum(cls: Any, wrong: Any) -> None:
    """A type parameter that is not an IntEnum, IntFlag and (int, Enum) included, is a TypeError."""
    with pytest.raises(TypeError, match="IntEnum"):
        cls[wrong]


def test_enum_type_by_hand() -> None:
    """A class that assigns EnumType itself is bound to that enum; nothing else may be assigned."""

    class Status(IntEnumValue[Any]):
        EnumType = FooEnum

    assert Status("A").load() is FooEnum.A
    with pytest.raises(TypeError, match="IntEnum"):

        class Wrong(IntEnumValue[Any]):
            EnumType = unchecked(Flags)


def test_memberless_enum_as_parameter() -> None:
    """With a memberless IntEnum as parameter, an instance takes its first member's enum."""

    class Status(IntEnumValue[BaseEnum]):
        pass

    for cls in (Status, IntEnumValue[BaseEnum]):
        assert cls.EnumType is BaseEnum
        value = cls(DerivedEnum.X)
        assert value.EnumType is DerivedEnum
        assert value.load() is DerivedEnum.X
        assert value.load().label() == "x"
        value.set("Y")
        with pytest.raises(TypeError, match=r"DerivedEnum.*OtherDerivedEnum"):
            value.set(OtherDerivedEnum.Z)
        with pytest.raises(TypeError, match=r"BaseEnum.*FooEnum"):
            cls(unchecked(FooEnum.A))
        with pytest.raises(TypeError, match="BaseEnum"):
            cls("X")


def test_narrowing_a_memberless_enum() -> None:
    """A class bound to a memberless enum may be subscripted by one that derives from it."""
    narrow = unchecked(IntEnumValue[BaseEnum])[DerivedEnum]
    assert narrow.EnumType is DerivedEnum
    assert narrow("X").load() is DerivedEnum.X
    with pytest.raises(TypeError, match=r"BaseEnum.*FooEnum"):
        unchecked(IntEnumValue[BaseEnum])[FooEnum]


# -- overrides


class Recording(IntEnumValue[WorkerStatusEnum]):
    """Records what set() was asked for, as an override that logs does."""

    asked: list[object]

    def __init__(self, value: WorkerStatusEnum | str) -> None:
        self.asked = []
        super().__init__(value)

    def set(self, value: WorkerStatusEnum | str) -> None:
        self.asked.append(value)
        super().set(value)


def test_overridden_set() -> None:
    """An overridden set() is called by callers and by the value setter."""
    status = Recording("IDLE")
    status.set(CALCULATING)
    status.value = "UNAVAILABLE"
    assert status.asked == [CALCULATING, "UNAVAILABLE"]
    assert status.load() is UNAVAILABLE


def test_overridden_set_is_not_called_by_others() -> None:
    """The constructor, exchange, compare_and_set and update do not call set()."""
    status = Recording("IDLE")
    status.exchange(CALCULATING)
    status.compare_and_set(CALCULATING, IDLE)
    status.update(lambda _: UNAVAILABLE)
    assert status.asked == []
    assert status.load() is UNAVAILABLE


def test_set_that_raises() -> None:
    """What an overridden set() raises comes out of the value setter."""

    class Refusing(Foo):
        def set(self, value: FooEnum | str) -> None:
            raise PermissionError(value)

    value = Refusing(FooEnum.A)
    with pytest.raises(PermissionError):
        value.value = FooEnum.B
    assert value.load() is FooEnum.A


class Translated(IntEnumValue[WorkerStatusEnum]):
    """Has names of its own."""

    WORDS: typing.ClassVar = {"frei": 2, "beschäftigt": 3, "weg": 1}

    def to_value(self, name: str) -> int:
        return self.WORDS[name] if name in self.WORDS else super().to_value(name)

    def from_value(self, value: int) -> str:
        for word, number in self.WORDS.items():
            if number == value:
                return word
        return super().from_value(value)


@pytest.mark.parametrize("cls", [Translated, type("Sub", (Translated,), {})])
def test_overridden_names(cls: type[Translated]) -> None:
    """Overridden to_value and from_value are asked wherever a name is given or read."""
    status = cls("frei")
    assert status.name == "frei"
    status.set("beschäftigt")
    assert status.load() is CALCULATING
    status.value = "weg"
    assert status.name == "weg"
    assert status == "weg"
    assert status != "frei"
    assert status.exchange("frei") is UNAVAILABLE
    assert status.compare_and_set("frei", "beschäftigt") is True
    assert status.name == "beschäftigt"
    status.set("IDLE")
    assert status == "frei"
    assert str(status) == "2"
    with pytest.raises(KeyError):
        status.set("SLEEPING")


def test_from_value_of_foreign_number() -> None:
    """An overridden from_value() may name a number that no member has."""

    class Lenient(IntEnumValue[WorkerStatusEnum]):
        def from_value(self, value: int) -> str:
            try:
                return super().from_value(value)
            except ValueError:
                return f"UNKNOWN {value}"

    status = Lenient(IDLE)
    write_word(status, 77)
    assert status.name == "UNKNOWN 77"
    with pytest.raises(ValueError, match="77"):
        status.load()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (77, ValueError),
        (2**40, ValueError),
        (-(2**70), ValueError),
        ("2", TypeError),
        (None, TypeError),
        (2.0, TypeError),
    ],
)
def test_wrong_to_value(answer: Any, error: type[Exception]) -> None:
    """A to_value() that answers with no member's number is refused wherever a name is written."""

    class Wrong(IntEnumValue[WorkerStatusEnum]):
        def to_value(self, name: str) -> int:  # noqa: ARG002
            return typing.cast("int", answer)

    with pytest.raises(error):
        Wrong("IDLE")
    status = Wrong(IDLE)
    for write in (status.set, status.exchange, lambda name: status.compare_and_set(IDLE, name)):
        with pytest.raises(error):
            write("CALCULATING")
    assert (status.load(), status.version) == (IDLE, 0)


def test_to_value_of_member() -> None:
    """A to_value() that answers with a member, as the original's does, is honoured."""

    class Own(IntEnumValue[WorkerStatusEnum]):
        def to_value(self, name: str) -> int:
            return self.EnumType[name.upper()]

    status = Own("idle")
    assert status.load() is IDLE
    status.set("calculating")
    assert status == "calculating"
    assert type(status.value) is int


def test_to_value_of_parameterless_instance() -> None:
    """An override that looks at EnumType finds the instance's enum where the class has none."""

    class Own(IntEnumValue[Any]):
        def to_value(self, name: str) -> int:
            return int(self.EnumType[name.upper()])

    value = Own(IDLE)
    value.set("calculating")
    assert value.load() is CALCULATING


def test_cooperative_set() -> None:
    """Mixins before the value and between values cooperate by super()."""
    trace: list[str] = []

    class First:
        def set(self, value: Any) -> None:
            trace.append("First")
            super().set(value)  # type: ignore[misc]

    class Second(IntEnumValue[Any]):
        def set(self, value: Any) -> None:
            trace.append("Second")
            super().set(value)

    class After:
        def set(self, value: Any) -> None:
            raise AssertionError(value)

    class Status(First, Foo, Second, After):
        def set(self, value: Any) -> None:
            trace.append("Status")
            super().set(value)

    status = Status(FooEnum.A)
    status.value = FooEnum.B
    assert trace == ["Status", "First", "Second"]
    assert status.load() is FooEnum.B


def test_override_behind_an_earlier_class() -> None:
    """In a diamond, an override of the second base answers, as the first defines nothing."""

    class Quiet(IntEnumValue[FooEnum]):
        pass

    class Loud(IntEnumValue[FooEnum]):
        def load(self) -> FooEnum:
            return FooEnum.B

        @property
        def version(self) -> int:
            return 1000 + super().version

    class Both(Quiet, Loud):
        pass

    class Below(Both):
        pass

    assert Quiet(FooEnum.A).load() is FooEnum.A
    for cls in (Both, Below):
        assert cls(FooEnum.A).load() is FooEnum.B
        assert cls(FooEnum.A).version == 1000
    assert Quiet(FooEnum.A).load() is FooEnum.A
    assert Quiet(FooEnum.A).version == 0


def test_super_of_earlier_class() -> None:
    """super() from the first class of a diamond reaches an override in the second."""
    trace: list[str] = []

    class Left(Foo):
        def load(self) -> FooEnum:
            trace.append("Left")
            return super().load()

    class Middle(Foo):
        pass

    class Right(Foo):
        def load(self) -> FooEnum:
            trace.append("Right")
            return super().load()

    class Bottom(Left, Middle, Right):
        pass

    assert Bottom(FooEnum.B).load() is FooEnum.B
    assert trace == ["Left", "Right"]


def test_property_overrides() -> None:
    """Properties that override value and name are used, and reach the base by super()."""

    class Own(Foo):
        @property
        def value(self) -> int:
            return 100 + super().value

        @value.setter
        def value(self, value: FooEnum | str) -> None:
            self.set("B" if value == "A" else "A")

        @property
        def name(self) -> str:
            return super().name.lower()

    class Sub(Own):
        pass

    for cls in (Own, Sub):
        status = cls("A")
        assert (status.value, status.name, status.load()) == (101, "a", FooEnum.A)
        status.value = "A"
        assert (status.value, status.name, status.load()) == (102, "b", FooEnum.B)


def test_read_only_property() -> None:
    """A property without a setter makes value read-only."""

    class Own(Foo):
        @property  # type: ignore[misc]
        def value(self) -> int:
            return super().value

    status: Any = Own("A")
    with pytest.raises(AttributeError):
        status.value = "B"


def test_class_attribute_override() -> None:
    """Any class attribute overrides, also one that is no function."""

    class Own(Foo):
        version = 7

    class Sub(Own):
        pass

    assert (Own("A").version, Sub("A").version) == (7, 7)


def test_static_and_class_methods() -> None:
    """Overrides that are static or class methods bind as they do in plain Python."""

    class Own(Foo):
        @staticmethod
        def load() -> Any:
            return "static"

        @classmethod
        def exchange(cls, value: Any) -> Any:
            return cls, value

    class Sub(Own):
        pass

    assert Sub("A").load() == "static"
    assert Sub("A").exchange(3) == (Sub, 3)


def test_borrowed_methods() -> None:
    """A class may take a method of IntEnumValue under another name, or the same."""

    class Own(Foo):
        get = IntEnumValue.load
        put = IntEnumValue.set
        load = IntEnumValue.load

    class Sub(Own):
        pass

    status: Any = Sub("A")
    status.put("B")
    assert status.get() is FooEnum.B
    assert status.load() is FooEnum.B


def test_methods_of_the_class() -> None:
    """Methods called on a class or a base of it work with its instances."""
    status = WorkerStatus(IDLE)
    assert IntEnumValue.load(status) is IDLE
    assert WorkerStatus.load(status) is IDLE
    assert IntEnumValue[WorkerStatusEnum].load(status) is IDLE


def test_methods_of_the_class_on_others() -> None:
    """Methods called on a class refuse what is no value at all."""
    for wrong in (3, object(), FooEnum.A):
        with pytest.raises((TypeError, AttributeError)):
            WorkerStatus.load(unchecked(wrong))


HOT = ["load", "set", "exchange", "compare_and_set", "value", "name", "version"]


@pytest.mark.parametrize("name", HOT)
@pytest.mark.parametrize("cls", [IntEnumValue, IntEnumValue[FooEnum], Foo, Plain])
def test_documented(cls: type, name: str) -> None:
    """Each class has each method and attribute with its documentation."""
    assert getattr(cls, name).__doc__
    assert name in dir(cls)


# -- overrides, against plain Python
#
# The same hierarchy is made twice: over IntEnumValue and over a root of plain Python. Whatever the
# backend does to classes to make them fast, both must resolve alike.

Trace = list[tuple[str, str]]


class Root:
    """What IntEnumValue would be in plain Python, as far as resolution goes."""

    def load(self) -> str:
        return "root"

    def set(self, value: Any) -> str:  # noqa: ARG002
        return "root"

    def exchange(self, value: Any) -> str:  # noqa: ARG002
        return "root"

    def compare_and_set(self, old: Any, new: Any) -> str:  # noqa: ARG002
        return "root"

    @property
    def value(self) -> str:
        return "root"

    @value.setter
    def value(self, value: Any) -> None:
        self.set(value)

    @property
    def name(self) -> str:
        return "root"

    @property
    def version(self) -> str:
        return "root"


class Shape(typing.NamedTuple):
    """A class of a generated hierarchy: its bases by index, -1 for the root, and its overrides."""

    bases: tuple[int, ...]
    overrides: dict[str, bool]  # name -> whether it calls super()


def shapes(seed: int) -> list[Shape]:
    """Generate a hierarchy: some classes are mixins that do not derive from the root."""
    chance = random.Random(seed)
    made: list[Shape] = []
    for _ in range(chance.randint(2, 9)):
        count = min(chance.choice([0, 1, 1, 2, 2, 3]), len(made) + 1)
        bases = tuple(chance.sample(range(-1, len(made)), count))
        names = chance.sample(HOT, chance.choice([0, 0, 1, 1, 2, 3]))
        made.append(Shape(bases, {name: chance.random() < 0.7 for name in names}))
    return made


def override(owner: list[type], label: str, name: str, goes_on: bool, trace: Trace) -> Any:
    """Return an override of ``name`` that notes who was asked, and may go on to super()."""

    def method(self: Any, *arguments: Any) -> Any:
        trace.append((label, name))
        following = getattr(super(owner[0], self), name, None) if goes_on else None
        return following(*arguments) if callable(following) else label

    def getter(self: Any) -> Any:
        trace.append((label, name))
        return getattr(super(owner[0], self), name, None) if goes_on else label

    def setter(self: Any, value: Any) -> None:
        trace.append((label, "setting"))
        for klass in type(self).__mro__[type(self).__mro__.index(owner[0]) + 1 :]:
            if goes_on and "value" in vars(klass):
                vars(klass)["value"].__set__(self, value)
                break

    if name == "value":
        return property(getter, setter)
    return property(getter) if name in ("name", "version") else method


def build(hierarchy: list[Shape], root: type, trace: Trace) -> list[type | None]:
    """Make the classes over a root; None where no MRO exists."""
    made: list[type | None] = []
    for number, shape in enumerate(hierarchy):
        bases = tuple(root if base == -1 else made[base] for base in shape.bases)
        label = f"C{number}"
        owner: list[type] = []
        body = {
            name: override(owner, label, name, goes_on, trace)
            for name, goes_on in shape.overrides.items()
        }
        try:
            cls = type(label, unchecked(bases), body) if None not in bases else None
        except TypeError as error:
            refused = ("MRO", "method resolution", "cycle among base")  # the last is PyPy's
            assert any(text in str(error) for text in refused)  # noqa: PT017
            cls = None
        made.append(cls)
        if cls is not None:
            owner.append(cls)
    return made


def use(value: Any, trace: Trace) -> dict[str, Trace]:
    """Return for each use of an instance who was asked for it."""
    uses: dict[str, Callable[[], object]] = {
        "load": lambda: value.load(),  # noqa: PLW0108 - looked up when it is called
        "set": lambda: value.set(FooEnum.A),
        "exchange": lambda: value.exchange(FooEnum.A),
        "compare_and_set": lambda: value.compare_and_set(FooEnum.B, FooEnum.A),
        "value": lambda: value.value,
        "value setter": lambda: setattr(value, "value", FooEnum.A),
        "name": lambda: value.name,
        "version": lambda: value.version,
    }
    found = {}
    for name, act in uses.items():
        trace.clear()
        act()
        found[name] = list(trace)
    return found


@pytest.mark.parametrize("root", [IntEnumValue, IntEnumValue[FooEnum], Foo])
@pytest.mark.parametrize("block", range(8))
def test_resolution_is_plain_pythons(root: type, block: int) -> None:
    """In any hierarchy the same overrides answer, in the same order, as in plain Python."""
    compared = 0
    for seed in range(block * 25, block * 25 + 25):
        hierarchy = shapes(seed)
        plain_trace: Trace = []
        trace: Trace = []
        models = build(hierarchy, Root, plain_trace)
        classes = build(hierarchy, root, trace)
        assert [model is None for model in models] == [cls is None for cls in classes]
        # The last class first, and again in order: what one class's making changed must not show.
        for model, cls in [*zip(models, classes, strict=True)][::-1]:
            if model is None or cls is None or not issubclass(cls, root):
                continue
            expected = use(model(), plain_trace)
            assert use(unchecked(cls)(FooEnum.B), trace) == expected, f"seed {seed}, {cls.__mro__}"
            compared += 1
    assert compared > 25


def test_resolution_of_shared_bases() -> None:
    """Classes made later over the same bases change nothing for the earlier ones."""

    class Mixin(IntEnumValue[Any]):
        def load(self) -> Any:
            return "mixed"

    class First(Foo):
        pass

    class Second(First):
        pass

    class Mixed(Second, Mixin):
        pass

    class Late(Second):
        pass

    class Later(Mixed):
        pass

    assert [cls(FooEnum.A).load() for cls in (First, Second, Late)] == [FooEnum.A] * 3
    assert [cls(FooEnum.A).load() for cls in (Mixed, Later)] == ["mixed"] * 2


# -- classes patched later


def test_patched_class() -> None:
    """mock.patch.object of a class's method takes effect on its instances, and ends."""
    status = WorkerStatus(IDLE)
    with mock.patch.object(WorkerStatus, "set") as patched:
        status.set(CALCULATING)
        status.value = UNAVAILABLE
        assert patched.mock_calls == [mock.call(CALCULATING), mock.call(UNAVAILABLE)]
        assert status.load() is IDLE
    status.set(CALCULATING)
    status.value = "UNAVAILABLE"
    assert status.load() is UNAVAILABLE
    with mock.patch.object(WorkerStatus, "load", return_value="patched"):
        assert unchecked(status).load() == "patched"
    assert status.load() is UNAVAILABLE
    with mock.patch.object(WorkerStatus, "name", new_callable=mock.PropertyMock) as name:
        name.return_value = "patched"
        assert status.name == "patched"
    assert status.name == "UNAVAILABLE"


def test_patched_instance() -> None:
    """mock.patch.object of an instance's set() takes effect on the value setter too."""
    status = WorkerStatus(IDLE)
    with mock.patch.object(status, "set") as patched:
        status.value = CALCULATING
        patched.assert_called_once_with(CALCULATING)
        assert status.load() is IDLE
    status.value = CALCULATING
    assert status.load() is CALCULATING


def test_assigned_and_deleted() -> None:
    """A method that is assigned to a class and deleted again leaves the inherited one."""

    class Own(Foo):
        def load(self) -> FooEnum:
            return FooEnum.B

    value = Own("A")
    assert value.load() is FooEnum.B
    del Own.load
    assert value.load() is FooEnum.A
    unchecked(Own).load = lambda _: "assigned"
    assert unchecked(value).load() == "assigned"


# -- __init__, attributes, slots


class Worker(IntEnumValue[WorkerStatusEnum]):
    """Has an __init__ of another signature, and attributes."""

    def __init__(self, number: int, *, note: str = "") -> None:
        super().__init__(IDLE)
        self.number = number
        self.note = note


def test_own_signature() -> None:
    """A subclass may have an __init__ of another signature and attributes of its own."""
    worker = Worker(7, note="fast")
    assert (worker.load(), worker.number, worker.note) == (IDLE, 7, "fast")
    worker.set(CALCULATING)
    worker.note = "slow"
    assert (worker.load(), worker.note) == (CALCULATING, "slow")


class Slotted(IntEnumValue[WorkerStatusEnum]):
    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        super().__init__(IDLE)
        self.number = number


def test_slots() -> None:
    """A subclass may have slots, and then its instances have no __dict__."""
    slotted = Slotted(7)
    assert slotted.number == 7
    assert not hasattr(slotted, "__dict__")
    with pytest.raises(AttributeError):
        unchecked(slotted).other = 3
    assert not hasattr(IntEnumValue[WorkerStatusEnum](IDLE), "__dict__")
    slotted.set(CALCULATING)
    assert slotted.load() is CALCULATING


def test_slots_and_dict() -> None:
    """A subclass of a slotted class has both slots and attributes."""

    class Open(Slotted):
        pass

    value = Open(7)
    unchecked(value).other = 3
    assert (value.number, unchecked(value).other, value.load()) == (7, 3, IDLE)


def test_init_subclass_arguments() -> None:
    """Keyword arguments of the class statement reach a mixin's __init_subclass__."""

    class Registered:
        registered: typing.ClassVar[dict[str, type]] = {}

        def __init_subclass__(cls, *, key: str, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            cls.registered[key] = cls

    class Before(Registered, IntEnumValue[FooEnum], key="before"):
        pass

    class After(IntEnumValue[FooEnum], Registered, key="after"):
        pass

    assert Registered.registered == {"before": Before, "after": After}
    assert Before.EnumType is After.EnumType is FooEnum
    with pytest.raises(TypeError):

        class Surplus(IntEnumValue[FooEnum], colour="red"):
            pass


def test_cooperative_init() -> None:
    """__init__ of a mixin before the value reaches the value's by super()."""

    class Mixin:
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            self.mixed = True

    class Status(Mixin, Foo):
        pass

    status = Status("A", lock=None)
    assert (status.load(), status.mixed) == (FooEnum.A, True)


def test_enum_type_and_set_before_init() -> None:
    """An __init__ that uses the value before super().__init__() finds it closed."""

    class Hasty(Foo):
        def __init__(self) -> None:
            self.set(FooEnum.A)
            super().__init__(FooEnum.A)

    with pytest.raises(ValueError, match="closed"):
        Hasty()


# -- abstract classes, metaclasses


def test_abstract_mixin() -> None:
    """An ABC as mixin works: abstract until its methods are defined."""

    class Named(abc.ABC):
        @abc.abstractmethod
        def title(self) -> str: ...

    class Open(Named, Foo):
        pass

    class Status(Open):
        def title(self) -> str:
            return self.name.title()

    with pytest.raises(TypeError, match="abstract"):
        unchecked(Open)("A")
    assert Status("A").title() == "A"


def test_abstract_hot_method() -> None:
    """An abstract set() keeps the class abstract until a subclass overrides it."""

    class Open(Foo, abc.ABC):
        @abc.abstractmethod
        def set(self, value: FooEnum | str) -> None: ...

    class Inheriting(Open):
        pass

    class Status(Open):
        def set(self, value: FooEnum | str) -> None:
            IntEnumValue.set(self, value)

    for cls in (Open, Inheriting):
        with pytest.raises(TypeError, match="abstract"):
            unchecked(cls)("A")
    status = Status("A")
    status.value = "B"
    assert status.load() is FooEnum.B


def test_abstract_method_that_the_value_has() -> None:
    """An ABC after the value that asks for load() is satisfied by the value's own."""

    class Loads(abc.ABC):
        @abc.abstractmethod
        def load(self) -> Any: ...

    class Status(Foo, Loads):
        pass

    assert Status("A").load() is FooEnum.A


def test_metaclass() -> None:
    """A metaclass of one's own works, also one that notes what is set on its classes."""

    class Meta(type):
        made: typing.ClassVar[list[str]] = []

        def __new__(cls, name: str, bases: Any, body: Any, **kwargs: Any) -> Any:
            cls.made.append(name)
            return super().__new__(cls, name, bases, body, **kwargs)

    class Status(IntEnumValue[FooEnum], metaclass=Meta):
        pass

    class Sub(Status):
        pass

    class Generically(IntEnumValue[T], metaclass=Meta):
        pass

    assert Meta.made == ["Status", "Sub", "Generically"]
    assert Sub("A").load() is FooEnum.A
    assert Generically[FooEnum]("B").load() is FooEnum.B


def test_enum_with_metaclass() -> None:
    """An IntEnum with a metaclass of its own is an IntEnum."""

    class Meta(enum.EnumMeta):
        pass

    class Special(enum.IntEnum, metaclass=Meta):
        A = 1

    assert IntEnumValue[Special]("A").load() is Special.A


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
    kept = [WorkerStatus(IDLE), IntEnumValue(unchecked(make_enum("Kept", "A")).A)]
    assert own_segments() - before <= {value._atomic_segment.name for value in kept}


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
    """Makes an enum whose iteration, once asked for, waits for an event."""

    entered = threading.Event()
    leave = threading.Event()

    def __iter__(cls: Any) -> Any:
        if getattr(cls, "blocks", False):
            Blocking.entered.set()
            assert Blocking.leave.wait(20)
        return super().__iter__()


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
