"""Wrong uses: mypy --strict and pyright refuse each; an error that is missing is an error.

``# type: ignore`` is mypy's and ``# pyright: ignore`` is pyright's.
"""

from __future__ import annotations

from enum import Enum, IntEnum, IntFlag

from atomic_intenum import IntEnumArray, IntEnumValue


class WorkerStatusEnum(IntEnum):
    IDLE = 2
    CALCULATING = 3


class JobEnum(IntEnum):
    PENDING = 1
    DONE = 3


class Colour(Enum):
    RED = 1


class Flags(IntFlag):
    A = 1


class WorkerStatus(IntEnumValue[WorkerStatusEnum]):
    pass


IDLE = WorkerStatusEnum.IDLE
status = WorkerStatus(IDLE)

# -- another enum's member

WorkerStatus(JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
IntEnumValue[WorkerStatusEnum](JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.set(JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.value = JobEnum.DONE  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
status.exchange(JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.compare_and_set(JobEnum.PENDING, IDLE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.compare_and_set(IDLE, JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.compare_and_set(IDLE, new=JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.wait_for(JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.wait_for(IDLE, JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.wait_while(JobEnum.DONE, timeout=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.update(lambda member: JobEnum.DONE)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]

# -- an int, None, bytes

WorkerStatus(2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
WorkerStatus(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.set(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.set(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.set(b"IDLE")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.value = 3  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
status.exchange(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.compare_and_set(2, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.wait_for(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.wait_for(IDLE, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.wait_while(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.wait_for(IDLE, timeout="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.changes(timeout="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.update(lambda member: member + 1)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]
status.update(IDLE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# -- results taken for something else

member: WorkerStatusEnum = status.value  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
other: JobEnum = status.load()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
awaited: JobEnum = status.wait_for(IDLE)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
changed: JobEnum = next(status.changes())  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
number: str = status.value  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
text: int = status.name  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
none: str = status.set(IDLE)  # type: ignore[assignment, func-returns-value]  # pyright: ignore[reportAssignmentType]

# -- what is read-only

status.name = "IDLE"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
status.version = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
status.lock = None  # type: ignore[assignment, misc]  # pyright: ignore[reportAttributeAccessIssue]

# -- wrong arguments

WorkerStatus()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
WorkerStatus(IDLE, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
WorkerStatus(IDLE, lock="lock")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
WorkerStatus(IDLE, None, None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
WorkerStatus(IDLE, colour="red")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.set()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.set(IDLE, IDLE)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.set(member=IDLE)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.load(IDLE)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.exchange()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.compare_and_set(IDLE)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.wait_for()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.wait_while(timeout=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.wait_for(member=IDLE)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.compare_and_set(IDLE, IDLE, IDLE)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.compare_and_set(expected=IDLE, desired=IDLE)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

# -- wrong generic arguments

IntEnumValue[int]  # type: ignore[type-var]  # pyright: ignore[reportInvalidTypeArguments]
IntEnumValue[Colour]  # type: ignore[type-var]  # pyright: ignore[reportInvalidTypeArguments]
IntEnumValue[Flags]  # type: ignore[type-var]  # pyright: ignore[reportInvalidTypeArguments]
IntEnumValue[WorkerStatusEnum, JobEnum]  # type: ignore[misc]  # pyright: ignore[reportInvalidTypeArguments]


class WrongBase(IntEnumValue[str]):  # type: ignore[type-var]  # pyright: ignore[reportInvalidTypeArguments]
    pass


# -- values of one enum where another's is wanted


def jobs_only(value: IntEnumValue[JobEnum]) -> None:
    pass


jobs_only(status)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
jobs_only(IntEnumValue(IDLE))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- overrides that do not fit


class Narrow(IntEnumValue[WorkerStatusEnum]):
    def set(self, value: WorkerStatusEnum) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        pass


class WrongName(IntEnumValue[WorkerStatusEnum]):
    def from_value(self, value: int) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return value


# -- no such thing

status.put(IDLE)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
status.values  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


# -- arrays


class Board(IntEnumArray[WorkerStatusEnum]):
    pass


class JobStatus(IntEnumValue[JobEnum]):
    pass


board = Board(3, IDLE)

Board(3, JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Board(3, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Board("3", IDLE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Board(3.0, IDLE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Board(3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Board(3, IDLE, None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Board(3, IDLE, segment_name=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
IntEnumArray[WorkerStatusEnum](3, JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
board[0] = JobEnum.DONE  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]
board[0] = 2  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]
board["0"]  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
board[0:2] = [IDLE, IDLE]  # type: ignore[index, assignment]  # pyright: ignore[reportArgumentType]
del board[0]  # type: ignore[attr-defined]  # pyright: ignore[reportIndexIssue]
board.exchange(0, JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
board.compare_and_set(0, IDLE, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
board.compare_and_set(0, JobEnum.DONE, IDLE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
board.claim(JobEnum.DONE, IDLE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
board.claim(IDLE, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
board.claim(IDLE)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
board.fill(JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
board.fill(2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
board.count(JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
board.wait_all(JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
board.wait_any(IDLE, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
board.wait_any(timeout=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
board.wait_any(IDLE, timeout="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
board.at("0")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
board.at(0, int)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
board.append(IDLE)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
board.segment_name = "x"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
one: JobEnum = board[0]  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
several: list[JobEnum] = board[0:2]  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
claimed: int = board.claim(IDLE, IDLE)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
tally: dict[JobEnum, int] = board.counts()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
word: JobStatus = board.at(0, WorkerStatus)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
IntEnumArray[int]  # type: ignore[type-var]  # pyright: ignore[reportInvalidTypeArguments]
IntEnumArray[Flags]  # type: ignore[type-var]  # pyright: ignore[reportInvalidTypeArguments]


def job_board(array: IntEnumArray[JobEnum]) -> None:
    pass


job_board(board)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- owners

WorkerStatus(IDLE, on_death=JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
WorkerStatus(IDLE, on_death=2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
WorkerStatus(IDLE, on_death=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
WorkerStatus(IDLE, on_death=b"IDLE")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
WorkerStatus(IDLE, on_death=[IDLE])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
WorkerStatus(IDLE, on_death=[(IDLE, IDLE)])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
WorkerStatus(IDLE, on_death={IDLE})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
WorkerStatus(IDLE, on_death={IDLE: 2})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
WorkerStatus(IDLE, on_death={2: IDLE})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
WorkerStatus(IDLE, on_death={IDLE: None})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
WorkerStatus(IDLE, on_death={IDLE: JobEnum.DONE})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
WorkerStatus(IDLE, on_death={JobEnum.DONE: IDLE})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
WorkerStatus(IDLE, None, IDLE)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
WorkerStatus(IDLE, exist_ok="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Board(3, IDLE, on_death=JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Board(3, IDLE, on_death={JobEnum.DONE: IDLE})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
Board(3, IDLE, on_death=2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Board(3, IDLE, IDLE)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
IntEnumArray[WorkerStatusEnum](3, IDLE, on_death=JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.own(IDLE)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.disown(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.recover(timeout=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
pid: int = status.owner  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
status.owner()  # type: ignore[misc, operator]  # pyright: ignore[reportCallIssue, reportOptionalCall]
status.owner = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
board.owner()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
board.owner("0")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
board.owners(0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
board.recover(0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
board.own()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
pids: list[int] = board.owners()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
given: bool = board.recover()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

# -- claims that sleep, and an array's changes

board.claim(IDLE, IDLE, 1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
board.claim(IDLE, IDLE, timeout="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
board.claim(IDLE, JobEnum.DONE, timeout=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
slept: int = board.claim(IDLE, IDLE, timeout=None)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
board.changes(timeout="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
board.changes(IDLE, IDLE)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
change: dict[int, JobEnum] = next(board.changes())  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
listed: list[WorkerStatusEnum] = next(board.changes())  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]

# -- waits of event loops


async def wait_for_values() -> None:
    await status.aio.wait_for(JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await status.aio.wait_for(IDLE, JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await status.aio.wait_for(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await status.aio.wait_for(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await status.aio.wait_for()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await status.aio.wait_for(member=IDLE)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await status.aio.wait_for(IDLE, timeout=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await status.aio.wait_while(JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await status.aio.wait_while()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await status.aio.changes()  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    async for _ in status.aio.changes(timeout=1):  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue, reportUnknownVariableType]
        pass
    for _ in status.aio.changes():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        pass
    _awaited: JobEnum = await status.aio.wait_for(IDLE)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    _not_awaited: WorkerStatusEnum = status.aio.wait_for(IDLE)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    async for member in status.aio.changes():
        _changed: JobEnum = member  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    status.aio.claim(IDLE, IDLE)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    status.aio = status.aio  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def wait_for_words() -> None:
    await board.aio.claim(JobEnum.DONE, IDLE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await board.aio.claim(IDLE, JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await board.aio.claim(IDLE, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await board.aio.claim(IDLE)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await board.aio.claim()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await board.aio.claim(IDLE, IDLE, timeout=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await board.aio.wait_any(JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await board.aio.wait_any(IDLE, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await board.aio.wait_any()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await board.aio.wait_all(JobEnum.DONE)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await board.aio.wait_all()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    _claimed: WorkerStatusEnum = await board.aio.claim(IDLE, IDLE)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    _any: WorkerStatusEnum = await board.aio.wait_any(IDLE)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    async for change in board.aio.changes():
        _members: dict[int, JobEnum] = change  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    board.aio.wait_for(IDLE)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    board.aio = board.aio  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
