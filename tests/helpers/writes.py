"""Each way to write a value, for the tests of locks and of waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from helpers.crew import Bits, Status

if TYPE_CHECKING:
    from collections.abc import Callable


def set_value(value: Status) -> None:
    """Write through the property."""
    value.value = Bits.RIGHT


#: Each way to write RIGHT over LEFT.
WRITES: dict[str, Callable[[Status], object]] = {
    "set": lambda value: value.set(Bits.RIGHT),
    "exchange": lambda value: value.exchange(Bits.RIGHT),
    "compare_and_set": lambda value: value.compare_and_set(Bits.LEFT, Bits.RIGHT),
    "update": lambda value: value.update(lambda _: Bits.RIGHT),
    "value": set_value,
}


by_each_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
