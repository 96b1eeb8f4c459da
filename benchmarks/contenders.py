"""Who is compared, and the objects that each one's statements use.

The floors are what CPython itself charges for reaching C code that does next to nothing, by the
same kind of call: a builtin getter, or an empty method with as many arguments.

The rivals, each at its best fair use:

- ``multiprocessing.Value("i")``, the way its documentation shows it. Where several steps have to be
  one, also with the lock and the plain ctypes object behind it looked up beforehand ("hoisted"),
  which few programs do.
- ``multiprocessing.Value("i", lock=False)``. Where several steps have to be one, it merely loses
  updates ("races"): it is a lower bound there, not an alternative.
- ``multiprocessing.RLock``, which is the lock of a ``multiprocessing.Value`` and of the original.
- ``multiprocessing_intenum``, the original that this package is a drop-in for.
- ``atomicshm``, atomic words without enums: bare ints are read and written, and shared memory is
  the user's own affair.
- For the statuses of many workers: a list of ``multiprocessing.Value``, and numpy on a plain
  array of int32, which is no more than the memory: not atomic, not shared.
- For one of an array's words: ``multiprocessing.Array``, and a value of this package ("a value").

Ints are written to those who hold ints, and members to those who hold members. Where a member is
read, those who hold ints pay for making one. Our methods are called on a subclass, as users do.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import signal
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import IntEnum
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING, Any

import machine

import atomic_intenum
from atomic_intenum import IntEnumArray, IntEnumValue

if TYPE_CHECKING:
    from collections.abc import Callable

with suppress(ImportError):
    import atomicshm
with suppress(ImportError):
    import multiprocessing_intenum
with suppress(ImportError):
    import numpy as np


class WorkerStatusEnum(IntEnum):
    """The enum of the original's own examples."""

    UNAVAILABLE = 0
    IDLE = 1
    CALCULATING = 2


class WorkerStatus(IntEnumValue[WorkerStatusEnum]):
    """What a user of this package writes."""


class Board(IntEnumArray[WorkerStatusEnum]):
    """The statuses of many workers, as a user of this package writes it."""


if machine.version("multiprocessing-intenum"):

    class OriginalStatus(multiprocessing_intenum.IntEnumValue[WorkerStatusEnum]):  # type: ignore[misc]
        """What a user of the original writes."""


IDLE, BUSY = WorkerStatusEnum.IDLE, WorkerStatusEnum.CALCULATING
MEMBERS = list(WorkerStatusEnum)
#: Statuses of "counts", and of "recover", among which there are so many owners.
MANY, OWNERS = 10_000, 64
#: More than are claimed in one timing.
JOBS = 50_000


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
        "raw": bytearray(64),
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


def _rlock(_: ExitStack) -> dict[str, Any]:
    return {"lock": multiprocessing.RLock()}


def _locked_array(_: ExitStack) -> dict[str, Any]:
    return {"array": multiprocessing.Array("i", [IDLE] * 64)}


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
    return {"memory": memory, "Memory": SharedMemory, "name": memory.name}


def statuses(count: int) -> list[WorkerStatusEnum]:
    """Return members in an order that no branch predictor learns, the same each time."""
    return random.Random(1).choices(MEMBERS, k=count)


def _plain_list(_: ExitStack) -> dict[str, Any]:
    return {"plain": statuses(MANY), "members": MEMBERS}


def _locked_values(_: ExitStack) -> dict[str, Any]:
    return {"values": [multiprocessing.Value("i", status) for status in statuses(MANY)]}


def _numpy(_: ExitStack) -> dict[str, Any]:
    return {"int32s": np.array(statuses(MANY), dtype=np.int32)}


def _ours_many(stack: ExitStack) -> dict[str, Any]:
    board = Board(MANY, IDLE)
    stack.callback(board.close)
    for index, status in enumerate(statuses(MANY)):
        board[index] = status
    return {"board": board}


def _jobs(stack: ExitStack, **more: Any) -> dict[str, Any]:
    jobs = Board(JOBS, IDLE, **more)
    stack.callback(jobs.close)
    return {"jobs": jobs}


def _owned_jobs(stack: ExitStack) -> dict[str, Any]:
    return _jobs(stack, on_death={BUSY: IDLE})


def _owners(stack: ExitStack) -> dict[str, Any]:
    board = Board(MANY, IDLE, on_death={BUSY: IDLE})
    stack.callback(board.close)
    ready, done = os.pipe()
    stack.callback(os.close, ready)
    owners = [_owner(board, done) for _ in range(OWNERS)]
    for owner in owners:
        stack.callback(os.waitpid, owner, 0)
        stack.callback(os.kill, owner, signal.SIGKILL)
    os.close(done)
    for _ in owners:
        os.read(ready, 1)
    return {"board": board}


def _owner(board: Board, done: int) -> int:
    """Start a process that owns a few words until it is killed."""
    pid = os.fork()
    if pid == 0:
        for _ in range(20):
            board.claim(IDLE, BUSY)
        os.write(done, b".")
        signal.pause()
        os._exit(1)
    return pid


def _ours(stack: ExitStack) -> dict[str, Any]:
    status = WorkerStatus(IDLE)
    stack.callback(status.close)
    return {"status": status, "lock": status.get_lock(), "make": WorkerStatus}


def _ours_named(stack: ExitStack) -> dict[str, Any]:
    name = f"bench-{os.getpid()}"
    status = WorkerStatus(IDLE, segment_name=name)
    stack.callback(status.unlink)
    return {"attach": WorkerStatus.attach, "name": name}


FLOOR = Contender("floor", _floor)
LOCKED = Contender("multiprocessing.Value", _locked)
HOISTED = Contender("multiprocessing.Value, hoisted", _locked)
UNLOCKED = Contender("multiprocessing.Value, lock=False", _unlocked)
RACES = Contender("multiprocessing.Value, lock=False, races", _unlocked)
RLOCK = Contender("multiprocessing.RLock", _rlock)
LOCKED_ARRAY = Contender("multiprocessing.Array", _locked_array)
ORIGINAL = Contender("the original", _original, "multiprocessing-intenum")
ATOMICSHM = Contender("atomicshm", _atomicshm, "atomicshm")
SHARED_MEMORY = Contender("SharedMemory", _shared_memory)
PLAIN_LIST = Contender("list.count, not shared", _plain_list)
LOCKED_VALUES = Contender("10,000 multiprocessing.Value, read", _locked_values)
NUMPY = Contender("numpy, plain int32", _numpy, "numpy")
OURS = Contender(f"atomic_intenum {atomic_intenum.BACKEND}", _ours)
OURS_NAMED = Contender(OURS.label, _ours_named)
OURS_MANY = Contender(OURS.label, _ours_many)
A_VALUE = Contender("a value", _ours)
OURS_OWNED = Contender(OURS.label, _owned_jobs)
WITHOUT_OWNERS = Contender("the same without on_death", _jobs)
OURS_WITH_OWNERS = Contender(OURS.label, _owners)


def names_of(contender: Contender, stack: ExitStack) -> dict[str, Any]:
    """Return the objects that a contender's statements use."""
    kept: list[Any] = []
    return {
        "Enum": WorkerStatusEnum,
        "IDLE": IDLE,
        "BUSY": BUSY,
        "i": 7,
        "advance": {IDLE: BUSY, BUSY: IDLE}.__getitem__,
        "dumps": pickle.dumps,
        "loads": pickle.loads,
        "kept": kept,
        "keep": kept.append,
        **contender.make(stack),
    }
