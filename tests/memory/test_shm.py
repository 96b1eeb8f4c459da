"""Names of shared memory: what stands there meanwhile, and what if descriptors run out."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from helpers.marks import named, needs_root
from helpers.support import (
    IDLE,
    SHM,
    WorkerStatus,
    collect_unless_counted,
    private_shm,
    run_script,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [named, pytest.mark.skipif(not SHM.is_dir(), reason="no folder lists shared memory")]

FEW = """
import errno, os, resource, sys
from atomic_intenum import IntEnumArray, IntEnumValue
from helpers.support import collect_unless_counted, make_enum

few = make_enum("Few", "A B")
name = f"few-{os.getpid()}"
makes = {
    "nameless": lambda: IntEnumArray(3, few.A),
    "named": lambda: IntEnumArray(3, few.A, segment_name=name),
    "exist_ok": lambda: IntEnumArray(3, few.A, segment_name=name, exist_ok=True),
    "attach": lambda: IntEnumArray[few].attach("kept" + name),
}
make = makes[sys.argv[1]]
kept = IntEnumArray(3, few.B, segment_name="kept" + name)
collect_unless_counted()  # or a descriptor comes free by itself
before = set(os.listdir("/dev/shm"))
fillers, failed = [], 0
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
try:
    while True:
        fillers.append(os.dup(0))
except OSError:
    pass
value = None
while value is None:
    try:
        value = make()
    except OSError as error:
        assert error.errno == errno.EMFILE, error
        failed += 1
        assert not os.path.exists("/dev/shm/intenum." + name)
        collect_unless_counted()
        os.close(fillers.pop())
assert value[0] in few
print(failed)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["nameless", "named", "exist_ok", "attach"])
def test_out_of_descriptors(how: str, tmp_path: Path) -> None:
    """However few descriptors are left, it is an OSError that leaves nothing behind, or works."""
    done = run_script(FEW, how, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) >= 1


#: Removes its name, which has been given to something else meanwhile: to each of argv[2:], in turn.
TAKEN = """
import os, resource, sys
from helpers.support import IDLE, WorkerStatus, collect_unless_counted

def take(other, how):
    name = f"t{os.getpid()}"
    path = "/dev/shm/intenum." + name
    nobody = 65534 if other == "another user's" else os.geteuid()
    os.seteuid(nobody)
    status = WorkerStatus(IDLE, segment_name=name)
    os.unlink(path)
    os.seteuid(os.getuid())
    match other:
        case "a folder":
            os.mkdir(path)
        case "a pipe":
            os.mkfifo(path, 0o600)
        case "a link":
            os.symlink("/dev/null", path)
        case _:
            # Whole at once: an empty one is what a killed creator leaves, and anybody removes it.
            made = f"/dev/shm/other.{name}"
            with open(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                file.write("somebody else's")
            os.rename(made, path)
    os.seteuid(nobody)
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if other == "out of descriptors":
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
    try:
        if how == "unlinked":
            status.unlink()
            status.unlink()
        del status
        collect_unless_counted()
        print(f"{other} stays: {os.path.lexists(path)}")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))
        os.seteuid(os.getuid())
        (os.rmdir if other == "a folder" else os.unlink)(path)

how, *others = sys.argv[1:]
for other in others:
    take(other, how)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere one has to open it, to look")
@pytest.mark.parametrize("how", ["unlinked", "dropped"])
def test_name_that_stands_for_something_else(how: str, tmp_path: Path) -> None:
    """A name that is no longer this memory's is left alone, without an error, whatever it is."""
    others = ["a file", "a folder", "a pipe", "a link", "out of descriptors"]
    if os.getuid() == 0:  # who can be two users
        others.append("another user's")
    # Where that can be had, no other process sweeps: nobody answers for these.
    done = run_script(TAKEN, how, *others, folder=tmp_path, prefix=private_shm("8m"))
    left = [f"{other} stays: True" for other in others]
    assert (done.stdout.splitlines(), done.stderr, done.returncode) == (left, "", 0)


#: Ends as a user who may no longer remove what it made: /dev/shm is sticky.
NOT_ALLOWED = """
import os, sys
from helpers.support import IDLE, WorkerStatus

status = WorkerStatus(IDLE, segment_name=sys.argv[1])
nameless = WorkerStatus(IDLE)
os.setuid(65534)
print(os.path.exists("/dev/shm/intenum." + sys.argv[1]), nameless.segment_name)
"""


@pytest.mark.slow
@needs_root
def test_end_that_may_not_remove(tmp_path: Path) -> None:
    """A process that may not remove its names any more ends in silence, and they stay."""
    name = f"kept-{os.getpid()}"
    done = run_script(NOT_ALLOWED, name, folder=tmp_path)
    there, nameless = done.stdout.split()
    assert (there, done.stderr, done.returncode) == ("True", "", 0)
    for left in (f"intenum.{name}", nameless):
        (SHM / left).unlink(missing_ok=True)  # who sweeps may have come before


#: Makes a value in a handler that interrupts the making of others, again and again.
IN_A_HANDLER = """
import itertools, signal, sys
from helpers.support import IDLE, WorkerStatus

name, made, numbers = sys.argv[1], [], itertools.count()

def handle(*_):  # which another signal may interrupt
    made.append(WorkerStatus(IDLE, segment_name=f"{name}-{next(numbers)}"))

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
while len(made) < 50:
    WorkerStatus(IDLE, segment_name=name).unlink()
signal.setitimer(signal.ITIMER_REAL, 0)
print(len({status.segment_name for status in made}) == len(made))
"""


@pytest.mark.slow
def test_made_by_a_signal_handler(tmp_path: Path) -> None:
    """A signal handler that interrupts the making and removing of values may make some itself."""
    name = f"handler{os.getpid()}"
    done = run_script(IN_A_HANDLER, name, folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)
    assert not list(SHM.glob(f"*{name}*"))


def test_descriptors_are_not_used_up() -> None:
    """Creating, attaching and dropping values leaves no descriptor open."""
    name = f"count{os.getpid()}"
    WorkerStatus(IDLE)
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    for _ in range(20):
        created = WorkerStatus(IDLE, segment_name=name)
        attached = WorkerStatus.attach(name)
        again = WorkerStatus(IDLE, segment_name=name, exist_ok=True)
        assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208
        del created, attached, again
        collect_unless_counted()
    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208
