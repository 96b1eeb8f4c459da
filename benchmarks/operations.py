"""What is measured: each operation, as each contender does it best."""

from __future__ import annotations

from contenders import (
    A_VALUE,
    ATOMICSHM,
    FLOOR,
    HOISTED,
    LOCKED,
    LOCKED_ARRAY,
    LOCKED_VALUES,
    MANY,
    NUMPY,
    ORIGINAL,
    OURS,
    OURS_MANY,
    OURS_NAMED,
    OURS_OWNED,
    OURS_WITH_OWNERS,
    OWNERS,
    PLAIN_LIST,
    RACES,
    RLOCK,
    SHARED_MEMORY,
    UNLOCKED,
    WITHOUT_OWNERS,
    Contender,
)
from timing import Statement

import atomic_intenum

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

COUNTS = f"counts of {MANY:,} words, three members"
RECOVER = f"recover {MANY:,} words, {OWNERS} owners"

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
    "with lock": {
        FLOOR: Statement("one.conjugate()\none.conjugate()"),
        RLOCK: Statement("with lock:\n    pass"),
        OURS: Statement("with lock:\n    pass"),
    },
    "acquire, release": {
        FLOOR: Statement("one.conjugate()\none.conjugate()"),
        RLOCK: Statement("lock.acquire()\nlock.release()"),
        OURS: Statement("lock.acquire()\nlock.release()"),
    },
    "with get_lock(), set": {
        FLOOR: Statement("one.conjugate()\nempty.get(one)\none.conjugate()"),
        LOCKED: Statement("with value.get_lock():\n    value.value = 1"),
        HOISTED: Statement("with lock:\n    plain.value = 1"),
        ORIGINAL: Statement("with original.get_lock():\n    original.set(IDLE)"),
        OURS: Statement("with status.get_lock():\n    status.set(IDLE)"),
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
    "attach": {  # by name; and close
        FLOOR: Statement("make()"),
        SHARED_MEMORY: Statement("Memory(name).close()"),
        OURS_NAMED: Statement("attach(name).close()"),
    },
    "board[i]": {
        FLOOR: Statement("raw[i]"),
        LOCKED_ARRAY: Statement("Enum(array[i])"),
        A_VALUE: Statement("status.load()"),
        OURS_MANY: Statement("board[i]"),
    },
    "board[i] = m": {
        FLOOR: Statement("raw[i] = 1"),
        LOCKED_ARRAY: Statement("array[i] = 1"),
        A_VALUE: Statement("status.set(IDLE)"),
        OURS_MANY: Statement("board[i] = IDLE"),
    },
    "board.at(i)": {
        FLOOR: Statement("empty.get(one)"),
        OURS_MANY: Statement("board.at(i)"),
    },
    "claim, on_death": {
        FLOOR: Statement("empty.pop(one, one)"),
        WITHOUT_OWNERS: Statement("jobs.claim(IDLE, BUSY)", before="jobs.fill(IDLE)"),
        OURS_OWNED: Statement(
            "jobs.claim(IDLE, BUSY)",
            before="jobs.fill(IDLE)",
            holds="jobs.owner(jobs.claim(IDLE, BUSY)) is not None",
        ),
    },
    RECOVER: {
        FLOOR: Statement("one.conjugate()"),
        OURS_WITH_OWNERS: Statement("board.recover()", holds="board.count(BUSY) == 1280"),
    },
    COUNTS: {
        PLAIN_LIST: Statement("[plain.count(member) for member in members]"),
        LOCKED_VALUES: Statement("[value.value for value in values]"),
        NUMPY: Statement("(int32s == 0).sum()\n(int32s == 1).sum()\n(int32s == 2).sum()"),
        OURS_MANY: Statement("board.counts()", holds="sum(board.counts().values()) == len(board)"),
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
    CANNOT["attach", OURS_NAMED] = "on the lock-based path a value has no name to attach by"
