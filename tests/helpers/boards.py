"""Arrays for the tests of arrays, and what their children run; importable without pytest."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import atomic_intenum
from atomic_intenum import IntEnumArray
from helpers.crew import Bits, is_asleep
from helpers.inside import layout
from helpers.support import CALCULATING, IDLE, WorkerStatusEnum, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.connection import Connection
    from multiprocessing.queues import Queue

    from helpers.crew import Peer

ATOMIC = atomic_intenum.BACKEND != "lock"

#: Counts what must not run for a copy.
calls: list[str] = []


class Board(IntEnumArray[WorkerStatusEnum]):
    """An array as the README has it."""


class Wide(IntEnumArray[Bits]):
    """An array of an enum whose members lie as far apart as they can."""


class PlainBoard(IntEnumArray[Any]):
    """A subclass that is bound to no enum."""


class Noted(Board):
    """Has an attribute, and an __init__ of another signature."""

    def __init__(self, number: int, *, note: str) -> None:
        calls.append("Noted.__init__")
        super().__init__(number, IDLE)
        self.note = note


class Slotted(IntEnumArray[WorkerStatusEnum]):
    """Has slots alone."""

    __slots__ = ("note",)

    def __init__(self, number: int, *, note: str) -> None:
        calls.append("Slotted.__init__")
        super().__init__(number, IDLE)
        self.note = note


#: How the words lie.
SHAPES: dict[str, dict[str, Any]] = {"packed": {}, "padded": {"padded": True}}

KINDS: dict[str, Callable[[], Any]] = {
    "subclass": lambda: Board(5, IDLE),
    "subscribed": lambda: IntEnumArray[WorkerStatusEnum](5, IDLE),
    "parameterless": lambda: IntEnumArray(5, IDLE),
    "parameterless subclass": lambda: PlainBoard(5, IDLE),
    "padded": lambda: Board(5, IDLE, padded=True),
    "attributes": lambda: Noted(5, note="fast"),
    "slots": lambda: Slotted(5, note="fast"),
}


def check_kind(kind: str, array: Any) -> None:
    """Check that an array that arrived is what KINDS made."""
    expected: Any = {
        "subclass": Board,
        "subscribed": IntEnumArray[WorkerStatusEnum],
        "parameterless": IntEnumArray,
        "parameterless subclass": PlainBoard,
        "padded": Board,
        "attributes": Noted,
        "slots": Slotted,
    }[kind]
    found: Any = type(array)
    assert found is expected
    assert array.EnumType is WorkerStatusEnum
    assert array.snapshot() == [IDLE] * 5
    if kind in ("attributes", "slots"):
        assert array.note == "fast"
    assert array._atomic_segment.header.word_stride == (64 if kind == "padded" else 8)


def write_number(array: IntEnumArray[Any], index: int, number: int) -> None:
    """Write a word's value past the API, as something foreign would."""
    segment = array._atomic_segment
    offset = segment.word_offset(index)
    with segment.mapping.view() as view:
        word = int.from_bytes(view[offset : offset + 8], sys.byteorder)
        word = (word >> 32 << 32) | (number & 0xFFFF_FFFF)
        view[offset : offset + 8] = word.to_bytes(8, sys.byteorder)


def event_of(array: IntEnumArray[Any]) -> int:
    """Return the event word of the array's segment."""
    with array._atomic_segment.mapping.view() as view:
        here = view[layout.EVENT_OFFSET : layout.EVENT_OFFSET + 4]
        return int.from_bytes(here, sys.byteorder)


def is_polling() -> bool:
    """Whether a thread of this process is in a nap of the lock path."""
    return any(frame.f_code.co_name == "sleep" for frame in sys._current_frames().values())


def until_watched(array: IntEnumArray[Any], peer: Peer | None = None) -> None:
    """Wait until somebody watches the array, in a process or in a thread of this one."""
    if ATOMIC:
        until(lambda: event_of(array) & 1, "falling asleep")
    elif peer is None:
        until(is_polling, "falling asleep")
    else:
        until(lambda: is_asleep(peer.pid), "falling asleep")


# -- what children do


def take_all(arrays: dict[str, Any]) -> None:
    """Check each array and write to it, by each way of writing."""
    for kind, array in arrays.items():
        check_kind(kind, array)
        assert array.claim(IDLE, CALCULATING) == 0
        array[-1] = "CALCULATING"
        assert array.compare_and_set(1, IDLE, CALCULATING)
        with array.at(2).get_lock():
            assert array.exchange(2, CALCULATING) is IDLE
        array.at(3).set(CALCULATING)


def check_taken(arrays: Iterable[Any]) -> None:
    """Check that take_all() was here, and undo it."""
    for array in arrays:
        assert array.snapshot() == [CALCULATING] * 5
        array.fill(IDLE)


def answer_queue(incoming: Queue[Any], outgoing: Queue[Any]) -> None:
    """Claim a word of each array that comes and send it back; None ends."""
    while (array := incoming.get()) is not None:
        assert array.claim(IDLE, CALCULATING) is not None
        outgoing.put(array)


def same_lock(array: Any, value: Any) -> None:
    """Check that a value that came with its array is still on it, its lock included."""
    with value.get_lock():
        array[1] = CALCULATING
        value.set(IDLE)
    assert array.exchange(1, CALCULATING) is IDLE


def create_and_send(pipe: Connection) -> None:
    """Create an array, send it, and stay until told."""
    array = Board(3, IDLE)
    pipe.send(array)
    assert pipe.recv() == "claimed"
    assert array[0] is CALCULATING
