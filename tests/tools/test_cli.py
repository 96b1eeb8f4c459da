"""The command line itself: its help, its version, and its two ways to be called."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from atomic_intenum import BACKEND, __version__
from helpers.support import environment

MODULE = [sys.executable, "-m", "atomic_intenum"]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=20, check=False, env=environment()
    )


def test_version() -> None:
    """--version tells the package's version and the backend in use."""
    done = run(*MODULE, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"atomic-intenum {__version__}, backend {BACKEND}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["bench", "--help"]])
def test_help(arguments: list[str]) -> None:
    """--help names the program and its commands, or what a command takes."""
    done = run(*MODULE, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: atomic-intenum ")
    assert ("--seconds" if arguments[0] == "bench" else "bench") in done.stdout


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["bench", "--seconds", "0"]])
def test_wrong_use(arguments: list[str]) -> None:
    """Wrong use exits with 2 and says so on stderr, without a traceback."""
    done = run(*MODULE, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ")
    assert "Traceback" not in done.stderr


def test_console_script() -> None:
    """An installed package has the same as a command."""
    (script,) = (
        each
        for each in metadata.distribution("atomic-intenum").entry_points
        if each.group == "console_scripts"
    )
    assert (script.name, script.value) == ("atomic-intenum", "atomic_intenum.cli:main")
    path = shutil.which("atomic-intenum", path=str(Path(sys.executable).parent))
    if path is None:
        pytest.skip("the package is used from its sources")
    assert run(path, "--version").stdout == run(*MODULE, "--version").stdout
