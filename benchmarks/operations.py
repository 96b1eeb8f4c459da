"""What is measured: each operation, as each contender does it best.

The floors are what CPython itself charges for reaching C code that does next to nothing, by the
same kind of call: a builtin getter, or an empty method with as many arguments.

The rivals, each at its best fair use:

- ``multiprocessing.Value("i")``, the way its documentation shows it. Where several steps have to be
  one, also with the lock and the plain ctypes object behind it looked up beforehand ("hoisted"),
  which few programs do.
- ``multiprocessing.Value("i", lock=False)``. Where several steps have to be one, it merely loses
  updates ("races"): it is a lower bound there, not an alternative.
- ``multiprocessing_intenum``, the original that this package is a drop-in for.
- ``atomicshm``, atomic words without enums: bare ints are read and written, and shared memory is
  the user's own affair.

Ints are written to those who hold ints, and members to those who hold members. Where a member is
read, those who hold ints pay for making one. Our methods are called on a subclass, as users do.
"""

from __future__ import annotations

import multiprocessing
import pickle
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import IntEnum
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING, Any

import machine
from timing import Statement

import atomic_intenum
from atomic_intenum import IntEnumValue

if TYPE_CHECKING:
    from collections.abc import Callable

with suppress(ImportError):
    import atomicshm
with suppress(ImportError):
    import multiprocessing_intenum


class WorkerStatusEnum(IntEnum):
    """The enum of the original's own examples."""

    UNAVAILABLE = 0
    IDLE = 1
    CALCULATING = 2


class WorkerStatus(IntEnumValue[WorkerStatusEnum]):
    """What a user of this package writes."""


if machine.version("multiprocessing-intenum"):

    class OriginalStatus(multiprocessing_intenum.IntEnumValue[WorkerStatusEnum]):
        """What a user of the original writes."""


IDLE, BUSY = WorkerStatusEnum.IDLE, WorkerStatusEnum.CALCULATING


@dataclass(frozen=True)
class Contender:
    """Who is compared.

    Attributes:
        label: its name in the tables.
        make: returns the objects that its statements use; on the stack goes what to clean up.
        distribution: what has to be installed for it.

    """

    label: str
    make: Callable[[ExitStack], dict[str, Any]]
    distribution: str | None = None

    @property
    def absence(self) -> str | None:
        """Why it can't take part; None if it can."""
        if self.distribution is None or machine.version(self.distribution):
            return None
        return f"MISSING: {self.distribution} is not installed: {machine.HOW_TO_INSTALL}"


def _floor(_: ExitStack) -> dict[str, Any]:
    return {
        "one": 1,
        "empty": {},
        "anything": object(),
        "make": object,
    }


def _locked(_: ExitStack) -> dict[str, Any]:
    value = multiprocessing.Value("i", IDLE)
    return {
        "value": value,
        "lock": value.get_lock(),
        "plain": value.get_obj(),
        "make": multiprocessing.Value,
    }


def _unlocked(_: ExitStack) -> dict[str, Any]:
    return {"value": multiprocessing.Value("i", IDLE, lock=False), "make": multiprocessing.Value}


def _original(_: ExitStack) -> dict[str, Any]:
    original = OriginalStatus(IDLE)
    return {"original": original, "lock": original.get_lock(), "make": OriginalStatus}


def _atomicshm(stack: ExitStack) -> dict[str, Any]:
    memory = SharedMemory(create=True, size=4096)
    stack.callback(memory.unlink)
    stack.callback(memory.close)
    view = stack.enter_context(atomicshm.AtomicView(memory.buf))
    cell = view.cell_u32(0)
    cell.store(IDLE)
    return {"cell": cell, "make": view.cell_u32}


def _shared_memory(stack: ExitStack) -> dict[str, Any]:
    memory = SharedMemory(create=True, size=4096)
    stack.callback(memory.unlink)
    stack.callback(memory.close)
    return {"memory": memory}


def _ours(stack: ExitStack) -> dict[str, Any]:
    status = WorkerStatus(IDLE)
    stack.callback(status.close)
    return {"status": status, "lock": status.get_lock(), "make": WorkerStatus}


FLOOR = Contender("floor", _floor)
LOCKED = Contender("multiprocessing.Value", _locked)
HOISTED = Contender("multiprocessing.Value, hoisted", _locked)
UNLOCKED = Contender("multiprocessing.Value, lock=False", _unlocked)
RACES = Contender("multiprocessing.Value, lock=False, races", _unlocked)
ORIGINAL = Contender("the original", _original, "multiprocessing-intenum")
ATOMICSHM = Contender("atomicshm", _atomicshm, "atomicshm")
SHARED_MEMORY = Contender("SharedMemory", _shared_memory)
OURS = Contender(f"atomic_intenum {atomic_intenum.BACKEND}", _ours)


def names_of(contender: Contender, stack: ExitStack) -> dict[str, Any]:
    """Return the objects that a contender's statements use."""
    kept: list[Any] = []
    return {
        "Enum": WorkerStatusEnum,
        "IDLE": IDLE,
        "BUSY": BUSY,
        "advance": {IDLE: BUSY, BUSY: IDLE}.__getitem__,
        "dumps": pickle.dumps,
        "loads": pickle.loads,
        "kept": kept,
        "keep": kept.append,
        **contender.make(stack),
    }


# Both ways, so that every one of them finds what it expects.
_TOGGLE_CELL = "cell.cas(1, 2)\ncell.cas(2, 1)"
_TOGGLE_OURS = "status.compare_and_set(IDLE, BUSY)\nstatus.compare_and_set(BUSY, IDLE)"
_TOGGLE_LOCKED = """\
with value.get_lock():
    if value.value == 1:
        value.value = 2
with value.get_lock():
    if value.value == 2:
        value.value = 1"""
_TOGGLE_HOISTED = """\
with lock:
    if plain.value == 1:
        plain.value = 2
with lock:
    if plain.value == 2:
        plain.value = 1"""
_TOGGLE_UNLOCKED = """\
if value.value == 1:
    value.value = 2
if value.value == 2:
    value.value = 1"""
_TOGGLE_ORIGINAL = """\
with original.get_lock():
    if original == IDLE:
        original.set(BUSY)
with original.get_lock():
    if original == BUSY:
        original.set(IDLE)"""

#: By operation and contender, in the order of the tables.
OPERATIONS: dict[str, dict[Contender, Statement]] = {
    "load": {
        FLOOR: Statement("one.conjugate()"),
        LOCKED: Statement("Enum(value.value)"),
        UNLOCKED: Statement("Enum(value.value)"),
        ORIGINAL: Statement("Enum(original.value)"),
        ATOMICSHM: Statement("cell.load()"),  # a bare int
        OURS: Statement("status.load()"),
    },
    "value": {
        FLOOR: Statement("one.real"),
        LOCKED: Statement("value.value"),
        UNLOCKED: Statement("value.value"),
        ORIGINAL: Statement("original.value"),
        ATOMICSHM: Statement("cell.load()"),
        OURS: Statement("status.value"),
    },
    "name": {
        FLOOR: Statement("one.real"),
        LOCKED: Statement("Enum(value.value).name"),
        UNLOCKED: Statement("Enum(value.value).name"),
        ORIGINAL: Statement("original.name"),
        ATOMICSHM: Statement("Enum(cell.load()).name"),
        OURS: Statement("status.name"),
    },
    "set": {
        FLOOR: Statement("empty.get(one)"),
        LOCKED: Statement("value.value = 1"),
        UNLOCKED: Statement("value.value = 1"),
        ORIGINAL: Statement("original.set(IDLE)"),
        ATOMICSHM: Statement("cell.store(1)"),
        OURS: Statement("status.set(IDLE)"),
    },
    "exchange": {
        FLOOR: Statement("empty.get(one)"),
        LOCKED: Statement("with value.get_lock():\n    Enum(value.value)\n    value.value = 1"),
        HOISTED: Statement("with lock:\n    Enum(plain.value)\n    plain.value = 1"),
        RACES: Statement("Enum(value.value)\nvalue.value = 1"),
        ORIGINAL: Statement(
            "with original.get_lock():\n    Enum(original.value)\n    original.set(IDLE)"
        ),
        ATOMICSHM: Statement("cell.exchange(1)"),  # a bare int
        OURS: Statement("status.exchange(IDLE)"),
    },
    "compare_and_set": {
        FLOOR: Statement("empty.pop(one, one)"),
        LOCKED: Statement(_TOGGLE_LOCKED, 2, "value.value = 1"),
        HOISTED: Statement(_TOGGLE_HOISTED, 2, "plain.value = 1"),
        RACES: Statement(_TOGGLE_UNLOCKED, 2, "value.value = 1"),
        ORIGINAL: Statement(_TOGGLE_ORIGINAL, 2, "original.set(IDLE)"),
        ATOMICSHM: Statement(
            _TOGGLE_CELL, 2, "cell.store(1)", "cell.cas(1, 2) == 1 and cell.cas(2, 1) == 2"
        ),
        OURS: Statement(
            _TOGGLE_OURS,
            2,
            "status.set(IDLE)",
            "status.compare_and_set(IDLE, BUSY) and status.compare_and_set(BUSY, IDLE)",
        ),
    },
    "compare_and_set, no match": {
        FLOOR: Statement("empty.pop(one, one)"),
        LOCKED: Statement(
            "with value.get_lock():\n    if value.value == 2:\n        value.value = 1",
            before="value.value = 1",
        ),
        HOISTED: Statement(
            "with lock:\n    if plain.value == 2:\n        plain.value = 1",
            before="plain.value = 1",
        ),
        RACES: Statement("if value.value == 2:\n    value.value = 1", before="value.value = 1"),
        ORIGINAL: Statement(
            "with original.get_lock():\n    if original == BUSY:\n        original.set(IDLE)",
            before="original.set(IDLE)",
        ),
        ATOMICSHM: Statement("cell.cas(2, 1)", 1, "cell.store(1)", "cell.cas(2, 1) == 1"),
        OURS: Statement(
            "status.compare_and_set(BUSY, IDLE)",
            1,
            "status.set(IDLE)",
            "not status.compare_and_set(BUSY, IDLE)",
        ),
    },
    "== member": {
        FLOOR: Statement("anything == anything"),
        LOCKED: Statement("value.value == IDLE"),
        UNLOCKED: Statement("value.value == IDLE"),
        ORIGINAL: Statement("original == IDLE"),
        ATOMICSHM: Statement("cell.load() == IDLE"),
        OURS: Statement("status == IDLE"),
    },
    "version": {  # the others count no writes
        FLOOR: Statement("one.real"),
        OURS: Statement("status.version"),
    },
    "create": {  # and keep: what is dropped is dropped outside of the time
        FLOOR: Statement("keep(make())", before="kept.clear()"),
        LOCKED: Statement('keep(make("i", 1))', before="kept.clear()"),
        UNLOCKED: Statement('keep(make("i", 1, lock=False))', before="kept.clear()"),
        ORIGINAL: Statement("keep(make(IDLE))", before="kept.clear()"),
        # In memory that is there already: it has no allocator, the caller keeps the books.
        ATOMICSHM: Statement("keep(make(0))", before="kept.clear()"),
        OURS: Statement("keep(make(IDLE))", before="kept.clear()"),
    },
    "with get_lock()": {
        FLOOR: Statement("one.conjugate()\none.conjugate()"),
        LOCKED: Statement("with value.get_lock():\n    pass"),
        ORIGINAL: Statement("with original.get_lock():\n    pass"),
        OURS: Statement("with status.get_lock():\n    pass"),
    },
    "acquire, release": {
        FLOOR: Statement("one.conjugate()\none.conjugate()"),
        LOCKED: Statement("lock.acquire()\nlock.release()"),
        ORIGINAL: Statement("lock.acquire()\nlock.release()"),
        OURS: Statement("lock.acquire()\nlock.release()"),
    },
    "update": {
        FLOOR: Statement("advance(IDLE)"),
        LOCKED: Statement("with value.get_lock():\n    value.value = advance(Enum(value.value))"),
        HOISTED: Statement("with lock:\n    plain.value = advance(Enum(plain.value))"),
        RACES: Statement("value.value = advance(Enum(value.value))"),
        ORIGINAL: Statement(
            "with original.get_lock():\n    original.set(advance(Enum(original.value)))"
        ),
        ATOMICSHM: Statement(
            "while True:\n"
            "    old = cell.load()\n"
            "    if cell.cas(old, advance(Enum(old))) == old:\n"
            "        break"
        ),
        OURS: Statement("status.update(advance)"),
    },
    "pickle": {  # there and back
        FLOOR: Statement("loads(dumps(IDLE))"),
        SHARED_MEMORY: Statement("loads(dumps(memory)).close()"),
        OURS: Statement("loads(dumps(status))"),
    },
}

#: Who can't do an operation at all, and is named in its table for it.
CANNOT: dict[tuple[str, Contender], str] = {
    ("pickle", LOCKED): "multiprocessing.Value can be pickled only as a process starts",
    ("pickle", ORIGINAL): "the original can be pickled only as a process starts",
    ("pickle", ATOMICSHM): "atomicshm's objects can't be pickled",
    ("version", LOCKED): "multiprocessing.Value counts no writes",
    ("version", ORIGINAL): "the original counts no writes",
    ("version", ATOMICSHM): "atomicshm counts no writes",
}
if atomic_intenum.BACKEND == "lock":
    CANNOT["pickle", OURS] = (
        "on the lock-based path a value can be pickled only as a process starts"
    )
