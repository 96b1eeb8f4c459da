"""Ways to write a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from helpers.support import (
    IDLE,
    WorkerStatus,
)

if TYPE_CHECKING:
    from collections.abc import Callable


WRITES: list[Callable[[WorkerStatus, Any], object]] = [
    lambda status, new: status.set(new),
    lambda status, new: setattr(status, "value", new),
    lambda status, new: status.exchange(new),
    lambda status, new: status.compare_and_set(IDLE, new),
    lambda status, new: status.update(lambda _: new),
]


WRITE_NAMES = ["set", "value", "exchange", "compare_and_set", "update"]
