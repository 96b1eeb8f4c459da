"""IntEnums that override what enums are made of: a value holds the members all the same."""

from __future__ import annotations

import enum
import os
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumArray, IntEnumValue
from helpers.support import make_enum

if TYPE_CHECKING:
    from collections.abc import Iterator


class OtherInt(enum.IntEnum):
    A = 1
    B = 2

    def __int__(self) -> int:
        return 77

    def __index__(self) -> int:
        return 78


class OtherName(enum.IntEnum):
    A = 1
    B = 2

    @property
    def name(self) -> str:
        return "another"


class Numbered(enum.IntEnum):
    A = 1
    B = 2

    @property
    def name(self) -> int:  # type: ignore[override]
        return 5


class Iterating(enum.EnumMeta):
    def __iter__(cls) -> Iterator[Any]:
        return iter([])


class NotIterated(enum.IntEnum, metaclass=Iterating):
    A = 1
    B = 2


class Getting(enum.EnumMeta):
    def __getitem__(cls, name: str) -> Any:
        return 5


class NotSubscripted(enum.IntEnum, metaclass=Getting):
    A = 1
    B = 2


class EqualToAll(enum.IntEnum):
    A = 1
    B = 2

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 5


class Unhashable(enum.IntEnum):
    A = 1
    B = 2

    def __eq__(self, other: object) -> bool:
        return int.__eq__(self, other) is True

    __hash__ = None  # type: ignore[assignment]


ODD: list[Any] = [
    OtherInt, OtherName, Numbered, NotIterated, NotSubscripted, EqualToAll, Unhashable
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_holds_the_members(odd: Any) -> None:
    """Members are stored by the integers and names that they are, whatever the enum overrides."""
    status = IntEnumValue[odd]("A")
    board = IntEnumArray[odd](3, odd.A)
    assert status.load() is odd.A
    status.set(odd.B)
    assert (status.value, status.name) == (2, "B")
    assert status.exchange("A") is odd.B
    assert status.compare_and_set(odd.A, odd.B)
    assert status.wait_for(odd.B, timeout=0) is odd.B
    assert (status == 2, status == 1, status == odd.B, status == "B") == (True, False, True, True)
    board[1] = odd.B
    assert [board[i] is odd.A for i in range(3)] == [True, False, True]
    assert (board.count("A"), board.count(odd.B)) == (2, 1)


def test_counts_of_unhashable_members() -> None:
    """counts() says why it cannot count members that are no keys of a dict."""
    board = IntEnumArray[Unhashable](3, Unhashable.A)
    with pytest.raises(TypeError, match=r"Unhashable cannot be hashed; count\(member\)"):
        board.counts()


@pytest.mark.only_on("native", "cffi")
def test_mismatch_of_large_enums_is_readable() -> None:
    """Attaching another enum of thousands of members gives a message of a few lines."""
    many: Any = make_enum("Many", {f"M{i}": i for i in range(5000)})
    more: Any = make_enum("Many", {f"M{i}": i for i in range(5001)})
    name = f"many-{os.getpid()}"
    kept = IntEnumValue[many](many.M0, segment_name=name)
    with pytest.raises(TypeError, match="another enum") as raised:
        IntEnumValue[more].attach(name)
    assert len(str(raised.value)) < 1000
    kept.unlink()
