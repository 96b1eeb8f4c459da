"""A native and a cffi process share one word: both bind the same core."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pickle
import secrets
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest

import atomic_intenum
from helpers.crew import PATIENCE, Bits, Status
from helpers.marks import needs_robust
from helpers.support import environment, run_script, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OTHER = "cffi" if atomic_intenum.BACKEND == "native" else "native"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.only_on("native", "cffi"),
    pytest.mark.skipif(
        importlib.util.find_spec(f"atomic_intenum._{OTHER}") is None
        or importlib.util.find_spec("_cffi_backend") is None,
        reason=f"{OTHER} is not here",
    ),
]

BOTH = """
import importlib, os, sys, threading
import atomic_intenum
from helpers.crew import Bits, Status

value = Status(Bits.LEFT, segment_name=sys.argv[2])
mine = value.get_lock()
for name in [name for name in sys.modules if name.split(".")[0] == "atomic_intenum"]:
    del sys.modules[name]
os.environ["ATOMIC_INTENUM_BACKEND"] = sys.argv[1]
other = importlib.import_module("atomic_intenum")
assert other.BACKEND == sys.argv[1] != atomic_intenum.BACKEND
theirs = other.IntEnumValue[Bits].attach(sys.argv[2]).get_lock()
for _ in range(3):  # what one has counted, the other takes away
    mine.acquire()
    theirs.acquire()
    mine.release()
    theirs.release()
held, done = threading.Event(), threading.Event()


def hold():
    with mine:
        held.set()
        done.wait()


holder = threading.Thread(target=hold)
holder.start()
held.wait()
for lock in mine, theirs:
    try:
        lock.release()
    except RuntimeError as error:
        print(error)
print(mine._is_zero())
done.set()
holder.join()
with theirs, mine:
    print("free")
"""

#: What the other process does first, and then ever: run the lines that it is sent.
PEER = """
import pickle, sys, time
import atomic_intenum
from helpers.crew import Bits, Status
assert atomic_intenum.BACKEND == sys.argv[1]
assert "atomic_intenum._" + sys.argv[2] not in sys.modules
by, how = sys.argv[3:]
status = Status.attach(how) if by == "name" else pickle.loads(bytes.fromhex(how))
lock = status.get_lock()
print("ready", flush=True)
for line in sys.stdin:
    exec(bytes.fromhex(line.strip()).decode())
    print("done", flush=True)
"""


class Peer:
    """A process on the other binding that runs what it is told."""

    def __init__(self, by: str, how: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PEER, OTHER, atomic_intenum.BACKEND, by, how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(ATOMIC_INTENUM_BACKEND=OTHER),
        )
        self.wait("ready")

    def begin(self, source: str) -> None:
        """Have it run the source; do not wait."""
        assert self.process.stdin is not None
        self.process.stdin.write(textwrap.dedent(source).encode().hex() + "\n")
        self.process.stdin.flush()

    def wait(self, word: str = "done") -> None:
        """Wait for it to say so."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == word + "\n"

    def run(self, source: str) -> None:
        """Have it run the source, which must end well."""
        self.begin(source)
        self.wait()

    def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        self.process.wait(PATIENCE)


@pytest.fixture(params=["name", "pickle"])
def status(request: pytest.FixtureRequest) -> Iterator[Status]:
    """A value; the parameter says how the other process gets it."""
    name = f"two-{os.getpid()}-{secrets.token_hex(4)}" if request.param == "name" else None
    value = Status(Bits.LEFT, segment_name=name)
    yield value
    value.close()


@pytest.fixture
def peer(request: pytest.FixtureRequest, status: Status) -> Iterator[Peer]:
    """The other process."""
    by = request.node.callspec.params["status"]
    other = Peer(by, status.segment_name if by == "name" else pickle.dumps(status).hex())
    yield other
    with contextlib.suppress(BrokenPipeError), other.process:
        other.process.kill()


def test_plain_writes_are_seen(status: Status, peer: Peer) -> None:
    """Each reads what the other wrote, as member, value, name and version."""
    peer.run(
        """
        assert (status.load(), status.version) == (Bits.LEFT, 0)
        assert status.compare_and_set(Bits.LEFT, Bits.LOWEST)
        assert not status.compare_and_set(Bits.LEFT, Bits.RIGHT)
        """
    )
    assert (status.load(), status.name, status.version) == (Bits.LOWEST, "LOWEST", 1)
    assert status.exchange(Bits.HIGHEST) is Bits.LOWEST
    peer.run(
        """
        assert (status.value, status.name, status.version) == (2**31 - 1, "HIGHEST", 2)
        assert status.exchange(Bits.RIGHT) is Bits.HIGHEST
        """
    )
    assert (status == Bits.RIGHT, status.version) == (True, 3)


def test_no_write_is_lost(status: Status, peer: Peer) -> None:
    """Both change the word at once, barely and under the lock: each write counts one version."""
    status.set(Bits.IDLE)
    steps = """
        for _ in range(2000):
            status.update(lambda seen: Bits.RIGHT if seen is Bits.LEFT else Bits.LEFT)
            with lock:
                version = status.version
                status.set(Bits.IDLE)
                assert (status.load(), status.version) == (Bits.IDLE, version + 1)
    """
    peer.begin(steps)
    exec(textwrap.dedent(steps), {"status": status, "lock": status.get_lock(), "Bits": Bits})
    peer.wait()
    assert status.version == 1 + 2 * 2 * 2000
    assert not status.abandoned


def test_lock_keeps_the_other_out(status: Status, peer: Peer) -> None:
    """While one is inside, the other can neither enter nor write; it reads, and then goes on."""
    lock: Any = status.get_lock()
    peer.run("assert lock.acquire() and lock.acquire()")
    assert not lock.acquire(block=False)
    assert not lock.acquire(timeout=0.05)
    assert (status.load(), lock._semlock._is_zero()) == (Bits.LEFT, True)
    assert not status.compare_and_set(Bits.RIGHT, Bits.LEFT)
    with pytest.raises(RuntimeError):
        lock.release()
    peer.begin("time.sleep(0.2); version = status.version; lock.release(); lock.release()")
    status.set(Bits.RIGHT)  # waits for the lock
    peer.wait()
    peer.run("assert version == 0")
    with lock:
        peer.run("assert not lock.acquire(block=False)")
        peer.begin("status.set(Bits.HIGHEST)")
        time.sleep(0.1)
        assert status.load() is Bits.RIGHT
    peer.wait()
    assert status.load() is Bits.HIGHEST
    assert not status.abandoned


@needs_robust
def test_killed_holder_passes_its_lock_on(status: Status, peer: Peer) -> None:
    """Killed inside, the other leaves a lock that is had at once, and abandoned tells, once."""
    peer.run("lock.acquire(); lock.acquire(); status.set(Bits.RIGHT)")
    lock = status.get_lock()
    assert not lock.acquire(block=False)
    peer.kill()
    assert lock.acquire(timeout=PATIENCE)
    assert (status.abandoned, status.load(), status.version) == (True, Bits.RIGHT, 1)
    status.set(Bits.LEFT)
    lock.release()
    with lock:
        assert not status.abandoned


@needs_robust
def test_writer_takes_over_from_a_killed_holder(status: Status, peer: Peer) -> None:
    """A write that takes no lock repairs too, and leaves the report to who acquires."""
    peer.run("lock.acquire()")
    peer.kill()
    status.set(Bits.RIGHT)
    assert (status.load(), status.version) == (Bits.RIGHT, 1)
    with status.get_lock():
        assert status.abandoned


@needs_robust
def test_the_other_takes_over(status: Status, peer: Peer) -> None:
    """A holder of this binding that is killed is abandoned to the other."""
    pid = os.fork()
    if pid == 0:
        status.get_lock().acquire()
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    peer.run(
        """
        status.set(Bits.HIGHEST)
        assert lock.acquire(timeout=10)
        assert status.abandoned
        lock.release()
        """
    )
    until(lambda: status.load() is Bits.HIGHEST, "the write is seen")


def test_both_in_one_process(tmp_path: Path) -> None:
    """Two copies of the core, each with its own memory of a thread, agree on who holds a lock."""
    done = run_script(BOTH, OTHER, f"both-{os.getpid()}", folder=tmp_path)
    refused = "release of a lock that this thread does not hold"
    assert (done.stdout.splitlines(), done.stderr) == ([refused, refused, "True", "free"], "")
