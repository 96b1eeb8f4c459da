"""What lifetimes.py promises of each way to share, a full /dev/shm, and values that come and go."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from atomic_intenum import BACKEND, IntEnumValue
from helpers import lifetimes
from helpers.crew import Task
from helpers.names import path_of
from helpers.support import (
    COUNTS_REFERENCES,
    DEADLINE,
    HELPERS,
    SHM,
    collect,
    collect_unless_counted,
    environment,
    make_enum,
    own_segments,
    private_shm,
    run_script,
    soaked,
)

pytestmark = pytest.mark.skipif(not SHM.is_dir(), reason="no folder lists shared memory")


# -- every way, again and again


@pytest.mark.slow
@pytest.mark.scaled
@pytest.mark.parametrize("way", lifetimes.WAYS)
def test_way(way: str) -> None:
    """A program that shares a value this way ends in silence and leaves nothing; 50 times."""
    runs = soaked(1, 50)
    prefix = private_shm("64m")
    private = ["--private"] if prefix else []
    done = subprocess.run(
        [*prefix, sys.executable, HELPERS / "lifetimes.py", "--runs", str(runs), *private, way],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert (done.stdout, done.stderr, done.returncode) == (f"{way}: {runs} runs\n", "", 0)


@pytest.mark.slow
@pytest.mark.only_on("lock")
def test_os_fork_starts_no_tracker(tmp_path: Path) -> None:
    """Where fork is the default a child of os.fork says nothing, and nobody starts a tracker."""
    done = run_script(
        """
        import multiprocessing, os, sys
        from multiprocessing import resource_tracker
        from helpers.boards import Board
        from helpers.support import CALCULATING, IDLE, WorkerStatus

        multiprocessing.set_start_method("fork")
        status, board = WorkerStatus(IDLE), Board(3, IDLE)
        for leave in (os._exit, sys.exit):
            pid = os.fork()
            if pid == 0:
                own = WorkerStatus(IDLE), Board(3, IDLE)
                with status.get_lock():
                    status.set(CALCULATING)
                board.claim(IDLE, CALCULATING)
                leave(0 if resource_tracker._resource_tracker._fd is None else 1)
            assert os.waitpid(pid, 0)[1] == 0
        assert resource_tracker._resource_tracker._fd is None
        print(status.name, board.count(CALCULATING))
        """,
        folder=tmp_path,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("CALCULATING 2\n", "", 0)


@pytest.mark.slow
@pytest.mark.only_on("native", "cffi")
@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("import os; print('!', file=__import__('sys').stderr)", "!"),
        ("(SHM / 'intenum-left').write_text('\"' + MARKER + '\"')", "intenum-left"),
        ("Status('IDLE').get_lock().acquire(); raise SystemExit(1)", "returncode=1"),
    ],
)
def test_faults_in_a_way_are_found(fault: str, complaint: str, tmp_path: Path) -> None:
    """lifetimes.py fails on a way that says something, leaves something, or fails."""
    source = (HELPERS / "lifetimes.py").read_text()
    begin = '    """Arguments of a forked process."""\n'
    assert begin in source
    script = tmp_path / "lifetimes.py"
    script.write_text(source.replace(begin, f"{begin}    {fault}\n"))
    try:
        done = subprocess.run(
            [sys.executable, script, "--runs", "1", "fork"],
            capture_output=True,
            text=True,
            check=False,
            env=environment(),
        )
    finally:
        (SHM / "intenum-left").unlink(missing_ok=True)
    assert done.returncode == 1
    assert complaint in done.stderr


# -- a full /dev/shm

FULL = """
import enum, errno, os, sys
from atomic_intenum import BACKEND, IntEnumValue

class E(enum.IntEnum):
    A = 1
    B = 2

class Status(IntEnumValue[E]):
    pass

try:
    before = sorted(os.listdir("/dev/shm"))
    values = []
    for attempt in range(3):
        try:
            while True:
                values.append(Status("A"))
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
        if attempt == 1:  # room for some more
            count = len(values)
            del values[: count // 2]
    assert len(values) > 100, len(values)
    # Not a byte is left.
    fd = os.open("/dev/shm/filler", os.O_CREAT | os.O_WRONLY)
    try:
        while os.write(fd, bytes(4096)):
            pass
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
    os.close(fd)
    names = sorted(os.listdir("/dev/shm"))
    for value in values:
        assert value.load() is E.A
        with value.get_lock():
            value.set(E.B)
    pid = os.fork()
    if pid == 0:
        ok = all(value.compare_and_set(E.B, E.A) for value in values)
        os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0
    # Nor is there room for a name; and what was only promised space is not touched.
    uses = (
        (lambda: Status("A", segment_name="name"), OSError),
        (lambda: Status.attach("name"), FileNotFoundError),
        (lambda: Status.attach("sparse"), ValueError),
    )
    for use, expected in uses if BACKEND != "lock" else ():
        if expected is ValueError:
            fd = os.open("/dev/shm/intenum.sparse", os.O_CREAT | os.O_WRONLY)
            os.ftruncate(fd, 65536)
            os.close(fd)
        try:
            use()
        except expected as error:
            if expected is OSError:
                assert error.errno == errno.ENOSPC, error
        else:
            raise AssertionError(expected)
        if expected is ValueError:
            os.unlink("/dev/shm/intenum.sparse")
    assert sorted(os.listdir("/dev/shm")) == names
    os.unlink("/dev/shm/filler")
    print("done")
finally:
    values.clear()
"""

AFTERWARDS = """
import os, subprocess, sys
done = subprocess.run([sys.executable, *sys.argv[1:]], capture_output=True, text=True)
print((done.returncode, done.stdout, done.stderr, os.listdir("/dev/shm")))
"""


@pytest.mark.slow
def test_full_shared_memory(tmp_path: Path) -> None:
    """On a full /dev/shm values are refused with ENOSPC, what exists works, nothing is left."""
    prefix = private_shm("1m")
    if not prefix:
        pytest.skip("no mount namespace here: it takes root")
    script = tmp_path / "full.py"
    script.write_text(FULL)
    done = subprocess.run(
        [*prefix, sys.executable, "-c", AFTERWARDS, script],
        capture_output=True,
        text=True,
        timeout=DEADLINE * 2,
        check=False,
        env=environment(),
    )
    assert (done.stderr, done.stdout) == ("", str((0, "done\n", "", [])) + "\n")


# -- many values

CHURN = """
import enum, gc, os, resource, sys, threading
from atomic_intenum import IntEnumValue
from helpers.support import own_segments

class E(enum.IntEnum):
    A = 1
    B = 2

class Status(IntEnumValue[E]):
    pass

lock = threading.RLock() if sys.argv[1] == "lock" else None
pickles = lock is None

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def churn(count):
    for number in range(count):
        value = Status("A", lock)
        value.set(E.B)
        if number % 7 == 0:
            value.me = value  # a circle
        if number % 5 == 0:
            value.close()
        elif number % 3 == 0 and lock is None:
            value.get_lock().acquire()
            value.get_lock().release()

def collect():
    for _ in range(3):  # PyPy's finalizers let go of more
        gc.collect()

churn(2000)
collect()
before, descriptors = resident(), len(os.listdir("/proc/self/fd"))
churn(int(sys.argv[2]))
collect()
Status("A", lock)
grown = resident() - before
# PyPy's heap goes up and down by 1.5 MB, however many come and go.
assert grown < (2_000_000 if sys.implementation.name == "cpython" else 4_000_000), grown
assert len(own_segments()) <= 2, own_segments()
with open("/proc/self/maps") as file:
    mapped = sum("/dev/shm/intenum-" in line or "/dev/shm/#" in line for line in file)
assert mapped <= 4, mapped  # of each its data, and the page that keeps its life lock
# The lock path's mappings keep theirs open, and there may be one more of them than before.
assert len(os.listdir("/proc/self/fd")) <= descriptors + (lock is not None)
print("flat")
"""


@pytest.mark.slow
@pytest.mark.scaled
def test_values_that_come_and_go(backend: str, tmp_path: Path) -> None:
    """20,000 values (soak: 100,000) created and dropped leave memory and /dev/shm flat."""
    done = run_script(CHURN, backend, str(soaked(20_000, 100_000)), folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("flat\n", "", 0)


@pytest.mark.only_on("native", "cffi")
def test_names_that_come_and_go() -> None:
    """Values with names that come and go leave neither names nor mappings nor descriptors."""
    fresh: Any = make_enum("Fresh", "A B")
    first = IntEnumValue(fresh.A)  # a pool's segment is there from here on
    collect()  # what earlier tests left
    before, descriptors = own_segments(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for number in range(300 if COUNTS_REFERENCES else 30):
        name = f"churn{os.getpid()}-{number % 3}"
        value = IntEnumValue[fresh](fresh.A, segment_name=name)
        IntEnumValue[fresh].attach(name).set(fresh.B)
        assert value.load() is fresh.B
        del value
        collect_unless_counted()
    gc.collect()
    assert IntEnumValue(fresh.A) == first
    assert not list(SHM.glob(f"intenum.churn{os.getpid()}-*"))
    assert len(own_segments() - before) <= 1
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208
    assert f"churn{os.getpid()}" not in Path("/proc/self/maps").read_text()


@pytest.mark.only_on("native", "cffi")
def test_live_names_cost_a_page() -> None:
    """A value with a name costs one page of shared memory."""
    fresh: Any = make_enum("Fresh", "A B")
    value = IntEnumValue(fresh.A, segment_name=f"page{os.getpid()}")
    assert path_of(value.segment_name).stat().st_blocks * 512 == 4096


# -- close() under others


def use_until_closed(value: Any, use: Any) -> str:
    """Use a value until it is closed; return what that raised."""
    try:
        while True:
            use(value)
    except ValueError as error:
        return str(error)


def lock_and_unlock(value: Any) -> None:
    """Hold the lock for a moment."""
    with value.get_lock():
        value.set("B")


USES: dict[str, Any] = {
    "load": lambda value: value.load(),
    "name": lambda value: value.name,
    "set": lambda value: value.set("B"),
    "exchange": lambda value: value.exchange("A"),
    "compare_and_set": lambda value: value.compare_and_set("A", "B"),
    "update": lambda value: value.update(lambda member: member),
    "compare": lambda value: value == "A",
    "lock": lock_and_unlock,
    **({"segment_name": lambda value: value.segment_name} if BACKEND != "lock" else {}),
}


@pytest.mark.parametrize("use", USES)
def test_close_while_another_thread_uses_it(use: str) -> None:
    """close() while another thread is at it makes that a ValueError there, and nothing else."""
    fresh: Any = make_enum("Fresh", "A B")
    for _ in range(3):
        value = IntEnumValue(fresh.A)
        used = threading.Event()

        def one(value: Any, used: threading.Event = used) -> None:
            USES[use](value)
            used.set()

        task = Task(lambda value=value, one=one: use_until_closed(value, one))  # type: ignore[misc]
        assert used.wait(DEADLINE)
        value.close()
        del value
        gc.collect()
        IntEnumValue(fresh.A)  # drains
        assert "closed" in task.result()


@pytest.mark.parametrize("drops", [False, True], ids=["closes", "closes and drops"])
def test_close_while_another_thread_waits_for_the_lock(drops: bool) -> None:
    """Who waits for the lock of a closed value gets it; who waits to write writes, or not."""
    fresh: Any = make_enum("Fresh", "A B")
    value: Any = IntEnumValue(fresh.A)
    lock = value.get_lock()
    lock.acquire()
    waiting = threading.Barrier(3)

    def wait_for_lock(lock: Any = lock) -> bool:
        waiting.wait(DEADLINE)
        with lock:
            return True

    def wait_to_write(value: Any = value) -> str:
        waiting.wait(DEADLINE)
        try:
            value.set("B")
        except ValueError as error:
            return str(error)
        return "written"

    locker, writer = Task(wait_for_lock), Task(wait_to_write)
    waiting.wait(DEADLINE)
    assert locker.is_running(0.05)
    value.close()
    if drops:
        del value
        gc.collect()
        for _ in range(40):
            IntEnumValue(fresh.A)
    assert locker.is_running(0.05)
    lock.release()
    assert locker.result() is True
    # The call was in flight: it ends as before close() or as after it.
    assert writer.result() == "written" or "closed" in writer.result()


def test_close_while_another_thread_holds_the_lock() -> None:
    """A thread that holds the lock of a value that another closes and drops can let go of it."""
    fresh: Any = make_enum("Fresh", "A B")
    held, closed = threading.Event(), threading.Event()
    values: list[Any] = [IntEnumValue(fresh.A)]

    def hold() -> str:
        with values[0].get_lock():
            held.set()
            assert closed.wait(DEADLINE)
        return "released"

    task = Task(hold)
    assert held.wait(DEADLINE)
    values.pop().close()
    gc.collect()
    for _ in range(40):
        IntEnumValue(fresh.A)
    closed.set()
    assert task.result() == "released"
    with IntEnumValue(fresh.A).get_lock():
        pass


@pytest.mark.only_on("cffi")
def test_mapping_outlives_its_module(tmp_path: Path) -> None:
    """At exit a mapping, or a view of one, may go after the module's globals: in silence."""
    done = run_script(
        """
        import gc, os
        from helpers import inside

        cffi, cffi_mapping = inside.cffi_binding(), inside.cffi_mapping()

        def mapped():
            with open("/proc/self/maps") as file:
                return file.read().count(name)

        name = f"intenum-outlives{os.getpid()}"
        kept = [cffi.create(name, bytes(192), 4096, 0, True), cffi.attach(name, 0).view()]
        kept.append([cffi.attach(name, 0)])
        kept[-1].append(kept[-1])  # garbage for the collector
        assert mapped()
        vars(cffi).clear()
        vars(cffi_mapping).clear()
        while kept:
            del kept[0]
            gc.collect()
        print(mapped())
        """,
        folder=tmp_path,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")
