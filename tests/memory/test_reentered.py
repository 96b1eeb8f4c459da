"""Python code that runs in the midst of a call and does the worst: nothing crashes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from helpers.support import run_script

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

def mapped():
    with open("/proc/self/maps") as maps:
        return [line.split("-")[0] for line in maps if f"reentered{os.getpid()}" in line]

def name(letter):
    return f"reentered{os.getpid()}{letter}"
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what is mapped")


@pytest.mark.slow
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


@pytest.mark.slow
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
        ours = (line for line in maps if "/intenum-" in line or "/dev/shm/#" in line)
        return sorted(line.split("-")[0] for line in ours if " rw-s " in line)

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

def collect():
    # PyPy finalizes what only a finalized object refers to in a later collection.
    for _ in range(1 if sys.implementation.name == "cpython" else 4):
        gc.collect()

seen, kept = [], []
gc.disable()
before = shm()
work()
assert len(shm()) == len(before) + 1
collect()
if sys.argv[1] == "False":
    assert shm() == before, (shm(), before)
others = [Board(1, One.A) for _ in range(3)]
while kept:
    board = kept.pop()
    assert board[0] is One.B and board.counts() == {One.A: 99, One.B: 1}
    board[1] = One.B
    assert board.count(One.B) == 2
    del board
    collect()
del others
collect()
assert seen == [1]
assert shm() == before, (shm(), before)
""",
        str(stays),
        folder=tmp_path,
    )
    assert (done.stderr, done.returncode) == ("", 0)
