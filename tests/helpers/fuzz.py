"""Random calls and corrupt headers, in a process of their own.

    PYTHONPATH=tests python tests/helpers/fuzz.py calls COUNT SEED
    PYTHONPATH=tests python tests/helpers/fuzz.py headers COUNT SEED

Anything but the documented errors ends it with a traceback; a crash, by itself.
"""

from __future__ import annotations

import copy
import faulthandler
import gc
import math
import multiprocessing
import operator
import os
import pickle
import random
import sys
import threading
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import atomic_intenum
from atomic_intenum import IntEnumArray, IntEnumValue
from helpers.boards import Board
from helpers.inside import layout, segment
from helpers.names import path_of
from helpers.support import CALCULATING, IDLE, JobEnum, WorkerStatus, WorkerStatusEnum

if TYPE_CHECKING:
    from collections.abc import Callable

NAMED = atomic_intenum.BACKEND != "lock"
#: None and what is endless are left out: who waits for what nobody does would wait for ever.
TIMES: list[Any] = [0, 0.001, -1, math.nan, "1"]


class Boom(Exception):  # noqa: N818
    """Raised by what explodes."""


class Explosive:
    """Raises whatever is asked of it."""

    def _explode(self, *_: object) -> Any:
        raise Boom

    __eq__ = __lt__ = __bool__ = __index__ = __int__ = __float__ = __str__ = __repr__ = _explode
    __hash__ = __call__ = __len__ = __iter__ = __reduce_ex__ = _explode


class Closing(str):  # noqa: SLOT000 - it takes an attribute
    """A name that closes a value while it is looked up."""

    victim: Any

    def __eq__(self, other: object) -> bool:
        self.victim.close()
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        self.victim.close()
        return str.__hash__(self)


class Attribute(WorkerStatus):
    """Takes attributes."""


class Odd(IntEnumValue[WorkerStatusEnum]):
    """Overrides what may be, badly."""

    def to_value(self, name: str) -> Any:
        return {"a": None, "b": 2**40, "c": "IDLE", "d": -1}.get(name, 2)

    def from_value(self, value: int) -> Any:
        return [value]


#: What a call may raise.  Boom, from the arguments, goes through.
DOCUMENTED = (TypeError, ValueError, KeyError, OverflowError, RuntimeError, OSError, Boom)


class Calls:
    """Random calls of everything public, on a few values."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.values: list[Any] = []
        self.arrays: list[Any] = []
        self.locks: list[Any] = []
        self.pickles: list[bytes] = []
        self.sensible: list[Any] = [*WorkerStatusEnum, "IDLE", "CALCULATING", 2]
        self.names = [f"fuzz{os.getpid()}-{number}" for number in range(4)]
        uninitialised = WorkerStatus.__new__(WorkerStatus)
        closed = WorkerStatus(IDLE)
        closed.close()
        forged = int.__new__(WorkerStatusEnum, 77)
        forged._value_ = 77
        forged._name_ = "FORGED"
        self.odd: list[Any] = [
            *(None, True, False, 0, 1, 2, 3, -1, 2**31, -(2**31), 2**63, 2**64, 10**400),
            *(0.0, 0.001, -1.0, 1e400, math.nan, 1e-300, 2j),
            *("IDLE", "BUSY", "", ".", "..", "a/b", "x" * 31, "\0", "\udc80", "ä", "value"),
            *(b"IDLE", bytearray(3), [], (), {}, {1}, range(3), object(), Explosive()),
            *(IDLE, CALCULATING, JobEnum.DONE, forged, WorkerStatusEnum, JobEnum, int),
            *(uninitialised, closed, WorkerStatus, IntEnumValue, Ellipsis),
            *(len, lambda member: member, lambda *_: "IDLE", lambda _: 7, lambda _: None),
            *(threading.RLock(), multiprocessing.RLock(), gc, memoryview(b"x"), Boom, Boom()),
        ]

    def anything(self) -> Any:
        """Return any argument, a sensible one half of the time."""
        pick = self.chance.random()
        if pick < 0.4:
            return self.chance.choice(self.sensible)
        if pick < 0.5 and self.values:
            return self.chance.choice(self.values)
        if pick < 0.55:
            return self.chance.choice(self.names)
        if pick < 0.6 and self.values:
            name = Closing("IDLE")
            name.victim = self.chance.choice(self.values + self.arrays)
            return name
        if pick < 0.65 and self.locks:
            return self.chance.choice(self.locks)
        return self.chance.choice(self.odd)

    def some(self) -> tuple[list[Any], dict[str, Any]]:
        """Return arguments, seldom too many or by odd keywords."""
        count = self.chance.choice([0, 1, 1, 1, 2, 2, 3])
        keywords = {}
        if self.chance.random() < 0.2:
            names = ["value", "old", "new", "function", "lock", "segment_name", "name", "timeout"]
            keywords = {self.chance.choice(names): self.anything()}
            name = keywords.get("segment_name")
            if "timeout" in keywords:
                keywords["timeout"] = self.chance.choice(TIMES)
            if type(name) is str and name.isalpha():
                # A good name, that others who run this now would take as well, and lock.
                keywords["segment_name"] = self.names[0]
        return [self.anything() for _ in range(count)], keywords

    def make(self) -> None:
        """Make a value, of the usual or of anything."""
        cls: Any = self.chance.choice(
            [WorkerStatus, Attribute, Odd, IntEnumValue[WorkerStatusEnum], IntEnumValue]
        )
        if self.chance.random() < 0.5:
            self.values.append(cls(IDLE))
            return
        arguments, keywords = self.some()
        if self.chance.random() < 0.3 and NAMED:
            keywords["segment_name"] = self.chance.choice(self.names)
        self.values.append(cls(*arguments, **keywords))

    def method(self) -> None:
        """Call a method of a value with anything."""
        names = (
            "load set exchange compare_and_set update to_value from_value get_lock unlink close "
            "attach __init__ __eq__ __lt__ __format__ __copy__ __deepcopy__ __reduce_ex__ "
            "__setattr__ __class_getitem__ __getstate__"
        )
        name = self.chance.choice(names.split(" "))
        value = self.chance.choice(self.values)
        if name == "close" and self.chance.random() < 0.8:
            return
        arguments, keywords = self.some()
        result = getattr(value, name)(*arguments, **keywords)
        if isinstance(result, IntEnumValue):
            self.values.append(result)

    def attribute(self) -> None:
        """Read, write or delete an attribute."""
        name = self.chance.choice(
            ["value", "name", "version", "lock", "abandoned", "segment_name", "EnumType", "own"]
        )
        value = self.chance.choice(self.values)
        pick = self.chance.random()
        try:
            if pick < 0.6:
                getattr(value, name)
            elif pick < 0.9:
                setattr(value, name, self.anything())
            else:
                delattr(value, name)
        except AttributeError:
            pass  # as of any class

    def operator(self) -> None:
        """Compare, convert, hash, show."""
        value, other = self.chance.choice(self.values), self.anything()
        operation: Callable[[], object] = self.chance.choice(
            [
                *(lambda: value == other, lambda: value != other, lambda: other == value),
                *(lambda: value < other, lambda: other >= value, lambda: hash(value)),
                *(lambda: repr(value), lambda: str(value), lambda: int(value)),
                *(lambda: f"{value:>10}", lambda: [1, 2, 3, 4][value], lambda: bool(value)),
            ]
        )
        operation()

    def duplicate(self) -> None:
        """Copy, pickle, unpickle, also what was damaged on the way."""
        value = self.chance.choice(self.values)
        pick = self.chance.random()
        if pick < 0.2:
            self.values.append(copy.copy(value))
        elif pick < 0.4:
            self.values.append(copy.deepcopy(value))
        elif pick < 0.7:
            self.pickles.append(pickle.dumps(value, self.chance.randrange(6)))
        elif self.pickles:
            self.values.append(pickle.loads(self.chance.choice(self.pickles)))

    def lock(self) -> None:
        """Use a value's lock, well or badly."""
        if not self.locks or self.chance.random() < 0.3:
            self.locks.append(self.chance.choice(self.values).get_lock())
        lock = self.chance.choice(self.locks)
        pick = self.chance.random()
        if pick < 0.3:
            lock.acquire()
        elif pick < 0.5:
            lock.acquire(*self.some()[0])
        elif pick < 0.9:
            try:
                lock.release()
            except AssertionError:  # multiprocessing's own lock, where this one is that
                assert not NAMED or not hasattr(lock, "abandoned")
        else:
            repr(lock)

    def by_name(self) -> None:
        """Attach by name, to anything."""
        cls: Any = self.chance.choice([WorkerStatus, Odd, IntEnumValue[JobEnum], IntEnumValue])
        name = self.chance.choice(self.names)
        if self.chance.random() < 0.3:
            name = self.anything()
        self.values.append(cls.attach(name))

    def classes(self) -> None:
        """Subscribe and derive."""
        parameter = self.anything()
        generic: Any = self.chance.choice([IntEnumValue, WorkerStatus])
        cls: Any = generic[parameter]
        if isinstance(cls, type) and self.chance.random() < 0.2:
            self.values.append(type("Derived", (cls,), {})(IDLE))

    def array(self) -> None:
        """Make an array of anything, or do anything with one."""
        if len(self.arrays) < 2 or self.chance.random() < 0.03:
            cls: Any = self.chance.choice([Board, IntEnumArray[WorkerStatusEnum], IntEnumArray])
            size = self.chance.choice([1, 5, 9000, self.anything()])
            member = self.anything()
            self.arrays.append(cls(size, member, padded=self.chance.random() < 0.3))
            return
        array = self.chance.choice(self.arrays)
        pick = self.chance.random()
        try:
            if pick < 0.15:
                bounds = slice(self.anything(), self.anything(), self.anything())
                _ = array[self.chance.choice([self.anything(), bounds])]
            elif pick < 0.3:
                array[self.anything()] = self.anything()
            elif pick < 0.35:
                _ = (repr(array), len(array), array.counts(), array.snapshot(), memoryview(array))
            elif pick < 0.45:
                self.values.append(array.at(*self.some()[0]))
            else:
                self.array_method(array)
        except IndexError:
            pass  # as of any sequence

    def array_method(self, array: Any) -> None:
        """Call a method of an array with anything."""
        names = (
            "exchange compare_and_set claim fill count counts snapshot wait_all wait_any unlink "
            "close __init__ __copy__ __deepcopy__ __reduce_ex__ __getstate__ __contains__ attach"
        )
        name = self.chance.choice(names.split(" "))
        if name == "close" and self.chance.random() < 0.8:
            return
        arguments, keywords = self.some()
        if name.startswith("wait"):
            keywords = {"timeout": self.chance.choice(TIMES)}
        # Without iteration there is no __contains__; `in` finds that out, whatever the item.
        method = getattr(array, name, partial(operator.contains, array))
        result = method(*arguments, **keywords)
        if isinstance(result, IntEnumArray):
            self.arrays.append(result)

    def forget(self) -> None:
        """Drop a value or a lock; seldom all of them."""
        for things in (self.values, self.arrays, self.locks, self.pickles):
            while len(things) > 40 or (things and self.chance.random() < 0.02):
                things.pop(self.chance.randrange(len(things)))
        if self.chance.random() < 0.005:
            gc.collect()

    def run(self, count: int) -> Counter[str]:
        """Call; return how often each outcome came."""
        outcomes: Counter[str] = Counter()
        kinds = [self.make, self.method, self.method, self.method, self.method, self.attribute]
        kinds += [self.operator, self.operator, self.duplicate, self.lock, self.by_name]
        kinds += [self.classes, self.array, self.array, self.array]
        for number in range(count):
            self.forget()
            if not any(type(value) is WorkerStatus for value in self.values):
                self.values.append(WorkerStatus(IDLE))
            if number % 50 == 0:
                self.pickles.append(b"\x80\x04.")
            faulthandler.dump_traceback_later(30, exit=True)
            kind = self.chance.choice(kinds)
            try:
                kind()
                outcome = "done"
            except DOCUMENTED as error:
                outcome = type(error).__name__
            except (pickle.PickleError, AttributeError, IndexError, SyntaxError) as error:
                # What cannot be pickled; an attribute that no class has; a list's length; and what
                # typing says of a string as type parameter.
                sources = (self.duplicate, self.operator, self.method, self.classes)
                if kind not in sources:
                    raise
                outcome = type(error).__name__
            outcomes[f"{kind.__name__} {outcome}"] += 1
        faulthandler.cancel_dump_traceback_later()
        return outcomes


def corrupt(chance: random.Random, content: bytes) -> bytes:
    """Return a segment's bytes with something wrong in them, likely where it matters."""
    damaged = bytearray(content)
    pick = chance.random()
    if pick < 0.5:  # a field, by a number near an edge
        fields = list(layout.Header(*layout.HEADER.unpack_from(damaged, layout.HEADER_OFFSET)))
        formats = layout.HEADER.format[1:]
        for _ in range(chance.choice([1, 1, 2, 3])):
            which = chance.randrange(len(fields))
            bits = 32 if formats[which] == "I" else 64
            edge = chance.choice([0, 1, 8, 64, 191, 192, 256, 4096, 1 << 31, 1 << (bits - 1), -1])
            moved = fields[which] + edge if chance.random() < 0.3 else edge
            fields[which] = (moved + chance.choice([0, 0, 0, 1, -1, 64, -64])) % (1 << bits)
        layout.HEADER.pack_into(damaged, layout.HEADER_OFFSET, *fields)
    elif pick < 0.8:  # bits anywhere in front
        for _ in range(chance.choice([1, 2, 8, 64])):
            damaged[chance.randrange(320)] ^= 1 << chance.randrange(8)
    else:
        begin = chance.randrange(320)
        length = chance.randrange(1, 64)
        damaged[begin : begin + length] = chance.randbytes(length)
    if chance.random() < 0.3:  # and of another length
        length = chance.choice([0, 1, 8, 191, 192, 256, 319, 320, len(damaged) - 1])
        damaged = damaged[:length] if chance.random() < 0.8 else damaged + bytes(4096)
    return bytes(damaged)


def attach_and_use(name: str) -> None:
    """Attach a segment and use its value: what it holds is survived, a lock trusted to be one."""
    value = WorkerStatus.attach(name)
    number = value.version, value.value
    repr(value)
    assert value.compare_and_set(IDLE, IDLE) == (number[1] == IDLE)


def create_over(name: str) -> None:
    """Create a value of a name that nobody answers for, whatever has it."""
    made = WorkerStatus(CALCULATING, segment_name=name)
    assert WorkerStatus.attach(name).load() is made.load() is CALCULATING
    made.unlink()


def headers(count: int, chance: random.Random) -> Counter[str]:
    """Attach and replace segments with corrupt headers; return how often each outcome came."""
    segment._HALF_MADE = 0.0  # nobody will finish them
    outcomes: Counter[str] = Counter()
    name = f"fuzz{os.getpid()}-header"
    path = path_of(name)
    made = WorkerStatus(IDLE, segment_name=name)
    content = path.read_bytes()
    made.unlink()
    for _ in range(count):
        faulthandler.dump_traceback_later(30, exit=True)
        damaged = corrupt(chance, content)
        path.write_bytes(damaged)
        for use in (attach_and_use, create_over):
            try:
                use(name)
                outcome = "done"
            except (ValueError, TypeError, FileExistsError) as error:
                outcome = type(error).__name__
            except FileNotFoundError:  # nobody answers for it: another process may remove it
                if path.exists():
                    raise
                outcome = "swept"
            except BaseException:
                print("corrupt header:", damaged[:320].hex(), len(damaged), file=sys.stderr)
                raise
            outcomes[f"{use.__name__} {outcome}"] += 1
        path.unlink(missing_ok=True)
    faulthandler.cancel_dump_traceback_later()
    return outcomes


def main() -> None:
    """Do what the arguments say."""
    mode, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    outcomes = Calls(chance).run(count) if mode == "calls" else headers(count, chance)
    for outcome, number in sorted(outcomes.items()):
        print(number, outcome)


if __name__ == "__main__":
    main()
