"""Classes derived from IntEnumValue: which enum they hold, and what they override."""

from __future__ import annotations

import abc
import enum
import sys
import threading
import typing
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import pytest

from atomic_intenum import IntEnumValue
from helpers.classes import (
    Bar,
    BarEnum,
    BaseEnum,
    DerivedEnum,
    Foo,
    FooEnum,
    OtherDerivedEnum,
    unchecked,
)
from helpers.support import (
    IDLE,
    Plain,
    WorkerStatus,
    WorkerStatusEnum,
    make_enum,
)

if TYPE_CHECKING:
    pass


T = TypeVar("T", bound=enum.IntEnum)

E = TypeVar("E", bound=enum.IntEnum)

U = TypeVar("U")


class Logged(IntEnumValue[T]):
    """A generic subclass."""

    __slots__ = ("log",)

    log: list[str]

    def set(self, value: T | str) -> None:
        super().set(value)
        self.log = [*getattr(self, "log", []), self.name]


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
