"""Another process with segments, for those who look at them; it does what it is told.

    PYTHONPATH=tests python tests/helpers/service.py PREFIX WORDS

It has a value PREFIX-s, a board PREFIX-b of ten words with owners, and PREFIX-m of many words.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import signal
import struct
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import atomic_intenum
from atomic_intenum import IntEnumArray
from helpers.elsewhere import Elsewhere, serve
from helpers.support import DEADLINE, IDLE, SHM, JobEnum, WorkerStatus, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Board(IntEnumArray[JobEnum]):
    """Jobs, whose owners may die."""


_numbers = itertools.count()

#: What has names, whatever is under test: the bindings that are built, the one under test first.
NAMED = [
    name
    for name in (atomic_intenum.BACKEND, "native", "cffi")
    if name != "lock" and importlib.util.find_spec(f"atomic_intenum._{name}") is not None
]


class Service(Elsewhere):
    """The process.

    Attributes:
        status, board, many: the names of its segments.

    """

    def __init__(self, process: subprocess.Popen[str], prefix: str) -> None:
        to: Any = process.stdin
        back: Any = process.stdout
        super().__init__(process.pid, to, back)
        self.process = process
        self.status, self.board, self.many = (f"{prefix}-{letter}" for letter in "sbm")

    def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def service(words: int = 100, *, python: tuple[str, ...] = (sys.executable,)) -> Iterator[Service]:
    """Run one, and end it and all it has made.

    Args:
        words: of the array of many.
        python: what to run it with.

    """
    name = f"t{os.getpid()}-{next(_numbers)}"
    command = [*python, "-P", __file__, name, str(words)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(ATOMIC_INTENUM_BACKEND=NAMED[0]),
    ) as process:
        it = Service(process, name)
        try:
            assert it.answer() == "ready"
            yield it
        finally:
            process.kill()
            for each in (it.status, it.board, it.many):
                memory(each).unlink(missing_ok=True)


def memory(name: str) -> Path:
    """Return where shared memory has a segment."""
    return SHM / f"intenum.{name}"


@contextlib.contextmanager
def kept(name: str) -> Iterator[None]:
    """Answer for a name, as a process does that attaches with exist_ok: nobody removes it."""
    import fcntl

    with memory(name).open("r+b") as file:
        lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 1, 0)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
        yield


def command(
    *arguments: str, python: tuple[str, ...] = (sys.executable,), **changes: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of atomic-intenum without a terminal."""
    return subprocess.run(
        [*python, "-m", "atomic_intenum", *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        stdin=subprocess.DEVNULL,
        env=environment(**changes),
        check=False,
    )


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[Any]:
    """Run a command beside this process: yields its process, whose lines come as it writes them."""
    with subprocess.Popen(
        [sys.executable, "-m", "atomic_intenum", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def main() -> None:
    """Create all, and do what is told."""
    prefix, words = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = WorkerStatus(IDLE, segment_name=f"{prefix}-s")
    rules: Any = {JobEnum.RUNNING: JobEnum.PENDING}
    board = Board(10, JobEnum.PENDING, segment_name=f"{prefix}-b", on_death=rules)
    many = Board(words, JobEnum.PENDING, segment_name=f"{prefix}-m")

    def fork(body: Any) -> int:
        """Have a child do something and then wait to be killed; its pid, when it has done it."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            body()
            os.write(writing, b".")
            signal.pause()
        os.read(reading, 1)
        os.close(reading)
        os.close(writing)
        return pid

    def kill(pid: int) -> None:
        """Kill a child."""
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def load() -> None:
        """Write everywhere, all the time."""
        members = list(JobEnum)
        for i in itertools.count():
            status.set(list(type(status.load()))[i % 3])
            board[i % 10] = many[i % words] = members[i // 7 % 3]

    def come_and_go() -> None:
        """Create a value and remove it, again and again."""
        while True:
            value = WorkerStatus(IDLE, segment_name=f"{prefix}-x")
            for _ in range(1000):
                value.load()
            value.unlink()

    def begin(body: Any) -> None:
        threading.Thread(target=body, daemon=True).start()

    print("ready", flush=True)
    names = {
        "status": status,
        "board": board,
        "many": many,
        "fork": fork,
        "kill": kill,
        "thread": lambda: begin(load),
        "come_and_go": lambda: begin(come_and_go),
    }
    serve(sys.stdin, sys.stdout, **names)


if __name__ == "__main__":
    main()
