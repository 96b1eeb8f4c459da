"""What a system lacks that a test asks for: on Windows, and where it is imitated.

Elsewhere nothing here does anything.  conftest.py skips a test that has asked, by what it asked
for; what the package itself asks for is a failure.  Importable without pytest.
"""

from __future__ import annotations

import os
import re
import sysconfig
from pathlib import Path
from typing import NoReturn

import atomic_intenum

#: The tests are on Windows, or on what looks like it: helpers/windows/sitecustomize.py.
WINDOWS = os.name == "nt"


class Lacking(str):
    """What a child lacks, as it tells the test."""

    __slots__ = ()


_TESTS = str(Path(__file__).parents[1])
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib"))
_PACKAGE = str(Path(atomic_intenum.__file__).parent)

_MODULES = ("fcntl", "pwd", "grp", "termios", "tty", "pty", "resource", "_posixshmem", "uvloop")
_FOLDERS = ("/proc", "/dev/shm")
_IN_OUTPUT = re.compile(
    r"AttributeError: module '(?P<module>os|signal|socket)' has no attribute '(?P<name>\w+)'"
    rf"|ModuleNotFoundError: No module named '(?P<import>{'|'.join(_MODULES)})'"
    r"|ImportError: cannot import name '(?P<from>\w+)' from '(?:os|signal)'"
    r"|ValueError: cannot find context for '(?P<method>fork|forkserver)'"
    rf"|FileNotFoundError: .* '(?P<path>{'|'.join(_FOLDERS)})\b"
)


def needs(what: str) -> NoReturn:
    """Skip the test that runs."""
    import pytest

    pytest.skip(f"needs {what}")


def what_is_lacking(error: BaseException | None) -> str | None:
    """Return what a test's own code has asked the system for in vain; None: it is another error."""
    if not WINDOWS:
        return None
    while error is not None:
        what = _asked_for(error)
        if what is not None and _is_a_tests(error):
            return what
        error = error.__cause__
    return None


def _asked_for(error: BaseException) -> str | None:
    match error:
        case AttributeError(name=str(name)):
            module = getattr(error.obj, "__name__", "")
            return f"{module}.{name}" if module in ("os", "signal", "select", "socket") else None
        case ModuleNotFoundError(name=str(name)):
            return name if name in _MODULES else None
        case FileNotFoundError(filename=str(path)):
            return next((each for each in _FOLDERS if path.startswith(each)), None)
        case NotImplementedError():
            known = _raiser(error) in ("add_reader", "add_writer", "add_signal_handler")
            return "a loop with readers and signals" if known else None
        case OSError() if "not a socket" in str(error):
            return "select of pipes"
        case RuntimeError() if "os.kill(os.getpid()" in str(error):
            return "os.kill of itself"
        case _:
            found = re.match(r"cannot find context for '(fork|forkserver)'", str(error))
            return found and found[1]


def _raiser(error: BaseException) -> str:
    trace, name = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_name
        trace = trace.tb_next
    return name


def _is_a_tests(error: BaseException) -> bool:
    """Tell whether the innermost frame that is no library's is of these tests."""
    trace, file = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        file = name if _counts(name) else file
        trace = trace.tb_next
    return file.startswith(_TESTS) and not file.startswith(_PACKAGE)


def _counts(file: str) -> bool:
    """Tell whether a file is neither a library's nor the imitation's."""
    library = file.startswith((*_LIBRARIES, "<")) or file.endswith("sitecustomize.py")
    return file.startswith(_PACKAGE) or not library


def skip_if_lacking(output: str) -> None:
    """Skip the test if a program of its own has ended for what it lacks.

    A program that ends for what the package lacks has a frame of the package in its traceback.
    """
    if not WINDOWS:
        return
    found = _IN_OUTPUT.search(output)
    if found is None:
        return
    before = output[: found.start()].rpartition("Traceback (most recent call last)")[2]
    frames = [file for file in re.findall(r'File "(.+?)", line', before) if _counts(file)]
    if frames and not frames[-1].startswith(_PACKAGE):
        module, name = found["module"], found["name"]
        needs(f"{module}.{name}" if module else next(filter(None, found.groups())))
