"""Writers that waited for a value's lock write and leave at once, whatever their process does."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumArray
from helpers.crew import PATIENCE, Bits, Status, Task, child
from helpers.support import FREE_THREADED, run_script, soaked

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

pytestmark = pytest.mark.only_on("native", "cffi")

WRITERS = 4


def keep_the_gil(pipe: Connection, status: Status) -> None:
    """Have threads wait for the lock, and keep the GIL until the parent says so."""
    sys.setswitchinterval(1000)
    began = threading.Semaphore(0)

    def write() -> None:
        began.release()
        status.set(Bits.RIGHT)

    threads = [threading.Thread(target=write, daemon=True) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
        began.acquire()
    libc = ctypes.PyDLL(None)  # its calls keep the GIL
    said, told = pipe.fileno(), ctypes.create_string_buffer(1)
    libc.write(said, b"x", 1)
    libc.read(said, told, 1)
    for thread in threads:
        thread.join(PATIENCE)


@pytest.mark.skipif(
    FREE_THREADED or sys.implementation.name != "cpython", reason="no GIL that C code can keep"
)
def test_a_writer_leaves_without_the_gil() -> None:
    """A writer that got the lock lets others in though another thread keeps its process's GIL."""
    for _ in range(3):
        status = Status(Bits.LEFT)
        lock = status.get_lock()
        lock.acquire()
        with child(keep_the_gil, status) as writers:
            assert os.read(writers.descriptor, 1) == b"x"
            lock.release()
            with contextlib.suppress(TimeoutError):  # each may ask for the GIL just now
                status.wait_for(Bits.RIGHT, timeout=1)
            entered = lock.acquire(timeout=PATIENCE / 4)
            os.write(writers.descriptor, b"x")
            assert entered
            lock.release()
        assert status.load() is Bits.RIGHT


@pytest.mark.parametrize("what", ["set", "compare_and_set", "array", "claim"])
def test_closed_while_its_write_waits(what: str) -> None:
    """A write that waits for the lock of what is closed meanwhile raises ValueError, unwritten."""
    board = IntEnumArray(2, Bits.LEFT)
    status = board.at(0)
    others = [board.at(i).get_lock() for i in range(2)]
    mine, written = copy.copy(board), copy.copy(status)
    writes: dict[str, tuple[Any, Callable[[], object]]] = {
        "set": (written, lambda: written.set(Bits.RIGHT)),
        "compare_and_set": (written, lambda: written.compare_and_set(Bits.LEFT, Bits.RIGHT)),
        "array": (mine, lambda: mine.exchange(0, Bits.RIGHT)),
        "claim": (mine, lambda: mine.claim(Bits.LEFT, Bits.RIGHT)),
    }
    closes, write = writes[what]
    with others[0], others[1]:
        writer = Task(write)
        assert writer.is_running()
        closes.close()
        with pytest.raises(ValueError, match="closed"):
            writer.result()
    assert board.snapshot() == [Bits.LEFT, Bits.LEFT]


#: In ``acquire`` no bytecode runs while the lock is held: there an exit would be a death.
ENDS_AMID = """
    import collections, operator, sys, threading
    from helpers.crew import Bits, Status
    status = Status.attach(sys.argv[1])
    lock = status.get_lock()
    began = threading.Semaphore(0)
    calls = [lock.acquire, lock.release] * 100

    def write():
        began.release()
        while True:
            status.set(Bits.RIGHT)

    def acquire():
        began.release()
        while True:
            collections.deque(map(operator.call, calls), 0)

    for _ in range(4):
        threading.Thread(target=globals()[sys.argv[2]], daemon=True).start()
        began.acquire()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "amid", ["write", pytest.param("acquire", marks=pytest.mark.only_on("native"))]
)
def test_an_ordinary_exit_is_no_death(amid: str, tmp_path: Path) -> None:
    """A process that ends while its daemon threads wait is never reported as a dead holder."""
    name = f"exits-{os.getpid()}"
    status = Status(Bits.LEFT, segment_name=name)
    lock = status.get_lock()
    ended = threading.Event()
    reports: list[bool] = []

    def hold() -> None:
        while not ended.is_set():
            with lock:
                reports.append(lock.abandoned)  # type: ignore[union-attr]
                ended.wait(0.0005)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        for _ in range(soaked(8, 60)):
            done = run_script(ENDS_AMID, name, amid, folder=tmp_path)
            assert (done.returncode, done.stderr) == (0, "")
    finally:
        ended.set()
        holder.join()
        status.unlink()
    assert True not in reports
