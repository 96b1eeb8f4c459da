"""Names between processes that nobody related, and names whose creators are gone."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumValue
from helpers.crew import Task, child
from helpers.inside import layout
from helpers.marks import named, needs_waitid
from helpers.names import HEAD, make, own_name, path_of, spoil
from helpers.support import (
    CALCULATING,
    DEADLINE,
    IDLE,
    SHM,
    UNAVAILABLE,
    JobEnum,
    WorkerStatus,
    environment,
    run_script,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection


pytestmark = pytest.mark.skipif(not SHM.is_dir(), reason="no folder lists shared memory")


# -- unrelated processes


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A segment name of this test alone; nothing of that name may be left."""
    with own_name(request.node.nodeid) as chosen:
        yield chosen


ATTACHES = """
own = WorkerStatus("IDLE")
try:
    IntEnumValue[JobEnum].attach(name)
except TypeError:
    print("TypeError")
try:
    WorkerStatus.attach(name + "x")
except FileNotFoundError:
    print("FileNotFoundError")
status = WorkerStatus.attach(name)
print(status.exchange("CALCULATING").name)
"""

FAILS = """
own = WorkerStatus("IDLE")
for cls, suffix in ((IntEnumValue[JobEnum], ""), (WorkerStatus, "x")):
    try:
        cls.attach(name + suffix)
    except (TypeError, FileNotFoundError) as error:
        print(type(error).__name__)
"""

CHILDREN = """
def work(status):
    assert status.exchange("CALCULATING") is WorkerStatusEnum.IDLE

if __name__ == "__main__":
    status = WorkerStatus.attach(name)
    for method in multiprocessing.get_all_start_methods():
        process = multiprocessing.get_context(method).Process(target=work, args=(status,))
        process.start()
        process.join()
        assert status.exchange("IDLE") is WorkerStatusEnum.CALCULATING, process.exitcode
    print("done")
"""


@pytest.mark.slow
@named
@pytest.mark.parametrize(
    ("body", "output", "left"),
    [
        (ATTACHES, "TypeError\nFileNotFoundError\nIDLE\n", CALCULATING),
        (FAILS, "TypeError\nFileNotFoundError\n", IDLE),
        (CHILDREN, "done\n", IDLE),
    ],
    ids=["attaches", "fails", "children"],
)
def test_stranger(body: str, output: str, left: Any, name: str, tmp_path: Path) -> None:
    """A process that nobody spawned attaches, fails to, or shares on; its end leaves all as is."""
    created = make(name)
    for _ in range(2):
        done = run_script(HEAD + body, name, folder=tmp_path)
        assert (done.stdout, done.stderr, done.returncode) == (output, "", 0)
        assert path_of(name).exists()
        assert created.exchange(IDLE) is left


@pytest.mark.slow
@named
def test_neither_end_warns(name: str, tmp_path: Path) -> None:
    """Creator and attacher end in silence, in either order, and the name is gone with the first."""
    source = (
        HEAD
        + """
status = WorkerStatus("IDLE", segment_name=name)
print("made", flush=True)
sys.stdin.read()
"""
    )
    script = tmp_path / "creator.py"
    script.write_text(source)
    for order in ("attacher first", "creator first"):
        with subprocess.Popen(
            [sys.executable, str(script), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
        ) as creator:
            assert creator.stdout is not None
            assert creator.stdin is not None
            assert creator.stdout.readline() == "made\n"
            if order == "attacher first":
                done = run_script(HEAD + ATTACHES, name, folder=tmp_path)
                assert (done.stderr, done.returncode) == ("", 0)
                status = None
            else:
                status = WorkerStatus.attach(name)
            assert path_of(name).exists()
            assert creator.communicate(timeout=DEADLINE) == ("", "")
            assert creator.returncode == 0
        assert not path_of(name).exists()
        if status is not None:
            status.set(CALCULATING)
            assert status == CALCULATING


# -- creators that are gone

#: What a segment begins with while its creator fills it.
UNFINISHED = (layout.MAGIC - 1).to_bytes(8, sys.byteorder) + b"\1" * 1000


def dies_owning(name: str) -> WorkerStatus:
    """Have a creator of that name killed by -9; return its value, attached before.

    Whatever process makes its first value after that may sweep the name.
    """

    def create(pipe: Connection) -> None:
        created = make(name, UNAVAILABLE)
        pipe.send(created.segment_name)
        pipe.recv()

    with child(create) as peer:
        assert peer.says() == name
        old = WorkerStatus.attach(name)
        peer.kill()
    return old


@named
def test_name_of_a_killed_creator(name: str) -> None:
    """A name whose creator was killed is had at once by who wants it, fresh; old users stay."""
    old = dies_owning(name)
    new = make(name)
    assert (new.load(), new.version) == (IDLE, 0)
    old.set(CALCULATING)
    assert (old.load(), new.load()) == (CALCULATING, IDLE)
    assert WorkerStatus.attach(name) == new
    old.unlink()  # which is not the name's any more
    assert path_of(name).exists()


@named
def test_name_of_a_killed_creator_by_another_enum(name: str) -> None:
    """What a dead creator left is replaced whatever enum it held."""
    dies_owning(name)
    assert IntEnumValue[JobEnum]("DONE", segment_name=name) == JobEnum.DONE


@named
def test_user_of_a_dead_ones_value(name: str) -> None:
    """Who has a value goes on with it when its creator was killed, its lock included."""
    status = dies_owning(name)
    with status.get_lock():
        status.set(CALCULATING)
    assert (status.load(), status.abandoned) == (CALCULATING, False)
    status.unlink()
    assert not path_of(name).exists()


RESTARTED = """
status = WorkerStatus(sys.argv[2], segment_name=name)
print(status.name, flush=True)
sys.stdin.read()
"""


@named
def test_restarted_service(name: str, tmp_path: Path) -> None:
    """A service that is killed and started again gets its name back, and keeps it."""
    script = tmp_path / "service.py"
    script.write_text(HEAD + RESTARTED)

    def start(member: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(script), name, member],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
        )

    with start("IDLE") as first:
        assert first.stdout is not None
        assert first.stderr is not None
        assert first.stdout.readline() == "IDLE\n"
        os.kill(first.pid, signal.SIGKILL)
        with start("CALCULATING") as second:  # at once
            assert second.stdout is not None
            assert second.stdout.readline() == "CALCULATING\n"
            assert first.stderr.read() == ""
            assert WorkerStatus.attach(name) == CALCULATING
            assert second.communicate(timeout=DEADLINE) == ("", "")
            assert second.returncode == 0
    assert not path_of(name).exists()


EXECS = """
if len(sys.argv) == 3:
    status = WorkerStatus("IDLE", segment_name=name)
    os.execv(sys.executable, [sys.executable, sys.argv[0], name])
status = WorkerStatus("CALCULATING", segment_name=name)
print(status.name)
"""


@pytest.mark.slow
@named
def test_program_that_executes_itself(name: str, tmp_path: Path) -> None:
    """A program that restarts itself by exec gets its name back, in silence."""
    done = run_script(HEAD + EXECS, name, "first", folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("CALCULATING\n", "", 0)
    assert not path_of(name).exists()


@named
@needs_waitid
def test_name_of_a_zombie(name: str) -> None:
    """A creator that has ended and was not waited for is gone as well."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            make(name)
            kept = make(f"{name}k")
            os.write(writer, b"made" if kept == IDLE else b"lost")
        finally:
            os._exit(0)
    assert os.read(reader, 4) == b"made"
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        os.kill(pid, 0)  # there is such a process still
        assert make(name) == make(f"{name}k") == IDLE
    finally:
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)


@named
def test_pid_that_is_used_again(name: str) -> None:
    """What a dead creator left is gone though a live process has its pid, and its start time."""

    def wait(pipe: Connection) -> None:
        pipe.recv()

    def create(pipe: Connection) -> None:
        created = make(name, UNAVAILABLE)
        spoil(name, creator_pid=stranger.pid, creator_start=ticks)
        pipe.send(created.name)
        pipe.recv()

    with child(wait) as stranger:
        ticks = int(Path(f"/proc/{stranger.pid}/stat").read_text().rpartition(")")[2].split()[19])
        with child(create) as peer:
            assert peer.says() == "UNAVAILABLE"
            with pytest.raises(FileExistsError, match=f"process {stranger.pid}"):
                make(name)
            peer.kill()
        assert make(name) == IDLE
        stranger.tell()


@named
@pytest.mark.parametrize("content", [b"", bytes(8), bytes(128), bytes(4096), UNFINISHED])
def test_half_made_by_the_dead(content: bytes, name: str) -> None:
    """What a creator left that was killed before its segment was complete is replaced too."""
    path_of(name).write_bytes(content)
    assert make(name) == IDLE


@pytest.mark.slow
@named
@pytest.mark.parametrize("racers", [2, 6])
def test_racers_for_a_dead_creators_name(racers: int, name: str) -> None:
    """Of processes that want a dead creator's name at once exactly one gets it, and keeps it."""
    dies_owning(name)
    start = multiprocessing.get_context("fork").Barrier(racers)

    def race(pipe: Connection) -> None:
        start.wait(DEADLINE)
        try:
            won: Any = make(name, CALCULATING)
        except FileExistsError:
            won = None
        pipe.send(won is not None)
        pipe.recv()
        pipe.send(won is None or (won.value, won.version) == (3, 0))

    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(child(race)) for _ in range(racers)]
        assert sorted(peer.says() for peer in peers) == [False] * (racers - 1) + [True]
        assert WorkerStatus.attach(name) == CALCULATING
        for peer in peers:
            peer.tell()
            assert peer.says()
    assert not path_of(name).exists()


@named
def test_threads_want_one_name(name: str) -> None:
    """Of threads that create one name at once exactly one succeeds."""
    start = threading.Barrier(4)

    def create() -> Any:
        start.wait(DEADLINE)
        try:
            return make(name)
        except FileExistsError:
            return None

    results = [task.result() for task in [Task(create) for _ in range(4)]]
    assert sum(result is not None for result in results) == 1
