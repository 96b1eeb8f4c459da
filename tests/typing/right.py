"""Right uses: mypy --strict and pyright accept each, and infer what assert_type says."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar, assert_type

from atomic_intenum import BACKEND, IntEnumArray, IntEnumValue, __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
    from multiprocessing.synchronize import Lock, RLock

T = TypeVar("T", bound=IntEnum)


class WorkerStatusEnum(IntEnum):
    UNAVAILABLE = 1
    IDLE = 2
    CALCULATING = 3


class WorkerStatus(IntEnumValue[WorkerStatusEnum]):
    pass


class Sub(WorkerStatus):
    pass


class Logged(IntEnumValue[T]):
    def set(self, value: T | str) -> None:
        super().set(value)
        print(self.name)


class LoggedStatus(Logged[WorkerStatusEnum]):
    pass


class Worker(IntEnumValue[WorkerStatusEnum]):
    def __init__(self, number: int) -> None:
        super().__init__("IDLE")
        self.number = number

    def to_value(self, name: str) -> int:
        return super().to_value(name.upper())

    def from_value(self, value: int) -> str:
        return super().from_value(value).lower()


status = WorkerStatus(WorkerStatusEnum.IDLE)
IDLE, CALCULATING = WorkerStatusEnum.IDLE, WorkerStatusEnum.CALCULATING

# -- construction

WorkerStatus("IDLE")
WorkerStatus(value="IDLE")
WorkerStatus(IDLE, multiprocessing.Lock())
WorkerStatus(IDLE, lock=multiprocessing.RLock())
WorkerStatus(IDLE, lock=threading.Lock())
WorkerStatus(IDLE, lock=threading.RLock())
WorkerStatus(IDLE, lock=status.get_lock())
WorkerStatus(IDLE, lock=None)
Worker(7)
assert_type(IntEnumValue[WorkerStatusEnum](IDLE), IntEnumValue[WorkerStatusEnum])
assert_type(IntEnumValue[WorkerStatusEnum]("IDLE"), IntEnumValue[WorkerStatusEnum])
assert_type(IntEnumValue(IDLE), IntEnumValue[WorkerStatusEnum])
assert_type(Logged[WorkerStatusEnum](IDLE), Logged[WorkerStatusEnum])

# -- what is inferred

assert_type(status.load(), WorkerStatusEnum)
assert_type(status.exchange(CALCULATING), WorkerStatusEnum)
assert_type(status.exchange("IDLE"), WorkerStatusEnum)
assert_type(status.update(lambda member: member), WorkerStatusEnum)
assert_type(status.wait_for(CALCULATING), WorkerStatusEnum)
assert_type(status.wait_for(IDLE, "CALCULATING", timeout=1), WorkerStatusEnum)
assert_type(status.wait_while("IDLE", timeout=None), WorkerStatusEnum)
assert_type(status.wait_while(IDLE, CALCULATING, timeout=0.5), WorkerStatusEnum)
assert_type(status.changes(), Iterator[WorkerStatusEnum])
assert_type(next(status.changes(timeout=1)), WorkerStatusEnum)
assert_type([member.name for member in status.changes(0.5)], list[str])
assert_type(Sub(IDLE).wait_for(IDLE), WorkerStatusEnum)
assert_type(LoggedStatus("IDLE").wait_while("CALCULATING"), WorkerStatusEnum)
assert_type(IntEnumValue(IDLE).wait_for("IDLE"), WorkerStatusEnum)
assert_type(status.value, int)
assert_type(status.name, str)
assert_type(status.version, int)
assert_type(status.compare_and_set(IDLE, CALCULATING), bool)
assert_type(status.compare_and_set("IDLE", new="CALCULATING"), bool)
assert_type(status.compare_and_set(old=IDLE, new=CALCULATING), bool)
assert_type(status.to_value("IDLE"), int)
assert_type(status.from_value(2), str)
assert_type(status.abandoned, bool)
assert_type(int(status), int)
assert_type(str(status), str)
assert_type(BACKEND, str)
version: str = __version__
assert_type(Sub(IDLE).load(), WorkerStatusEnum)
assert_type(LoggedStatus("IDLE").load(), WorkerStatusEnum)
assert_type(Worker(3).load(), WorkerStatusEnum)
assert_type(IntEnumValue(IDLE).load(), WorkerStatusEnum)
lock: Lock | RLock = status.get_lock()
same: Lock | RLock = status.lock
enum: type[IntEnum] = status.EnumType

# -- writing

status.set(CALCULATING)
status.set("IDLE")
status.set(value=CALCULATING)
status.value = CALCULATING
status.value = "IDLE"
status.close()

# -- comparing, indexing

assert_type(status == IDLE, bool)
assert_type(status != "IDLE", bool)
assert_type(status < CALCULATING, bool)
assert_type(status >= 2, bool)
assert_type(status <= WorkerStatus(IDLE), bool)
assert_type(IDLE == status, bool)  # noqa: SIM300
assert_type(["a", "b", "c"][status], str)
assert_type(f"{status:>4}", str)
with status.get_lock():
    status.set(CALCULATING)


def advance(member: WorkerStatusEnum) -> WorkerStatusEnum:
    return WorkerStatusEnum(member + 1)


status.update(advance)


# -- generic functions


def first_load(value: IntEnumValue[T]) -> T:
    return value.load()


def describe(value: IntEnumValue[Any]) -> str:
    return value.name


assert_type(first_load(status), WorkerStatusEnum)
describe(status)


# -- the original's property pattern


class WorkerState:
    def __init__(self) -> None:
        self._status = WorkerStatus(IDLE)

    @property
    def status(self) -> WorkerStatusEnum:
        return self._status.load()

    @status.setter
    def status(self, status: WorkerStatusEnum) -> None:
        self._status.set(status)


state = WorkerState()
state.status = CALCULATING
assert_type(WorkerState().status, WorkerStatusEnum)

# -- arrays


class Board(IntEnumArray[WorkerStatusEnum]):
    pass


class LoggedBoard(IntEnumArray[T]):
    def latest(self) -> T:
        return self[-1]


board = Board(10, IDLE)
Board(10, "IDLE", segment_name="board", padded=True)
Board(size=True, initial=IDLE)
assert_type(IntEnumArray[WorkerStatusEnum](3, IDLE), IntEnumArray[WorkerStatusEnum])
assert_type(IntEnumArray(3, IDLE), IntEnumArray[WorkerStatusEnum])
assert_type(LoggedBoard[WorkerStatusEnum](3, "IDLE").latest(), WorkerStatusEnum)
assert_type(Board.attach("board"), Board)
assert_type(len(board), int)
assert_type(board[0], WorkerStatusEnum)
assert_type(board[IDLE], WorkerStatusEnum)
assert_type(board[0:2], list[WorkerStatusEnum])
assert_type(board[::-1], list[WorkerStatusEnum])
assert_type(list(board), list[WorkerStatusEnum])
assert_type([member.name for member in board], list[str])
sequence: Sequence[WorkerStatusEnum] = board
assert_type(board.index(IDLE), int)
assert_type(board.at(0), IntEnumValue[WorkerStatusEnum])
assert_type(board.at(0).load(), WorkerStatusEnum)
assert_type(board.at(-1, WorkerStatus), WorkerStatus)
assert_type(board.at(0, cls=Worker), Worker)
assert_type(board.exchange(0, "IDLE"), WorkerStatusEnum)
assert_type(board.exchange(index=0, member=IDLE), WorkerStatusEnum)
assert_type(board.compare_and_set(0, IDLE, "CALCULATING"), bool)
assert_type(board.compare_and_set(0, old="IDLE", new=CALCULATING), bool)
assert_type(board.claim(IDLE, CALCULATING), int | None)
assert_type(board.claim(old="IDLE", new="CALCULATING"), int | None)
assert_type(board.snapshot(), list[WorkerStatusEnum])
assert_type(board.count("IDLE"), int)
assert_type(board.counts(), dict[WorkerStatusEnum, int])
assert_type(board.counts()[IDLE], int)
assert_type(board.wait_any(IDLE, "CALCULATING", timeout=1), int)
assert_type(board.segment_name, str)
board[0] = IDLE
board[-1] = "CALCULATING"
board.fill("IDLE")
board.wait_all(IDLE)
board.wait_all("IDLE", CALCULATING, timeout=None)
board.unlink()
board.close()
board_enum: type[IntEnum] = board.EnumType


def first_of(array: IntEnumArray[T]) -> T:
    return array[0]


assert_type(first_of(board), WorkerStatusEnum)


# -- owners

IDLE_AGAIN = {CALCULATING: IDLE}
NAMES = {"CALCULATING": "IDLE"}

WorkerStatus(IDLE, on_death=None)
WorkerStatus(IDLE, on_death=IDLE)
WorkerStatus(IDLE, on_death="UNAVAILABLE")
WorkerStatus(IDLE, on_death={CALCULATING: IDLE})
WorkerStatus(IDLE, on_death={"CALCULATING": "IDLE"}, segment_name="worker", exist_ok=True)
WorkerStatus(IDLE, on_death={CALCULATING: "IDLE", "IDLE": WorkerStatusEnum.UNAVAILABLE})
Board(3, IDLE, on_death={CALCULATING: IDLE}, segment_name="board", exist_ok=True)
Board(3, IDLE, on_death=WorkerStatusEnum.UNAVAILABLE, padded=True)
assert_type(IntEnumValue(IDLE, on_death={CALCULATING: IDLE}), IntEnumValue[WorkerStatusEnum])
assert_type(IntEnumValue(IDLE, on_death=IDLE), IntEnumValue[WorkerStatusEnum])
assert_type(IntEnumArray(3, IDLE, on_death={CALCULATING: "IDLE"}), IntEnumArray[WorkerStatusEnum])
owned: IntEnumValue[WorkerStatusEnum] = IntEnumValue("IDLE", on_death="UNAVAILABLE")

# A mapping in a variable is as right.  Its key's type is invariant, and these two errors tell so.
WorkerStatus(IDLE, on_death=IDLE_AGAIN)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Board(3, IDLE, on_death=NAMES)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

assert_type(status.owner, int | None)
assert_type(status.recover(), bool)
assert_type(board.owner(0), int | None)
assert_type(board.owner(IDLE), int | None)
assert_type(board.owners(), list[int | None])
assert_type(board.recover(), list[int])
assert_type(board.at(0).owner, int | None)
status.own()
status.disown()
board.at(-1, WorkerStatus).own()

# -- claims that sleep, and an array's changes

assert_type(board.claim(IDLE, CALCULATING, timeout=1), int | None)
assert_type(board.claim("IDLE", CALCULATING, timeout=0.5), int | None)
assert_type(board.claim(old=IDLE, new="CALCULATING", timeout=None), int | None)
assert_type(board.changes(), Iterator[dict[int, WorkerStatusEnum]])
assert_type(next(board.changes(timeout=None)), dict[int, WorkerStatusEnum])
assert_type([change[0].name for change in board.changes(0.5)], list[str])
assert_type(next(LoggedBoard[WorkerStatusEnum](3, IDLE).changes()), dict[int, WorkerStatusEnum])

# -- waits of event loops

assert_type(status.aio.changes(), AsyncIterator[WorkerStatusEnum])
assert_type(board.aio.changes(), AsyncIterator[dict[int, WorkerStatusEnum]])


async def wait_for_values() -> None:
    assert_type(await status.aio.wait_for(CALCULATING), WorkerStatusEnum)
    assert_type(await status.aio.wait_for("IDLE", CALCULATING), WorkerStatusEnum)
    assert_type(await status.aio.wait_while("IDLE"), WorkerStatusEnum)
    assert_type(await status.aio.wait_while(IDLE, "CALCULATING"), WorkerStatusEnum)
    assert_type(await Sub(IDLE).aio.wait_for(IDLE), WorkerStatusEnum)
    assert_type(await LoggedStatus("IDLE").aio.wait_for(IDLE), WorkerStatusEnum)
    assert_type(await Worker(3).aio.wait_while(IDLE), WorkerStatusEnum)
    assert_type(await board.at(0).aio.wait_for(IDLE), WorkerStatusEnum)
    assert_type(await IntEnumValue(IDLE).aio.wait_for("IDLE"), WorkerStatusEnum)
    assert_type([member async for member in status.aio.changes()], list[WorkerStatusEnum])
    async for member in status.aio.changes():
        assert_type(member, WorkerStatusEnum)
    async with asyncio.timeout(1):
        await status.aio.wait_for(IDLE)
    task = asyncio.create_task(status.aio.wait_for(IDLE))
    assert_type(task, asyncio.Task[WorkerStatusEnum])
    assert_type(
        await asyncio.gather(status.aio.wait_for(IDLE), board.aio.claim(IDLE, CALCULATING)),
        tuple[WorkerStatusEnum, int],
    )


async def wait_for_words() -> None:
    assert_type(await board.aio.claim(IDLE, CALCULATING), int)
    assert_type(await board.aio.claim("IDLE", new="CALCULATING"), int)
    assert_type(await board.aio.claim(old=IDLE, new="CALCULATING"), int)
    assert_type(await board.aio.wait_any(IDLE), int)
    assert_type(await board.aio.wait_any("IDLE", CALCULATING), int)
    await board.aio.wait_all(IDLE, "CALCULATING")
    _every: Coroutine[Any, Any, None] = board.aio.wait_all(IDLE)
    assert_type(board[await board.aio.wait_any(IDLE)], WorkerStatusEnum)
    logged = LoggedBoard[WorkerStatusEnum](3, IDLE)
    assert_type(await anext(logged.aio.changes()), dict[int, WorkerStatusEnum])
    async for change in board.aio.changes():
        assert_type(change, dict[int, WorkerStatusEnum])


async def next_of(value: IntEnumValue[T], member: T) -> T:
    return await value.aio.wait_while(member)


async def first_to_be(array: IntEnumArray[T], member: T) -> T:
    return array[await array.aio.wait_any(member)]


async def generic() -> None:
    assert_type(await next_of(status, IDLE), WorkerStatusEnum)
    assert_type(await first_to_be(board, IDLE), WorkerStatusEnum)
