"""Values with a name: segment_name=, attach, unlink, and what a name goes through."""

from __future__ import annotations

import errno
import math
import multiprocessing
import os
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumValue
from helpers.crew import child
from helpers.marks import named, needs_robust, needs_root, unnamed
from helpers.names import HEAD, identity_of, make, own_name, path_of, planted, spoil
from helpers.support import (
    CALCULATING,
    DEADLINE,
    IDLE,
    SHM,
    JobEnum,
    Plain,
    WorkerStatus,
    WorkerStatusEnum,
    collect,
    collect_unless_counted,
    make_enum,
    run_script,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection


pytestmark = pytest.mark.skipif(not SHM.is_dir(), reason="no folder lists shared memory")


# -- creating and attaching


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A segment name of this test alone; nothing of that name may be left."""
    with own_name(request.node.nodeid) as chosen:
        yield chosen


@named
def test_attach_is_the_same_value(name: str) -> None:
    """What is attached by name is the same shared value."""
    created = make(name)
    attached = WorkerStatus.attach(name)
    assert type(attached) is WorkerStatus
    assert attached is not created
    attached.set(CALCULATING)
    assert (created.load(), created.version) == (CALCULATING, 1)
    assert created.compare_and_set(CALCULATING, IDLE)
    assert (attached.load(), attached.version) == (IDLE, 2)
    assert attached.segment_name == created.segment_name == name
    assert {entry.name for entry in SHM.glob(f"*{name}*")} == {f"intenum.{name}"}


@named
def test_lock_is_shared_by_name(name: str) -> None:
    """Who attaches by name is kept out by the creator's lock, in another process as well."""
    created = make(name)

    def try_it(pipe: Connection) -> None:
        lock = WorkerStatus.attach(name).get_lock()
        pipe.recv()
        pipe.send(lock.acquire(block=False))
        pipe.recv()
        pipe.send(lock.acquire(timeout=DEADLINE))
        lock.release()

    with child(try_it) as peer:
        with created.get_lock():
            peer.tell()
            assert peer.says() is False
        peer.tell()
        assert peer.says() is True
    with created.get_lock():
        assert not created.abandoned


@named
@needs_robust
def test_holder_by_name_that_dies(name: str) -> None:
    """Who attached by name and ends inside passes the lock on to the creator, which is told."""
    created = make(name)
    with child(lambda pipe: pipe.send(WorkerStatus.attach(name).get_lock().acquire())) as peer:
        assert peer.says() is True
    with created.get_lock():
        assert created.abandoned


@named
def test_attach_by_every_class_of_the_enum(name: str) -> None:
    """Any class of the same enum may attach; __init__ does not run."""

    class Picky(WorkerStatus):
        def __init__(self) -> None:
            raise AssertionError

    created = make(name)
    for cls in (Picky, IntEnumValue[WorkerStatusEnum]):
        attached = cls.attach(name)
        assert type(attached) is cls
        assert attached.exchange(CALCULATING) is IDLE
        created.set(IDLE)


@named
def test_parameterless_creator(name: str) -> None:
    """A value that took its first member's enum is attached by a class of that enum."""
    created: Any = IntEnumValue(IDLE, segment_name=name)
    assert WorkerStatus.attach(name).load() is IDLE
    assert type(created) is IntEnumValue


@named
@pytest.mark.parametrize("text", ["a", "Z", "0", "_", "-", "...", ".a", "a.b-c_D9", "x" * 22])
def test_names_allowed(text: str) -> None:
    """1 to 22 letters, digits, dots, underscores and dashes are a name."""
    if path_of(text).exists():
        pytest.skip("somebody has that name")
    created = WorkerStatus(IDLE, segment_name=text)
    try:
        assert WorkerStatus.attach(text).load() is IDLE
        assert path_of(text).exists()
    finally:
        created.unlink()
    assert not path_of(text).exists()


BAD_NAMES = [
    *("", ".", "..", "/", "/a", "a/b", "../a", "x" * 23, "a b", "a\n", "\n", "a\0", "ä", "\uff11"),
    *("a:b", "*", "\udc80", "x" * 100_000),
]


@named
@pytest.mark.parametrize("text", BAD_NAMES, ids=range(len(BAD_NAMES)))
def test_names_refused(text: str) -> None:
    """Every other name is a ValueError, for creating and attaching, before anything is made."""
    before = {entry.name for entry in SHM.iterdir() if str(os.getpid()) in entry.name}
    uses: Any = (lambda: WorkerStatus(IDLE, segment_name=text), lambda: WorkerStatus.attach(text))
    for use in uses:
        with pytest.raises(ValueError, match="1 to 22 ASCII letters"):
            use()
    assert {entry.name for entry in SHM.iterdir() if str(os.getpid()) in entry.name} == before


@named
@pytest.mark.parametrize("wrong", [0, 1, b"name", IDLE, 1.5, ["name"], Path("name")])
def test_name_of_another_type(wrong: Any) -> None:
    """A name that is no str is a TypeError that has its type."""
    kind = re.escape(type(wrong).__name__)
    with pytest.raises(TypeError, match=f"a segment name is a str, not .*{kind}"):
        WorkerStatus(IDLE, segment_name=wrong)
    with pytest.raises(TypeError, match=f"a segment name is a str, not .*{kind}"):
        WorkerStatus.attach(wrong)


@named
def test_name_is_taken(name: str) -> None:
    """Creating a name whose creator runs is a FileExistsError at once, and changes nothing."""
    created = make(name)
    began = time.monotonic()
    for other in (WorkerStatus, IntEnumValue[JobEnum]):
        with pytest.raises(FileExistsError, match=f"{name}.*this very process") as caught:
            other("IDLE" if other is WorkerStatus else "DONE", segment_name=name)
        assert caught.value.errno == errno.EEXIST
    assert time.monotonic() - began < 1
    assert WorkerStatus.attach(name) == created == IDLE


@named
def test_name_is_taken_by_another_process(name: str) -> None:
    """A child's name is taken as long as it runs, and free when it has ended."""

    def create(pipe: Connection) -> None:
        created = make(name, CALCULATING)
        pipe.send(created.segment_name)
        pipe.recv()

    with child(create) as peer:
        assert peer.says() == name
        with pytest.raises(FileExistsError, match=f"{name}.* process {peer.pid}"):
            make(name)
        assert WorkerStatus.attach(name).load() is CALCULATING
        peer.tell()
    assert make(name).load() is IDLE


@named
def test_attach_missing(name: str) -> None:
    """Attaching a name that nobody created is a FileNotFoundError that has the name."""
    began = time.monotonic()
    with pytest.raises(FileNotFoundError, match=name) as caught:
        WorkerStatus.attach(name)
    assert caught.value.errno == errno.ENOENT
    assert time.monotonic() - began < 1


@named
def test_attach_waits_for_the_name(name: str) -> None:
    """attach() with a timeout waits until somebody creates the name, or until it is over."""

    def wait(pipe: Connection) -> None:
        pipe.send("waits")
        pipe.send(WorkerStatus.attach(name, timeout=DEADLINE).load())
        pipe.recv()
        pipe.send(WorkerStatus.attach(name, timeout=None).load())

    with child(wait) as peer:
        assert peer.says() == "waits"
        assert peer.is_silent()
        created = make(name)
        assert peer.says() is IDLE
        created.unlink()
        peer.tell()
        assert peer.is_silent()
        again = make(name, CALCULATING)
        assert peer.says() is CALCULATING
    again.unlink()
    began = time.monotonic()
    with pytest.raises(FileNotFoundError, match=name):
        WorkerStatus.attach(name, timeout=0.2)
    assert 0.2 <= time.monotonic() - began < 5


@named
@pytest.mark.parametrize(
    ("timeout", "error"), [(-1, ValueError), (math.nan, ValueError), ("1", TypeError)]
)
def test_attach_with_a_wrong_timeout(timeout: Any, error: type[Exception], name: str) -> None:
    """A timeout is no negative number, no NaN, and no text."""
    with pytest.raises(error):
        WorkerStatus.attach(name, timeout=timeout)


@named
def test_attach_another_enum(name: str) -> None:
    """Attaching as another enum, or as one of other members, is a TypeError that names both."""
    created = make(name)
    with pytest.raises(TypeError, match=r"WorkerStatusEnum|JobEnum") as caught:
        IntEnumValue[JobEnum].attach(name)
    assert "JobEnum" in str(caught.value)
    assert "WorkerStatusEnum" in str(caught.value)
    other: Any = make_enum("WorkerStatusEnum", "UNAVAILABLE IDLE CALCULATING BROKEN")
    with pytest.raises(TypeError, match="another enum"):
        IntEnumValue[other].attach(name)
    assert WorkerStatus.attach(name) == created


@named
@pytest.mark.parametrize("cls", [IntEnumValue, Plain])
def test_attach_by_an_unbound_class(cls: Any, name: str) -> None:
    """A class that is bound to no enum cannot attach: TypeError."""
    created = make(name)
    with pytest.raises(TypeError, match=r"bound to no enum.*IntEnumValue\[YourEnum\]"):
        cls.attach(name)
    assert created == IDLE


@named
def test_lock_and_name(name: str) -> None:
    """lock= together with segment_name= is a TypeError, and makes nothing."""
    lock: Any
    for lock in (threading.Lock(), multiprocessing.RLock(), WorkerStatus(IDLE).get_lock()):
        with pytest.raises(TypeError, match="exclude each other"):
            WorkerStatus(IDLE, lock, segment_name=name)
    assert not path_of(name).exists()


@named
@pytest.mark.parametrize("wrong", [None, 2, "NOBODY", JobEnum.DONE])
def test_bad_member_makes_no_segment(wrong: Any, name: str) -> None:
    """A first member that is refused leaves no segment of that name."""
    with pytest.raises((TypeError, KeyError)):
        make(name, wrong)
    assert not path_of(name).exists()


@unnamed
def test_lock_path_has_no_names(name: str) -> None:
    """On the lock-based path segment_name= and attach are RuntimeErrors that say why."""
    with pytest.raises(RuntimeError, match="inheritance"):
        make(name)
    with pytest.raises(RuntimeError, match="inheritance"):
        WorkerStatus.attach(name)
    assert not path_of(name).exists()


# -- what is no segment of a value with a name


@named
def test_attach_a_pools_segment() -> None:
    """A segment that many values share is none that a name leads to."""
    status = WorkerStatus(IDLE)
    with pytest.raises(FileNotFoundError, match=status.segment_name):
        WorkerStatus.attach(status.segment_name)
    assert status == IDLE


@named
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"x" * 100, "too few"),
        (b"x" * 191, "too few"),
        (b"x" * 192, "not a segment"),
        (b"x" * 4096, "not a segment"),
        (b"\0" * 127 + b"x" * 4000, "half made"),
    ],
)
@pytest.mark.slow
def test_attach_something_foreign(content: bytes, reason: str, name: str) -> None:
    """Other shared memory is no value, to nobody; it stays as it was, and keeps its name."""
    path_of(name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}.*{reason}"):
        WorkerStatus.attach(name)
    with pytest.raises(FileExistsError, match=f"{name}.*something else than this package"):
        make(name)
    with pytest.raises((FileExistsError, ValueError), match=name):
        make(name, exist_ok=True)
    assert path_of(name).read_bytes() == content
    path_of(name).unlink()


@pytest.mark.slow
@named
@pytest.mark.parametrize("content", [b"", bytes(4096)], ids=["empty", "no-magic"])
@pytest.mark.parametrize("timeout", [0.0, 1.5])
def test_half_made_for_ever(content: bytes, timeout: float, name: str) -> None:
    """What is half made for a second, by a process that lives, is refused; and it stays."""
    with planted(path_of(name), content):
        began = time.monotonic()
        with pytest.raises(ValueError, match=name):
            WorkerStatus.attach(name, timeout=timeout)
        assert max(1, timeout) <= time.monotonic() - began < 10
        with pytest.raises(FileExistsError, match=name):
            make(name)
        assert path_of(name).read_bytes() == content
    assert make(name) == IDLE  # at once: nobody answers for it any more


@pytest.mark.slow
@named
def test_sparse_memory_is_refused(name: str) -> None:
    """Memory without reserved space is refused: touching it may be a SIGBUS."""
    with planted(path_of(name), b"", 1 << 20):
        with pytest.raises(ValueError, match=rf"{name}.*not reserved"):
            WorkerStatus.attach(name)
        assert path_of(name).stat().st_blocks == 0
    path_of(name).unlink(missing_ok=True)


@named
@pytest.mark.parametrize("step", ["empty", "filled"])
def test_half_made_and_finished(step: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who attaches while the creator is at it waits for it, at each of its steps."""
    created = make(f"{name}x")
    content = path_of(f"{name}x").read_bytes()
    path = path_of(name)
    looks = []
    sleep = time.sleep

    def look(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            with path.open("r+b") as file:
                file.write(bytes(8) + content[8:])
                file.flush()
                file.seek(0)
                file.write(content[:8])
        sleep(seconds)

    with planted(path, b"" if step == "empty" else bytes(8) + content[8:]):
        monkeypatch.setattr(time, "sleep", look)
        attached = WorkerStatus.attach(name)
        monkeypatch.undo()
        assert len(looks) >= 3
        assert attached == created
        path.unlink()


def created_elsewhere(name: str) -> bytes:
    """Return what a segment holds that was made in another PID namespace."""
    created = make(name)
    spoil(name, pid_namespace=1, creator_pid=2**22 + 7)
    content = path_of(name).read_bytes()
    created.unlink()
    del created
    collect_unless_counted()  # or it is what this process attaches to
    return content


@named
def test_other_pid_namespace(name: str) -> None:
    """All but the lock of a value that was made in another PID namespace can be used."""
    with planted(path_of(name), created_elsewhere(name)):
        attached = WorkerStatus.attach(name)
        with pytest.raises(FileExistsError, match=f"{name}.*process {2**22 + 7} of another PID"):
            make(name)
        assert make(name, CALCULATING, exist_ok=True) == IDLE
    assert attached.compare_and_set(IDLE, CALCULATING)
    assert attached.wait_for(CALCULATING, timeout=DEADLINE) is CALCULATING
    with pytest.raises(RuntimeError, match="another PID namespace"):
        attached.get_lock().acquire()
    attached.set(IDLE)
    assert attached == IDLE


@named
@pytest.mark.parametrize("pid", [0, 1, 2**22 + 7, 2**31, 2**32 - 16, 2**32 - 1])
def test_creators_pid_tells_nothing(pid: int, name: str) -> None:
    """Whatever process a segment names as its creator, its name is taken while one answers."""
    created = make(name)
    spoil(name, creator_pid=pid, creator_start=1)
    with pytest.raises(FileExistsError, match=f"process {pid}" if pid else "is creating"):
        make(name)
    content = path_of(name).read_bytes()
    created.unlink()
    path_of(name).write_bytes(content)
    assert make(name, CALCULATING) == CALCULATING  # at once


#: What may stand in the place of a segment, and how it is removed.
KINDS: dict[str, tuple[Callable[[Path], object], Callable[[Path], None]]] = {
    "folder": (Path.mkdir, Path.rmdir),
    "pipe": (lambda path: os.mkfifo(path, 0o600), Path.unlink),
    "link": (lambda path: path.symlink_to("/dev/null"), Path.unlink),
    "hanging link": (lambda path: path.symlink_to(path.with_name("nothing")), Path.unlink),
    "link to itself": (lambda path: path.symlink_to(path), Path.unlink),
}


@named
@pytest.mark.parametrize("kind", KINDS)
def test_name_of_another_kind_of_file(kind: str, name: str) -> None:
    """What is no memory at all is not attached, keeps its name, and is not waited for."""
    make_it, unmake = KINDS[kind]
    make_it(path_of(name))
    before = identity_of(path_of(name))
    for use in (WorkerStatus.attach, lambda name: make(name, exist_ok=True)):
        with pytest.raises((OSError, ValueError), match=name):
            use(name)
    with pytest.raises(FileExistsError, match=name):
        make(name)
    assert identity_of(path_of(name)) == before
    unmake(path_of(name))


@named
@needs_root
def test_name_of_another_user(name: str) -> None:
    """Another user's segment is not attached (PermissionError), and its name is taken."""
    created = make(name)

    def be_nobody(pipe: Connection) -> None:
        os.setgid(65534)
        os.setuid(65534)
        uses: Any = (lambda: WorkerStatus.attach(name), lambda: make(name))
        for use in uses:
            try:
                use()
            except OSError as error:
                pipe.send(type(error).__name__)

    with child(be_nobody) as peer:
        assert [peer.says(), peer.says()] == ["PermissionError", "FileExistsError"]
    assert created == IDLE


# -- unlink


@named
def test_unlink(name: str) -> None:
    """unlink() removes the name, once or more often; who has the value keeps it."""
    created, attached = make(name), WorkerStatus.attach(name)
    created.unlink()
    assert not path_of(name).exists()
    with pytest.raises(FileNotFoundError, match=name):
        WorkerStatus.attach(name)
    created.unlink()
    attached.unlink()
    attached.set(CALCULATING)
    assert created == CALCULATING
    assert created.segment_name == name
    with created.get_lock():
        created.set(IDLE)


@named
@pytest.mark.parametrize("who", ["same", "child", "stranger"])
def test_unlink_by_another(who: str, name: str, tmp_path: Path) -> None:
    """An attacher may unlink; the creator goes on, unlinks again, and drops in peace."""
    created = make(name)
    if who == "same":
        WorkerStatus.attach(name).unlink()
    elif who == "child":
        with child(lambda _: WorkerStatus.attach(name).unlink()):
            pass
    else:
        script = "WorkerStatus.attach(name).unlink()"
        done = run_script(HEAD + script, name, folder=tmp_path)
        assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert not path_of(name).exists()
    created.set(CALCULATING)
    assert created == CALCULATING
    created.unlink()


@named
def test_unlink_leaves_the_next_of_the_name(name: str) -> None:
    """Where the name stands for another segment by now, neither unlink nor the end removes that."""
    first = make(name)
    attached = WorkerStatus.attach(name)
    attached.unlink()
    second = make(name, CALCULATING)
    for old in (first, attached):
        old.unlink()
    del first, attached, old
    collect()
    assert path_of(name).exists()
    assert WorkerStatus.attach(name) == second == CALCULATING


TAKES_OVER = """
def take(name, pipe):
    WorkerStatus.attach(name).unlink()
    second = WorkerStatus("CALCULATING", segment_name=name)
    pipe.send("taken")
    pipe.recv()
    assert os.path.exists("/dev/shm/intenum." + name)

if __name__ == "__main__":
    for method in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        here, there = context.Pipe()
        first = WorkerStatus("IDLE", segment_name=name)
        process = context.Process(target=take, args=(name, there))
        process.start()
        assert here.recv() == "taken"
        first.unlink()
        del first
        here.send("go")
        process.join()
        assert process.exitcode == 0
        assert not os.path.exists("/dev/shm/intenum." + name)
    print("done")
"""


@pytest.mark.slow
@named
def test_name_taken_over_by_a_child(name: str, tmp_path: Path) -> None:
    """A child that unlinks its parent's name and takes it keeps it, whatever the parent does."""
    done = run_script(HEAD + TAKES_OVER, name, folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


@named
def test_unlink_of_a_value_without_a_name() -> None:
    """unlink() is for values that were given a name: others share their segment."""
    status = WorkerStatus(IDLE)
    with pytest.raises(ValueError, match="no segment of its own"):
        status.unlink()
    assert status.segment_name.startswith("intenum-")
    assert (SHM / status.segment_name).exists()
