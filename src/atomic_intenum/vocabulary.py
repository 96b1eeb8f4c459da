"""What an IntEnum's members are: value to member to name."""

from __future__ import annotations

import json
from enum import EnumType, IntEnum
from typing import Any, NoReturn

from .errors import class_name, show

_INT32 = range(-(2**31), 2**31)


def _number_of(member: int) -> int:
    """Return the integer that a member is, whatever its class has for an ``__int__``."""
    return int.__add__(member, 0)  # not int.__index__: PyPy's asks the class


def is_int_enum(candidate: object) -> bool:
    """Tell whether this is a class of IntEnum; IntFlag and ``(int, Enum)`` are not."""
    return isinstance(candidate, EnumType) and issubclass(candidate, IntEnum)


class Vocabulary:
    """The members of one IntEnum.

    Attributes:
        enum: the IntEnum.
        text: its name and members, as JSON; what a segment carries, so that a tool can print names
            without importing the program.
        table: the backend's own form of it.
        pools: where values without a segment of their own get their words, by their on_death.

    Raises:
        OverflowError: a member does not fit a signed 32-bit integer.
        TypeError: two members are the same integer.

    """

    def __init__(self, enum: type[IntEnum]) -> None:
        self.enum = enum
        #: With aliases.  Not by iterating or subscripting: the metaclass may override that.
        self._by_name: dict[str, IntEnum] = dict(enum.__members__)
        self._by_number: dict[int, IntEnum] = {}  # no get(): python_bound.Lookup says why
        for member in self._by_name.values():
            number = _number_of(member)
            if number not in _INT32:
                message = f"{class_name(enum)}.{member._name_} = {number} does not fit 32 bits"
                raise OverflowError(message)
            other = self._by_number.setdefault(number, member)
            if other is not member:
                message = (
                    f"{class_name(enum)}.{member._name_} and .{other._name_} are both {number}"
                )
                raise TypeError(message)
        #: What the backend makes its table of: members, their names and numbers.
        self.entries = tuple(
            (member, member._name_, number) for number, member in self._by_number.items()
        )
        members = {name: number for _, name, number in self.entries}
        self.text = json.dumps({"enum": enum.__name__, "members": members}).encode("ascii")
        self.table: Any = None
        self.pools: dict[Any, Any] = {}

    def number_of_member(self, value: object) -> int | None:
        """Return the number of a member; None if it is none: int.__new__ may have made it."""
        if not isinstance(value, self.enum):
            return None
        number = _number_of(value)
        return number if self.has(number) and self._by_number[number] is value else None

    def number_of(self, name: str) -> int:
        """Return the value of the member of that name, aliases included; KeyError if none."""
        try:
            return _number_of(self._by_name[name])
        except KeyError:
            import difflib  # noqa: PLC0415 - nobody else needs it

            close = difflib.get_close_matches(name, self._by_name, 1)
            names = [*self._by_name]
            some = ", ".join([*names[:8], "..."] if len(names) > 8 else names)
            meant = f"did you mean {close[0]!r}?" if close else f"it has {some}"
            message = f"{class_name(self.enum)} has no member {name!r}: {meant}"
            raise KeyError(message) from None

    def number_to_write(self, value: object) -> int:
        """Return the number of a member or of a name; TypeError or KeyError if it is neither."""
        if isinstance(value, str):
            return self.number_of(value)
        number = self.number_of_member(value)
        return self.refuse(value) if number is None else number

    def member_of(self, number: int) -> IntEnum:
        """Return the member of that value; ValueError if none."""
        return self._by_number[number] if self.has(number) else self.refuse_number(number)

    def check_number(self, number: object) -> int:
        """Return what an overridden to_value() gave, if it is a member's value."""
        if not isinstance(number, int):
            message = f"to_value() must return an int, not {class_name(type(number))}"
            raise TypeError(message)
        plain = _number_of(number)
        return plain if plain in self._by_number else self.refuse_number(plain)

    def has(self, number: int) -> bool:
        """Tell whether a member has that value."""
        return number in self._by_number

    def refuse_number(self, number: int) -> NoReturn:
        """Raise ValueError: no member has this value."""
        message = f"{number} is not a valid {class_name(self.enum)}"
        raise ValueError(message)

    def refuse(self, value: object) -> NoReturn:
        """Raise TypeError: only members and names can be written."""
        wanted, given = class_name(self.enum), class_name(type(value))
        message = f"expected a member of {wanted} or its name, not {show(value)} of {given}"
        if isinstance(value, float):
            message += "; a wait takes its seconds as timeout="
        raise TypeError(message + self._namesake(type(value)))

    def refuse_as_keys(self) -> NoReturn:
        """Raise TypeError: the members cannot be the keys of a dict."""
        message = (
            f"counts() makes a dict, and the members of {class_name(self.enum)} cannot be hashed; "
            f"count(member) counts one of them"
        )
        raise TypeError(message)

    def refuse_comparison(self, other: type) -> NoReturn:
        """Raise TypeError: the two are not comparable."""
        message = f"cannot compare {class_name(self.enum)} to {class_name(other)}"
        raise TypeError(message + self._namesake(other))

    def _namesake(self, other: type) -> str:
        """Return what a message adds where two classes have one name."""
        if class_name(other) != class_name(self.enum):
            return ""
        return ": they are two classes of one name (a module or notebook cell that ran twice?)"
