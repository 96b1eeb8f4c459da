"""on_death=: what it may be, what it excludes, and where it is found again."""

from __future__ import annotations

import collections
import copy
import multiprocessing
import os
import pickle
import types
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumArray, IntEnumValue
from helpers.crew import Bits, Status, child
from helpers.inside import as_elsewhere
from helpers.marks import named
from helpers.names import own_name
from helpers.owners import (
    DEAD,
    DONE,
    LEASES,
    PENDING,
    RUNNING,
    Job,
    Jobs,
    Work,
    board,
    fellow,
    leased,
)
from helpers.support import METHODS, default_method, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

#: Each class that takes on_death, and how to make one of it.
KINDS: dict[str, Callable[..., Any]] = {
    "value": lambda on_death, **more: Job(PENDING, on_death=on_death, **more),
    "array": lambda on_death, **more: Jobs(3, PENDING, on_death=on_death, **more),
    "subscribed": lambda on_death, **more: IntEnumValue[Work](PENDING, on_death=on_death, **more),
    "parameterless": lambda on_death, **more: IntEnumArray(3, PENDING, on_death=on_death, **more),
}

by_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A segment name of this test alone."""
    with own_name(request.node.nodeid) as chosen:
        yield chosen


def word(made: Any) -> Any:
    """Return a value: a value itself, or the middle word of an array."""
    return made.at(1, Job) if isinstance(made, IntEnumArray) else made


def after_death(made: Any, take: str) -> Work:
    """Return what becomes of a word whose owner is killed; the owner does what it is told."""
    status = word(made)
    with fellow(status=status) as owner:
        owner.ask(take)
        assert status.owner == owner.pid
        owner.kill()
    assert status.recover()
    return Work(status.load())


# -- what it may be


@by_kind
@pytest.mark.parametrize(
    "on_death",
    [
        {RUNNING: PENDING},
        {"RUNNING": "PENDING"},
        {RUNNING: "PENDING", "DONE": DEAD},
        types.MappingProxyType({RUNNING: PENDING}),
        collections.ChainMap({RUNNING: PENDING}, {RUNNING: DEAD}),
    ],
)
def test_mapping(make: Callable[..., Any], on_death: Any) -> None:
    """A mapping of members, names or both says what a leased word becomes."""
    assert after_death(make(on_death), "status.set(RUNNING)") is PENDING


@by_kind
@pytest.mark.parametrize("on_death", [DEAD, "DEAD"])
def test_member(make: Callable[..., Any], on_death: Any) -> None:
    """A member, or its name, is what an owned word becomes, whatever it was."""
    assert after_death(make(on_death), "status.own()") is DEAD
    made = make(on_death)
    for member in Work:
        word(made).set(member)
        assert word(made).owner is None  # nobody leases


def test_mapping_of_several() -> None:
    """Each member that a mapping has becomes what that says, in whatever order it says so."""
    pairs = [(Bits.RIGHT, Bits.LEFT), (Bits.LOWEST, Bits.HIGHEST), (Bits.HIGHEST, Bits.IDLE)]
    for rules in (pairs, pairs[::-1], [*pairs[1:], pairs[0]]):
        for before, after in pairs:
            status = Status(Bits.IDLE, on_death=dict(rules))
            with fellow(status=status, before=before) as owner:
                owner.ask("status.set(before)")
                owner.kill()
            assert status.recover()
            assert status.load() is after


def test_mapping_of_a_member_to_itself() -> None:
    """A member that is mapped to itself is leased, and stays what it is."""
    status: Any = Job(PENDING, on_death={RUNNING: RUNNING})
    with fellow(status=status) as owner:
        owner.ask("status.set(RUNNING)")
        assert status.owner == owner.pid
        owner.kill()
    version = status.version
    assert status.recover()
    assert (status.load(), status.version, status.owner) == (RUNNING, version + 1, None)


@by_kind
@pytest.mark.parametrize(
    "wrong",
    [
        2,
        int(DEAD),
        True,
        1.5,
        b"DEAD",
        Bits.IDLE,
        Work,
        [(RUNNING, PENDING)],
        {RUNNING},
        ...,
        {RUNNING: 1},
        {2: PENDING},
        {RUNNING: None},
        {RUNNING: Bits.IDLE},
        {Bits.IDLE: PENDING},
        {RUNNING: PENDING, DONE: b"DEAD"},
    ],
    ids=repr,
)
def test_wrong_types(make: Callable[..., Any], wrong: Any) -> None:
    """What is neither a member, nor a name, nor a mapping of these is a TypeError."""
    with pytest.raises(TypeError):
        make(wrong)


@by_kind
@pytest.mark.parametrize(
    "wrong", ["", "dead", "NOTHING", {"NOTHING": PENDING}, {RUNNING: "NOTHING"}], ids=repr
)
def test_unknown_names(make: Callable[..., Any], wrong: Any) -> None:
    """A name that no member has is a KeyError that says which there are."""
    with pytest.raises(KeyError, match="PENDING, RUNNING, DONE, DEAD"):
        make(wrong)


class Whispering(IntEnumValue[Work]):
    """Takes names in small letters."""

    def to_value(self, name: str) -> int:
        return super().to_value(name.upper())


@pytest.mark.parametrize("on_death", [{"running": "pending"}, "pending"], ids=repr)
def test_names_go_through_to_value(on_death: Any) -> None:
    """A subclass's to_value() says what a name in on_death means, as it does elsewhere."""
    status = Whispering("pending", on_death=on_death)
    assert after_death(status, "(status.own(), status.set('running'))") is PENDING


@by_kind
def test_empty_mapping(make: Callable[..., Any]) -> None:
    """An empty mapping is a ValueError."""
    with pytest.raises(ValueError, match="empty"):
        make({})


@pytest.mark.parametrize("on_death", [LEASES, DEAD])
def test_lock_excludes_it(on_death: Any) -> None:
    """lock= and on_death= together are a TypeError."""
    with pytest.raises(TypeError, match="exclude each other"):
        Job(PENDING, multiprocessing.Lock(), on_death=on_death)


# -- without it


def test_value_without_it() -> None:
    """A value without on_death has no owner, and nobody can own it."""
    status = Job(PENDING)
    status.set(RUNNING)
    assert status.owner is None
    assert status.recover() is False
    for method in (status.own, status.disown):
        with pytest.raises(RuntimeError, match="without on_death="):
            method()
    assert (status.load(), status.version) == (RUNNING, 1)


def test_array_without_it() -> None:
    """An array without on_death has no owners, and nobody can own a word of it."""
    jobs = Jobs(3, PENDING)
    assert jobs.claim(PENDING, RUNNING) == 0
    assert jobs.owners() == [None] * 3
    assert [jobs.owner(index) for index in (0, 2, -1, -3)] == [None] * 4
    assert jobs.recover() == []
    with pytest.raises(RuntimeError, match="without on_death="):
        jobs.at(0).own()


@pytest.mark.parametrize("on_death", [None, LEASES, DEAD])
def test_indices(on_death: Any) -> None:
    """owner(i) takes what a[i] takes, and raises what that raises."""
    jobs = Jobs(3, PENDING, on_death=on_death)
    if on_death is not None:
        jobs.at(2).own()
        assert jobs.owners() == [None, None, os.getpid()]
        assert [jobs.owner(index) for index in (2, -1, 1, -3)] == [os.getpid()] * 2 + [None] * 2
        assert jobs.owner(RUNNING) == os.getpid()  # which has an __index__
    for index in (3, -4, 2**70, -(2**70)):
        with pytest.raises(IndexError):
            jobs.owner(index)
    wrong: Any
    for wrong in ("1", 1.0, None, slice(1)):
        with pytest.raises(TypeError):
            jobs.owner(wrong)


#: What a value and an array have for their owners.
USES: list[Callable[[Any], object]] = [
    lambda status: status.own(),
    lambda status: status.disown(),
    lambda status: status.owner,
    lambda status: status.recover(),
]
ARRAY_USES: list[Callable[[Any], object]] = [
    lambda jobs: jobs.owner(0),
    lambda jobs: jobs.owners(),
    lambda jobs: jobs.recover(),
]


@pytest.mark.parametrize("on_death", [None, LEASES, DEAD])
def test_closed(on_death: Any) -> None:
    """What is closed, or was never initialised, is a ValueError; what was owned stays so."""
    status, jobs = Job(PENDING, on_death=on_death), Jobs(3, PENDING, on_death=on_death)
    twin, whole = copy.copy(status), copy.copy(jobs)
    if on_death is not None:
        status.own()
        jobs.at(1).own()
    status.close()
    jobs.close()
    for made, uses in ((status, USES), (object.__new__(Job), USES), (jobs, ARRAY_USES)):
        for use in uses:
            with pytest.raises(ValueError, match="closed"):
                use(made)
    for use in ARRAY_USES:
        with pytest.raises(ValueError, match="closed"):
            use(object.__new__(Jobs))
    if on_death is not None:
        assert twin.owner == whole.owner(1) == os.getpid()
        twin.disown()
        assert twin.owner is None


# -- where it is found again


def test_values_beside_each_other() -> None:
    """Values of one enum with different on_death, and without, each keep their own."""
    rules: list[Any] = [None, LEASES, DEAD, {RUNNING: DEAD}, {RUNNING: DONE}, PENDING, None, LEASES]
    becomes = [RUNNING, PENDING, DEAD, DEAD, DONE, PENDING, RUNNING, PENDING]
    values = [Job(PENDING, on_death=on_death) for on_death in rules]
    with fellow(values=values) as owner:
        for index, on_death in enumerate(rules):
            if isinstance(on_death, Work):
                assert owner.ask(f"values[{index}].own()") is None
            assert owner.ask(f"values[{index}].set(RUNNING)") is None
        owners = [None if on_death is None else owner.pid for on_death in rules]
        assert [value.owner for value in values] == owners
        owner.kill()
    assert [value.recover() for value in values] == [on_death is not None for on_death in rules]
    assert [value.load() for value in values] == becomes


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda made: pickle.loads(pickle.dumps(made)),
}


@by_kind
@pytest.mark.parametrize(
    "again",
    [pytest.param(way, marks=named if name == "pickle" else (), id=name)
     for name, way in COPIES.items()],
)  # fmt: skip
def test_copies(make: Callable[..., Any], again: Callable[[Any], Any]) -> None:
    """A copy, of a pickle too, is the same value with the same owner."""
    made = make(LEASES)
    twin = again(made)
    word(made).set(RUNNING)
    assert word(twin).owner == os.getpid()
    word(twin).disown()
    assert word(made).owner is None
    assert after_death(twin, "status.set(RUNNING)") is PENDING


def test_words_of_an_array() -> None:
    """at(i), as whatever class, has its array's on_death."""
    jobs = board()
    for status in (jobs.at(1), jobs.at(-2, Job), jobs.at(1, IntEnumValue[Work])):
        assert after_death(jobs, "status.set(RUNNING)") is PENDING
        status.own()
        assert jobs.owners() == [None, os.getpid(), None]
        status.disown()


def lease(status: Job, jobs: Jobs) -> None:
    """Lease a value, and a word of an array, in another process."""
    assert status.owner is None
    status.set(RUNNING)
    assert jobs.claim(PENDING, RUNNING) == 1
    assert status.owner == jobs.owner(1) == os.getpid()
    os._exit(0)  # without giving back


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_start_methods(method: str) -> None:
    """Who gets a value as it is started, by whatever method, has its on_death."""
    with default_method(method):
        status, jobs = leased(), board()
        run(method, lease, status, jobs)
        assert status.load() is RUNNING
        assert status.recover()
        assert jobs.recover() == [1]
        assert (status.load(), jobs[1]) == (PENDING, PENDING)


@named
@pytest.mark.parametrize("on_death", [LEASES, DEAD], ids=["mapping", "member"])
def test_attach(on_death: Any, name: str) -> None:
    """Who attaches by name finds on_death in the segment, also of an array."""

    def attach(pipe: Connection) -> None:
        with as_elsewhere():
            attached: Any = Job.attach(name) if pipe.recv() == "value" else Jobs.attach(name)
        word(attached).own()
        word(attached).set(RUNNING)
        pipe.send("owned")
        pipe.recv()

    for kind in ("value", "array"):
        made = KINDS[kind](on_death, segment_name=name)
        with child(attach) as owner:
            owner.tell(kind)
            assert owner.says() == "owned"
            assert word(made).owner == owner.pid
            owner.kill()
        assert word(made).recover()
        assert word(made).load() is (PENDING if on_death == LEASES else DEAD)
        made.unlink()


@named
@pytest.mark.parametrize("kind", ["value", "array"])
def test_exist_ok(kind: str, name: str) -> None:
    """exist_ok attaches to what has the same on_death, in other words too; else ValueError."""
    make = KINDS[kind]
    rules: Any = {RUNNING: PENDING, DONE: DEAD}
    made = make(rules, segment_name=name, exist_ok=True)
    again = make({"DONE": "DEAD", RUNNING: "PENDING"}, segment_name=name, exist_ok=True)
    word(again).own()
    assert word(made).owner == os.getpid()
    others: Any
    for others in (None, LEASES, DEAD, "PENDING", {RUNNING: PENDING, DONE: PENDING}):
        with pytest.raises(ValueError, match="another on_death"):
            make(others, segment_name=name, exist_ok=True)
    with pytest.raises(FileExistsError):
        make(rules, segment_name=name)
    del made, again
    made = make(None, segment_name=f"{name}-", exist_ok=True)
    with pytest.raises(ValueError, match="another on_death"):
        make(LEASES, segment_name=f"{name}-", exist_ok=True)
    made.unlink()
