"""The pool that hands out the words of values, and when its segments are removed."""

from __future__ import annotations

import errno
import gc
import os
import secrets
import shutil
import sys
import threading
import time
from multiprocessing import heap
from pathlib import Path
from typing import Any

import pytest

from atomic_intenum import IntEnumArray, IntEnumValue
from helpers.inside import backend, segment
from helpers.marks import named, unnamed
from helpers.support import (
    IDLE,
    SHM,
    WorkerStatus,
    collect,
    collect_unless_counted,
    make_enum,
    own_segments,
    run_script,
)

pytestmark = pytest.mark.skipif(not SHM.is_dir(), reason="no folder lists shared memory")


NAMELESS = """
import os, sys
from atomic_intenum import IntEnumArray
from helpers.support import make_enum

opened = []


def see(event, arguments):
    if event == "tempfile.mkstemp":
        opened.append(arguments)


sys.addaudithook(see)
board = IntEnumArray(3, make_enum("Few", "A B").A)
print(opened, int(board[2]))
"""


def fresh_enum(name: str = "Fresh") -> Any:
    """Make an IntEnum whose pool is new."""
    return make_enum(name, "A B C")


def place(value: IntEnumValue[Any]) -> tuple[int, int]:
    """Return where the value is: segment, which may have no name, and index."""
    return value._atomic_segment.header.nonce, value._atomic_index


def shared_lock() -> Any:
    """Return a lock for many values: on the lock-based path each would have a semaphore."""
    return threading.RLock() if backend.NAME == "lock" else None


def test_pool_doubles() -> None:
    """A pool's segments double, from 16 words to 4,096."""
    fresh, lock = fresh_enum(), shared_lock()
    sizes = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 4096]
    values = [IntEnumValue(fresh.A, lock) for _ in range(sum(sizes) + 1)]
    capacities: dict[int, int] = {}
    for value in values:
        header = value._atomic_segment.header
        capacities[header.nonce] = header.capacity
    assert list(capacities.values()) == [*sizes, 4096]


def test_words_are_used_once() -> None:
    """A word is never handed out a second time, however soon its value is gone."""
    fresh = fresh_enum()
    seen = set()
    for number in range(1000):
        value = IntEnumValue(fresh.A)
        seen.add(place(value))
        assert len(seen) == number + 1


@named
def test_empty_segments_are_removed() -> None:
    """A segment whose values are all gone is removed at once, others stay."""
    fresh = fresh_enum()
    values = [IntEnumValue(fresh.A) for _ in range(16 + 32 + 1)]
    names = list(dict.fromkeys(value._atomic_segment.name for value in values))
    assert len(names) == 3
    assert set(names) <= own_segments()
    survivor = values[20]
    values.clear()
    collect_unless_counted()
    assert names[0] not in own_segments()
    assert {names[1], names[2]} <= own_segments()
    assert survivor.load() is fresh.A
    del survivor
    collect_unless_counted()
    assert names[1] not in own_segments()


def test_segment_of_other_pool_stays() -> None:
    """Each enum has segments of its own."""
    first, second = fresh_enum(), fresh_enum()
    values = [IntEnumValue(first.A), IntEnumValue(second.A)]
    assert values[0]._atomic_segment is not values[1]._atomic_segment


@named
def test_churn_stays_small() -> None:
    """Values that come and go do not pile up segments."""
    fresh = fresh_enum()
    before = len(own_segments())
    for _ in range(3000):
        IntEnumValue(fresh.A)
    collect()
    assert len(own_segments()) - before <= 2


@named
def test_removed_segments_are_unmapped() -> None:
    """A segment that nobody uses any more is unmapped."""
    fresh = fresh_enum()
    name = [IntEnumValue(fresh.A) for _ in range(16 + 32 + 64)][-1]._atomic_segment.name
    [IntEnumValue(fresh.A) for _ in range(2)]
    collect()
    assert name not in Path("/proc/self/maps").read_text()


def test_closed_value_keeps_nothing_open() -> None:
    """close() alone unmaps nothing that another value still uses."""
    first, second = WorkerStatus(IDLE), WorkerStatus(IDLE)
    first.close()
    gc.collect()
    assert second.load() is IDLE


def test_cost() -> None:
    """20,000 live values cost at most 192 bytes of shared memory each."""
    fresh, lock = fresh_enum(), shared_lock()
    values = [IntEnumValue(fresh.A, lock) for _ in range(20_000)]
    segments = {value._atomic_segment for value in values}
    used = sum(segment.mapping.size for segment in segments)
    if backend.NAME != "lock":
        used = sum((SHM / segment.name).stat().st_blocks * 512 for segment in segments)
    assert used <= 192 * len(values)
    assert len({place(value) for value in values}) == len(values)


@pytest.mark.skipif(not hasattr(gc, "set_threshold"), reason="collection cannot be provoked there")
def test_deallocation_in_the_allocator() -> None:
    """Garbage collection that runs inside the allocator and frees values is survived."""
    fresh, lock = fresh_enum(), shared_lock()

    def circle() -> None:
        holder: list[Any] = [IntEnumValue(fresh.A, lock) for _ in range(20)]
        holder.append(holder)

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(60):
            circle()
    finally:
        gc.set_threshold(*threshold)
    gc.collect()


@unnamed
def test_allocation_fails_cleanly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room, making a value is OSError(ENOSPC), and the next one works."""
    fresh = fresh_enum()

    def full(*_: object) -> None:
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if not hasattr(os, "posix_fallocate"):
            error = OSError(errno.EINVAL, "The paging file is too small")
            error.winerror = 1455  # type: ignore[attr-defined]
        raise error

    if hasattr(os, "posix_fallocate"):
        monkeypatch.setattr(os, "posix_fallocate", full)
    else:
        monkeypatch.setattr(heap, "Arena", full)
    with pytest.raises(OSError, match="no room in") as caught:
        IntEnumValue(fresh.A)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert IntEnumValue(fresh.A).load() is fresh.A


@named
def test_more_than_there_is_room_for() -> None:
    """What there is no room for is OSError(ENOSPC) that says how much there is; nothing is left."""
    if not os.statvfs(SHM).f_blocks:
        pytest.skip("as much room as there is memory")
    fresh = fresh_enum()
    before = own_segments()
    for words in (shutil.disk_usage(SHM).total // 64, 2**50, 2**62, 2**70):
        with pytest.raises(OSError, match=r"no room in|more than any memory") as caught:
            IntEnumArray(words, fresh.A)
        assert caught.value.errno == errno.ENOSPC
    assert own_segments() <= before
    assert IntEnumArray(3, fresh.A)[2] is fresh.A


TIMER = """
import signal
from helpers.support import IDLE, WorkerStatusEnum
from atomic_intenum import IntEnumArray

came = []
signal.signal(signal.SIGALRM, lambda *_: came.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
while len(came) < 20:
    board = IntEnumArray[WorkerStatusEnum](200_000, IDLE)
    assert board.count(IDLE) == 200_000
signal.setitimer(signal.ITIMER_REAL, 0)
print(board._atomic_segment.mapping.size > 1 << 23)
"""


@named
@pytest.mark.slow
def test_large_memory_beside_a_timer(tmp_path: Path) -> None:
    """A signal undoes no more than a piece of what is reserved: large arrays are made."""
    done = run_script(TIMER, folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


@named
def test_failure_after_creation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where making a segment fails behind its creation, it is removed."""
    fresh = fresh_enum()
    names: list[str] = []
    token_hex = secrets.token_hex

    def note(size: int) -> str:
        names.append(f"intenum-{token_hex(size)}"[:20])
        return names[-1].removeprefix("intenum-")

    def fail(*_: object) -> Any:
        assert (SHM / names[-1]).exists()
        raise MemoryError

    monkeypatch.setattr(secrets, "token_hex", note)
    monkeypatch.setattr(segment, "_read_header", fail)
    with pytest.raises(MemoryError):
        IntEnumValue(fresh.A)
    monkeypatch.undo()
    collect_unless_counted()
    assert len(names) == 1
    assert not (SHM / names[0]).exists()
    assert IntEnumValue(fresh.A).load() is fresh.A


@named
def test_name_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random name that is taken is passed over, and what has it stays."""
    fresh = fresh_enum()
    first, second = f"{os.getpid():011x}a", f"{os.getpid():011x}b"
    taken = SHM / f"intenum-{first}"
    taken.write_bytes(b"somebody else's")
    names = iter([first, first, second])
    monkeypatch.setattr(secrets, "token_hex", lambda _: next(names))
    try:
        assert IntEnumValue(fresh.A)._atomic_segment.name == f"intenum-{second}"
        assert taken.read_bytes() == b"somebody else's"
    finally:
        taken.unlink()


@named
def test_segment_that_somebody_else_removed() -> None:
    """A segment whose name somebody else removed works on, and its removal says nothing."""
    # Earlier tests' garbage: a semaphore that ends while the next is made warns (lock-based path).
    gc.collect()
    fresh = fresh_enum()
    values = [IntEnumValue(fresh.A) for _ in range(17)]
    (SHM / values[0]._atomic_segment.name).unlink()
    values[0].set("B")
    assert values[0].load() is fresh.B
    values.clear()
    gc.collect()
    WorkerStatus(IDLE)


@named
@pytest.mark.soak
def test_linger() -> None:
    """A segment that was pickled goes a minute after its last value, at an allocation."""
    fresh = fresh_enum()
    values = [IntEnumValue(fresh.A) for _ in range(17)]
    name = values[0]._atomic_segment.name
    values[0]._atomic_segment.reference()
    began = time.monotonic()
    values.clear()
    gc.collect()
    while name in own_segments():
        assert time.monotonic() - began < 70
        time.sleep(0.1)
        assert WorkerStatus(IDLE) == IDLE
    assert time.monotonic() - began >= 60


@pytest.mark.slow
def test_allocation_in_threads_while_dropping() -> None:
    """Threads that make and drop values at once leave no segment behind but the pools' last."""
    fresh = fresh_enum()
    before = len(own_segments())

    def churn() -> None:
        for _ in range(20):
            [IntEnumValue(fresh.A) for _ in range(40)]

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    collect()
    assert len(own_segments()) - before <= 2


@unnamed
@pytest.mark.skipif(sys.platform != "linux", reason="memory has a name there at first")
def test_memory_without_a_name_never_had_one(tmp_path: Path) -> None:
    """On the lock path no memory gets a name, in which a signal handler could leave it."""
    made = run_script(NAMELESS, folder=tmp_path)
    assert made.stderr == ""
    assert made.stdout.split() == ["[]", "1"]
