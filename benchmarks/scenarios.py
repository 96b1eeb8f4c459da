"""What several processes do at the same time, as each contender does it best.

A Scenario is made in the parent, goes to each process as it starts, and gives there a function that
does a batch of operations.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import repeat
from multiprocessing.shared_memory import SharedMemory
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

from contenders import (
    ATOMICSHM,
    BUSY,
    IDLE,
    LOCKED,
    OURS,
    OURS_MANY,
    UNLOCKED,
    Board,
    Contender,
    WorkerStatus,
)

with suppress(ImportError):
    import atomicshm

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    Batch = Callable[[int], None]

ONE_WORD = "compare_and_set on one word"
READERS = "readers beside a writer"
DISJOINT = "each sets a word of its own"
LOCK = "lock hand-over"
CLAIM = "claim one of 64, and give it back"
SLOTS = 64


class Scenario:
    """One contender in one scenario; made in the parent.

    Args:
        context: of multiprocessing, for what is shared.
        processes: how many there will be.
        stack: for what is to be cleaned up.

    Attributes:
        what: the scenario.
        who: the contender's label.
        least: of how many processes it makes sense.

    """

    what: ClassVar[str]
    who: ClassVar[str]
    least: ClassVar[int] = 1
    contender: ClassVar[Contender]

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        raise NotImplementedError

    @classmethod
    def absence(cls) -> str:
        """Return why it can't take part; empty if it can."""
        return cls.contender.absence or ""

    def counts(self, rank: int) -> bool:
        """Whether that process's operations are the ones to count."""
        return True

    def latencies(self) -> list[float] | None:
        """Return the seconds of single operations since last asked; None: time the batches."""
        return None

    def open(self, rank: int, stack: ExitStack) -> Batch:
        """Return what does so many operations, in the process of that rank."""
        raise NotImplementedError


class _AtomicWords:
    """Words of atomicshm, which shares by the name of a SharedMemory."""

    def __init__(self, stack: ExitStack) -> None:
        self.memory = SharedMemory(create=True, size=4096)
        stack.callback(self.memory.unlink)
        stack.callback(self.memory.close)

    def cell(self, index: int, stack: ExitStack) -> Any:
        stack.callback(self.memory.close)
        view = stack.enter_context(atomicshm.AtomicView(self.memory.buf))
        return view.cell_u32(4 * index)


# -- compare_and_set on one word: each toggles it all the time, whatever the others do


class _OneWordOurs(Scenario):
    what, who, contender = ONE_WORD, OURS.label, OURS

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.status = WorkerStatus(IDLE)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        compare_and_set = self.status.compare_and_set

        def batch(operations: int) -> None:
            for _ in repeat(None, operations // 2):
                compare_and_set(IDLE, BUSY)
                compare_and_set(BUSY, IDLE)

        return batch


class _OneWordAtomicshm(Scenario):
    what, who, contender = ONE_WORD, ATOMICSHM.label, ATOMICSHM

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.words = _AtomicWords(stack)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        cas = self.words.cell(0, stack).cas

        def batch(operations: int) -> None:
            for _ in repeat(None, operations // 2):
                cas(1, 2)
                cas(2, 1)

        return batch


class _OneWordLocked(Scenario):
    what, who, contender = ONE_WORD, LOCKED.label, LOCKED

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.value = context.Value("i", 1)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        lock, plain = self.value.get_lock(), self.value.get_obj()

        def batch(operations: int) -> None:
            for _ in repeat(None, operations // 2):
                with lock:
                    if plain.value == 1:
                        plain.value = 2
                with lock:
                    if plain.value == 2:
                        plain.value = 1

        return batch


# -- one writes all the time, the others read: the reads count


class _Reading(Scenario):
    what, least = READERS, 2

    def counts(self, rank: int) -> bool:
        return rank > 0


class _ReadersOurs(_Reading):
    who, contender = OURS.label, OURS

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.status = WorkerStatus(IDLE)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        status = self.status

        def write(operations: int) -> None:
            for _ in repeat(None, operations):
                status.set(BUSY)

        def read(operations: int) -> None:
            for _ in repeat(None, operations):
                status.load()

        return read if rank else write


class _ReadersAtomicshm(_Reading):
    who, contender = ATOMICSHM.label, ATOMICSHM

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.words = _AtomicWords(stack)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        cell = self.words.cell(0, stack)

        def write(operations: int) -> None:
            for _ in repeat(None, operations):
                cell.store(2)

        def read(operations: int) -> None:
            for _ in repeat(None, operations):
                cell.load()

        return read if rank else write


class _ReadersLocked(_Reading):
    who, contender = LOCKED.label, LOCKED
    lock: ClassVar[bool] = True

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.value = context.Value("i", 1, lock=self.lock)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        value = self.value

        def write(operations: int) -> None:
            for _ in repeat(None, operations):
                value.value = 2

        def read(operations: int) -> None:
            for _ in repeat(None, operations):
                value.value  # noqa: B018

        return read if rank else write


class _ReadersUnlocked(_ReadersLocked):
    who, contender, lock = UNLOCKED.label, UNLOCKED, False


# -- disjoint words


class _DisjointPacked(Scenario):
    what, who, contender = DISJOINT, f"{OURS.label}, array, packed", OURS_MANY
    padded: ClassVar[bool] = False

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.board = Board(processes, IDLE, padded=self.padded)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        return _setting(self.board.at(rank, WorkerStatus))


class _DisjointPadded(_DisjointPacked):
    who, padded = f"{OURS.label}, array, padded", True


class _DisjointValues(Scenario):
    what, who, contender = DISJOINT, f"{OURS.label}, values", OURS

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.statuses = [WorkerStatus(IDLE) for _ in range(processes)]

    def open(self, rank: int, stack: ExitStack) -> Batch:
        return _setting(self.statuses[rank])


def _setting(status: Any) -> Batch:
    def batch(operations: int) -> None:
        for _ in repeat(None, operations):
            status.set(BUSY)

    return batch


class _DisjointAtomicshm(Scenario):
    what, who, contender = DISJOINT, f"{ATOMICSHM.label}, packed", ATOMICSHM

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.words = _AtomicWords(stack)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        cell = self.words.cell(rank, stack)

        def batch(operations: int) -> None:
            for _ in repeat(None, operations):
                cell.store(2)

        return batch


class _DisjointLocked(Scenario):
    what, who, contender = DISJOINT, LOCKED.label, LOCKED

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.values = [context.Value("i", 1) for _ in range(processes)]

    def open(self, rank: int, stack: ExitStack) -> Batch:
        value = self.values[rank]

        def batch(operations: int) -> None:
            for _ in repeat(None, operations):
                value.value = 2

        return batch


# -- lock hand-over: who gets the lock notes when the one before, if it was another, let it go


class _Lock(Scenario):
    what = LOCK

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.holder = context.RawValue("i", -1)
        self.released = context.RawValue("d", 0.0)
        self.taken: list[float] = []
        self.lock = self.make(context)

    def make(self, context: Any) -> Any:
        raise NotImplementedError

    def latencies(self) -> list[float] | None:
        taken, self.taken[:] = self.taken[:], []
        return taken

    def open(self, rank: int, stack: ExitStack) -> Batch:
        acquire, release = self.lock.acquire, self.lock.release
        holder, released, note = self.holder, self.released, self.taken.append

        def batch(operations: int) -> None:
            for _ in repeat(None, operations):
                acquire()
                if holder.value != rank:
                    note(perf_counter() - released.value)
                    holder.value = rank
                released.value = perf_counter()
                release()

        return batch


class _LockOurs(_Lock):
    who, contender = OURS.label, OURS

    def make(self, context: Any) -> Any:
        self.status = WorkerStatus(IDLE)
        return self.status.get_lock()


class _LockLocked(_Lock):
    who, contender = "multiprocessing.RLock", LOCKED

    def make(self, context: Any) -> Any:
        return context.RLock()


# -- claim one of the slots and give it back


class _ClaimArray(Scenario):
    what, who, contender = CLAIM, f"{OURS.label}, array", OURS_MANY

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.board = Board(SLOTS, IDLE)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        board = self.board

        def batch(operations: int) -> None:
            for _ in repeat(None, operations):
                index = board.claim(IDLE, BUSY)
                assert index is not None
                board[index] = IDLE

        return batch


class _ClaimValues(Scenario):
    what, who, contender = CLAIM, f"{OURS.label}, values", OURS

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.statuses = [WorkerStatus(IDLE) for _ in range(SLOTS)]

    def open(self, rank: int, stack: ExitStack) -> Batch:
        statuses = self.statuses

        def batch(operations: int) -> None:
            for _ in repeat(None, operations):
                for status in statuses:
                    if status.compare_and_set(IDLE, BUSY):
                        status.set(IDLE)
                        break

        return batch


class _ClaimLocked(Scenario):
    what, who, contender = CLAIM, "multiprocessing.Array", LOCKED

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.array = context.Array("i", [1] * SLOTS)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        lock, plain = self.array.get_lock(), self.array.get_obj()

        def batch(operations: int) -> None:
            for _ in repeat(None, operations):
                with lock:
                    index = plain[:].index(1)
                    plain[index] = 2
                with lock:
                    plain[index] = 1

        return batch


class _ClaimQueue(Scenario):
    what, who, contender = CLAIM, "multiprocessing.SimpleQueue", LOCKED

    def __init__(self, context: Any, processes: int, stack: ExitStack) -> None:
        self.queue = context.SimpleQueue()
        for index in range(SLOTS):
            self.queue.put(index)

    def open(self, rank: int, stack: ExitStack) -> Batch:
        get, put = self.queue.get, self.queue.put

        def batch(operations: int) -> None:
            for _ in repeat(None, operations):
                put(get())

        return batch


SCENARIOS: list[type[Scenario]] = [
    _OneWordOurs,
    _OneWordAtomicshm,
    _OneWordLocked,
    _ReadersOurs,
    _ReadersAtomicshm,
    _ReadersUnlocked,
    _ReadersLocked,
    _DisjointPacked,
    _DisjointPadded,
    _DisjointValues,
    _DisjointAtomicshm,
    _DisjointLocked,
    _LockOurs,
    _LockLocked,
    _ClaimArray,
    _ClaimValues,
    _ClaimQueue,
    _ClaimLocked,
]
