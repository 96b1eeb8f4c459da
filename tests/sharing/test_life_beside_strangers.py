"""What life locks do for strangers: what they planted, and who is in another PID namespace."""

from __future__ import annotations

import select
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from helpers.crew import WATCH
from helpers.marks import named
from helpers.names import HEAD, make, own_name, run_alone, sweep
from helpers.support import (
    CALCULATING,
    DEADLINE,
    IDLE,
    SHM,
    environment,
    private_shm,
    run_script,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not SHM.is_dir(), reason="no folder lists shared memory")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A segment name of this test alone; nothing of that name may be left."""
    with own_name(request.node.nodeid) as chosen:
        yield chosen


PLANTED = """
import pathlib, subprocess

shm = pathlib.Path("/dev/shm")
plants = {
    "pipe": os.mkfifo,
    "folder": os.mkdir,
    "link": lambda path: path.symlink_to("/dev/null"),
    "hanging link": lambda path: path.symlink_to(path.with_name("nothing")),
    "foreign": lambda path: path.write_bytes(b"x" * 5000),
    "foreign and sparse": lambda path: path.write_bytes(b"x") and os.truncate(path, 1 << 40),
    "zeros and more": lambda path: path.write_bytes(bytes(127) + b"x"),
}

def identities():
    found = {}
    for path in shm.iterdir():
        status = path.lstat()
        found[path.name] = status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns
    return found

for number, plant in enumerate(plants.values()):
    plant(shm / f"intenum.{name}-{number}")
    plant(shm / f"intenum-{number:012x}")
before = identities()
assert len(before) == 2 * len(plants)
if os.fork() == 0:
    kept = [WorkerStatus("IDLE") for _ in range(100)]
    for number, kind in enumerate(plants):
        try:
            WorkerStatus("IDLE", segment_name=f"{name}-{number}")
        except FileExistsError:
            print(kind, flush=True)
    sys.exit()
assert os.wait()[1] == 0
assert identities() == before
for path in shm.glob("intenum*"):
    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
"""


@pytest.mark.slow
@named
def test_planted(tmp_path: Path) -> None:
    """Whatever bears a name of ours and is none of ours stops nobody, and is never touched."""
    done = run_alone(PLANTED, "planted", folder=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == [
        *("pipe", "folder", "link", "hanging link"),
        *("foreign", "foreign and sparse", "zeros and more"),
    ]


SPARSE = """
paths = "/dev/shm/intenum." + name, "/dev/shm/intenum-000000000000"
for path in paths:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    os.truncate(path, 1 << 42)
status = WorkerStatus("IDLE", segment_name=name)
print(os.stat(paths[0]).st_size < 1 << 20)
"""


@pytest.mark.slow
@named
def test_huge_sparse_file(tmp_path: Path) -> None:
    """A huge empty file of this user's counts as gone: nobody reads it, and it is replaced."""
    done = run_alone(SPARSE, "sparse", folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


# -- what is not needed any more


NO_PROCESS = """
import glob, pickle
from multiprocessing import resource_tracker
import atomic_intenum
from atomic_intenum import IntEnumArray
from helpers.support import collect_unless_counted

def children():
    found = []
    for path in glob.glob("/proc/self/task/*/children"):
        with open(path) as file:
            found += file.read().split()
    return found

for _ in range(3):
    values = [WorkerStatus("IDLE") for _ in range(50)]
    boards = [IntEnumArray[WorkerStatusEnum](50, "IDLE") for _ in range(3)]
    with values[0].get_lock(), boards[0].at(1).get_lock():
        values[0].set("CALCULATING")
    if atomic_intenum.BACKEND != "lock":
        values.append(WorkerStatus("IDLE", segment_name=name))
        values.append(WorkerStatus.attach(name))
        values.append(WorkerStatus("IDLE", segment_name=name, exist_ok=True))
        values.append(pickle.loads(pickle.dumps(values[0])))
    assert children() == []
    del values, boards
    collect_unless_counted()
print(resource_tracker._resource_tracker._fd)
"""


def test_no_process_is_started(name: str, tmp_path: Path) -> None:
    """Values, names, arrays and locks start no process, and no resource tracker."""
    source = (
        "import multiprocessing; multiprocessing.set_start_method('fork')\n" + HEAD + NO_PROCESS
    )
    done = run_script(source, name, folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("None\n", "", 0)


# -- another PID namespace


ELSEWHERE = """
status = WorkerStatus.attach(name)
assert status.compare_and_set("IDLE", "CALCULATING")
try:
    status.get_lock().acquire()
except RuntimeError as error:
    assert "another PID namespace" in str(error), error
else:
    raise AssertionError("it has the lock")
try:
    WorkerStatus("IDLE", segment_name=name)
except FileExistsError:
    mine = WorkerStatus("UNAVAILABLE", segment_name=name + "-2")
print("made", os.getpid(), flush=True)
sys.stdin.readline()
status.set("IDLE")  # which the creator's lock keeps waiting
print("set", flush=True)
sys.stdin.readline()
os._exit(0)  # as if it were killed, which the first of a PID namespace cannot do to itself
"""


@pytest.mark.slow
@named
def test_another_pid_namespace(name: str, tmp_path: Path) -> None:
    """Across PID namespaces names and writes are as everywhere, and locks are not to be had."""
    prefix = ["unshare", "--pid", "--fork"]
    if not private_shm("1m") or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("no PID namespace here: it takes root")
    script = tmp_path / "script.py"
    script.write_text(HEAD + ELSEWHERE)
    created = make(name)
    with subprocess.Popen(
        [*prefix, sys.executable, str(script), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "made 1\n"
        assert created == CALCULATING
        for _ in range(3):
            sweep()
        with pytest.raises(FileExistsError, match=f"{name}-2"):
            make(f"{name}-2")
        with created.get_lock():
            process.stdin.write("\n")
            process.stdin.flush()
            assert select.select([process.stdout], [], [], WATCH)[0] == []
            assert created == CALCULATING
        assert process.stdout.readline() == "set\n"
        assert created == IDLE
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(DEADLINE) == 0
    assert make(f"{name}-2") == IDLE
    assert make(name, exist_ok=True) == created
