"""Arrays in several processes: inherited, pickled, attached by name, and what is left of them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumArray, IntEnumValue
from helpers import boards
from helpers.boards import KINDS, SHAPES, Board, Wide, check_kind
from helpers.crew import Bits, child
from helpers.inside import as_elsewhere, layout
from helpers.marks import named
from helpers.names import own_name, path_of, planted
from helpers.support import (
    CALCULATING,
    COUNTS_REFERENCES,
    DEADLINE,
    IDLE,
    METHODS,
    SHM,
    UNAVAILABLE,
    JobEnum,
    WorkerStatus,
    WorkerStatusEnum,
    collect,
    collect_unless_counted,
    default_method,
    environment,
    fork,
    make_enum,
    own_segments,
    private_shm,
    run,
    run_script,
    segment_of,
    spoil,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

pytestmark = pytest.mark.skipif(not SHM.is_dir(), reason="no folder lists shared memory")

by_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


# -- by inheritance


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A segment name of this test alone; nothing of that name may be left."""
    with own_name(request.node.nodeid) as chosen:
        yield chosen


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> Iterator[str]:
    """A start method: the default one meanwhile."""
    with default_method(request.param):
        yield request.param


@pytest.mark.slow
def test_arguments_of_a_process(method: str) -> None:
    """Arrays of every kind go to a child of every start method, and are shared."""
    arrays = {kind: make() for kind, make in KINDS.items()}
    before = len(boards.calls)
    run(method, boards.take_all, arrays)
    boards.check_taken(arrays.values())
    assert len(boards.calls) == before


@pytest.mark.slow
def test_with_a_value_of_it(method: str) -> None:
    """An array and a value of one of its words arrive as what they are, with one lock."""
    array = Board(3, IDLE)
    run(method, boards.same_lock, array, array.at(1))
    assert array[1] is CALCULATING


def test_plain_fork() -> None:
    """A child of os.fork shares the array, and removes nothing as it ends."""
    array = Board(3, IDLE)

    def body() -> None:
        assert array.claim(IDLE, CALCULATING) == 0
        own = Board(2, UNAVAILABLE)
        assert own._atomic_segment is not array._atomic_segment
        own.unlink()

    before = own_segments()
    assert wait_for(fork(body)) == 0
    assert array[:] == [CALCULATING, IDLE, IDLE]
    # A collector may take older ones meanwhile.
    assert segment_of(array) in own_segments() <= before


# -- by pickle


@named
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(kind: str, protocol: int) -> None:
    """What is unpickled is the same shared array, of the same class, with its attributes."""
    array = KINDS[kind]()
    before = len(boards.calls)
    twin = pickle.loads(pickle.dumps(array, protocol))
    assert len(boards.calls) == before
    check_kind(kind, twin)
    twin[3] = CALCULATING
    assert array[3] is CALCULATING


@pytest.mark.only_on("lock")
def test_pickle_is_refused() -> None:
    """On the lock-based path an array cannot be pickled but as a process starts."""
    array = Board(3, IDLE)
    for what in (array, array.at(0)):
        with pytest.raises(RuntimeError, match="inheritance"):
            pickle.dumps(what)


@pytest.mark.slow
@named
def test_queue(method: str) -> None:
    """Arrays go through queues, there and back."""
    context: Any = multiprocessing.get_context(method)
    there, back = context.Queue(), context.Queue()
    process = context.Process(target=boards.answer_queue, args=(there, back))
    process.start()
    arrays = [Board(4, IDLE), Board(4, IDLE, padded=True)]
    for array in arrays:
        there.put(array)
        returned = back.get(timeout=DEADLINE)
        assert returned[:] == array[:] == [CALCULATING, IDLE, IDLE, IDLE]
        returned[0] = UNAVAILABLE
        assert array[0] is UNAVAILABLE
    there.put(None)
    process.join(DEADLINE)
    assert process.exitcode == 0


@named
def test_made_by_a_child() -> None:
    """A parent may use its child's array, as long as that lives."""
    with child(boards.create_and_send) as peer:
        array = peer.says()
        assert array.claim(IDLE, CALCULATING) == 0
        peer.tell("claimed")
    assert array[:] == [CALCULATING, IDLE, IDLE]  # who has it keeps it


@named
def test_pickle_of_one_that_is_gone() -> None:
    """Unpickling an array whose name was removed is a FileNotFoundError."""
    array = Board(2, IDLE)
    text = pickle.dumps(array)
    array.unlink()
    array.unlink()
    with as_elsewhere(), pytest.raises(FileNotFoundError, match=array.segment_name):
        pickle.loads(text)
    assert array[:] == [IDLE, IDLE]


# -- by name


@named
@by_shape
@pytest.mark.parametrize("size", [1, 7, 9000])
def test_attach(size: int, shape: dict[str, Any], name: str) -> None:
    """Who attaches gets the same words, as many and as far apart as they were made."""
    array = Board(size, IDLE, segment_name=name, **shape)
    assert array.segment_name == name
    with as_elsewhere():
        twin = Board.attach(name)
    assert type(twin) is Board
    assert len(twin) == size
    assert twin._atomic_segment.header.word_stride == (64 if shape else 8)
    twin[-1] = CALCULATING
    array[0] = UNAVAILABLE
    assert array.snapshot() == twin.snapshot()
    assert array[-1] is (CALCULATING if size > 1 else UNAVAILABLE)
    with twin.at(0).get_lock():
        assert wait_for(fork(lambda: refuses_lock(array))) == 0
    third = IntEnumArray[WorkerStatusEnum].attach(name)
    assert third.counts() == array.counts()


def refuses_lock(array: Board) -> None:
    """Check that somebody holds the lock of the first word."""
    assert not array.at(0).get_lock().acquire(block=False)


@named
def test_attach_what_is_not_there(name: str) -> None:
    """A missing name is a FileNotFoundError, one that is not allowed a ValueError."""
    with pytest.raises(FileNotFoundError, match=name):
        Board.attach(name)
    for wrong in ("", ".", "..", "a/b", "x" * 23, "ä"):
        with pytest.raises(ValueError, match="segment name"):
            Board.attach(wrong)
        with pytest.raises(ValueError, match="segment name"):
            Board(2, IDLE, segment_name=wrong)
    with pytest.raises(TypeError, match="segment name"):
        Board(2, IDLE, segment_name=3)  # type: ignore[arg-type]


@named
def test_attach_another_enum(name: str) -> None:
    """A segment of another enum, or of one with other members, is a TypeError."""
    array = Board(2, IDLE, segment_name=name)
    altered = make_enum("WorkerStatusEnum", {"UNAVAILABLE": 1, "IDLE": 2, "CALCULATING": 4})
    base: Any = IntEnumArray
    for enum in (JobEnum, Bits, altered):
        with pytest.raises(TypeError, match=name):
            base[enum].attach(name)
    for unbound in (base, boards.PlainBoard):
        with pytest.raises(TypeError, match="no enum"):
            unbound.attach(name)
    assert array[:] == [IDLE, IDLE]


@named
def test_values_and_arrays_do_not_mix(name: str) -> None:
    """A value's segment is no array's, nor the other way round: ValueError."""
    value = WorkerStatus(IDLE, segment_name=name)
    with pytest.raises(ValueError, match="array"):
        Board.attach(name)
    value.unlink()
    array = Board(1, IDLE, segment_name=name)
    for cls in (WorkerStatus, IntEnumValue[WorkerStatusEnum]):
        with pytest.raises(ValueError, match=name):
            cls.attach(name)
    assert value == array[0]
    array.unlink()


@named
def test_name_is_taken(name: str) -> None:
    """A name that is there is a FileExistsError, for arrays and values alike; it stays."""
    array = Board(2, IDLE, segment_name=name)
    with pytest.raises(FileExistsError):
        Board(3, IDLE, segment_name=name)
    with pytest.raises(FileExistsError):
        WorkerStatus(IDLE, segment_name=name)
    assert Board.attach(name)[:] == array[:] == [IDLE, IDLE]


@named
def test_name_again(name: str) -> None:
    """A name is free again when its array is unlinked, or gone."""
    old = Board(2, IDLE, segment_name=name)
    old.unlink()
    assert not path_of(name).exists()
    new = Board(3, CALCULATING, segment_name=name)
    old.unlink()  # which is not the name's any more
    assert Board.attach(name)[:] == new[:] == [CALCULATING] * 3
    assert old[:] == [IDLE, IDLE]
    pickle.dumps(new)  # it would linger
    del new
    collect()
    assert len(Board(4, IDLE, segment_name=name)) == 4


def create_and_stay(pipe: Connection, name: str) -> None:
    """Create an array of that name, tell, and stay."""
    array = Board(3, CALCULATING, segment_name=name)
    pipe.send(array[:])
    pipe.recv()


@pytest.mark.slow
@named
def test_name_of_a_killed_creator(name: str) -> None:
    """A killed creator that starts again gets its name, with another size; old users stay."""
    with child(create_and_stay, name) as peer:
        peer.says()
        old = Board.attach(name)
        with pytest.raises(FileExistsError):
            Board(5, IDLE, segment_name=name)
        peer.kill()
    new = Board(5, IDLE, segment_name=name)
    assert (len(old), len(new), len(Board.attach(name))) == (3, 5, 5)
    old[0] = UNAVAILABLE
    assert new[:] == [IDLE] * 5


STRANGER = """
import sys
from helpers.boards import Board
from helpers.support import CALCULATING, IDLE

board = Board.attach(sys.argv[1])
print(len(board), board.count("IDLE"), flush=True)
while board.claim(IDLE, CALCULATING) is not None:
    pass
with board.at(3).get_lock():
    board[3] = "UNAVAILABLE"
"""


@pytest.mark.slow
@named
def test_stranger(name: str, tmp_path: Path) -> None:
    """A program that nobody spawned attaches by name, works, and ends in silence."""
    array = Board(2000, IDLE, segment_name=name)
    done = run_script(STRANGER, name, folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2000 2000\n", "")
    assert array.counts() == {UNAVAILABLE: 1, IDLE: 0, CALCULATING: 1999}
    assert path_of(name).exists()


# -- what is left


LEAVES_NOTHING = """
import copy, gc, multiprocessing, os, pickle, sys, threading
from helpers.boards import Board, Wide
from helpers.crew import Bits
from helpers.support import IDLE, CALCULATING, run

def work(board, value):
    assert board.claim(IDLE, CALCULATING) == 0
    value.set(CALCULATING)
    own = Board(9, IDLE)

if __name__ == "__main__":
    lock = sys.argv[1] == "lock"
    multiprocessing.set_start_method("spawn")  # a lock of fork's goes to no other children
    board = Board(1000, IDLE) if lock else Board(1000, IDLE, segment_name=f"left{os.getpid()}")
    value = board.at(7)
    for method in ("fork", "spawn"):
        run(method, work, board, value)
        board.fill(IDLE)
    if not lock:
        assert pickle.loads(pickle.dumps(board))[7] is IDLE
    viewed = Board(3, IDLE)
    kept = [copy.copy(board), memoryview(viewed) if sys.version_info >= (3, 12) else 0]
    cycle = [Board(3, IDLE)]
    cycle.append(cycle)
    threading.Thread(target=board.wait_any, args=(CALCULATING,), daemon=True).start()
    for each in board, viewed, cycle[0]:
        print("" if lock else f"/dev/shm/{each._atomic_segment.name}")
"""


@pytest.mark.slow
def test_nothing_is_left(backend: str, tmp_path: Path) -> None:
    """A program that shared arrays in many ways leaves no segment, and nothing on stderr."""
    done = run_script(LEAVES_NOTHING, backend, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    names = done.stdout.split()
    assert len(names) == (0 if backend == "lock" else 3)
    assert not [name for name in names if Path(name).exists()]


@pytest.mark.slow
def test_arrays_that_come_and_go() -> None:
    """Arrays that are dropped leave neither names nor mappings nor descriptors."""
    keeper = Board(1, IDLE)
    collect()
    before, descriptors = own_segments(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for number in range(200 if COUNTS_REFERENCES else 20):
        array = Board(100, IDLE, padded=number % 2 == 0)
        array.fill(CALCULATING)
        value = array.at(5)
        if number % 3 == 0:
            array.close()
        assert value.load() is CALCULATING
        del array, value
        collect_unless_counted()
        assert own_segments() <= before
    assert len(os.listdir("/proc/self/fd")) <= descriptors  # noqa: PTH208
    assert keeper[0] is IDLE


@named
def test_dropped_room_is_used_again() -> None:
    """An array that is dropped makes room for the next, before that is refused for want of it."""
    for _ in range(3):
        names = []
        for _ in range(5):
            names.append(Board(10_000, IDLE).segment_name)
            collect_unless_counted()
        assert len(set(names)) == 5
        assert not own_segments() & set(names)


# -- corrupt headers


@pytest.mark.slow
@named
@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("layout_version", 1),
        ("protocol", 2),
        ("capacity", 0),
        ("capacity", 101),
        ("capacity", 2**32),
        ("capacity", 2**61 + 100),
        ("capacity", 2**64 - 1),
        ("word_stride", 0),
        ("word_stride", 4),
        ("word_stride", 9),
        ("word_stride", 16),
        ("word_stride", 2**32 - 8),
        ("control_offset", 0),
        ("control_offset", 192),
        ("control_offset", 2**63),
        ("control_offset", 2**64 - 64),
        ("control_stride", 0),
        ("control_stride", 32),
        ("control_stride", 128),
        ("header_size", 0),
        ("header_size", 200),
        ("header_size", 2**32 - 64),
        ("vocabulary_size", 2**32 - 1),
        ("kind", layout.KIND_POOL),
        ("kind", layout.KIND_VALUE),
        ("kind", 77),
        ("mutex_size", 1),
        ("libc", 9),
    ],
)
def test_corrupt_header(field: str, wrong: int, name: str) -> None:
    """An array's header that does not fit is a ValueError, and the segment stays."""
    array = Board(100, IDLE, segment_name=name)
    spoil(path_of(name), **{field: wrong})
    with as_elsewhere(), pytest.raises(ValueError, match=name):
        Board.attach(name)
    assert path_of(name).exists()
    assert array.count(IDLE) == 100  # its header was read once


@named
def test_smaller_capacity(name: str) -> None:
    """A header that says less than there is describes a smaller array, inside its segment."""
    array = Board(100, IDLE, segment_name=name)
    spoil(path_of(name), capacity=7)
    with as_elsewhere():
        twin = Board.attach(name)
    assert len(twin) == 7
    twin.fill(CALCULATING)
    assert array.counts()[CALCULATING] == 7


@pytest.mark.slow
@named
@pytest.mark.parametrize("size", [0, 8, 191, 192, 320, 1000, 7000])
def test_truncated(size: int, name: str) -> None:
    """A segment that is shorter than its header says is a ValueError."""
    array = Wide(100, Bits.LEFT, segment_name=name)
    content = path_of(name).read_bytes()
    assert size < len(content)
    other = f"cut{os.getpid()}"
    with planted(path_of(other), content[:size]):
        with pytest.raises(ValueError, match=other):
            Wide.attach(other)
        path_of(other).unlink()
    assert array[0] is Bits.LEFT


FULL = """
import errno, os
from helpers.boards import Board
from helpers.support import IDLE
kept = Board(1000, IDLE)
for size in (20_000, 10**6, 10**12):
    try:
        Board(size, IDLE)
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
    else:
        raise AssertionError(size)
left = [name for name in os.listdir("/dev/shm") if not name.startswith("sem.")]
assert left == [kept.segment_name], left
for _ in range(20):  # each two thirds of what there is
    Board(9000, IDLE)
kept.fill("CALCULATING")
print("done")
"""


@named
@pytest.mark.slow
def test_full_shared_memory(tmp_path: Path) -> None:
    """On a small /dev/shm what has no room is ENOSPC, and dropped arrays make room."""
    prefix = private_shm("1m")
    if not prefix:
        pytest.skip("no mount namespace here: it takes root")
    script = tmp_path / "full.py"
    script.write_text(FULL)
    done = subprocess.run(
        [*prefix, sys.executable, script],
        capture_output=True,
        text=True,
        timeout=DEADLINE * 2,
        check=False,
        env=environment(),
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
