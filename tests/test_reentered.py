"""Python code that runs in the midst of a call and does the worst: nothing crashes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from support import run_script

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """
import faulthandler, gc, os, signal, sys, threading, time
from enum import IntEnum
from atomic_intenum import IntEnumValue

faulthandler.enable()

class One(IntEnum):
    A = 1
    B = 2

class Two(IntEnum):
    A = 1
    B = 2

class Three(IntEnum):
    X = 1
    Y = 2

def mapped():
    with open("/proc/self/maps") as maps:
        return [line.split("-")[0] for line in maps if f"reentered{os.getpid()}" in line]

def name(letter):
    return f"reentered{os.getpid()}{letter}"
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what is mapped")


@linux
@pytest.mark.only_on("native", "cffi")
@pytest.mark.parametrize("does", ["release", "release, acquire", "acquire"])
def test_handler_uses_the_lock_that_is_being_acquired(does: str, tmp_path: Path) -> None:
    """A signal handler that uses the lock, and raises as it is acquired, leaves it as it wants it.

    The signal comes in the very slice in which the lock gets free: the handler runs with it held.
    """
    done = run_script(
        HEAD
        + """
value = IntEnumValue[One](One.A, segment_name=name("a"))
lock = value.get_lock()
does = sys.argv[1]
held = []

class Leave(Exception):
    pass

def handle(*_):
    mine = lock._semlock._is_mine()
    if mine:
        for each in does.split(", "):
            getattr(lock, each)()
        held.append(lock._semlock._count() if lock._semlock._is_mine() else 0)
    raise Leave

def hold():
    with lock:
        ready.set()
        time.sleep(0.06)  # the other one is in its second slice then
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

signal.signal(signal.SIGUSR1, handle)
for _ in range(20):
    ready = threading.Event()
    holder = threading.Thread(target=hold)
    holder.start()
    ready.wait()
    try:
        lock.acquire()
    except Leave:
        pass
    holder.join()
    if held:
        break
kept = {"release": 0, "release, acquire": 0, "acquire": 1}[does]
assert held, "the signal never came in time"
assert (lock._semlock._is_mine(), lock._semlock._count()) == (kept == 1, kept)
assert mapped() and value.load() is One.A
for _ in range(kept):
    lock.release()
assert mapped() and value.load() is One.A
threading.Thread(target=lock.acquire).start()  # free for others
del value, lock
gc.collect()
""",
        does,
        folder=tmp_path,
    )
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python has no __release_buffer__")
@pytest.mark.parametrize("goes", ["value", "class"])
def test_bound_anew_while_it_is_collected(goes: str, tmp_path: Path) -> None:
    """A value that is bound anew while the collector takes it apart works, or is closed."""
    done = run_script(
        HEAD
        + """
kept = []

class Released:
    def __buffer__(self, flags):
        return memoryview(bytearray(1))

    def __release_buffer__(self, view):
        value = getattr(self, "value", None)
        if value is None:
            return  # this collector cleared it first
        kept.append(value)
        try:
            value.__init__(One.B)
        except AttributeError:
            assert sys.argv[1] == "class"

class Lock:
    def acquire(self):
        pass

    def release(self):
        pass

gc.disable()
Status = IntEnumValue[One]
lock = Lock()
gc.collect(0)  # older than the value: its turn in the collection comes later
value = Status(One.A, lock=lock)
if sys.argv[1] == "class":
    del Status
released = Released()
released.value = value
lock.view = memoryview(released)
del lock, value, released
gc.collect()
for value in kept:
    try:
        assert value.load() is One.B
        value.set(One.A)
        assert value.load() is One.A and value.compare_and_set(One.A, One.B)
    except (AttributeError, ValueError):  # its class was cleared, or it was once more
        pass
""",
        goes,
        folder=tmp_path,
    )
    assert (done.stderr, done.returncode) == ("", 0)


@linux
@pytest.mark.parametrize("stays", [False, True], ids=["goes", "stays"])
def test_used_by_a_finalizer(stays: bool, tmp_path: Path) -> None:
    """A finalizer in an array's cycle of garbage uses it, and may keep it; it is unmapped later."""
    done = run_script(
        HEAD
        + """
from atomic_intenum import IntEnumArray

class Board(IntEnumArray[One]):
    pass

def shm():
    with open("/proc/self/maps") as maps:
        return sorted(line.split("-")[0] for line in maps if "/dev/shm/intenum-" in line)

class Worker:
    def __del__(self):
        self.board[0] = One.B
        seen.append(self.board.count(One.B))
        if sys.argv[1] == "True":
            kept.append(self.board)

def work():
    board = Board(100, One.A)  # before the worker: what it is made of is finalized first
    worker = Worker()
    worker.me, worker.board = worker, board

seen, kept = [], []
gc.disable()
before = shm()
work()
assert len(shm()) == len(before) + 1
gc.collect()
if sys.argv[1] == "False":
    assert shm() == before, (shm(), before)
others = [Board(1, One.A) for _ in range(3)]
while kept:
    board = kept.pop()
    assert board[0] is One.B and board.counts() == {One.A: 99, One.B: 1}
    board[1] = One.B
    assert board.count(One.B) == 2
    del board
    gc.collect()
del others
gc.collect()
assert seen == [1]
assert shm() == before, (shm(), before)
""",
        str(stays),
        folder=tmp_path,
    )
    assert (done.stderr, done.returncode) == ("", 0)


@linux
@pytest.mark.only_on("native", "cffi")
@pytest.mark.parametrize(
    "call",
    [
        "set('A')",
        "exchange('A')",
        "compare_and_set('A', 'B')",
        "compare_and_set(One.A, 'A')",
        "wait_for('A', 'collect', One.B, timeout=0)",
        "wait_while('B', 'A', 'collect', timeout=0)",
    ],
)
def test_bound_anew_where_it_was(call: str, tmp_path: Path) -> None:
    """A value that is bound anew to what is mapped at the same address is not taken for the old."""
    done = run_script(
        HEAD
        + """
class Value(IntEnumValue):
    def to_value(self, wanted):
        if wanted == "A":
            self.__init__(Two.A, segment_name=name("b"))  # the segment of One goes
            self.__init__(Three.X, segment_name=name("c"))  # and this is mapped where it was
            return 1
        if wanted == "collect":
            gc.collect()
        return 2

value = Value(One.A, segment_name=name("a"))
try:
    print("returned", eval("value." + sys.argv[1]))
except RuntimeError as error:
    print(error)
assert value.load() is Three.X and value.version == 0
""",
        call,
        folder=tmp_path,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == "the value was initialised anew while it was used\n"
