"""Runs of the demo, for the tests of it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers.inside import Header, backend, layout
from helpers.support import IDLE, ROOT, SHM, WorkerStatus, fork, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_posix = pytest.mark.skipif(os.name != "posix", reason="process groups and terminals")

#: Seconds after which a run counts as hung.
PATIENCE = 30

#: The program, which is run by path.
DEMO = ROOT / "examples" / "demo"

START = f"""
import multiprocessing, runpy, sys
multiprocessing.set_start_method(sys.argv.pop(1))
runpy.run_path({str(DEMO)!r}, run_name="__main__")
"""

START_METHODS = multiprocessing.get_all_start_methods()
METHOD = START_METHODS[0]  # the platform's own


def said(output: str, pattern: str) -> int:
    """Return the number of a line of the output."""
    match = re.search(pattern, output, re.MULTILINE)
    assert match is not None, output
    return int(match[1].replace(",", ""))


def start(*arguments: str, method: str | None = None, script: str = START) -> subprocess.Popen[str]:
    """Start the demo as the leader of a process group, with any warning an error.

    Args:
        arguments: for it.
        method: to start its processes by; None: the platform's own.
        script: what to run instead of the demo, if there is a method, which is its first argument.

    """
    how = [str(DEMO)] if method is None else ["-c", script, method]
    return subprocess.Popen(
        [sys.executable, "-W", "error", *how, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@contextlib.contextmanager
def running(
    *arguments: str, method: str | None = None, script: str = START
) -> Iterator[subprocess.Popen[str]]:
    """Run the demo, and end the whole group if the test fails meanwhile."""
    with start(*arguments, method=method, script=script) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def finish(*arguments: str, method: str | None = None) -> tuple[int, str, str]:
    """Run the demo to its end and return exit code, output and errors.

    The output ends when the last process that holds it has ended: none is left behind.
    """
    with running(*arguments, method=method) as process:
        output, errors = process.communicate(timeout=PATIENCE)
    assert segments_of(process.pid) == []
    return process.returncode, output, errors


def segments_of(pid: int) -> list[str]:
    """Return the shared memory of ours that a process created and left."""
    left = []
    for path in filter(Path.is_file, SHM.glob("intenum[-.]*")):
        # Other tests may run beside this one; theirs may be half made or gone.
        with contextlib.suppress(FileNotFoundError, struct.error):
            text = path.read_bytes()[: layout.HEADER_SIZE]
            header = Header(*layout.HEADER.unpack_from(text, layout.HEADER_OFFSET))
            if header.creator_pid == pid:
                left.append(path.name)
    return left


def left_for_long(pid: int) -> list[str]:
    """Return what a killed process leaves though another one comes and goes: a process looks once.

    A look may end early where the machine is busy, so there is a second one, and a third.
    """
    for _ in range(3):
        if not segments_of(pid):
            break
        assert wait_for(fork(come_and_go)) == 0
    return segments_of(pid)


def come_and_go() -> None:
    """Create something, and end as a process does."""
    WorkerStatus(IDLE)
    backend.end()


def lines_until(process: subprocess.Popen[str], pattern: str) -> str:
    """Read the output up to the first line that matches."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if re.match(pattern, line):
            return seen
    pytest.fail(f"no line is like {pattern!r} in: {seen}")


def on_terminal(
    program: str, *arguments: str, size: tuple[int, int] = (80, 24), terminal: str = "xterm"
) -> tuple[int, str]:
    """Run a program on a terminal of so many columns and lines; return exit code and output."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    columns, lines = size
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))
    names = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with (
        os.fdopen(ours, "rb", buffering=0) as output,
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**names, "TERM": terminal},
        ) as process,
    ):
        os.close(theirs)
        got = b""
        # Linux reports EIO where the last writer is gone.
        with contextlib.suppress(OSError):
            while piece := output.read(1 << 16):
                got += piece
        return process.wait(PATIENCE), got.decode()


def screens(output: str, size: tuple[int, int]) -> list[list[str]]:
    """Return what the terminal shows each time before something is drawn over, and in the end."""
    import pyte

    screen = pyte.Screen(*size)
    stream = pyte.Stream(screen)
    shown = []
    for piece in re.split(r"(?=\r\x1b\[2K\x1b\[1A)", output):
        stream.feed(piece)
        shown.append([line.rstrip() for line in screen.display])
    return shown
