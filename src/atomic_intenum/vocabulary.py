"""What an IntEnum's members are: value to member to name, and a fingerprint of them all."""

from __future__ import annotations

import hashlib
import json
from enum import EnumType, IntEnum
from typing import Any, NoReturn

from .errors import class_name, show, type_name

_INT32 = range(-(2**31), 2**31)


def is_int_enum(candidate: object) -> bool:
    """Tell whether this is a class of IntEnum; IntFlag and ``(int, Enum)`` are not."""
    return isinstance(candidate, EnumType) and issubclass(candidate, IntEnum)


class Vocabulary:
    """The members of one IntEnum.

    Attributes:
        enum: the IntEnum.
        text: its name and members, as JSON; what a segment carries, so that a tool can print names
            without importing the program.
        fingerprint: 64 bits of a hash of the text.
        table: the backend's own form of it.
        pool: where values without a segment of their own get their words.

    Raises:
        OverflowError: a member does not fit a signed 32-bit integer.
        TypeError: two members are the same integer.

    """

    __slots__ = ("__weakref__", "_names", "entries", "enum", "fingerprint", "pool", "table", "text")

    def __init__(self, enum: type[IntEnum]) -> None:
        self.enum = enum
        numbers: dict[int, IntEnum] = {}
        for member in enum:
            number = int(member)
            if number not in _INT32:
                message = f"{class_name(enum)}.{member.name} = {number} does not fit 32 bits"
                raise OverflowError(message)
            if number in numbers:
                other = numbers[number].name
                message = f"{class_name(enum)}.{member.name} and .{other} are both {number}"
                raise TypeError(message)
            numbers[number] = member
        self._names = {number: member.name for number, member in numbers.items()}
        members = {name: number for number, name in self._names.items()}
        self.text = json.dumps({"enum": enum.__name__, "members": members}).encode("ascii")
        digest = hashlib.blake2b(self.text, digest_size=8).digest()
        self.fingerprint = int.from_bytes(digest, "little")
        self.entries = tuple((member, member.name, number) for number, member in numbers.items())
        self.table: Any = None
        self.pool: Any = None

    def __contains__(self, member: IntEnum) -> bool:
        """Tell whether this object is a member: not one that int.__new__ made up."""
        name = self._names.get(int(member))
        return name is not None and self.enum[name] is member

    def number_of(self, name: str) -> int:
        """Return the value of the member of that name, aliases included; KeyError if none."""
        try:
            return int(self.enum[name])
        except KeyError:
            message = f"{class_name(self.enum)} has no member {name!r}"
            raise KeyError(message) from None

    def name_of(self, number: int) -> str:
        """Return the name of the member of that value; ValueError if none."""
        name = self._names.get(number)
        return self.refuse_number(number) if name is None else name

    def member_of(self, number: int) -> IntEnum:
        """Return the member of that value; ValueError if none."""
        return self.enum[self.name_of(number)]

    def check_number(self, number: object) -> int:
        """Return what an overridden to_value() gave, if it is a member's value."""
        if not isinstance(number, int):
            message = f"to_value() must return an int, not {type_name(number)}"
            raise TypeError(message)
        return int(number) if number in self._names else self.refuse_number(int(number))

    def refuse_number(self, number: int) -> NoReturn:
        """Raise ValueError: no member has this value."""
        message = f"{number} is not a valid {class_name(self.enum)}"
        raise ValueError(message)

    def refuse(self, value: object) -> NoReturn:
        """Raise TypeError: only members and names can be written."""
        wanted, given = class_name(self.enum), type_name(value)
        message = f"expected a member of {wanted} or its name, not {show(value)} of {given}"
        raise TypeError(message)

    def refuse_comparison(self, other: type) -> NoReturn:
        """Raise TypeError: the two are not comparable."""
        message = f"cannot compare {class_name(self.enum)} to {class_name(other)}"
        raise TypeError(message)
