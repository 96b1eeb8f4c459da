"""Arrays that are closed, copied and collected, and what calls of them cost."""

from __future__ import annotations

import contextlib
import copy
import gc
import operator
import sys
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import BACKEND, IntEnumArray, IntEnumValue
from helpers import boards
from helpers.boards import Board, Noted, Slotted
from helpers.crew import Task
from helpers.marks import classes_are_collected
from helpers.support import (
    CALCULATING,
    IDLE,
    UNAVAILABLE,
    JobEnum,
    WorkerStatus,
    WorkerStatusEnum,
    collect,
    make_enum,
    own_segments,
    segment_of,
    soaked,
)

if TYPE_CHECKING:
    from collections.abc import Callable


#: From 8,192 words on a walk gives up the GIL; the tally takes eight words at a time.
LARGE = 8192


class Index:
    """An index that does something when it is looked at."""

    def __init__(self, number: int, act: Callable[[], object] = lambda: None) -> None:
        self.number = number
        self.act = act

    def __index__(self) -> int:
        self.act()
        return self.number


class Doing(str):  # noqa: SLOT000 - it takes an attribute
    """A name that does something when it is looked up."""

    act: Callable[[], object]

    def __eq__(self, other: object) -> bool:
        self.act()
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        self.act()
        return str.__hash__(self)


def doing(name: str, act: Callable[[], object]) -> Doing:
    """Return such a name."""
    made = Doing(name)
    made.act = act
    return made


# -- closed, or never open

USES: dict[str, Callable[[Any], object]] = {
    "len": len,
    "index": lambda array: array[0],
    "slice": lambda array: array[:],
    "iteration": lambda array: [*array],
    "assign": lambda array: operator.setitem(array, 0, IDLE),
    "exchange": lambda array: array.exchange(0, IDLE),
    "compare_and_set": lambda array: array.compare_and_set(0, IDLE, IDLE),
    "by name": lambda array: array.compare_and_set(0, "IDLE", "IDLE"),
    "claim": lambda array: array.claim(IDLE, IDLE),
    "snapshot": operator.methodcaller("snapshot"),
    "count": lambda array: array.count(IDLE),
    "counts": operator.methodcaller("counts"),
    "fill": lambda array: array.fill(IDLE),
    "wait_all": lambda array: array.wait_all(IDLE),
    "wait_any": lambda array: array.wait_any(IDLE, timeout=0),
    "at": lambda array: array.at(0),
    "segment_name": lambda array: array.segment_name,
    "unlink": operator.methodcaller("unlink"),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda array: array.__reduce_ex__(4),
}

by_each_use = pytest.mark.parametrize("use", USES.values(), ids=USES)


@by_each_use
def test_closed(use: Callable[[Any], object]) -> None:
    """Every use of a closed array is a ValueError; closing it again is not."""
    array = Board(3, IDLE)
    twin = copy.copy(array)
    array.close()
    array.close()
    with pytest.raises(ValueError, match="closed"):
        use(array)
    assert repr(array) == "<Board, closed>"
    assert twin[:] == [IDLE] * 3  # no other object is


@by_each_use
def test_never_initialised(use: Callable[[Any], object]) -> None:
    """An array whose __init__ never ran acts as closed, until it is initialised."""
    array = Board.__new__(Board)
    array.close()
    with pytest.raises(ValueError, match="closed"):
        use(array)
    assert repr(array) == "<Board, closed>"
    array.__init__(3, IDLE)  # type: ignore[misc]
    assert array[:] == [IDLE] * 3


@pytest.mark.parametrize("method", ["_atomic_words", "_atomic_bind", "_atomic_number"])
def test_inner_methods_on_nothing(method: str) -> None:
    """The inner methods, called with anything, raise."""
    for array in (Board.__new__(Board), Board(2, IDLE)):
        inner: Any = getattr(array, method, len)
        for arguments in ((), (None,), (None,) * 8, (1, 2, 3, 4, 5, 6, 7, 8)):
            if method == "_atomic_bind" and BACKEND != "native" and len(arguments) == 8:
                continue  # Python cannot tell, and trusts
            with pytest.raises((TypeError, ValueError, RuntimeError, AttributeError)):
                inner(*arguments)


def test_initialised_twice() -> None:
    """__init__ of an array that was initialised is a RuntimeError, closed or not, and no harm."""
    array = Board(3, IDLE)
    array[0] = CALCULATING
    again: Any = array.__init__  # type: ignore[misc]
    for _ in range(2):
        with pytest.raises(RuntimeError, match="initialised before"):
            again(4, UNAVAILABLE)
    assert array[:] == [CALCULATING, IDLE, IDLE]
    array.close()
    with pytest.raises(RuntimeError, match="initialised before"):
        again(4, UNAVAILABLE)


def test_initialised_after_a_failure() -> None:
    """An __init__ that failed may be tried again."""
    array: Any = Board.__new__(Board)
    for arguments, error in (
        ((0, IDLE), ValueError),
        ((2, 2), TypeError),
        ((2, "NOTHING"), KeyError),
        ((10**30, IDLE), OSError),
    ):
        with pytest.raises(error):
            array.__init__(*arguments)
        with pytest.raises(ValueError, match="closed"):
            len(array)
    array.__init__(2, IDLE)
    assert len(array) == 2


def test_initialised_within_itself() -> None:
    """An __init__ that runs __init__ again, by its size, makes one array and raises once."""
    array: Any = Board.__new__(Board)
    with pytest.raises(RuntimeError, match="initialised before"):
        array.__init__(Index(3, lambda: array.__init__(2, CALCULATING)), IDLE)
    assert array[:] == [CALCULATING] * 2
    collect()


def test_initialised_by_threads() -> None:
    """Of threads that initialise one array at once one does, and the others raise."""
    for _ in range(20):
        array: Any = Board.__new__(Board)
        barrier = threading.Barrier(4)

        def initialise(array: Any = array, barrier: threading.Barrier = barrier) -> int:
            barrier.wait()
            try:
                array.__init__(3, IDLE)
            except RuntimeError:
                return 0
            return 1

        tasks = [Task(initialise) for _ in range(4)]
        assert sum(task.result() for task in tasks) == 1
        assert array[:] == [IDLE] * 3


@pytest.mark.parametrize(
    "use",
    [
        lambda array, index, _: array[index],
        lambda array, index, _: array[index:],
        lambda array, index, _: array[::index],
        lambda array, index, _: operator.setitem(array, index, IDLE),
        lambda array, _, name: operator.setitem(array, 0, name),
        lambda array, index, _: array.exchange(index, IDLE),
        lambda array, _, name: array.exchange(0, name),
        lambda array, index, _: array.compare_and_set(index, IDLE, IDLE),
        lambda array, _, name: array.compare_and_set(0, name, IDLE),
        lambda array, _, name: array.compare_and_set(0, IDLE, name),
        lambda array, _, name: array.claim(name, IDLE),
        lambda array, _, name: array.claim(IDLE, name),
        lambda array, _, name: array.count(name),
        lambda array, _, name: array.fill(name),
        lambda array, _, name: array.wait_any(name, timeout=0),
        lambda array, _, name: array.wait_all(CALCULATING, name, timeout=0),
    ],
)
def test_closed_by_an_argument(use: Callable[..., object]) -> None:
    """An array that its own argument closes in mid-call is closed, and nothing is written."""
    array = Board(3, IDLE)
    twin = copy.copy(array)
    with pytest.raises(ValueError, match="closed"):
        use(array, Index(1, array.close), doing("IDLE", array.close))
    assert twin[:] == [IDLE] * 3
    assert twin.at(0).version == 0


def test_dropped_by_an_argument() -> None:
    """An array whose last reference goes in mid-call lasts until the call is over."""
    holder: list[Any] = [Board(3, IDLE)]

    def drop() -> None:
        holder.clear()
        collect()

    assert holder[0].exchange(Index(1, drop), "CALCULATING") is IDLE
    holder.append(Board(3, IDLE))
    assert holder[0][Index(0, drop) :] == [IDLE] * 3
    holder.append(Board(3, IDLE))
    assert holder[0].claim(doing("IDLE", drop), "IDLE") == 0


def test_closed_while_iterated() -> None:
    """Iterating goes on to the end that the array has, and raises once that is closed."""
    array = Board(5, IDLE)
    members = iter(array)
    assert next(members) is IDLE
    array[1] = CALCULATING
    assert next(members) is CALCULATING  # each is loaded when it is reached
    array.close()
    with pytest.raises(ValueError, match="closed"):
        next(members)


class Named(IntEnumArray[WorkerStatusEnum]):
    """An array whose items are the names of its members."""

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(index).name


def test_iteration_by_the_item() -> None:
    """Iteration and ``in`` give what a subclass's __getitem__ does."""
    array: Any = Named(3, IDLE)
    array[1] = CALCULATING
    assert [*array] == [array[0], array[1], array[2]] == ["IDLE", "CALCULATING", "IDLE"]
    assert "CALCULATING" in array
    assert "UNAVAILABLE" not in array
    assert IDLE not in array
    assert array.snapshot() == [IDLE, CALCULATING, IDLE]


def test_closed_under_other_threads() -> None:
    """close() while other threads are at it makes that a ValueError there, and nothing else."""

    def use_until_closed(array: Any, use: Callable[[Any], object], used: threading.Event) -> str:
        try:
            while True:
                use(array)
                used.set()
        except ValueError as error:
            return str(error)

    for name in ("index", "assign", "snapshot", "counts", "count", "fill", "claim", "at", "slice"):
        array = Board(LARGE, IDLE)
        used = threading.Event()
        task = Task(lambda a=array, n=name, u=used: use_until_closed(a, USES[n], u))  # type: ignore[misc]
        assert used.wait(20)
        array.close()
        del array
        assert "closed" in task.result()


# -- its life as an object


def test_name_goes_with_the_array() -> None:
    """A segment is removed and unmapped when its array and the values of it are gone."""
    array = Board(3, IDLE)
    name = segment_of(array)
    value = array.at(1)
    assert name in own_segments()
    del array
    collect()
    assert value.load() is IDLE
    assert name in own_segments()
    del value
    collect()
    Board(1, IDLE)
    assert name not in own_segments()
    maps = Path("/proc/self/maps").read_text().splitlines()
    # On the lock path it is the number of an inode, which has a column of its own.
    named = not name.isdigit()
    assert not [line for line in maps if name in (line if named else line.split()[4:5])]


def test_cycles() -> None:
    """An array in a cycle is collected, and its segment with it."""
    array: Any = Noted(3, note="cyclic")
    array.me = array
    array.value = array.at(0, WorkerStatus)
    array.value.array = array
    name = segment_of(array)
    gone = weakref.ref(array)
    del array
    collect()
    assert gone() is None
    Board(1, IDLE)
    assert name not in own_segments()


@classes_are_collected
def test_collected_with_its_class() -> None:
    """An array of a class and an enum that go with it is collected, seen by its own finalizer."""
    seen = []

    def make() -> weakref.ref[Any]:
        local: Any = make_enum("Local", "A B")

        class Locals(IntEnumArray[local]):
            def __del__(self) -> None:
                seen.append((len(self), self[0].name, self.counts()[local.B]))

        array: Any = Locals(4, "A")
        array.cycle = [array, local]
        local.keeper = array
        return weakref.ref(array)

    gone = make()
    collect()
    assert gone() is None
    assert seen == [(4, "A", 0)]


def test_weak_references() -> None:
    """Arrays take weak references, whose callbacks run when they go."""
    for make in (lambda: Board(1, IDLE), lambda: Slotted(1, note="")):
        gone: list[object] = []
        array: Any = make()
        reference = weakref.ref(array, gone.append)
        assert reference() is array
        del array
        collect()
        assert gone == [reference]


def test_subclasses() -> None:
    """Subclasses may have an __init__, attributes or slots of their own."""
    noted, slotted = Noted(2, note="a"), Slotted(2, note="b")
    noted.other = 1  # type: ignore[attr-defined]
    assert (noted.note, slotted.note) == ("a", "b")
    assert (len(noted), len(slotted)) == (2, 2)
    with pytest.raises(AttributeError):
        slotted.other = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        IntEnumArray[WorkerStatusEnum](1, IDLE).other = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", boards.KINDS)
def test_copies(kind: str, duplicate: Callable[[Any], Any]) -> None:
    """A copy is the same shared array, with the attributes; __init__ does not run for it."""
    array = boards.KINDS[kind]()
    before = len(boards.calls)
    twin = duplicate(array)
    assert twin is not array
    boards.check_kind(kind, twin)
    assert len(boards.calls) == before
    twin[1] = CALCULATING
    assert array[1] is CALCULATING
    assert array.claim(CALCULATING, IDLE) == 1
    assert twin[1] is IDLE
    array.close()
    assert twin[:] == [IDLE] * 5


def test_deep_copies_of_attributes() -> None:
    """copy() shares attributes, deepcopy() copies them, cycles included."""
    array: Any = Noted(2, note="a")
    array.things = [array]
    shallow, deep = copy.copy(array), copy.deepcopy(array)
    assert shallow.things is array.things
    assert deep.things == [deep]
    assert deep.things is not array.things


def test_repr_and_truth() -> None:
    """repr() says class, size and enum; an array is as true as its size, so always."""
    array = Board(3, IDLE)
    assert repr(array) == str(array) == "<Board of 3 WorkerStatusEnum: 3 IDLE>"
    assert repr(IntEnumArray(1, JobEnum.DONE)) == "<IntEnumArray of 1 JobEnum: 1 DONE>"
    assert bool(array)
    assert array == array  # noqa: PLR0124 - by identity
    assert array != copy.copy(array)
    assert len({array, copy.copy(array)}) == 2


# -- what calls cost

LEAKS: dict[str, Callable[[Any], object]] = {
    **{name: use for name, use in USES.items() if name not in ("unlink", "wait_all")},
    "wait_all": lambda array: array.wait_all(IDLE),
    "at a class": lambda array: array.at(1, IntEnumValue),
    "repr": repr,
    "len of a slice": lambda array: array[0:2],
    "past the end": lambda array: array[7],
    "a wrong member": lambda array: array.fill(7),
    "an unknown name": lambda array: array.count("NOTHING"),
    "timeout": lambda array: array.wait_any(CALCULATING, timeout=0),
    "negative timeout": lambda array: array.wait_any(CALCULATING, timeout=-1),
    "nothing to claim": lambda array: array.claim(CALCULATING, IDLE),
    "a float": lambda array: array[0.5],
    "deleted": lambda array: operator.delitem(array, 0),
    "initialised again": lambda array: array.__init__(3, IDLE),
}


@pytest.mark.scaled
@pytest.mark.skipif(not hasattr(sys, "getrefcount"), reason="no reference counts there")
@pytest.mark.parametrize("use", LEAKS.values(), ids=LEAKS)
def test_reference_counts(use: Callable[[Any], object]) -> None:
    """No call leaves a reference too many or too few, nor an object behind, failed or not."""
    array = Board(3, IDLE)
    rounds = soaked(300, 100_000)
    kept: list[Any] = [IDLE, CALCULATING, WorkerStatusEnum, array, array._atomic_segment, Board]
    kept += [array._atomic_vocabulary, array._atomic_segment.mapping, IntEnumValue]
    if sys.version_info < (3, 12):
        kept += [None, True, False]  # later ones are immortal, and are not counted

    def once() -> None:
        with contextlib.suppress(LookupError, TypeError, ValueError, TimeoutError, RuntimeError):
            use(array)

    for _ in range(10):
        once()
    gc.collect()
    gc.disable()
    try:
        objects = len(gc.get_objects())
        before = [sys.getrefcount(thing) for thing in kept]
        for _ in range(rounds):
            once()
        after = [sys.getrefcount(thing) for thing in kept]
        gc.collect()
        more_objects = len(gc.get_objects()) - objects
    finally:
        gc.enable()
    for thing, more, less in zip(kept, after, before, strict=True):
        assert abs(more - less) < rounds // 3, thing
    assert more_objects < rounds // 3
