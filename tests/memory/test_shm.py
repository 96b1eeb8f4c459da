"""Shared memory by name: who may remove it, and what happens where descriptors run out."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import sys
from contextlib import ExitStack
from multiprocessing import resource_tracker
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from helpers.crew import PATIENCE, WATCH, Task, child
from helpers.inside import layout, posix
from helpers.support import IDLE, SHM, run_script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from helpers.crew import Peer
SIZE = 4096

pytestmark = pytest.mark.skipif(not SHM.is_dir(), reason="no folder lists shared memory")


@pytest.fixture
def old(request: pytest.FixtureRequest) -> Iterator[posix.Created]:
    """Give shared memory with a name of this test alone; nothing of that name may be left."""
    name = f"t{os.getpid()}-{abs(hash(request.node.nodeid)) % 10**12}"
    created = create(name)
    yield created
    created.unlink()
    left = (SHM / name).exists()
    (SHM / name).unlink(missing_ok=True)
    assert not left, f"{name} is left"


def create(name: str) -> posix.Created:
    """Create shared memory."""
    created = posix.Created(name)
    created.make(SIZE, mmap.mmap).close()
    return created


def inode(created: posix.Created) -> posix.Inode:
    """Return the inode, which is known here."""
    assert created.inode is not None
    return created.inode


def replace(module: str, name: str, replacement: Callable[..., object]) -> None:
    """Replace a function of a module that shm uses, for shm alone; in a child, which ends soon."""
    original = vars(posix)[module]
    stand_in = SimpleNamespace(**{**vars(original), name: replacement})
    setattr(posix, module, stand_in)


def test_nobody_removes_between_look_and_removal(
    old: posix.Created, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one who removes is between its look and the removal, no other gets to the name."""
    name = old.name
    monkeypatch.setattr(posix, "_PATIENCE", PATIENCE)

    def remove(pipe: Connection) -> None:
        unlink = vars(posix)["_posixshmem"].shm_unlink

        def unlink_when_told(path: str) -> None:
            pipe.send("has looked")
            pipe.recv()
            unlink(path)

        replace("_posixshmem", "shm_unlink", unlink_when_told)
        posix.remove(name, inode(old))
        pipe.send("removed")

    def succeed() -> posix.Created:
        posix.remove(name, inode(old))
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


def test_remover_that_comes_second(old: posix.Created, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited while another removed, and gave the name to new memory, leaves that alone."""
    name = old.name
    monkeypatch.setattr(posix, "_PATIENCE", PATIENCE)

    def remove(pipe: Connection) -> None:
        flock = vars(posix)["fcntl"].flock

        def tell_and_flock(fd: int, operation: int) -> None:
            pipe.send("has opened")  # at other times: waits, or lets go
            flock(fd, operation)

        replace("fcntl", "flock", tell_and_flock)
        posix.remove(name, inode(old))

    with ExitStack() as stack:

        def succeed(_: bytes, remove_old: Callable[[], None]) -> tuple[Peer, posix.Created]:
            remover = stack.enter_context(child(remove))
            assert remover.says() == "has opened"
            remove_old()
            return remover, create(name)

        remover, new = posix.examine(name, layout.HEADER_SIZE, succeed)
        remover.process.join(PATIENCE)
        try:
            assert (SHM / name).stat().st_ino == inode(new)[1]
        finally:
            new.unlink()


def test_fork_while_a_name_is_looked_at(
    old: posix.Created, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child forked meanwhile has the locked descriptor too, and keeps nobody out with it."""
    monkeypatch.setattr(posix, "_PATIENCE", 2 * PATIENCE)

    def live_on(pipe: Connection) -> None:
        pipe.send("alive")
        pipe.recv()

    def look() -> str:
        return posix.examine(old.name, layout.HEADER_SIZE, lambda *_: "inside")

    with ExitStack() as stack:

        def fork(*_: object) -> Peer:
            bystander = stack.enter_context(child(live_on))
            assert bystander.says() == "alive"
            return bystander

        bystander = posix.examine(old.name, layout.HEADER_SIZE, fork)
        stack.callback(bystander.tell)
        assert Task(look).result() == "inside"


def test_lock_that_nobody_will_release(old: posix.Created, monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked descriptor that a killed process's child has inherited stops nobody for ever."""
    monkeypatch.setattr(posix, "_PATIENCE", WATCH)
    with (SHM / old.name).open("rb") as inherited:
        fcntl.flock(inherited, fcntl.LOCK_EX)
        Task(lambda: posix.remove(old.name, inode(old))).result()
    assert not (SHM / old.name).exists()


def test_removal_amid_a_removal(old: posix.Created, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a signal handler removes and creates anew while its thread removes it stays."""
    name = old.name
    look = posix.inode_of
    new: list[posix.Created] = []
    handlers = [posix.remove]

    def look_and_handle(name: str) -> posix.Inode | None:
        found = look(name)
        if handlers:
            handlers.pop()(name, inode(old))
            new.append(create(name))
        return found

    monkeypatch.setattr(posix, "inode_of", look_and_handle)
    Task(lambda: posix.remove(name, inode(old))).result()
    try:
        assert (SHM / name).stat().st_ino == inode(new[0])[1]
    finally:
        new[0].unlink()


def test_another_removal_amid_a_removal(
    old: posix.Created, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system numbers no shared memory, a removal is not taken for another name's."""
    other = create(f"{old.name}-2")
    monkeypatch.setattr(posix, "_inode", lambda _: (0, 0))  # as on macOS
    look = posix.inode_of
    handlers = [posix.remove]

    def look_and_handle(name: str) -> posix.Inode | None:
        found = look(name) and (0, 0)
        if handlers:
            handlers.pop()(other.name, (0, 0))
        return found

    monkeypatch.setattr(posix, "inode_of", look_and_handle)
    posix.remove(old.name, (0, 0))
    assert not (SHM / old.name).exists()
    assert not (SHM / other.name).exists()
    monkeypatch.undo()
    other.unlink()


def test_stopped_amid_a_removal(old: posix.Created, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was stopped after its look, so long that others went on, looks again."""
    look = posix.inode_of
    clock = [0.0]
    new: list[posix.Created] = []

    def look_and_stop(name: str) -> posix.Inode | None:
        found = look(name)
        if not new:
            clock[0] += posix._PATIENCE
            (SHM / name).unlink()
            new.append(create(name))
        return found

    monkeypatch.setattr(posix, "inode_of", look_and_stop)
    monkeypatch.setattr(posix, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    posix.remove(old.name, inode(old))
    monkeypatch.undo()
    try:
        assert (SHM / old.name).stat().st_ino == inode(new[0])[1]
    finally:
        new[0].unlink()


def test_file_that_a_signal_handler_misses(
    old: posix.Created, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FileNotFoundError about something else goes through, and the name can still be removed."""

    def miss(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "no such file", "settings.toml")

    for module, name in (
        ("os", "fstat"),
        ("_posixshmem", "shm_open"),
        ("_posixshmem", "shm_unlink"),
    ):
        with monkeypatch.context() as patch:
            original = vars(posix)[module]
            patch.setattr(posix, module, SimpleNamespace(**{**vars(original), name: miss}))
            with pytest.raises(FileNotFoundError, match=r"settings\.toml"):
                posix.remove(old.name, inode(old))
            with pytest.raises(FileNotFoundError, match=r"settings\.toml"):
                old.unlink()
        assert (SHM / old.name).exists()


CALLS: dict[str, tuple[str, str, Callable[[str], object]]] = {
    "flock": ("fcntl", "flock", lambda name: posix.examine(name, SIZE, lambda *_: "went on")),
    "kill": ("os", "kill", lambda _: posix.is_running(os.getpid(), 0)),
    "stat": ("os", "stat", lambda _: posix.pid_namespace() >= 0),
}


@pytest.mark.parametrize("call", CALLS)
def test_error_of_a_signal_handler(
    call: str, old: posix.Created, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the system can't do is done without; a TimeoutError of a signal handler goes through."""
    module, name, action = CALLS[call]
    errors: list[OSError] = []

    def fail(*_: object) -> None:
        raise errors[-1]

    original = vars(posix)[module]
    monkeypatch.setattr(posix, module, SimpleNamespace(**{**vars(original), name: fail}))
    errors.append(OSError(errno.ENOTSUP, "not here"))
    assert action(old.name)
    errors.append(TimeoutError("too late"))
    with pytest.raises(TimeoutError, match="too late"):
        action(old.name)


FEW = """
import errno, os, resource, sys
from atomic_intenum import IntEnumValue
from helpers.inside import posix, segment
from helpers.support import collect_unless_counted, make_enum

enums = [make_enum("Few", {"A": number}) for number in range(16)]
kept = IntEnumValue(enums.pop().A)  # the resource tracker runs from here on
names, fillers, failed = [], [], []
random_name = segment._random_name
segment._random_name = lambda: names.append(random_name()) or names[-1]
collect_unless_counted()  # or a descriptor comes free by itself
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

def fill():  # as other threads might, at any moment
    try:
        while True:
            fillers.append(os.dup(0))
    except OSError:
        return

def failing_at_first(function):
    def failing(*arguments):
        if not fillers:
            fill()
            raise OSError(errno.EMFILE, "as a factory might")
        return function(*arguments)

    return failing

match sys.argv[1]:
    case "at first":
        fill()
    case "created":
        posix._reserve = failing_at_first(posix._reserve)
value = None
while value is None:
    try:
        value = IntEnumValue(enums.pop().A)
    except OSError as error:
        assert error.errno == errno.EMFILE, error
        failed.append(error.strerror)
        assert not any(os.path.exists("/dev/shm/" + name) for name in names), names
        collect_unless_counted()  # or what failed keeps its descriptors
        os.close(fillers.pop())
assert value.load() == value.value
print(len(failed))
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["at first", "created"])
def test_out_of_descriptors(when: str, tmp_path: Path) -> None:
    """However few descriptors are left, creating is an OSError that leaves nothing, or works."""
    done = run_script(FEW, when, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) >= 1


NO_TRACKER = """
import errno, multiprocessing, os
from multiprocessing import util
from helpers.inside import segment
from helpers.support import IDLE, WorkerStatus

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
from helpers.support import IDLE, WorkerStatus

warnings.simplefilter("ignore")  # the tracker's own
resource_tracker.ensure_running()
with resource_tracker._resource_tracker._lock:
    print(WorkerStatus(IDLE))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(resource_tracker, "ReentrantCallError"), reason="its lock is not re-entrant"
)
def test_in_the_midst_of_the_resource_tracker(tmp_path: Path) -> None:
    """A finalizer or signal handler that interrupts a call of the tracker may create values."""
    done = run_script(IN_THE_TRACKER, folder=tmp_path)
    assert (done.stdout, done.returncode) == (f"{int(IDLE)}\n", 0)


@pytest.mark.slow
def test_no_resource_tracker(tmp_path: Path) -> None:
    """Where the resource tracker cannot be started, nothing is created: nobody would remove it."""
    done = run_script(NO_TRACKER, folder=tmp_path)
    assert (done.stdout, done.stderr) == (f"[] {int(IDLE)}\n", "")


#: Removes shared memory whose name has been given to something else meanwhile: argv[1].
TAKEN = """
import mmap, os, resource, sys
from multiprocessing import resource_tracker
from helpers.inside import posix

name, other = f"t{os.getpid()}", sys.argv[1]
path = "/dev/shm/" + name
resource_tracker.ensure_running()  # another user may not be allowed to read what it runs
if other == "another user's":
    os.seteuid(65534)
old = posix.Created(name)
old.make(4096, mmap.mmap).close()
os.unlink(path)
os.seteuid(os.getuid())
if other == "a folder":
    os.mkdir(path)
else:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
if other == "another user's":
    os.seteuid(65534)
if other == "out of descriptors":
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
old.unlink()
old.unlink()
os.seteuid(os.getuid())
print(os.path.exists(path))
(os.rmdir if other == "a folder" else os.unlink)(path)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere one has to open it, to look")
@pytest.mark.parametrize("other", ["another user's", "a folder", "out of descriptors"])
def test_name_that_stands_for_what_cannot_be_opened(other: str, tmp_path: Path) -> None:
    """A name that is no longer this memory's is left alone, without an error, whatever it is."""
    if other == "another user's" and os.getuid() != 0:
        pytest.skip("only root can be two users")
    done = run_script(TAKEN, other, folder=tmp_path)
    assert (done.stdout, done.stderr) == ("True\n", "")


NO_DESCRIPTOR = """
import errno, os, resource
from helpers.inside import owner, posix

_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
try:
    owner.identity()
except OSError as error:
    assert error.errno == errno.EMFILE, error
else:
    raise AssertionError("it was read nevertheless")
resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
print(owner.identity()[1] == posix.start_time(os.getpid()) != 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_start_time_out_of_descriptors(tmp_path: Path) -> None:
    """That no descriptor was left once does not make a process's start unknown for ever."""
    done = run_script(NO_DESCRIPTOR, folder=tmp_path)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_handler_amid_a_lock(old: posix.Created, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a signal handler raises while one waits to look is raised; the next look works."""

    def handle(*_: object) -> None:
        raise ConnectionResetError(errno.ECONNRESET, "as a handler might")

    monkeypatch.setattr(posix, "fcntl", SimpleNamespace(**{**vars(fcntl), "flock": handle}))
    with pytest.raises(ConnectionResetError):
        old.unlink()
    monkeypatch.undo()
    assert (SHM / old.name).exists()
    old.unlink()
    assert not (SHM / old.name).exists()
