"""Subclasses that override, are patched later, and have attributes or slots."""

from __future__ import annotations

import random
import typing
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from atomic_intenum import IntEnumValue
from helpers.classes import Foo, FooEnum, unchecked
from helpers.support import (
    CALCULATING,
    IDLE,
    UNAVAILABLE,
    Plain,
    WorkerStatus,
    WorkerStatusEnum,
    write_word,
)

if TYPE_CHECKING:
    from collections.abc import Callable


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
