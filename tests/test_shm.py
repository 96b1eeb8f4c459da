"""Shared memory by name: who may remove it, and what happens where descriptors run out."""

from __future__ import annotations

import os
from contextlib import ExitStack
from multiprocessing import resource_tracker
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from atomic_intenum import layout, shm
from crew import PATIENCE, Task, child
from support import IDLE, run_script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

SHM = Path("/dev/shm")
SIZE = 4096

pytestmark = pytest.mark.skipif(not SHM.is_dir(), reason="no folder lists shared memory")


@pytest.fixture
def old(request: pytest.FixtureRequest) -> Iterator[shm.Created]:
    """Give shared memory with a name of this test alone; nothing of that name may be left."""
    name = f"t{os.getpid()}-{abs(hash(request.node.nodeid)) % 10**12}"
    created = create(name)
    yield created
    created.unlink()
    left = (SHM / name).exists()
    (SHM / name).unlink(missing_ok=True)
    assert not left, f"{name} is left"


def create(name: str) -> shm.Created:
    """Create shared memory."""
    created = shm.Created(name)
    created.make(SIZE)
    return created


def inode(created: shm.Created) -> shm.Inode:
    """Return the inode, which is known here."""
    assert created.inode is not None
    return created.inode


def replace(module: str, name: str, replacement: Callable[..., object]) -> None:
    """Replace a function of a module that shm uses, for shm alone; in a child, which ends soon."""
    original = vars(shm)[module]
    stand_in = SimpleNamespace(**{**vars(original), name: replacement})
    setattr(shm, module, stand_in)


def test_nobody_removes_between_look_and_removal(old: shm.Created) -> None:
    """While one who removes is between its look and the removal, no other gets to the name."""
    name = old.name

    def remove(pipe: Connection) -> None:
        unlink = vars(shm)["_posixshmem"].shm_unlink

        def unlink_when_told(path: str) -> None:
            pipe.send("has looked")
            pipe.recv()
            unlink(path)

        replace("_posixshmem", "shm_unlink", unlink_when_told)
        shm.remove(name, inode(old))
        pipe.send("removed")

    def succeed() -> shm.Created:
        shm.remove(name, inode(old))
        return create(name)

    with child(remove) as remover:
        assert remover.says() == "has looked"
        successor = Task(succeed)
        waits = successor.is_running()
        remover.tell()
        assert remover.says() == "removed"
    new = successor.result()
    try:
        assert (SHM / name).exists()
        assert waits
    finally:
        new.unlink()


def test_remover_that_comes_second(old: shm.Created) -> None:
    """Who waited while another removed, and gave the name to new memory, leaves that alone."""
    name = old.name

    def remove(pipe: Connection) -> None:
        flock = vars(shm)["fcntl"].flock

        def tell_and_flock(fd: int, operation: int) -> None:
            pipe.send("has opened")  # at the second time: lets go
            flock(fd, operation)

        replace("fcntl", "flock", tell_and_flock)
        shm.remove(name, inode(old))

    with ExitStack() as stack:
        with shm.examined(name, layout.HEADER_SIZE) as (_, remove_old):
            remover = stack.enter_context(child(remove))
            assert remover.says() == "has opened"
            remove_old()
            new = create(name)
        remover.process.join(PATIENCE)
        try:
            assert (SHM / name).stat().st_ino == inode(new)[1]
        finally:
            new.unlink()


def test_fork_while_a_name_is_looked_at(old: shm.Created) -> None:
    """A child forked meanwhile has the locked descriptor too, and keeps nobody out with it."""

    def live_on(pipe: Connection) -> None:
        pipe.send("alive")
        pipe.recv()

    def look() -> str:
        with shm.examined(old.name, layout.HEADER_SIZE):
            return "inside"

    with ExitStack() as stack:
        with shm.examined(old.name, layout.HEADER_SIZE):
            bystander = stack.enter_context(child(live_on))
            assert bystander.says() == "alive"
        stack.callback(bystander.tell)
        assert Task(look).result() == "inside"


FEW = """
import errno, os, resource, sys
from atomic_intenum import IntEnumValue, segment, shm
from support import collect_unless_counted, make_enum

enums = [make_enum("Few", {"A": number}) for number in range(16)]
kept = IntEnumValue(enums.pop().A)  # the resource tracker runs from here on
names, fillers = [], []
random_name = segment._random_name
segment._random_name = lambda: names.append(random_name()) or names[-1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

def fill():  # as other threads might, at any moment
    try:
        while True:
            fillers.append(os.dup(0))
    except OSError:
        return

def filled_before(function):
    def filled(*arguments):
        if not fillers:
            fill()
        return function(*arguments)

    return filled

match sys.argv[1]:
    case "at first":
        fill()
    case "created":
        shm._open = filled_before(shm._open)
    case "reserved":
        shm.open_and_map = filled_before(shm.open_and_map)
value = None
while value is None:
    try:
        value = IntEnumValue(enums.pop().A)
    except OSError as error:
        assert error.errno == errno.EMFILE, error
        assert not any(os.path.exists("/dev/shm/" + name) for name in names), names
        collect_unless_counted()  # or what failed keeps its descriptors
        os.close(fillers.pop())
assert value.load() == value.value
print(len(names) - 1)
"""


@pytest.mark.parametrize("when", ["at first", "created", "reserved"])
def test_out_of_descriptors(when: str, tmp_path: Path) -> None:
    """However few descriptors are left, creating is an OSError that leaves nothing, or works."""
    done = run_script(FEW, when, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) >= 1


NO_TRACKER = """
import errno, multiprocessing, os
from multiprocessing import util
from atomic_intenum import segment
from support import IDLE, WorkerStatus

def refuse(*_):
    raise BlockingIOError(errno.EAGAIN, "no more processes")

mine = f"t{os.getpid()}"
segment._random_name = lambda: mine
multiprocessing.current_process()._config["semprefix"] = "/" + mine
start, util.spawnv_passfds = util.spawnv_passfds, refuse
try:
    WorkerStatus(IDLE)
except BlockingIOError:
    left = [name for name in os.listdir("/dev/shm") if mine in name]
    util.spawnv_passfds = start
    print(left, WorkerStatus(IDLE))
"""


IN_THE_TRACKER = """
import warnings
from multiprocessing import resource_tracker
from support import IDLE, WorkerStatus

warnings.simplefilter("ignore")  # the tracker's own
resource_tracker.ensure_running()
with resource_tracker._resource_tracker._lock:
    print(WorkerStatus(IDLE))
"""


@pytest.mark.skipif(
    not hasattr(resource_tracker, "ReentrantCallError"), reason="its lock is not re-entrant"
)
def test_in_the_midst_of_the_resource_tracker(tmp_path: Path) -> None:
    """A finalizer or signal handler that interrupts a call of the tracker may create values."""
    done = run_script(IN_THE_TRACKER, folder=tmp_path)
    assert (done.stdout, done.returncode) == (f"{int(IDLE)}\n", 0)


def test_no_resource_tracker(tmp_path: Path) -> None:
    """Where the resource tracker cannot be started, nothing is created: nobody would remove it."""
    done = run_script(NO_TRACKER, folder=tmp_path)
    assert (done.stdout, done.stderr) == (f"[] {int(IDLE)}\n", "")
