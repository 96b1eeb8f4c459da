"""Enums and classes over them, for the tests of classes."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from atomic_intenum import IntEnumValue

if TYPE_CHECKING:
    pass


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


def unchecked(cls: Any) -> Any:
    """Return the class as something that type checkers let one do anything with."""
    return cls
