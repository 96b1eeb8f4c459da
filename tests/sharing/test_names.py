"""Values with a name: segment_name=, attach, unlink, and what a name goes through."""

from __future__ import annotations

import errno
import gc
import math
import multiprocessing
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumValue
from helpers.crew import WATCH, Task, child
from helpers.inside import layout, owner, posix, takeover
from helpers.names import HEAD, failing, make, named, own_name, spoil, unnamed
from helpers.support import (
    CALCULATING,
    DEADLINE,
    IDLE,
    SHM,
    JobEnum,
    Plain,
    WorkerStatus,
    WorkerStatusEnum,
    make_enum,
    needs_robust,
    run_script,
    until,
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
    assert {entry.name for entry in SHM.glob(f"*{name}*")} == {name}


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
@pytest.mark.parametrize("text", ["a", "Z", "0", "_", "-", "...", ".a", "a.b-c_D9", "x" * 30])
def test_names_allowed(text: str) -> None:
    """1 to 30 letters, digits, dots, underscores and dashes are a name."""
    if (SHM / text).exists():
        pytest.skip("somebody has that name")
    created = WorkerStatus(IDLE, segment_name=text)
    try:
        assert WorkerStatus.attach(text).load() is IDLE
        assert (SHM / text).exists()
    finally:
        created.unlink()
    assert not (SHM / text).exists()


BAD_NAMES = [
    *("", ".", "..", "/", "/a", "a/b", "../a", "x" * 31, "a b", "a\n", "\n", "a\0", "ä", "\uff11"),
    *("a:b", "*", "\udc80", "x" * 100_000),
]


@named
@pytest.mark.parametrize("text", BAD_NAMES, ids=range(len(BAD_NAMES)))
def test_names_refused(text: str) -> None:
    """Every other name is a ValueError, for creating and attaching, before anything is made."""
    before = {entry.name for entry in SHM.iterdir() if str(os.getpid()) in entry.name}
    uses: Any = (lambda: WorkerStatus(IDLE, segment_name=text), lambda: WorkerStatus.attach(text))
    for use in uses:
        with pytest.raises(ValueError, match="1 to 30 ASCII letters"):
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
        with pytest.raises(FileExistsError, match=name) as caught:
            other("IDLE" if other is WorkerStatus else "DONE", segment_name=name)
        assert caught.value.errno == errno.EEXIST
    assert time.monotonic() - began < 0.4
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
        with pytest.raises(FileExistsError, match=name):
            make(name)
        assert WorkerStatus.attach(name).load() is CALCULATING
        peer.tell()
    assert make(name).load() is IDLE


@named
def test_handlers_missing_file_amid_an_attach(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that a signal handler misses is not reported as a name that is missing."""
    created = make(name)
    monkeypatch.setattr(posix, "open_and_map", failing(errno.ENOENT, "settings.toml"))
    with pytest.raises(FileNotFoundError, match=r"settings\.toml"):
        WorkerStatus.attach(name)
    monkeypatch.undo()
    assert WorkerStatus.attach(name) == created


@named
@pytest.mark.parametrize("given", [True, False])
def test_handlers_file_that_exists(given: bool, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that a signal handler finds there already is not taken for the name that is wanted."""
    fresh = make_enum("Fresh", {"A": 0})
    monkeypatch.setattr(posix.Created, "make", failing(errno.EEXIST, "service.pid"))
    with pytest.raises(FileExistsError, match=r"service\.pid"):
        IntEnumValue(fresh.A, segment_name=name if given else None)
    monkeypatch.undo()
    assert make(name) == IDLE


@named
@pytest.mark.parametrize("look", [failing(errno.ENOENT, "settings.toml"), failing(errno.EMFILE)])
def test_look_that_fails(
    look: Callable[..., Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What keeps one from looking whose a name is says nothing of that: it is raised."""
    created = make(name)
    monkeypatch.setattr(posix, "examine", look)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - it tells by its number
        make(name)
    assert caught.value.errno != errno.EEXIST
    monkeypatch.undo()
    assert WorkerStatus.attach(name) == created


@named
def test_grace_begins_as_the_creator_is_found_dead(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a name was wanted, a dead creator's tracker has its time to remove it."""
    created = make(name)
    content = (SHM / name).read_bytes()[: layout.HEADER_SIZE]
    clock = [100.0]
    removed: list[float] = []
    wanted = takeover.Wanted(name)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(takeover, "_is_kept", lambda *_: not removed and clock[0] < 200)

    def judge() -> float | None:
        return wanted._judge(content, lambda: removed.append(clock[0]))

    assert judge() == -math.inf
    clock[0] = 300.0
    assert judge() == math.inf
    clock[0] += takeover._TRACKER_GRACE
    assert judge() == math.inf
    assert not removed
    clock[0] += 0.1
    assert judge() is None
    assert removed == [clock[0]]
    monkeypatch.undo()
    assert created == IDLE


@named
def test_name_wanted_while_it_is_removed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that looks whose a name is and one that removes it don't wait for each other."""
    created = make(name)
    looking, removing = threading.Event(), threading.Event()
    is_kept, remove = takeover._is_kept, posix.remove

    def look(*arguments: Any) -> bool:
        looking.set()
        removing.wait(WATCH)  # it may have to wait until here is looked no more
        return is_kept(*arguments)

    def remove_meanwhile(*arguments: Any) -> None:
        removing.set()
        remove(*arguments)

    monkeypatch.setattr(takeover, "_is_kept", look)
    monkeypatch.setattr(posix, "remove", remove_meanwhile)
    wanting = Task(lambda: make(name))
    assert looking.wait(DEADLINE)
    unlinking = Task(created.unlink)
    with pytest.raises(FileExistsError, match=name):
        wanting.result()
    unlinking.result()
    assert not (SHM / name).exists()


@named
def test_name_lost_while_it_is_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value is in the memory that was created for it, whoever has taken its name meanwhile."""
    reserve = posix._reserve
    path = SHM / name
    taken: list[bytes] = []

    def reserve_and_lose(fd: int, size: int) -> None:
        reserve(fd, size)
        path.unlink()
        taken.append(bytes(size))
        path.write_bytes(taken[0])

    monkeypatch.setattr(posix, "_reserve", reserve_and_lose)
    created = make(name)
    assert created.load() is IDLE
    assert path.read_bytes() == taken[0]
    del created
    owner.drain()
    assert path.read_bytes() == taken[0]
    path.unlink()


@named
def test_attach_missing(name: str) -> None:
    """Attaching a name that nobody created is a FileNotFoundError that has the name."""
    began = time.monotonic()
    with pytest.raises(FileNotFoundError, match=name) as caught:
        WorkerStatus.attach(name)
    assert caught.value.errno == errno.ENOENT
    assert time.monotonic() - began < 0.5


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
    assert not (SHM / name).exists()


@named
@pytest.mark.parametrize("wrong", [None, 2, "NOBODY", JobEnum.DONE])
def test_bad_member_makes_no_segment(wrong: Any, name: str) -> None:
    """A first member that is refused leaves no segment of that name."""
    with pytest.raises((TypeError, KeyError)):
        make(name, wrong)
    assert not (SHM / name).exists()


@unnamed
def test_lock_path_has_no_names(name: str) -> None:
    """On the lock-based path segment_name= and attach are RuntimeErrors that say why."""
    with pytest.raises(RuntimeError, match="inheritance"):
        make(name)
    with pytest.raises(RuntimeError, match="inheritance"):
        WorkerStatus.attach(name)
    assert not (SHM / name).exists()


# -- what is no segment of a value with a name


@named
def test_attach_a_pools_segment() -> None:
    """A segment that many values share is not attached by name: ValueError."""
    status = WorkerStatus(IDLE)
    with pytest.raises(ValueError, match="one value with a name"):
        WorkerStatus.attach(status.segment_name)
    assert status == IDLE


@named
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"x" * 100, "too short"),
        (b"x" * 191, "too short"),
        (b"x" * 192, "not a segment"),
        (b"x" * 4096, "not a segment"),
        (layout.MAGIC.to_bytes(8, sys.byteorder) + b"\xff" * 4088, "layout"),
    ],
)
def test_attach_something_foreign(content: bytes, reason: str, name: str) -> None:
    """Other shared memory is refused at once by ValueError; it stays as it was, and its name."""
    (SHM / name).write_bytes(content)
    began = time.monotonic()
    with pytest.raises(ValueError, match=rf"{name}.*{reason}"):
        WorkerStatus.attach(name)
    with pytest.raises(FileExistsError, match=name):
        make(name)
    assert time.monotonic() - began < 0.8
    assert (SHM / name).read_bytes() == content
    (SHM / name).unlink()


@pytest.mark.slow
@named
@pytest.mark.parametrize("content", [b"", bytes(4096)], ids=["empty", "no-magic"])
def test_half_made_for_ever(content: bytes, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is half made for a second is refused, and stays: nobody knows who is making it."""
    assert takeover.HALF_MADE == 1.0
    monkeypatch.setattr(takeover, "HALF_MADE", 0.3)
    (SHM / name).write_bytes(content)
    began = time.monotonic()
    with pytest.raises(ValueError, match=name):
        WorkerStatus.attach(name)
    assert 0.27 < time.monotonic() - began < 5
    began = time.monotonic()
    with pytest.raises(FileExistsError, match=name):
        make(name)
    assert 0.27 < time.monotonic() - began < 5
    assert (SHM / name).read_bytes() == content
    (SHM / name).unlink()


@pytest.mark.slow
@named
def test_sparse_memory_is_refused(name: str) -> None:
    """Memory without reserved space is refused: touching it may be a SIGBUS."""
    with (SHM / name).open("wb") as file:
        file.truncate(1 << 20)
    with pytest.raises(ValueError, match=rf"{name}.*not reserved"):
        WorkerStatus.attach(name)
    assert (SHM / name).stat().st_blocks == 0
    (SHM / name).unlink()


@named
@pytest.mark.parametrize("step", ["empty", "mapped"])
def test_half_made_and_finished(step: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who attaches while the creator is at it waits for it, at each of its steps."""
    looks = []
    go = threading.Event()
    here = threading.get_ident()

    def stalls(module: Any, function: str, *, before: bool) -> None:
        real = getattr(module, function)

        def stalling(*args: Any) -> Any:
            if threading.get_ident() == here:
                return real(*args)
            if before:
                go.wait(DEADLINE)
            result = real(*args)
            go.wait(DEADLINE)
            return result

        monkeypatch.setattr(module, function, stalling)

    if step == "empty":
        stalls(os, "posix_fallocate", before=True)
    else:
        stalls(posix.Created, "make", before=False)
    creator = Task(lambda: make(name))
    until((SHM / name).exists, "creation")
    real_sleep = time.sleep

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            go.set()
        real_sleep(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    attached = WorkerStatus.attach(name)
    assert len(looks) >= 3
    assert attached == creator.result() == IDLE


@named
def test_other_pid_namespace(name: str) -> None:
    """A segment of another PID namespace is not attached (OSError), and its name is taken."""
    created = make(name)
    spoil(name, pid_namespace=1, creator_pid=2**22 + 7)
    with pytest.raises(OSError, match="another PID namespace"):
        WorkerStatus.attach(name)
    with pytest.raises(FileExistsError, match=name):
        make(name)
    assert created == IDLE


@named
def test_name_of_another_kind_of_file(name: str) -> None:
    """A name that stands for no memory at all is an OSError, and taken."""
    (SHM / name).mkdir()
    with pytest.raises(OSError, match=name):
        WorkerStatus.attach(name)
    with pytest.raises(FileExistsError, match=name):
        make(name)
    (SHM / name).rmdir()


@named
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
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
    assert not (SHM / name).exists()
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
    assert not (SHM / name).exists()
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
    gc.collect()
    owner.drain()
    assert (SHM / name).exists()
    assert WorkerStatus.attach(name) == second == CALCULATING


TAKES_OVER = """
def take(name, pipe):
    WorkerStatus.attach(name).unlink()
    second = WorkerStatus("CALCULATING", segment_name=name)
    pipe.send("taken")
    pipe.recv()
    assert os.path.exists("/dev/shm/" + name)

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
        WorkerStatus("IDLE")  # drains
        here.send("go")
        process.join()
        assert process.exitcode == 0
        assert not os.path.exists("/dev/shm/" + name)
    print("done")
"""


@pytest.mark.slow
@named
def test_name_taken_over_by_a_child(name: str, tmp_path: Path) -> None:
    """Parent and child, who share a resource tracker, own the same name in turn: no complaint."""
    done = run_script(HEAD + TAKES_OVER, name, folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


def test_unlink_of_a_value_without_a_name() -> None:
    """unlink() is for values that were given a name: others share their segment."""
    status = WorkerStatus(IDLE)
    with pytest.raises(ValueError, match="no segment of its own"):
        status.unlink()
    assert status.segment_name.startswith("intenum-")
    assert (SHM / status.segment_name).exists()
