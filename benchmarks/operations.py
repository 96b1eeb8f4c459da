"""Single operations: what is measured, as each contender does it best, and the loop around it.

The floor is what CPython itself charges for reaching C code that does next to nothing, by the same
kind of call: a builtin getter, or an empty method with as many arguments.

``multiprocessing.Value("i")`` is used as its documentation shows it; where several steps have to
be one, also with the lock and the plain ctypes object behind it looked up beforehand ("hoisted"),
which few programs do.  Ints are written to those who hold ints, and members to those who hold
members.  Where a member is read, those who hold ints pay for making one, but for the bare load of
atomicshm and fastipc.  Our methods are called on a subclass, as users do.
"""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import os
import random
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from time import thread_time
from typing import Any, NamedTuple

import rows
from machine import absence

from atomic_intenum import BACKEND, IntEnumArray, IntEnumValue

with suppress(ImportError):
    import atomicshm
with suppress(ImportError):
    import fastipc._primitives as fastipc
with suppress(ImportError):
    import multiprocessing_intenum
with suppress(ImportError):
    import numpy as np


class WorkerStatusEnum(IntEnum):
    UNAVAILABLE, IDLE, CALCULATING = range(3)  # that of the original's own examples


# What a user of this package writes.
class WorkerStatus(IntEnumValue[WorkerStatusEnum]): ...


class Board(IntEnumArray[WorkerStatusEnum]): ...


IDLE, BUSY = WorkerStatusEnum.IDLE, WorkerStatusEnum.CALCULATING
#: Words of the arrays, owners among them, and more than are claimed in one timing.
MANY, OWNERS, JOBS = 10_000, 64, 50_000
NAMES = {"Enum": WorkerStatusEnum, "IDLE": IDLE, "BUSY": BUSY, "i": 7}


def statuses(count: int) -> list[WorkerStatusEnum]:
    """Return members in an order that no branch predictor learns, the same each time."""
    return random.Random(1).choices(list(WorkerStatusEnum), k=count)


# -- who is compared, and by which names its statements know what it uses


class Contender(NamedTuple):
    label: str
    make: Callable[[ExitStack], dict[str, Any]]  # the objects that it uses
    distribution: str | None = None  # that has to be installed

    @property
    def absence(self) -> str:
        return absence(self.distribution)


def _floor(_: ExitStack) -> dict[str, Any]:
    return {"one": 1, "empty": {}, "anything": object(), "make": object, "raw": bytearray(64)}


def _locked(_: ExitStack) -> dict[str, Any]:
    value, array = multiprocessing.Value("i", IDLE), multiprocessing.Array("i", [IDLE] * 64)
    hoisted = {"lock": value.get_lock(), "plain": value.get_obj()}
    return {"value": value, **hoisted, "make": multiprocessing.Value, "array": array}


def _managed(stack: ExitStack) -> dict[str, Any]:
    return {"value": stack.enter_context(multiprocessing.Manager()).Value("i", int(IDLE))}


def _original(_: ExitStack) -> dict[str, Any]:
    class Status(multiprocessing_intenum.IntEnumValue[WorkerStatusEnum]): ...  # type: ignore[misc]

    return {"original": Status(IDLE), "make": Status}


def _atomicshm(stack: ExitStack) -> dict[str, Any]:
    view = stack.enter_context(atomicshm.AtomicView(mmap.mmap(-1, 4096)))
    cell = view.cell_u32(0)
    cell.store(IDLE)
    return {"cell": cell, "make": view.cell_u32}


def _fastipc(_: ExitStack) -> dict[str, Any]:
    word = fastipc.AtomicU32(memoryview(mmap.mmap(-1, 4096)))
    word.store(IDLE)
    return {"word": word}


def _ours(stack: ExitStack) -> dict[str, Any]:
    status = WorkerStatus(IDLE)
    stack.callback(status.close)
    return {"status": status, "lock": status.get_lock(), "make": WorkerStatus}


def board(stack: ExitStack, size: int = MANY, **more: Any) -> dict[str, Any]:
    made = Board(size, IDLE, **more)
    stack.callback(made.close)
    return {"board": made}


def _mixed(stack: ExitStack) -> dict[str, Any]:
    names = board(stack)
    for index, status in enumerate(statuses(MANY)):
        names["board"][index] = status
    return names


def _owners(stack: ExitStack) -> dict[str, Any]:
    """Return a board on which many processes, which live until they are killed, own some words."""
    names = board(stack, on_death={BUSY: IDLE})
    ready, done = os.pipe()
    stack.callback(os.close, ready)
    for _ in range(OWNERS):
        pid = os.fork()
        if pid == 0:
            for _ in range(20):
                names["board"].claim(IDLE, BUSY)
            os.write(done, b".")
            signal.pause()
            os._exit(1)
        stack.callback(os.waitpid, pid, 0)
        stack.callback(os.kill, pid, signal.SIGKILL)
    os.close(done)
    for _ in range(OWNERS):
        os.read(ready, 1)
    return names


FLOOR = Contender(rows.FLOOR, _floor)
LOCKED, HOISTED = (Contender(label, _locked) for label in (rows.LOCKED, rows.HOISTED))
MANAGED = Contender("multiprocessing.Manager", _managed)
RLOCK = Contender(rows.RLOCK, lambda _: {"lock": multiprocessing.RLock()})
ORIGINAL = Contender(rows.ORIGINAL, _original, "multiprocessing-intenum")
ATOMICSHM = Contender(rows.ATOMICSHM, _atomicshm, "atomicshm")
FASTIPC = Contender(rows.FASTIPC, _fastipc, "fastipc")
VALUES = Contender(
    rows.VALUES, lambda _: {"values": [multiprocessing.Value("i", v) for v in statuses(MANY)]}
)
NUMPY = Contender(
    rows.NUMPY, lambda _: {"int32s": np.array(statuses(MANY), dtype=np.int32)}, "numpy"
)
A_VALUE = Contender(rows.A_VALUE, _ours)
WITHOUT = Contender(rows.WITHOUT, partial(board, size=JOBS))
_owned = partial(board, size=JOBS, on_death={BUSY: IDLE})
OURS, OURS_MIXED, OURS_OWNED, OURS_WITH_OWNERS = (
    Contender(rows.OURS, make) for make in (_ours, _mixed, _owned, _owners)
)

# -- what they do


@dataclass(frozen=True)
class Statement:
    """What to time.

    `holds` is true once `before` has run, if the statement does what it is said to do: a
    compare-and-set that never matches would be another thing's figure.
    """

    text: str
    operations: int = 1
    before: str = ""  # each timed loop, untimed
    holds: str = ""
    seconds: float = 0.0005  # that a timing is to take, about


def _toggle(lock: str, value: str) -> Statement:
    """Return two compare-and-sets under a lock, to and fro, so that each finds what it expects."""
    step = "with {0}:\n    if {1} == {2}:\n        {1} = {3}".format
    return Statement(f"{step(lock, value, 1, 2)}\n{step(lock, value, 2, 1)}", 2, f"{value} = 1")


def _cas(call: str, store: str, old: str, new: str, matched: str = "{}") -> Statement:
    """Return two compare-and-sets by a call of that name, to and fro."""
    there, back = f"{call}({old}, {new})", f"{call}({new}, {old})"
    holds = f"{matched.format(there, old)} and {matched.format(back, new)}"
    return Statement(f"{there}\n{back}", 2, store, holds)


_CLAIM, _IDLE = "board.claim(IDLE, BUSY)", "board.fill(IDLE)"
_PARTS = "\n".join(f"(int32s == {number}).sum()" for number in range(3))
_TWICE = "one.conjugate()\none.conjugate()"

#: By operation and contender, in the order of the tables; of most the statement's text.
OPERATIONS: dict[str, dict[Contender, str | Statement]] = {
    "load": {
        FLOOR: "one.conjugate()",
        ATOMICSHM: "cell.load()",  # a bare int
        FASTIPC: "word.load()",  # likewise
        LOCKED: "Enum(value.value)",
        ORIGINAL: "Enum(original.value)",
        MANAGED: "Enum(value.value)",
        OURS: "status.load()",
    },
    "value": {
        FLOOR: "one.real",
        LOCKED: "value.value",
        ORIGINAL: "original.value",
        OURS: "status.value",
    },
    "name": {
        FLOOR: "one.real",
        LOCKED: "Enum(value.value).name",
        ORIGINAL: "original.name",
        OURS: "status.name",
    },
    "set": {
        FLOOR: "empty.get(one)",
        ATOMICSHM: "cell.store(1)",
        FASTIPC: "word.store(1)",
        LOCKED: "value.value = 1",
        ORIGINAL: "original.set(IDLE)",
        MANAGED: "value.value = 1",
        OURS: "status.set(IDLE)",
    },
    "compare_and_set": {
        FLOOR: "empty.pop(one, one)",
        ATOMICSHM: _cas("cell.cas", "cell.store(1)", "1", "2", "{} == {}"),
        FASTIPC: _cas("word.cas", "word.store(1)", "1", "2"),
        LOCKED: _toggle("value.get_lock()", "value.value"),
        HOISTED: _toggle("lock", "plain.value"),
        OURS: _cas("status.compare_and_set", "status.set(IDLE)", "IDLE", "BUSY"),
    },
    "== member": {
        FLOOR: "anything == anything",
        LOCKED: "value.value == IDLE",
        ORIGINAL: "original == IDLE",
        OURS: "status == IDLE",
    },
    "create": {
        FLOOR: "make()",
        LOCKED: 'make("i", 1)',
        ORIGINAL: "make(IDLE)",
        OURS: "make(IDLE)",
    },
    "with lock": {FLOOR: _TWICE, RLOCK: "with lock: pass", OURS: "with lock: pass"},
    "acquire, release": {
        FLOOR: _TWICE,
        RLOCK: "lock.acquire()\nlock.release()",
        OURS: "lock.acquire()\nlock.release()",
    },
    "with get_lock(), set": {
        LOCKED: "with value.get_lock(): value.value = 1",
        ORIGINAL: "with original.get_lock(): original.set(IDLE)",
        OURS: "with status.get_lock(): status.set(IDLE)",
    },
    "board[i]": {
        FLOOR: "raw[i]",
        LOCKED: "Enum(array[i])",  # a multiprocessing.Array
        A_VALUE: "status.load()",
        OURS_MIXED: "board[i]",
    },
    "board[i] = m": {
        FLOOR: "raw[i] = 1",
        LOCKED: "array[i] = 1",
        A_VALUE: "status.set(IDLE)",
        OURS_MIXED: "board[i] = IDLE",
    },
    "board.at(i)": {FLOOR: "empty.get(one)", OURS_MIXED: "board.at(i)"},
    "claim, on_death": {
        WITHOUT: Statement(_CLAIM, 1, _IDLE),
        OURS_OWNED: Statement(_CLAIM, 1, _IDLE, f"board.owner({_CLAIM}) is not None"),
    },
    rows.RECOVER: {
        FLOOR: "one.conjugate()",
        OURS_WITH_OWNERS: Statement("board.recover()", holds="board.count(BUSY) == 1280"),
    },
    rows.COUNTS: {
        VALUES: "[value.value for value in values]",
        NUMPY: _PARTS,
        OURS_MIXED: Statement("board.counts()", holds="sum(board.counts().values()) == 10_000"),
    },
}


def chosen() -> dict[str, list[Contender]]:
    """Return what is measured here: on the lock path what it has in common with the original."""
    if BACKEND == "native":
        return {what: list(whos) for what, whos in OPERATIONS.items()}
    both = {what: whos for what, whos in OPERATIONS.items() if {ORIGINAL, OURS} <= whos.keys()}
    return {what: [ORIGINAL, OURS] for what in both}


def statement(what: str, who: Contender) -> Statement:
    found = OPERATIONS[what][who]
    if isinstance(found, str) and what == "create":
        # What is made is kept, and dropped outside of the time; and a timing is long enough for
        # several segments, so that their cost is spread as in a long run.
        return Statement(f"keep({found})", before="kept.clear()", seconds=0.004)
    return Statement(found) if isinstance(found, str) else found


# -- the loop


class Loop:
    """A statement over the names that it uses, ready to be timed.

    It is compiled `unroll` times in a row: each call site has its own inline caches, so CPython
    specialises it for what it sees there and nothing else, as at a call site of a user's program;
    and the ``for`` around it costs a sixteenth of what it would.
    """

    def __init__(self, statement: Statement, names: dict[str, Any], unroll: int = 16) -> None:
        code = "\n".join((statement.text, statement.before, statement.holds or "0"))
        found = compile(code, "<statement>", "exec").co_names
        self._used = {name: names[name] for name in names if name in found}
        self._before = function(statement.before or "pass", list(self._used))
        self._rounds = 1
        self.prepare()
        if statement.holds and not eval(statement.holds, {}, self._used):
            message = f"this does not hold: {statement.holds}"
            raise AssertionError(message)
        self._timed = function(statement.text, list(self._used))
        unroll = unroll if self.seconds() < statement.seconds else 1
        self._timed = function(statement.text, list(self._used), unroll)
        # From below, and the first calls warm the inline caches up.
        while self.seconds() < statement.seconds / 2 and self._rounds < 1 << 20:
            self._rounds *= 2
        self.operations = self._rounds * unroll * statement.operations

    def prepare(self) -> None:
        self._before(1, **self._used)

    def run(self) -> None:
        self._timed(self._rounds, **self._used)

    def seconds(self) -> float:
        self.prepare()
        started = thread_time()
        self.run()
        return thread_time() - started


def function(text: str, parameters: list[str], unroll: int = 1) -> Callable[..., int]:
    """Return what runs a statement so often as it is told, over parameters of these names.

    It returns what the statement has added up in `done`, else how often it ran.
    """
    body = "\n".join("        " + line for line in text.splitlines())
    head = f"def timed({', '.join(['_rounds', *parameters])}):\n    done = 0"
    source = [head, "    for _ in range(_rounds):", *[body] * unroll, "    return done or _rounds"]
    namespace: dict[str, Any] = {}
    exec(compile("\n".join(source), "<statement>", "exec"), namespace)
    made: Callable[..., int] = namespace["timed"]
    return made


def loop_of(stack: ExitStack, what: str, who: Contender) -> Loop:
    """Return a contender's loop; on the stack goes what cleans up."""
    kept: list[Any] = []
    stack.callback(kept.clear)
    names = {**NAMES, "kept": kept, "keep": kept.append, **who.make(stack)}
    loop = Loop(statement(what, who), names)
    stack.callback(loop.prepare)  # drops what the creation kept
    gc.collect()
    gc.freeze()  # or 10,000 objects would be looked at before each timing
    return loop


def take_turns(loops: Sequence[Loop], turns: int) -> list[list[float]]:
    """Time loops by turns, in the opposite order each time; returns seconds of one operation."""
    taken: list[list[float]] = [[] for _ in loops]
    order = [*zip(loops, taken, strict=True)]
    for _ in range(turns):
        for loop, seconds in order:
            seconds.append(loop.seconds() / loop.operations)
        order.reverse()
    return taken
