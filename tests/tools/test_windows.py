"""The imitation of Windows on Linux: what it takes away, and what of the suite it is held to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from helpers.lacking import what_is_lacking
from helpers.support import HELPERS, SOURCES, TESTS, environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or sys.implementation.name != "cpython",
        reason="CPython on Linux passes for Windows, nothing else",
    ),
]

#: Files that ask for little else than the package, and for processes that spawn can start.
PART = (
    *("api/test_value.py", "api/test_array_claim.py", "aio/test_aio_value.py", "tools/test_cli.py"),
    *("locking/test_lock.py", "locking/test_lock_path.py", "owners/test_on_death.py"),
    *("owners/test_own.py", "sharing/test_array_sharing.py", "waiting/test_wait.py"),
)

#: How many of their tests pass at least, and how many may be skipped.
PASS, SKIPPED = 800, 40


def as_on_windows(*arguments: str | Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a Python as on Windows, on the lock path, to its end."""
    mine = {name: each for name, each in environment().items() if not name.startswith("PYTEST_")}
    mine |= changes | {
        "ATOMIC_INTENUM_BACKEND": "lock",
        "PYTHONPATH": os.pathsep.join([str(HELPERS / "windows"), mine["PYTHONPATH"]]),
    }
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=mine,
        timeout=200,
    )


@pytest.mark.timeout(240)
def test_part_of_the_suite(tmp_path: Path) -> None:
    """Tests of the lock path pass where fork, fcntl, /dev/shm and most signals are gone."""
    done = as_on_windows(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'of-pytest'}"),
        *("-m", "not slow and not soak", "-n", "2", "--rootdir", TESTS.parent),
        *(TESTS / name for name in PART),
        TMPDIR=str(tmp_path),  # who is killed leaves a folder there
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    found = {what: int(count) for count, what in re.findall(r"(\d+) (passed|skipped)", done.stdout)}
    assert found["passed"] >= PASS, found
    assert found.get("skipped", 0) <= SKIPPED, found


MISSING = """
import importlib, multiprocessing, os, signal, socket, sys, time
from multiprocessing import heap

def names(child):
    found = [name for name in ("fork", "register_at_fork", "O_CLOEXEC") if hasattr(os, name)]
    found += [name for name in ("SIGKILL", "SIGALRM", "pthread_sigmask") if hasattr(signal, name)]
    for name in ("fcntl", "pwd", "grp", "termios", "resource", "tty", "pty", "_posixshmem"):
        try:
            exec(f"import {name}")
            found.append(name)
        except ImportError:
            pass
    found += [each for each in ("/proc/self/stat", "/dev/shm") if os.path.exists(each)]
    found += multiprocessing.get_all_start_methods() + [multiprocessing.get_start_method()]
    print(child, sys.platform, os.name, *found, hasattr(heap.Arena(1), "fd"), flush=True)

if __name__ == "__main__":
    names("parent")
    process = multiprocessing.Process(target=names, args=("child",))
    process.start()
    process.join()
    process = multiprocessing.Process(target=time.sleep, args=(60,))
    process.start()
    process.kill()
    process.join()
    print(process.exitcode)
"""


def test_what_is_missing(tmp_path: Path) -> None:
    """A program and its children lack what they would on Windows, where a kill tells SIGTERM."""
    script = tmp_path / "missing.py"
    script.write_text(MISSING)
    done = as_on_windows(script)
    lines = [f"{who} win32 nt spawn spawn False" for who in ("parent", "child")]
    assert (done.stdout.splitlines(), done.stderr) == ([*lines, "-15"], "")


#: A module of the package's folder that asks for what Windows lacks, and the folder of its test.
FAULT = """
import os, pathlib, sys
from helpers.lacking import what_is_lacking

def found(path, code):
    names = {}
    exec(compile(code, path, "exec"), names)
    try:
        names["ask"]()
    except Exception as error:
        return what_is_lacking(error)

ask = "def ask():\\n    import os\\n    os.fork()"
print([found(path, ask) for path in sys.argv[1:]])
"""


def test_package_is_not_excused(tmp_path: Path) -> None:
    """What a test asks for in vain skips it; what the package asks for in vain fails it."""
    script = tmp_path / "fault.py"
    script.write_text(FAULT)
    package = SOURCES / "atomic_intenum" / "value.py"
    done = as_on_windows(script, TESTS / "api" / "test_value.py", package)
    assert (done.stdout, done.stderr) == ("['os.fork', None]\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "x"), "show: this system has no shared memory with names"),
        (("list",), "list: this system does not list shared memory"),
        (("wait", "x", "READY"), "wait: this takes the compiled core"),
    ],
)
def test_commands_say_that_there_is_nothing_to_see(arguments: tuple[str, ...], said: str) -> None:
    """A command that asks for named shared memory says in a line that there is none."""
    done = as_on_windows("-m", "atomic_intenum", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"atomic-intenum {said}")
    assert done.stderr.count("\n") == 1


#: Prints whether a process may live, of which the system says each of these errors.
DOUBTS = """
import _winapi, os
from helpers.inside import may_live

def refuse(*_):
    error = OSError(22, "it is not said")
    error.winerror = code
    raise error

print(may_live(os.getpid()))
_winapi.OpenProcess = refuse
for code in (5, 1450, 87):
    print(may_live(os.getpid()))
"""


def test_owner_lives_in_each_doubt(tmp_path: Path) -> None:
    """A pid counts as dead where no process has it, and not where the system refuses to say."""
    script = tmp_path / "doubts.py"
    script.write_text(DOUBTS)
    done = as_on_windows(script)
    assert (done.stdout.split(), done.stderr) == (["True", "True", "True", "False"], "")


def test_nothing_is_excused_elsewhere() -> None:
    """Where it is not Windows no error is one of what the system lacks."""
    error = AttributeError("module 'os' has no attribute 'fork'", name="fork", obj=sys)
    assert what_is_lacking(error) is None
