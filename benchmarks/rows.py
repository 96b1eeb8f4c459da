"""The table: what is promised of each operation, beside whom, and what has no promise.

A row without a limit is for information.  Everything here is measured by one of the runners, and
what could not be measured counts as missed where it has a limit.
"""

from __future__ import annotations

from dataclasses import dataclass

FLOOR, OURS, ORIGINAL = "floor", "atomic_intenum", "multiprocessing-intenum"
ATOMICSHM, FASTIPC, NUMPY = "atomicshm", "fastipc", "numpy, plain int32"
LOCKED, EVENT, RLOCK = (f"multiprocessing.{name}" for name in ("Value", "Event", "RLock"))
HOISTED, VALUES = f"{LOCKED}, hoisted", f"10,000 {LOCKED}"
A_VALUE, WITHOUT = "a value", "without on_death"
ASLEEP, SPINNING = f"{OURS}, asleep", f"{OURS}, spinning"
SPINNING_MEAN, EVENT_MEAN = f"{SPINNING}, mean", f"{EVENT}, mean"
C_ASLEEP, C_SPINNING = "plain C, asleep", "plain C, spinning"
BLOCKING, EVENTFD, UNWATCHED = "a blocking wait", "asyncio, an eventfd", "unwatched"

COUNTS = "counts of 10,000 words, three members"
RECOVER = "recover 10,000 words, 64 owners"
TURN = "there and back"
HANDOVER, LONGEST = "lock hand-over", "longest without the lock"
TWO = "two processes, successes"
BYTES = "shared memory of a value"
IMPORT = "import, beyond shared_memory's"
FIRST, STARTED = "first value", "processes that it starts"
AIO, AIO_THREADS, AIO_IDLE = "aio: wake one of 10,000 waits", "aio: threads", "aio: idle, of a core"
AIO_CANCEL, AIO_WRITER = "aio: cancel one", "aio: unrelated writer"
LOCK_PATH = "lock path: "

#: Numbers of processes at the lock.
PROCESSES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Row:
    """A row: at most `limit` times the rival's time, or at least so many times as fast.

    Where it is absolute, the limit is for ours, whatever the rival takes; `at` is a number of
    processes; `label` is what the table calls it, if not the operation.
    """

    what: str
    rival: str
    limit: float | None
    faster: bool = False
    at: int | None = None
    ours: str = OURS
    absolute: bool = False
    label: str = ""

    @property
    def title(self) -> str:
        among = "" if self.at is None else f", {self.at} process{'es' if self.at > 1 else ''}"
        return (self.label or self.what) + among


def _faster(what: str, rival: str, limit: float | None, at: int | None = None) -> Row:
    return Row(what, rival, limit, faster=True, at=at)


def _below(what: str, limit: float, rival: str = FLOOR) -> Row:
    return Row(what, rival, limit, absolute=True)


def _turn(label: str, ours: str, rival: str, limit: float | None, *, faster: bool) -> Row:
    return Row(TURN, rival, limit, faster, ours=ours, label=f"{TURN}, {label}")


ROWS = [
    Row("load", ATOMICSHM, 1.1),
    Row("value", FLOOR, 1.15),
    _faster("value", LOCKED, 3),
    _faster("name", ORIGINAL, 20),
    Row("set", ATOMICSHM, 1.15),
    _faster("set", LOCKED, 5),
    Row("compare_and_set", ATOMICSHM, 1.15),
    _faster("compare_and_set", LOCKED, 15),
    _faster("compare_and_set", HOISTED, None),
    _faster("== member", ORIGINAL, 8),
    _faster("create", LOCKED, 8),
    _below(BYTES, 192, LOCKED),
    _faster(COUNTS, VALUES, 50),
    _faster(COUNTS, NUMPY, 2),
    _faster(TWO, LOCKED, 10),
    _turn("spinning", SPINNING, EVENT, 20, faster=True),
    _turn("spinning, mean", SPINNING_MEAN, EVENT_MEAN, None, faster=True),
    _turn("spinning", SPINNING, C_SPINNING, 5, faster=False),
    _turn("asleep", ASLEEP, C_ASLEEP, 1.15, faster=False),
    _turn("asleep", ASLEEP, EVENT, None, faster=True),
    _faster("with lock", RLOCK, 2),
    Row("acquire, release", RLOCK, 1),
    _faster("with get_lock(), set", ORIGINAL, 2),
    *[_faster(HANDOVER, RLOCK, 1.5, at) for at in PROCESSES],
    *[Row(LONGEST, RLOCK, 0.1, at=at, absolute=True) for at in PROCESSES if at > 1],
    *[Row(LOCK_PATH + what, ORIGINAL, 1) for what in ("value", "name", "load", "== member")],
    Row(LOCK_PATH + "set", ORIGINAL, 1.5),
    Row(LOCK_PATH + "create", ORIGINAL, 1.3),
    Row("board[i]", A_VALUE, 1.3),
    Row("board[i] = m", A_VALUE, 1.3),
    _below("board.at(i)", 1.5e-6),
    _below(IMPORT, 12e-3),
    _below(FIRST, 1e-3, LOCKED),
    _below(STARTED, 0, LOCKED),
    Row("claim, on_death", WITHOUT, 1.2),
    _below(RECOVER, 100e-6),
    Row(AIO, BLOCKING, 2),
    Row(AIO, EVENTFD, None),
    _below(AIO_THREADS, 1),
    _below(AIO_IDLE, 0.1),
    _below(AIO_CANCEL, 1e-3),
    Row(AIO_WRITER, UNWATCHED, 1.1),
]
