"""Values that were closed, or never opened."""

from __future__ import annotations

import copy
import gc
import operator
import threading
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumValue
from helpers.support import (
    CALCULATING,
    IDLE,
    JobEnum,
    Plain,
    WorkerStatus,
    WorkerStatusEnum,
)
from helpers.values import WRITE_NAMES, WRITES

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def status() -> WorkerStatus:
    """Return a value that is IDLE."""
    return WorkerStatus(IDLE)


USES: dict[str, Callable[[WorkerStatus], object]] = {
    "load": lambda status: status.load(),
    "value": lambda status: status.value,
    "name": lambda status: status.name,
    "version": lambda status: status.version,
    "set": lambda status: status.set(IDLE),
    "set name": lambda status: status.set("IDLE"),
    "value setter": lambda status: setattr(status, "value", IDLE),
    "exchange": lambda status: status.exchange(IDLE),
    "compare_and_set": lambda status: status.compare_and_set(IDLE, CALCULATING),
    "compare_and_set mismatch": lambda status: status.compare_and_set(CALCULATING, IDLE),
    "update": lambda status: status.update(lambda member: member),
    "to_value": lambda status: status.to_value("IDLE"),
    "from_value": lambda status: status.from_value(2),
    "eq": lambda status: status == IDLE,
    "eq int": lambda status: status == 2,
    "eq name": lambda status: status == "IDLE",
    "eq reflected": lambda status: status == WorkerStatus(IDLE),
    "eq from another": lambda status: WorkerStatus(IDLE) == status,
    "eq itself": lambda status: status == status,  # noqa: PLR0124
    "ne": lambda status: status != IDLE,
    "lt": lambda status: status < CALCULATING,
    "ge": lambda status: status >= 2**80,
    "hash": hash,
    "int": int,
    "index": operator.index,
    "str": str,
    "format": lambda status: format(status, ""),
    "get_lock": lambda status: status.get_lock(),
    "lock": lambda status: status.lock,
    "abandoned": lambda status: status.abandoned,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "reduce": lambda status: status.__reduce__(),
    "reduce_ex": lambda status: status.__reduce_ex__(4),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_closed(status: WorkerStatus, use: Callable[[WorkerStatus], object]) -> None:
    """Using a closed value raises ValueError, whatever is used."""
    status.close()
    with pytest.raises(ValueError, match="closed"):
        use(status)


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("cls", [WorkerStatus, Plain])
def test_never_initialised(cls: type[WorkerStatus], use: Callable[[WorkerStatus], object]) -> None:
    """An instance whose __init__ never ran acts as closed, whatever is used."""
    with pytest.raises(ValueError, match="closed"):
        use(cls.__new__(cls))


@pytest.mark.parametrize("wrong", [5, None, JobEnum.DONE])
@pytest.mark.parametrize("write", WRITES, ids=WRITE_NAMES)
def test_closed_comes_first(
    status: WorkerStatus, write: Callable[[WorkerStatus, Any], object], wrong: Any
) -> None:
    """Writing something wrong to a closed value raises ValueError: no write would do."""
    status.close()
    with pytest.raises(ValueError, match="closed"):
        write(status, wrong)


def test_repr_of_closed(status: WorkerStatus) -> None:
    """repr() works at any time and says that the value is closed."""
    status.close()
    assert "WorkerStatus" in repr(status)
    assert "closed" in repr(status)
    assert "closed" in repr(WorkerStatus.__new__(WorkerStatus))


def test_close_twice(status: WorkerStatus) -> None:
    """close() may be called again, and on an instance whose __init__ never ran."""
    status.close()
    status.close()
    unborn = WorkerStatus.__new__(WorkerStatus)
    unborn.close()
    unborn.close()
    with pytest.raises(ValueError, match="closed"):
        unborn.load()


def test_close_is_this_objects(status: WorkerStatus) -> None:
    """close() leaves other objects of the same value working."""
    twin = copy.copy(status)
    status.close()
    twin.set(CALCULATING)
    assert twin.load() is CALCULATING


def test_close_keeps_enum_type() -> None:
    """EnumType answers on a closed value."""
    status = WorkerStatus(IDLE)
    status.close()
    assert status.EnumType is WorkerStatusEnum


def test_close_while_lock_is_held(status: WorkerStatus) -> None:
    """A lock that is held when its value is closed can still be released, and used."""
    twin = copy.copy(status)
    lock = status.get_lock()
    with lock:
        status.close()
        del status
        gc.collect()
    with lock:
        twin.set(CALCULATING)
    assert twin.load() is CALCULATING


def test_close_from_the_name_given(status: WorkerStatus) -> None:
    """A to_value() that closes the value ends the write with ValueError."""

    class Closing(IntEnumValue[WorkerStatusEnum]):
        def to_value(self, name: str) -> int:
            number = super().to_value(name)
            self.close()
            return number

    for write in WRITES[:4]:
        closing: Any = Closing(IDLE)
        twin = copy.copy(status)
        with pytest.raises(ValueError, match="closed"):
            write(closing, "CALCULATING")
        assert twin.load() is IDLE


def test_close_in_another_thread(status: WorkerStatus) -> None:
    """A thread that reads all the time sees the value or ValueError as another closes it."""
    reading = threading.Event()
    outcomes = []

    def read() -> None:
        try:
            while True:
                status.load()
                reading.set()
        except ValueError as error:
            outcomes.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    assert reading.wait(20)
    status.close()
    reader.join()
    assert len(outcomes) == 1
    assert "closed" in outcomes[0]
