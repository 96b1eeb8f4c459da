"""Runs of the programs in examples/, each as it is, for the tests of them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers.demos import segments_of
from helpers.support import DEADLINE, ROOT, environment, until

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = ROOT / "examples"

#: Runs a program by path, with a start method.
START = """
import multiprocessing, runpy, sys
multiprocessing.set_start_method(sys.argv.pop(1))
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""

#: For all tests of examples.
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(not EXAMPLES.is_dir(), reason="these tests run beside the sources"),
    pytest.mark.skipif(os.name != "posix", reason="signals and sessions"),
]


class Program:
    """A program that runs in a session of its own, and what all of its processes print."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._log = log

    @property
    def output(self) -> str:
        """What was printed so far, errors included."""
        return self._log.read_text()

    def says(self, pattern: str) -> re.Match[str]:
        """Wait until what was printed matches, and return the match."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            found.extend(re.finditer(pattern, self.output, re.MULTILINE))
            return bool(found)

        try:
            until(look, repr(pattern))
        except AssertionError as error:
            raise AssertionError(f"{error}, only:\n{self.output}") from None
        return found[0]

    def wait(self) -> int:
        """Wait for the program's end, and return its exit code."""
        return self.process.wait(DEADLINE)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to the program, wait for its end, and return its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def living(self) -> list[int]:
        """Return the pids of the session's processes that live: zombies do not."""
        if sys.platform != "linux":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, 0)
                return [self.pid]
            return []
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                head, _, tail = path.read_text().rpartition(")")
                state, _parent, _group, session, *_ = tail.split()
                if session == str(self.pid) and state not in "ZX":
                    found.append(int(head.split()[0]))
        return found


@contextlib.contextmanager
def running(
    folder: Path,
    *command: str | Path,
    cwd: Path = EXAMPLES,
    prefix: tuple[str, ...] = (),
) -> Iterator[Program]:
    """Run a Python program; no process and no shared memory is left, or the test fails.

    Args:
        folder: where its output goes, and what it keeps in a home.
        command: Python's arguments.
        cwd: where it runs.
        prefix: a program and its arguments, before the Python.

    """
    log = folder / f"output-{len(list(folder.iterdir()))}"
    with (
        log.open("ab") as output,  # to append: several processes write
        subprocess.Popen(
            [*prefix, sys.executable, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            # Unbuffered, print() writes the end of its line apart.
            env=environment(HOME=str(folder), PYTHONUNBUFFERED=""),
            start_new_session=True,
        ) as process,
    ):
        program = Program(process, log)
        try:
            yield program
            until(lambda: not program.living(), "the end of all processes")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    # What a killed creator leaves under a name is the next one's.
    assert process.returncode == -signal.SIGKILL or segments_of(process.pid) == []


def output_of(folder: Path, example: str, method: str | None = None) -> str:
    """Run an example that ends by itself, and return what it prints.

    Args:
        folder: where its output goes.
        example: its file.
        method: to start its processes by; None: the platform's own.

    """
    how = [] if method is None else ["-c", START, method]
    with running(folder, "-W", "error", *how, EXAMPLES / example) as program:
        assert program.wait() == 0, program.output
        return program.output


def get(url: str, patience: float = DEADLINE) -> tuple[int, str]:
    """Return the status of HTTP and the text that a server answers with; 0 if it does not."""
    try:
        with urllib.request.urlopen(url, timeout=patience) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except (ConnectionError, TimeoutError):
        return 0, ""
    except urllib.error.URLError as error:
        if isinstance(error.reason, (ConnectionError, TimeoutError)):
            return 0, ""
        raise
