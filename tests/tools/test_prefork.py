"""The examples for web servers, each served by the server that they are for."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from helpers.support import DEADLINE, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = ROOT / "examples" / "prefork"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.only_on("native", "cffi"),
    pytest.mark.skipif(not EXAMPLES.is_dir(), reason="these tests run beside the sources"),
]


def needs(server: str) -> pytest.MarkDecorator:
    """Skip a test where its server is not installed."""
    return pytest.mark.skipif(find_spec(server) is None, reason=f"{server} is not installed")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(home: Path, *command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, whose files go to a folder of their own, and end it."""
    with subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=EXAMPLES,
        env={**os.environ, "HOME": str(home)},
    ) as server:
        try:
            yield server
        finally:
            server.send_signal(signal.SIGTERM)


def counts(port: int) -> dict[str, int]:
    """Return what the status page says; nothing while there is none."""
    with contextlib.suppress(OSError):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=DEADLINE) as answer:
            lines = answer.read().decode().splitlines()
        return {name: int(number) for name, number in map(str.split, lines)}
    return {}


def until(port: int, wanted: dict[str, int]) -> None:
    """Ask for the page until it says so."""
    deadline = time.monotonic() + DEADLINE
    while (found := counts(port)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


TWO_WORKERS = {"FREE": 62, "STARTING": 0, "IDLE": 1, "BUSY": 1}
ONE_WORKER = {"FREE": 63, "STARTING": 0, "IDLE": 0, "BUSY": 1}


def children(pid: int) -> list[int]:
    """Return the pids of a process's children."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(child) for child in found.stdout.split()]


@needs("gunicorn")
def test_gunicorn(tmp_path: Path) -> None:
    """Each worker has a word of its own, and one that is killed gives it back."""
    port = free_port()
    command = "-m", "gunicorn", f"--bind=127.0.0.1:{port}", "wsgi:app"
    with serving(tmp_path, *command) as server:
        until(port, TWO_WORKERS)
        if sys.platform == "linux":
            os.kill(children(server.pid)[0], signal.SIGKILL)
            until(port, TWO_WORKERS)


@needs("uvicorn")
def test_uvicorn(tmp_path: Path) -> None:
    """Each worker has a word of its own in the board, and one that is killed gives it back."""
    port = free_port()
    with serving(tmp_path, EXAMPLES / "serve.py", str(port)) as server:
        until(port, TWO_WORKERS)
        if sys.platform == "linux":
            os.kill(children(server.pid)[-1], signal.SIGKILL)
            until(port, ONE_WORKER)
            until(port, TWO_WORKERS)
