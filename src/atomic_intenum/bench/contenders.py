"""What is measured: each operation, as the floor, the rival and this package do it.

The floor is what the interpreter itself charges for reaching compiled code that does next to
nothing, by the same kind of call.  The rival is ``multiprocessing.Value("i")``, the way its
documentation shows it: it holds ints, and is given ints.
"""

from __future__ import annotations

import multiprocessing
from enum import IntEnum
from typing import Any, NamedTuple

from ..value import IntEnumValue
from .timing import Statement

__all__ = ["OPERATIONS", "Operation", "Status", "WorkerStatus", "names"]


class Status(IntEnum):
    """What a worker is doing."""

    UNAVAILABLE = 0
    IDLE = 1
    BUSY = 2


class WorkerStatus(IntEnumValue[Status]):
    """What a user of this package writes."""


class Operation(NamedTuple):
    """One line of the table.

    Attributes:
        name: as the table has it.
        floor: a builtin that does next to nothing.
        rival: by multiprocessing.Value.
        ours: by IntEnumValue.

    """

    name: str
    floor: Statement
    rival: Statement
    ours: Statement


# Both ways, so that each one finds what it expects.
_TOGGLE_RIVAL = """\
with value.get_lock():
    if value.value == 1:
        value.value = 2
with value.get_lock():
    if value.value == 2:
        value.value = 1"""
_TOGGLE_OURS = "status.compare_and_set(IDLE, BUSY)\nstatus.compare_and_set(BUSY, IDLE)"

OPERATIONS = [
    Operation(
        "read the member",
        Statement("one.conjugate()"),
        Statement("Enum(value.value)"),
        Statement("status.load()"),
    ),
    Operation(
        "read .value",
        Statement("one.real"),
        Statement("value.value"),
        Statement("status.value"),
    ),
    Operation(
        "read .name",
        Statement("one.real"),
        Statement("Enum(value.value).name"),
        Statement("status.name"),
    ),
    Operation(
        "== member",
        Statement("anything == anything"),
        Statement("value.value == IDLE"),
        Statement("status == IDLE"),
    ),
    Operation(
        "set",
        Statement("empty.get(one)"),
        Statement("value.value = 1"),
        Statement("status.set(IDLE)"),
    ),
    Operation(
        "compare and set",
        Statement("empty.pop(one, one)"),
        Statement(_TOGGLE_RIVAL, 2, "value.value = 1"),
        Statement(
            _TOGGLE_OURS,
            2,
            "status.set(IDLE)",
            "status.compare_and_set(IDLE, BUSY) and status.compare_and_set(BUSY, IDLE)",
        ),
    ),
    Operation(
        "create",
        Statement("keep(Anything())", before="kept.clear()"),
        Statement('keep(Value("i", 1))', before="kept.clear()"),
        Statement("keep(WorkerStatus(IDLE))", before="kept.clear()"),
    ),
]


def names() -> dict[str, Any]:
    """Return the objects that the statements use."""
    kept: list[object] = []
    return {
        "Anything": object,
        "Enum": Status,
        "IDLE": Status.IDLE,
        "BUSY": Status.BUSY,
        "Value": multiprocessing.Value,
        "WorkerStatus": WorkerStatus,
        "anything": object(),
        "empty": {},
        "kept": kept,
        "keep": kept.append,
        "one": 1,
        "status": WorkerStatus(Status.IDLE),
        "value": multiprocessing.Value("i", Status.IDLE),
    }
