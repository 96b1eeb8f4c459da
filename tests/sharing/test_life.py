"""Who answers for the names of segments, and who removes them: ends, kills, forks, strangers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumArray
from helpers.crew import child
from helpers.forks import Bystander, by_forks
from helpers.marks import named
from helpers.names import HEAD, make, own_name, run_alone, sweep
from helpers.support import (
    CALCULATING,
    DEADLINE,
    IDLE,
    SHM,
    UNAVAILABLE,
    WorkerStatus,
    WorkerStatusEnum,
    collect,
    environment,
    run_script,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

pytestmark = pytest.mark.skipif(not SHM.is_dir(), reason="no folder lists shared memory")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A segment name of this test alone; nothing of that name may be left."""
    with own_name(request.node.nodeid) as chosen:
        yield chosen


# -- ends


ENDS = """
from atomic_intenum import IntEnumArray

def create():
    global kept
    kept = [
        WorkerStatus("IDLE", segment_name=name),
        WorkerStatus("IDLE", segment_name=name + "-ok", exist_ok=True),
        WorkerStatus("IDLE"),
        IntEnumArray[WorkerStatusEnum](100, "IDLE"),
    ]
    found = set(os.listdir("/dev/shm"))
    assert found >= {each._atomic_segment.name for each in kept}, found
    print(*(each._atomic_segment.name for each in kept), flush=True)

if __name__ == "__main__":
    match sys.argv[2]:
        case "normally":
            create()
        case "by sys.exit":
            create()
            sys.exit()
        case "by an exception":
            create()
            raise SystemExit(0)
        case "in a child of os.fork":
            if os.fork() == 0:
                create()
                sys.exit()
            assert os.wait()[1] == 0
        case "in a child's child":
            if os.fork() == 0:
                if os.fork() == 0:
                    create()
                    sys.exit()
                assert os.wait()[1] == 0
                sys.exit()
            assert os.wait()[1] == 0
        case method:
            process = multiprocessing.get_context(method).Process(target=create)
            process.start()
            process.join()
            assert process.exitcode == 0
    if "kept" not in globals():
        print(*(each for each in os.listdir("/dev/shm") if name in each))
"""


@pytest.mark.slow
@named
@pytest.mark.parametrize(
    "how",
    [
        "normally",
        "by sys.exit",
        "by an exception",
        "in a child of os.fork",
        "in a child's child",
        "fork",
        "spawn",
        "forkserver",
    ],
)
def test_names_go_with_their_creator(how: str, name: str, tmp_path: Path) -> None:
    """What a process created is gone when it has ended, however it ends, and nothing is said."""
    done = run_script(HEAD + ENDS, name, how, folder=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    created, *left = done.stdout.splitlines()
    assert len(created.split()) == 4
    assert not any(left)
    assert not [each for each in created.split() if (SHM / each).exists()]


FORK_EXITS = """
status = WorkerStatus("IDLE", segment_name=name if sys.argv[2] == "named" else None)
kept = "intenum." + name if sys.argv[2] == "named" else status.segment_name
for leave in (sys.exit, os._exit):
    if os.fork() == 0:
        status.set("CALCULATING")
        leave(0)
    assert os.wait()[1] == 0
    print(status.exchange("IDLE").name, os.path.exists("/dev/shm/" + kept))
"""


@pytest.mark.slow
@named
@pytest.mark.parametrize("which", ["named", "nameless"])
def test_end_of_a_forks_child_leaves_the_parents(which: str, name: str, tmp_path: Path) -> None:
    """A child of os.fork that ends leaves what its parent created, and says nothing."""
    done = run_script(HEAD + FORK_EXITS, name, which, folder=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == "CALCULATING True\n" * 2


CHILD_LIVES = """
status = WorkerStatus("IDLE")
print(status.segment_name, flush=True)
if os.fork() == 0:
    sys.stdin.read()
    print(status.exchange("CALCULATING").name, os.path.exists("/dev/shm/" + status.segment_name))
    sys.stdout.flush()
    sys.exit()
"""


@pytest.mark.slow
@named
def test_parent_ends_before_its_child(tmp_path: Path) -> None:
    """A parent ends at once beside a living child of os.fork, which keeps what it inherited."""
    script = tmp_path / "script.py"
    script.write_text(HEAD + CHILD_LIVES)
    with subprocess.Popen(
        [sys.executable, str(script), "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    ) as process:
        assert process.stdout is not None
        segment = process.stdout.readline().strip()
        assert process.wait(DEADLINE) == 0  # the child waits for its input to end
        sweep()
        assert (SHM / segment).exists()
        assert process.communicate(timeout=DEADLINE) == ("IDLE True\n", "")
    assert not (SHM / segment).exists()


@named
@pytest.mark.parametrize("end", ["normal", "killed"])
def test_segment_goes_with_the_last_who_has_it(end: str) -> None:
    """Nameless memory that was pickled to others stays while one of them lives, and then goes."""

    def create(pipe: Connection) -> None:
        values = WorkerStatus(IDLE), IntEnumArray[WorkerStatusEnum](3, IDLE)
        pipe.send(values)
        pipe.recv()

    with child(create) as peer:
        values: Any = peer.says()
        names = [value.segment_name for value in values]
        if end == "killed":
            peer.kill()
        else:
            peer.tell()
    sweep()
    assert all((SHM / each).exists() for each in names)
    assert values[0].exchange(CALCULATING) is IDLE
    del values
    collect()
    assert not any((SHM / each).exists() for each in names)


# -- kills


KILLED = """
from atomic_intenum import IntEnumArray

def ours():
    return sorted(each for each in os.listdir("/dev/shm") if each.startswith("intenum"))

def killed():
    if os.fork() == 0:
        kept = [
            WorkerStatus("CALCULATING", segment_name=name),
            WorkerStatus("CALCULATING", segment_name=name + "-2", exist_ok=True),
            WorkerStatus("CALCULATING"),
            IntEnumArray[WorkerStatusEnum](9, "CALCULATING"),
        ]
        os.kill(os.getpid(), int(sys.argv[2]))
    os.wait()

killed()
assert len(ours()) == 4, ours()
until = time.monotonic() + 20
while ours() and time.monotonic() < until:  # a look ends after 0.3 ms, on a busy machine too
    if os.fork() == 0:
        WorkerStatus("IDLE", segment_name="first").unlink()
        os._exit(0)
    os.wait()
assert ours() == [], ours()

own = WorkerStatus("IDLE", segment_name="own")  # from here on it does not sweep
killed()
assert len(ours()) == 5, ours()
began = time.monotonic()
again = WorkerStatus("IDLE", segment_name=name)
both = WorkerStatus("IDLE", segment_name=name + "-2", exist_ok=True)
print(time.monotonic() - began, again.name, both.name, len(ours()))
"""


@pytest.mark.slow
@named
@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM"])
def test_killed_creators(end: str, tmp_path: Path) -> None:
    """What the killed leave is replaced at once by who wants the name, and swept by who begins."""
    done = run_alone(KILLED, "service", str(int(getattr(signal, end))), folder=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    waited, *names, there = done.stdout.split()
    assert float(waited) < 0.1
    assert names == ["IDLE", "IDLE"]
    assert there == "5"


END_SWEEPS = """
import signal

def ours():
    return sorted(each for each in os.listdir("/dev/shm") if each.startswith("intenum"))

reader, writer = os.pipe()
living = os.fork()
if living == 0:
    kept = WorkerStatus("IDLE", segment_name="living"), WorkerStatus("IDLE")
    os.write(writer, b"made")
    signal.pause()
assert os.read(reader, 4) == b"made"
theirs = ours()
assert len(theirs) == 2
for _ in range(20):  # the look at the end is over after 5 ms, on a busy machine too
    if os.fork() == 0:
        own = WorkerStatus("IDLE")  # from here on it sweeps at its end alone
        if os.fork() == 0:
            kept = WorkerStatus("IDLE", segment_name=name), WorkerStatus("IDLE")
            os.kill(os.getpid(), 9)
        os.wait()
        assert len(ours()) >= len(theirs) + 3, ours()
        sys.exit()
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    left = ours()
    assert set(left) >= set(theirs), left
    if left == theirs:
        break
print(left == theirs)
os.kill(living, 9)
"""


@pytest.mark.slow
@named
def test_end_sweeps(tmp_path: Path) -> None:
    """A process that ends removes what the killed have left, and nothing of those that live."""
    done = run_alone(END_SWEEPS, "service", folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


# -- forks, clones, and closed descriptors


@named
@pytest.mark.parametrize("exist_ok", [False, True])
@by_forks
def test_forks_child_does_not_answer_for_a_name(how: str, exist_ok: bool, name: str) -> None:
    """A name is free when its creator was killed, though a child that it forked lives."""
    with Bystander() as bystander:

        def create(pipe: Connection) -> None:
            created = make(name, UNAVAILABLE, exist_ok=exist_ok)
            bystander.live_in_a_child(how)
            pipe.send(created.name)
            pipe.recv()

        with child(create) as peer:
            assert peer.says() == "UNAVAILABLE"
            with pytest.raises(FileExistsError, match=name):
                make(name)
            peer.kill()
        assert bystander.is_alive()
        assert make(name) == IDLE
        assert bystander.is_alive()


@named
@by_forks
def test_forks_child_answers_for_what_has_no_name(how: str) -> None:
    """Nameless memory stays when its creator was killed and a child that it forked lives."""
    with Bystander() as bystander:

        def create(pipe: Connection) -> None:
            created = IntEnumArray[WorkerStatusEnum](3, IDLE)
            bystander.live_in_a_child(how)
            pipe.send(created.segment_name)
            pipe.recv()

        with child(create) as peer:
            segment = SHM / peer.says()
            peer.kill()
        for _ in range(5):
            sweep()
        assert bystander.is_alive()
        assert segment.exists()
    while segment.exists():  # a look may end before it, and the next begins elsewhere
        sweep()


@named
def test_daemon_that_closes_its_descriptors(name: str) -> None:
    """A process that closes all its descriptors answers for its names as before."""

    def become_a_daemon(pipe: Connection) -> None:
        kept = make(name), WorkerStatus(IDLE), IntEnumArray[WorkerStatusEnum](3, IDLE)
        os.closerange(0, pipe.fileno())
        os.closerange(pipe.fileno() + 1, 10_000)
        pipe.send([value._atomic_segment.name for value in kept])
        pipe.recv()
        kept[0].set(CALCULATING)
        del kept  # whose names go, though it ends without a word
        collect()
        pipe.send("dropped")
        pipe.recv()
        os._exit(0)

    with child(become_a_daemon) as peer:
        segments = [SHM / each for each in peer.says()]
        sweep()
        with pytest.raises(FileExistsError, match=name):
            make(name)
        status = WorkerStatus.attach(name)
        assert all(each.exists() for each in segments)
        peer.tell()
        assert peer.says() == "dropped"
        assert status == CALCULATING
        assert not segments[0].exists()
        assert not segments[2].exists()
        peer.tell()


DROPS = """
from atomic_intenum import IntEnumArray

def mapped():
    with open("/proc/self/maps") as maps:
        return sum("/dev/shm/intenum" in line for line in maps)

boards = [
    IntEnumArray[WorkerStatusEnum](1000, "IDLE"),
    IntEnumArray[WorkerStatusEnum](1000, "IDLE", segment_name=name),
]
kept = [board.at(0) for board in boards]
locks = [value.get_lock() for value in kept]
for held in (False, True):
    if held:
        for lock in locks:
            lock.acquire()
    if os.fork() == 0:
        before = mapped()
        del boards, kept, lock, locks
        collect()
        print(before >= 2, mapped(), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
print(mapped() >= 2, *(lock.acquire(block=False) for lock in locks))
"""


@pytest.mark.slow
@named
def test_forks_child_that_drops_everything(name: str, tmp_path: Path) -> None:
    """A child of fork that drops what it inherited has nothing mapped, held at the fork or not."""
    source = HEAD + "from helpers.support import collect\nlock = None\n" + DROPS
    done = run_script(source, name, folder=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == "True 0\nTrue 0\nTrue True True\n"
