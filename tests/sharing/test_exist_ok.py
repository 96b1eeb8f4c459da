"""Names that are created or attached to, whatever comes first: exist_ok=True."""

from __future__ import annotations

import contextlib
import multiprocessing
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumArray, IntEnumValue
from helpers.boards import Board
from helpers.crew import child
from helpers.marks import named, unnamed
from helpers.names import HEAD, make, own_name, path_of
from helpers.support import (
    CALCULATING,
    DEADLINE,
    IDLE,
    SHM,
    UNAVAILABLE,
    JobEnum,
    WorkerStatus,
    WorkerStatusEnum,
    collect,
    collect_unless_counted,
    make_enum,
    run_script,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from helpers.crew import Peer

pytestmark = pytest.mark.skipif(not SHM.is_dir(), reason="no folder lists shared memory")

Jobs = IntEnumArray[JobEnum]

RING: Any = make_enum("RING", {f"N{i}": i for i in range(97)})


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A segment name of this test alone; nothing of that name may be left."""
    with own_name(request.node.nodeid) as chosen:
        yield chosen


def share(pipe: Connection, name: str, member: WorkerStatusEnum) -> None:
    """Get a value by exist_ok, say what it is, and set it to what comes; None ends."""
    status = make(name, member, exist_ok=True)
    pipe.send(status.load())
    while (told := pipe.recv()) is not None:
        status.set(told)
        pipe.send(status.version)


def attach(pipe: Connection, name: str) -> None:
    """Attach, say so, and stay until told."""
    pipe.send(WorkerStatus.attach(name, timeout=DEADLINE).load())
    pipe.recv()


def end(peer: Peer, how: str) -> None:
    """End a peer, and wait for that."""
    if how == "killed":
        peer.kill()
    else:
        peer.tell()
        peer.process.join(DEADLINE)
        assert peer.process.exitcode == 0


@named
def test_first_creates_and_others_attach(name: str) -> None:
    """Who comes first creates the value; who comes later gets it as it is by then."""
    with child(share, name, IDLE) as first, child(share, name, UNAVAILABLE) as second:
        assert first.says() in (IDLE, UNAVAILABLE)
        assert second.says() in (IDLE, UNAVAILABLE)
        first.tell(CALCULATING)
        assert first.says() == 1
        mine = make(name, exist_ok=True)
        assert (mine.load(), mine.version) == (CALCULATING, 1)
        second.tell(UNAVAILABLE)
        assert second.says() == 2
        assert mine.load() is UNAVAILABLE
        with pytest.raises(FileExistsError, match=name):
            make(name)
        for peer in first, second:
            peer.tell()


@named
@pytest.mark.parametrize("how", ["normal", "killed"])
def test_name_stays_with_the_others(how: str, name: str) -> None:
    """The creator's end leaves name and value while others have got it so; the last removes it."""
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(child(share, name, IDLE)) for _ in range(3)]
        for peer in peers:
            assert peer.says() is IDLE
        inode = path_of(name).stat().st_ino
        peers[0].tell(CALCULATING)
        assert peers[0].says() == 1
        for peer in peers[:-1]:
            end(peer, how)
            assert path_of(name).stat().st_ino == inode
            with child(share, name, IDLE) as again:  # as a worker that is replaced
                assert again.says() is CALCULATING
                again.tell()
        end(peers[-1], "normal")
        assert not path_of(name).exists()


@named
def test_attaching_does_not_keep_the_name(name: str) -> None:
    """Who has only attached does not answer for the name: it goes with those of exist_ok."""
    with child(share, name, IDLE) as first, child(attach, name) as second:
        assert first.says() is IDLE
        assert second.says() is IDLE
        end(first, "normal")
        assert not path_of(name).exists()
        second.tell()


@named
def test_creator_without_exist_ok(name: str) -> None:
    """What was created without exist_ok is shared by it all the same, and stays with who has it."""
    created = make(name, CALCULATING)
    with child(share, name, IDLE) as peer:
        assert peer.says() is CALCULATING
        del created
        collect()
        assert path_of(name).exists()
        with pytest.raises(FileExistsError, match=name):
            make(name)
        assert make(name, exist_ok=True) == CALCULATING
        collect_unless_counted()
        peer.tell()
    assert not path_of(name).exists()


@named
def test_what_the_dead_left_is_replaced(name: str) -> None:
    """Where nobody is left who answers for it, a name is created anew, whatever was there."""
    with child(share, name, CALCULATING) as peer:
        assert peer.says() is CALCULATING
        old = WorkerStatus.attach(name)
        peer.kill()
    new = make(name, IDLE, exist_ok=True)
    assert (new.load(), old.load()) == (IDLE, CALCULATING)
    with child(share, name, UNAVAILABLE) as peer:
        assert peer.says() is IDLE
        peer.tell()
    new.unlink()
    array = IntEnumArray[JobEnum](7, JobEnum.DONE, segment_name=name, exist_ok=True)
    assert array[:] == [JobEnum.DONE] * 7


@named
def test_after_unlink(name: str) -> None:
    """After unlink() the name is created anew, and both values go on."""
    old = make(name, CALCULATING, exist_ok=True)
    old.unlink()
    new = make(name, IDLE, exist_ok=True)
    assert (old.load(), new.load()) == (CALCULATING, IDLE)
    old.unlink()  # which is not the name's any more
    assert make(name, UNAVAILABLE, exist_ok=True) == IDLE


@named
def test_twice_in_a_process(name: str) -> None:
    """A process that comes twice has one value, until it has dropped both."""
    first = make(name, CALCULATING, exist_ok=True)
    second = make(name, IDLE, exist_ok=True)
    assert second.load() is CALCULATING
    assert second is not first
    del first
    collect()
    assert path_of(name).exists()
    second.set(UNAVAILABLE)
    assert WorkerStatus.attach(name) == UNAVAILABLE
    second.close()
    del second
    collect()
    assert not path_of(name).exists()


@named
def test_child_of_fork_answers_by_itself(name: str) -> None:
    """A child of fork does not answer for what its parent got; by exist_ok it does."""
    kept: list[Any] = [make(name, CALCULATING, exist_ok=True)]
    with child(attach, name) as bystander, child(share, name, IDLE) as peer:
        assert bystander.says() is CALCULATING
        assert peer.says() is CALCULATING
        kept.clear()
        collect()
        assert path_of(name).exists()
        end(peer, "normal")
        assert not path_of(name).exists()
        bystander.tell()


@named
@pytest.mark.parametrize(
    ("create", "error"),
    [
        (lambda name: IntEnumValue[JobEnum]("DONE", segment_name=name, exist_ok=True), TypeError),
        (lambda name: make(name, exist_ok=True), ValueError),
        (lambda name: Board(4, IDLE, segment_name=name, exist_ok=True), ValueError),
        (lambda name: Board(6, IDLE, segment_name=name, exist_ok=True), ValueError),
        (
            lambda name: IntEnumArray[JobEnum](5, "DONE", segment_name=name, exist_ok=True),
            TypeError,
        ),
    ],
)
def test_something_else_exists(create: Any, error: type[Exception], name: str) -> None:
    """What exists with another enum or size is refused, and who was refused does not keep it."""

    def hold(pipe: Connection) -> None:
        board = Board(5, CALCULATING, segment_name=name, exist_ok=True)
        pipe.send(board[:])
        pipe.recv()
        pipe.send(board[:])

    with child(hold) as holder:
        assert holder.says() == [CALCULATING] * 5
        with pytest.raises(error, match=name):
            create(name)
        collect_unless_counted()
        holder.tell()
        assert holder.says() == [CALCULATING] * 5
    assert not path_of(name).exists()
    created = create(name)
    assert created.segment_name == name


@named
def test_array(name: str) -> None:
    """Arrays are shared by exist_ok as values are."""
    first = Board(5, CALCULATING, segment_name=name, exist_ok=True)
    second = Board(5, IDLE, segment_name=name, exist_ok=True)
    second[3] = UNAVAILABLE
    assert first[:] == [CALCULATING] * 3 + [UNAVAILABLE, CALCULATING]


@pytest.mark.parametrize("make_one", [WorkerStatus, lambda member, **how: Board(3, member, **how)])
def test_without_a_name(make_one: Any) -> None:
    """exist_ok without segment_name is a TypeError: nothing can exist already."""
    with pytest.raises(TypeError, match="exist_ok= goes with segment_name="):
        make_one(IDLE, exist_ok=True)


@unnamed
def test_on_the_lock_path(name: str) -> None:
    """On the lock-based path there are no names, and so nothing exists."""
    with pytest.raises(RuntimeError, match="inheritance"):
        make(name, exist_ok=True)


@named
@pytest.mark.slow
@pytest.mark.parametrize("left", ["nothing", "a dead one's", "a living one's"])
def test_racers(left: str, name: str) -> None:
    """However many come at once, they all share one value, and lose none of its writes."""
    racers, steps = 5, 200
    kept: Any = None
    if left == "a dead one's":
        with child(share, name, IDLE) as peer:
            assert peer.says() is IDLE
            peer.kill()
    if left == "a living one's":
        kept = IntEnumValue[RING](RING(0), segment_name=name)
    start = multiprocessing.get_context("fork").Barrier(racers)

    def race(pipe: Connection) -> None:
        start.wait(DEADLINE)
        value = IntEnumValue[RING](RING(0), segment_name=name, exist_ok=True)
        for _ in range(steps):
            value.update(lambda member: RING((member + 1) % 97))
        start.wait(DEADLINE)
        pipe.send((value.value, value.version, path_of(name).stat().st_ino))
        pipe.recv()

    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(child(race)) for _ in range(racers)]
        said = {peer.says() for peer in peers}
        assert len(said) == 1
        assert said.pop()[:2] == (racers * steps % 97, racers * steps)
        for peer in peers:
            peer.tell()
    assert path_of(name).exists() == (kept is not None)


RELOADED = """
import importlib, pathlib
folder = pathlib.Path(__file__).parent
folder.joinpath("settings.py").write_text(
    "from helpers.support import IDLE, WorkerStatus\\n"
    f"status = WorkerStatus(IDLE, segment_name={name!r}, exist_ok=True)\\n"
)
sys.path.insert(0, str(folder))
import settings

settings.status.set("CALCULATING")
workers = []
for _ in range(2):
    if os.fork() == 0:
        importlib.reload(settings)
        print(settings.status.name, flush=True)
        sys.exit()
    os.wait()
for _ in range(2):
    importlib.reload(settings)
    print(settings.status.name, flush=True)
"""


@named
@pytest.mark.slow
def test_module_that_is_read_again(name: str, tmp_path: Path) -> None:
    """A module that creates a value so can be read again, in its process and in forked workers."""
    done = run_script(HEAD + RELOADED, name, folder=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == "CALCULATING\n" * 4
    assert not path_of(name).exists()
