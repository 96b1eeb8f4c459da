"""What the children of the sharing tests run and share; importable without pytest."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from atomic_intenum import IntEnumValue
from helpers.support import CALCULATING, IDLE, UNAVAILABLE, Plain, WorkerStatus, WorkerStatusEnum

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.queues import Queue

#: Counts what must not run for a copy.
calls: list[str] = []


class Noted(WorkerStatus):
    """Has an attribute, and an __init__ of another signature."""

    def __init__(self, number: int, *, note: str) -> None:
        calls.append("Noted.__init__")
        super().__init__(IDLE)
        self.number = number
        self.note = note


class Slotted(IntEnumValue[WorkerStatusEnum]):
    """Has slots alone."""

    __slots__ = ("note", "number")

    def __init__(self, number: int, *, note: str) -> None:
        calls.append("Slotted.__init__")
        super().__init__(IDLE)
        self.number = number
        self.note = note


class Mixed(Slotted):
    """Has slots and attributes."""

    def __init__(self, number: int, *, note: str) -> None:
        super().__init__(number, note=note)
        self.extra = [number]


class Stateful(WorkerStatus):
    """Says by itself what is pickled of it."""

    def __init__(self, number: int, *, note: str) -> None:
        calls.append("Stateful.__init__")
        super().__init__(IDLE)
        self.number = number
        self.note = note
        self.guard = threading.Lock()  # cannot be pickled

    def __getstate__(self) -> dict[str, Any]:
        return {"number": self.number, "note": self.note}

    def __setstate__(self, state: dict[str, Any]) -> None:
        calls.append("Stateful.__setstate__")
        vars(self).update(state)
        self.guard = threading.Lock()


class Half(Stateful):
    """Has no __setstate__ of its own to receive what __getstate__ gives."""

    __setstate__ = None  # type: ignore[assignment]


KINDS: dict[str, Any] = {
    "subclass": lambda: WorkerStatus(IDLE),
    "subscribed": lambda: IntEnumValue[WorkerStatusEnum](IDLE),
    "parameterless": lambda: IntEnumValue(IDLE),
    "parameterless subclass": lambda: Plain(IDLE),
    "attributes": lambda: Noted(7, note="fast"),
    "slots": lambda: Slotted(7, note="fast"),
    "slots and attributes": lambda: Mixed(7, note="fast"),
    "own state": lambda: Stateful(7, note="fast"),
}


def check_kind(kind: str, value: Any) -> None:
    """Check that a value that arrived is what KINDS made."""
    expected: Any = {
        "subclass": WorkerStatus,
        "subscribed": IntEnumValue[WorkerStatusEnum],
        "parameterless": IntEnumValue,
        "parameterless subclass": Plain,
        "attributes": Noted,
        "slots": Slotted,
        "slots and attributes": Mixed,
        "own state": Stateful,
    }[kind]
    found: Any = type(value)
    assert found is expected
    assert value.EnumType is WorkerStatusEnum
    assert value.load() is IDLE
    if kind in ("attributes", "slots", "slots and attributes", "own state"):
        assert (value.number, value.note) == (7, "fast")
    if kind == "slots and attributes":
        assert value.extra == [7]
    if kind == "own state":
        assert value.guard.acquire(blocking=False)


def claim_all(values: dict[str, Any]) -> None:
    """Check each value and claim it; refuse locks that the parent holds."""
    for kind, value in values.items():
        check_kind(kind, value)
        assert value.compare_and_set(IDLE, CALCULATING)
        assert not value.compare_and_set(IDLE, UNAVAILABLE)
        with value.get_lock():
            value.set(UNAVAILABLE)


def ping_pong(pipe: Connection, value: WorkerStatus, rounds: int) -> None:
    """Answer each IDLE by CALCULATING, told and telling through the pipe."""
    for _ in range(rounds):
        assert pipe.recv() == "yours"
        assert value.compare_and_set(IDLE, CALCULATING)
        pipe.send("mine")


def step_many(value: IntEnumValue[Any], times: int) -> None:
    """Step around the ring of members."""
    count = len(value.EnumType)
    for _ in range(times):
        value.update(lambda member: type(member)((member + 1) % count))


def try_lock(value: WorkerStatus) -> None:
    """Exit with 0 if somebody else holds the lock."""
    sys.exit(int(value.get_lock().acquire(block=False)))


def same(value: Any) -> Any:
    """Return what was given."""
    return value


def claim_and_return(value: WorkerStatus) -> WorkerStatus:
    """Claim a value and send it back."""
    assert value.compare_and_set(IDLE, CALCULATING)
    return value


inherited: Any = None


def initialize(value: WorkerStatus) -> None:
    """Keep a value that a pool's initializer was given."""
    global inherited
    inherited = value


def claim_inherited(_: int) -> bool:
    """Claim the value that the initializer was given."""
    return bool(inherited.compare_and_set(IDLE, CALCULATING))


def answer_queue(incoming: Queue[Any], outgoing: Queue[Any]) -> None:
    """Claim each value that comes and send it back; None ends."""
    while (value := incoming.get()) is not None:
        assert value.compare_and_set(IDLE, CALCULATING)
        outgoing.put(value)


def create_and_send(pipe: Connection) -> None:
    """Create a value, send it, and stay until told."""
    value = WorkerStatus(IDLE)
    pipe.send((value, value._atomic_segment.name))
    assert pipe.recv() == "claimed"
    assert value.load() is CALCULATING


def create_only(pipe: Connection) -> None:
    """Create values and say in which segments they are."""
    values = [WorkerStatus(IDLE) for _ in range(20)]
    pipe.send({value._atomic_segment.name for value in values})
    assert pipe.recv() == "go"


def own_and_inherited(pipe: Connection, value: WorkerStatus) -> None:
    """Use the parent's value beside one of this child's own."""
    own = WorkerStatus(CALCULATING)
    value.set(UNAVAILABLE)
    assert own.load() is CALCULATING
    pipe.send(own._atomic_segment.name == value._atomic_segment.name)
