"""The end of processes that share values: nothing is left, and nothing is said."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from helpers.marks import named
from helpers.support import METHODS, marked_segments, run_script

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


every_method = pytest.mark.parametrize("method", METHODS)


HEAD = """
import atomic_intenum, enum, gc, multiprocessing, os, sys, threading, time
from atomic_intenum import IntEnumValue

class MARKER(enum.IntEnum):
    IDLE = 1
    BUSY = 2
    DONE = 3

class Status(IntEnumValue[MARKER]):
    pass
"""

CHILDREN = """
def work(status, ready):
    own = [Status("IDLE") for _ in range(30)]
    with own[0].get_lock():
        own[0].set("BUSY")
    assert status.compare_and_set("BUSY", "DONE")
    ready.set()

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])  # that of locks, too, on the lock-based path
    context = multiprocessing.get_context()
    values = [Status("IDLE") for _ in range(40)]
    for _ in range(2):
        status = Status("BUSY")
        ready = context.Event()
        process = context.Process(target=work, args=(status, ready))
        process.start()
        process.join()
        assert process.exitcode == 0, process.exitcode
        assert status == "DONE"
    print("done")
"""

# The parent ends while its children still start: multiprocessing joins them at its exit.
EARLY = """
def work(status, number):
    assert status.load() is MARKER.BUSY
    own = Status("IDLE")
    os.write(1, b"child\\n")

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])  # that of locks, too, on the lock-based path
    context = multiprocessing.get_context()
    status = Status("BUSY")
    for number in range(2):
        context.Process(target=work, args=(status, number)).start()
    del status
    os.write(1, b"child\\n")
"""

EXECUTOR = """
from concurrent.futures import ProcessPoolExecutor

def start(value):
    global status
    status = value

def work(number):
    own = Status("BUSY")
    return status.load().name + own.name

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])  # that of locks, too, on the lock-based path
    context = multiprocessing.get_context()
    status = Status("BUSY")
    with ProcessPoolExecutor(2, mp_context=context, initializer=start, initargs=(status,)) as pool:
        assert set(pool.map(work, range(4))) == {"BUSYBUSY"}
    print("done")
"""

FORKS = """
if __name__ == "__main__":
    status = Status("IDLE")
    if os.fork() == 0:
        status.set("BUSY")
        os._exit(0)
    assert os.wait()[1] == 0
    assert status == "BUSY"
    if os.fork() == 0:
        own = Status("IDLE")
        own.get_lock().acquire()
        status.set("DONE")
        sys.exit(0)
    assert os.wait()[1] == 0
    assert status == "DONE"
    assert Status("IDLE") == "IDLE"
    print("done")
"""

THREADS = """
def forever(status):
    while True:
        status.load()
        status.set("BUSY")
        status == "IDLE", status.name, status.version
        # Not on lock: a daemon thread that exit stops while it makes a semaphore leaks that, as
        # with multiprocessing.Value.
        if atomic_intenum.BACKEND != "lock":
            Status("IDLE").compare_and_set("IDLE", "DONE")

def locks(status):
    while True:
        with status.get_lock():
            status.exchange("DONE")

if __name__ == "__main__":
    status = Status("IDLE")
    for target in (forever, forever, locks):
        threading.Thread(target=target, args=(status,), daemon=True).start()
    while status.version < 2000:
        time.sleep(0.001)
    print("done")
"""

HELD = """
class Circle(Status):
    pass

if __name__ == "__main__":
    circle = Circle("IDLE")
    circle.me = circle
    closed = Status("IDLE")
    closed.close()
    held = Status("IDLE")
    held.get_lock().acquire()
    class Late:
        def __del__(self):
            late.set("DONE")
            Status("BUSY")
    late = Status("IDLE")
    late_one = Late()
    sys.late = (Late(), Status("IDLE"))
    del held
    print("done")
"""

# Each child of spawn and forkserver imports this and makes a value by it; that of forkserver makes
# it before multiprocessing clears its finalizers, and leaves by os._exit.
IMPORTED = """
status = Status("IDLE")
board = atomic_intenum.IntEnumArray[MARKER](100, "IDLE")

def work():
    assert status.load() is MARKER.IDLE

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    for _ in range(5):
        process = multiprocessing.Process(target=work)
        process.start()
        process.join()
        assert process.exitcode == 0, process.exitcode
    from helpers.support import marked_segments
    left = marked_segments("MARKER")
    # Those of this process, and of the forkserver, which imports the program too from 3.14 on.
    assert len(left) <= 4, left
    print("done")
"""

ERROR = """
import atexit
if __name__ == "__main__":
    status = Status("IDLE")
    atexit.register(lambda: print(status.name, Status("BUSY").name))
    sys.exit(3)
"""


def run_marked(
    body: str, *arguments: str, folder: Path
) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run a script with an enum of its own; return its outcome and the segments it left."""
    marker = f"Marked{uuid.uuid4().hex}"
    done = run_script((HEAD + body).replace("MARKER", marker), *arguments, folder=folder)
    return done, marked_segments(marker)


@pytest.mark.slow
@every_method
@pytest.mark.parametrize("body", [CHILDREN, EXECUTOR], ids=["processes", "executor"])
def test_exit_after_children(body: str, method: str, tmp_path: Path) -> None:
    """A program whose children used and made values ends in silence and leaves nothing."""
    done, left = run_marked(body, method, folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode, left) == ("done\n", "", 0, set())


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        # On the lock-based path the semaphore goes with the parent's objects, as that of every
        # multiprocessing.Lock does: a child that is spawned finds it gone.
        method if method == "fork" else pytest.param(method, marks=named)
        for method in METHODS
    ],
)
def test_exit_before_children(method: str, tmp_path: Path) -> None:
    """Children that still start when their parent's program has ended find the values."""
    done, left = run_marked(EARLY, method, folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode, left) == ("child\n" * 3, "", 0, set())


@pytest.mark.slow
@named
@every_method
def test_values_of_an_import(method: str, tmp_path: Path) -> None:
    """What a child makes as it imports the program goes with that child, one after the other."""
    done, left = run_marked(IMPORTED, method, folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode, left) == ("done\n", "", 0, set())


@pytest.mark.slow
@pytest.mark.parametrize("body", [FORKS, THREADS, HELD], ids=["forks", "threads", "held"])
def test_exit(body: str, tmp_path: Path) -> None:
    """Whatever is still out at exit, a program ends in silence and leaves nothing."""
    done, left = run_marked(body, folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode, left) == ("done\n", "", 0, set())


def test_exit_functions_use_values(tmp_path: Path) -> None:
    """Values work in atexit functions, and a failing program leaves nothing either."""
    done, left = run_marked(ERROR, folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode, left) == ("IDLE BUSY\n", "", 3, set())
