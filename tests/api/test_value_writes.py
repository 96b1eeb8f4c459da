"""One value, written: set, exchange, compare_and_set, and update."""

from __future__ import annotations

import enum
import threading
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumValue
from helpers.support import (
    CALCULATING,
    IDLE,
    UNAVAILABLE,
    JobEnum,
    WorkerStatus,
    WorkerStatusEnum,
    make_enum,
    word_of,
    write_word,
)
from helpers.values import WRITE_NAMES, WRITES

if TYPE_CHECKING:
    from collections.abc import Callable


class Small(int):
    """An int that is no enum."""


@pytest.fixture
def status() -> WorkerStatus:
    """Return a value that is IDLE."""
    return WorkerStatus(IDLE)


# -- writing


def test_set_member(status: WorkerStatus) -> None:
    """set() with a member makes the value that member and returns nothing."""
    result: Any = status.set(CALCULATING)  # type: ignore[func-returns-value]
    assert result is None
    assert status.load() is CALCULATING


def test_set_name(status: WorkerStatus) -> None:
    """set() with a name makes the value the member of that name."""
    status.set("CALCULATING")
    assert status.load() is CALCULATING


def test_set_keyword(status: WorkerStatus) -> None:
    """set() takes its argument as a keyword."""
    status.set(value=CALCULATING)
    assert status.load() is CALCULATING
    status.set(value="IDLE")
    assert status.load() is IDLE


def test_value_setter(status: WorkerStatus) -> None:
    """Assigning to value takes a member or a name."""
    status.value = CALCULATING
    assert status.load() is CALCULATING
    status.value = "IDLE"
    assert status.load() is IDLE


def test_value_is_plain_int(status: WorkerStatus) -> None:
    """Value is exactly an int, as an IntEnum member's own value is."""
    assert type(status.value) is int
    assert status.value == 2


def test_load_is_the_member(status: WorkerStatus) -> None:
    """load() returns the member itself."""
    assert status.load() is IDLE


def test_name_is_str(status: WorkerStatus) -> None:
    """Name is the member's name."""
    assert status.name == "IDLE"
    assert type(status.name) is str


def test_exchange(status: WorkerStatus) -> None:
    """exchange() sets and returns the previous member."""
    assert status.exchange(CALCULATING) is IDLE
    assert status.exchange("UNAVAILABLE") is CALCULATING
    assert status.exchange(value=IDLE) is UNAVAILABLE
    assert status.load() is IDLE


def test_compare_and_set(status: WorkerStatus) -> None:
    """compare_and_set() writes and says True where old matches; else it says False."""
    assert status.compare_and_set(IDLE, CALCULATING) is True
    assert status.load() is CALCULATING
    assert status.compare_and_set(IDLE, UNAVAILABLE) is False
    assert status.load() is CALCULATING


def test_compare_and_set_names(status: WorkerStatus) -> None:
    """compare_and_set() takes names for either argument."""
    assert status.compare_and_set("IDLE", CALCULATING) is True
    assert status.compare_and_set(CALCULATING, "UNAVAILABLE") is True
    assert status.compare_and_set("IDLE", "IDLE") is False
    assert status.load() is UNAVAILABLE


def test_compare_and_set_keywords(status: WorkerStatus) -> None:
    """compare_and_set() takes old and new as keywords, in either order."""
    assert status.compare_and_set(old=IDLE, new=CALCULATING) is True
    assert status.compare_and_set(new=IDLE, old=CALCULATING) is True
    assert status.compare_and_set(IDLE, new=CALCULATING) is True
    assert status.load() is CALCULATING


def test_compare_and_set_checks_both(status: WorkerStatus) -> None:
    """compare_and_set() refuses a wrong new even where old does not match, and the reverse."""
    wrong: Any = 3
    with pytest.raises(TypeError, match=r"WorkerStatusEnum.*int"):
        status.compare_and_set(CALCULATING, wrong)
    with pytest.raises(TypeError, match=r"WorkerStatusEnum.*int"):
        status.compare_and_set(wrong, IDLE)
    with pytest.raises(KeyError, match="SLEEPING"):
        status.compare_and_set(CALCULATING, "SLEEPING")
    with pytest.raises(KeyError, match="SLEEPING"):
        status.compare_and_set("SLEEPING", CALCULATING)
    assert (status.load(), status.version) == (IDLE, 0)


@pytest.mark.parametrize("write", WRITES, ids=WRITE_NAMES)
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (2, "int"),
        (True, "bool"),
        (JobEnum.RUNNING, r"support\.JobEnum"),
        (Small(2), r"test_value_writes\.Small"),
        (2.0, "float"),
        (None, "NoneType"),
        (object(), "object"),
    ],
)
def test_write_refuses(
    status: WorkerStatus, write: Callable[[WorkerStatus, Any], object], wrong: Any, named: str
) -> None:
    """Writing anything but a member or a name is a TypeError that names both types."""
    with pytest.raises(TypeError, match=rf"support\.WorkerStatusEnum.*{named}"):
        write(status, wrong)
    assert (status.load(), status.version) == (IDLE, 0)


@pytest.mark.parametrize("write", WRITES, ids=WRITE_NAMES)
def test_write_unknown_name(
    status: WorkerStatus, write: Callable[[WorkerStatus, Any], object]
) -> None:
    """Writing a name that no member has is a KeyError that has the name."""
    with pytest.raises(KeyError, match="SLEEPING"):
        write(status, "SLEEPING")
    with pytest.raises(KeyError, match="idle"):
        write(status, "idle")
    assert (status.load(), status.version) == (IDLE, 0)


@pytest.mark.parametrize("write", WRITES, ids=WRITE_NAMES)
def test_each_write_counts(
    status: WorkerStatus, write: Callable[[WorkerStatus, Any], object]
) -> None:
    """Each kind of write adds one to the version, also where the member stays the same."""
    write(status, IDLE)
    assert status.version == 1
    write(status, CALCULATING)
    assert status.version == 2


def test_version_counts_writes_only(status: WorkerStatus) -> None:
    """Reading and a compare_and_set that does not match leave the version."""
    status.load()
    assert (status.value, status.name, status == IDLE) == (2, "IDLE", True)
    status.compare_and_set(CALCULATING, IDLE)
    assert status.version == 0


@pytest.mark.parametrize("write", WRITES, ids=WRITE_NAMES)
def test_version_wraps(status: WorkerStatus, write: Callable[[WorkerStatus, Any], object]) -> None:
    """The version counts modulo 2**19 and leaves the value alone as it wraps."""
    write_word(status, IDLE, 2**19 - 2)
    write(status, IDLE)
    assert (status.load(), status.version) == (IDLE, 2**19 - 1)
    write(status, CALCULATING)
    assert (status.load(), status.version) == (CALCULATING, 0)
    assert word_of(status) == CALCULATING


def test_version_is_read_only(status: WorkerStatus) -> None:
    """Version and name cannot be assigned."""
    anything: Any = status
    with pytest.raises(AttributeError):
        anything.version = 3
    with pytest.raises(AttributeError):
        anything.name = "IDLE"


def test_value_cannot_be_deleted(status: WorkerStatus) -> None:
    """Value cannot be deleted."""
    with pytest.raises(AttributeError):
        del status.value
    assert status.load() is IDLE


@pytest.mark.parametrize("method", ["set", "exchange"])
@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        ((), {}),
        ((IDLE, IDLE), {}),
        ((IDLE,), {"value": IDLE}),
        ((), {"member": IDLE}),
        ((IDLE,), {"member": IDLE}),
    ],
)
def test_write_arguments(
    status: WorkerStatus, method: str, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> None:
    """Missing, surplus, unknown and doubled arguments of set and exchange are TypeErrors."""
    with pytest.raises(TypeError, match=method):
        getattr(status, method)(*arguments, **keywords)
    assert status.version == 0


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        ((), {}),
        ((IDLE,), {}),
        ((IDLE, IDLE, IDLE), {}),
        ((IDLE,), {"old": IDLE}),
        ((IDLE, IDLE), {"new": IDLE}),
        ((), {"old": IDLE}),
        ((), {"new": IDLE}),
        ((IDLE, IDLE), {"expected": IDLE}),
        ((), {"old": IDLE, "desired": IDLE}),
    ],
)
def test_compare_and_set_arguments(
    status: WorkerStatus, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> None:
    """Missing, surplus, unknown and doubled arguments of compare_and_set are TypeErrors."""
    with pytest.raises(TypeError, match="compare_and_set"):
        status.compare_and_set(*arguments, **keywords)
    assert status.version == 0


@pytest.mark.parametrize("method", ["load", "close", "get_lock"])
def test_no_arguments(status: WorkerStatus, method: str) -> None:
    """Methods without parameters refuse arguments."""
    with pytest.raises(TypeError):
        getattr(status, method)(IDLE)
    with pytest.raises(TypeError):
        getattr(status, method)(value=IDLE)
    assert status.load() is IDLE


def test_many_keywords(status: WorkerStatus) -> None:
    """A flood of keyword arguments is a TypeError like one."""
    with pytest.raises(TypeError):
        status.set(**{f"k{i}": IDLE for i in range(100)})


# -- update


def test_update(status: WorkerStatus) -> None:
    """update() replaces the member by what the function makes of it, and returns that."""
    seen: list[WorkerStatusEnum] = []

    def following(member: WorkerStatusEnum) -> WorkerStatusEnum:
        seen.append(member)
        return WorkerStatusEnum(member + 1)

    assert status.update(following) is CALCULATING
    assert status.load() is CALCULATING
    assert seen == [IDLE]
    assert seen[0] is IDLE


def test_update_raising(status: WorkerStatus) -> None:
    """What the function raises comes out, and nothing was written."""

    def fail(member: WorkerStatusEnum) -> WorkerStatusEnum:
        raise LookupError(member.name)

    with pytest.raises(LookupError, match="IDLE"):
        status.update(fail)
    assert (status.load(), status.version) == (IDLE, 0)


def test_update_again_after_another_write(status: WorkerStatus) -> None:
    """When a write came between, update() asks the function again, with the newer member."""
    seen = []

    def interrupted(member: WorkerStatusEnum) -> WorkerStatusEnum:
        seen.append(member)
        if len(seen) == 1:
            status.set(CALCULATING)
        return UNAVAILABLE

    assert status.update(interrupted) is UNAVAILABLE
    assert seen == [IDLE, CALCULATING]
    assert status.version == 2


def test_update_of_same_member(status: WorkerStatus) -> None:
    """update() to the member that is there is a write like any other."""
    assert status.update(lambda member: member) is IDLE
    assert status.version == 1


def test_update_loses_nothing() -> None:
    """Updates by several threads at once lose none: each step is taken exactly once."""
    ring = make_enum("Ring", {f"N{i}": i for i in range(97)})
    value: IntEnumValue[Any] = IntEnumValue(ring(0))
    steps, threads = 500, 4
    start = threading.Barrier(threads)

    def work() -> None:
        start.wait()
        for _ in range(steps):
            value.update(lambda member: ring((member + 1) % 97))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert value.value == steps * threads % 97
    assert value.version == steps * threads


def test_update_of_labelled_enum() -> None:
    """update() returns the member also where the enum's .value is not the member's int."""

    class Labelled(enum.IntEnum):
        def __new__(cls, number: int, label: str) -> Labelled:  # noqa: PYI034
            member = int.__new__(cls, number)
            member._value_ = label  # type: ignore[assignment]
            return member

        ONE = (1, "one")
        TWO = (2, "two")

    value = IntEnumValue[Labelled](Labelled.ONE)
    assert value.load() is Labelled.ONE
    assert value.name == "ONE"
    assert value.update(lambda _: Labelled.TWO) is Labelled.TWO
