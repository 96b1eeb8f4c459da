"""The enums, values and helpers that several test files use; importable without pytest.

Most programs that the tests start import it, and pytest would be the greater half of what they do.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import sysconfig
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import atomic_intenum
from atomic_intenum import IntEnumValue
from helpers.inside import Header, layout
from helpers.lacking import WINDOWS, skip_if_lacking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TESTS = Path(__file__).parent.parent
#: The scripts that tests run.
HELPERS = TESTS / "helpers"
#: The checkout; where the tests run apart from one, it may hold nothing else.
ROOT = TESTS.parent
#: Where the package is: src of a checkout, or where a wheel was installed.
SOURCES = Path(atomic_intenum.__file__).parent.parent

#: Every way to start a process here.
METHODS = multiprocessing.get_all_start_methods()

#: Seconds after which a wait for another process has failed.
DEADLINE = 20.0


#: Where shared memory lies, where a folder lists it.
SHM = Path("/dev/shm")

#: Lets other processes run.
give_way = getattr(os, "sched_yield", functools.partial(time.sleep, 0))

#: How many versions there are: they count writes modulo that.
VERSIONS = 2**19

#: Makes an enum at run time; type checkers know nothing of it.
make_enum: Any = enum.IntEnum


class WorkerStatusEnum(enum.IntEnum):
    UNAVAILABLE = enum.auto()
    IDLE = enum.auto()
    CALCULATING = enum.auto()


class JobEnum(enum.IntEnum):
    PENDING = 1
    RUNNING = 2
    DONE = 3


class WorkerStatus(IntEnumValue[WorkerStatusEnum]):
    """A subclass as the README has it."""


class Plain(IntEnumValue[Any]):
    """A subclass that is bound to no enum."""


UNAVAILABLE = WorkerStatusEnum.UNAVAILABLE
IDLE = WorkerStatusEnum.IDLE
CALCULATING = WorkerStatusEnum.CALCULATING


#: This Python has no GIL, or can do without.
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def word_of(value: IntEnumValue[Any]) -> int:
    """Return the state word as it is in shared memory."""
    segment = value._atomic_segment
    offset = segment.word_offset(value._atomic_index)
    with segment.mapping.view() as view:
        return int.from_bytes(view[offset : offset + 8], sys.byteorder)


def write_word(value: IntEnumValue[Any], number: int, version: int = 0) -> None:
    """Write a state word past the API, as something foreign would."""
    segment, index = value._atomic_segment, value._atomic_index
    offset = segment.word_offset(index)
    word = number & 0xFFFF_FFFF
    with segment.mapping.view() as view:
        if atomic_intenum.BACKEND == "lock":  # the version has a cell of its own
            cell = segment.control_offset(index)
            view[cell : cell + 8] = version.to_bytes(8, sys.byteorder)
        else:
            word |= version << 45
        view[offset : offset + 8] = word.to_bytes(8, sys.byteorder)


def collect() -> None:
    """Collect garbage, with what only finalizers and the callbacks of weak references let go."""
    for _ in range(3):
        gc.collect()


#: Whether what nobody refers to goes at once.
COUNTS_REFERENCES = sys.implementation.name == "cpython"


def collect_unless_counted() -> None:
    """Collect garbage where only that lets go of what nobody refers to."""
    if not COUNTS_REFERENCES:
        collect()


def until(condition: Callable[[], object], what: str) -> None:
    """Poll until the condition holds; AssertionError after the deadline."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {DEADLINE} s"
        time.sleep(0.001)


def environment(**changes: str) -> dict[str, str]:
    """Return this environment for a Python that imports the package and these tests."""
    paths = [str(SOURCES), str(TESTS)]
    inherited = os.environ.get("PYTHONPATH")
    if inherited:
        paths.append(inherited)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **changes}


def run_script(
    source: str,
    *arguments: str,
    folder: Path,
    env: dict[str, str] | None = None,
    prefix: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a script in a Python of its own, from a file so that spawn's children can import it.

    Args:
        source: of the script.
        arguments: of the script.
        folder: where the file goes.
        env: its environment; None: environment().
        prefix: a program and its arguments, before the Python: private_shm()'s.

    """
    script = folder / "script.py"
    script.write_text(textwrap.dedent(source))
    done = subprocess.run(
        [*prefix, sys.executable, str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE * 2,
        env=environment() if env is None else env,
        check=False,
    )
    if done.returncode:
        skip_if_lacking(done.stderr)
    return done


def own_segments() -> set[str]:
    """Return the names of the nameless segments that this process created and has not removed.

    By the creator's pid in their headers: others may run on this machine.  Of the lock-based path,
    whose memory has no name, what segment_of() returns of each that is mapped.
    """
    if atomic_intenum.BACKEND == "lock":
        lines = Path("/proc/self/maps").read_text().splitlines()
        return {line.split()[4] for line in lines if "/dev/shm/#" in line}
    found = set()
    for path, text in _headers("intenum-*"):
        header = Header(*layout.HEADER.unpack_from(text, layout.HEADER_OFFSET))
        if header.creator_pid == os.getpid():
            found.add(path.name)
    return found


def segment_of(value: Any) -> str:
    """Return what own_segments() calls the segment of a value or an array: its name, or inode."""
    segment = value._atomic_segment
    if segment.name:
        return str(segment.name)
    arena = segment.mapping._arena
    return str(os.fstat(arena.fd).st_ino) if hasattr(arena, "fd") else str(arena.name)


def marked_segments(marker: str) -> set[str]:
    """Return the names of the segments whose enum has that name, whoever created them."""
    sought = f'"{marker}"'.encode()
    return {path.name for path, header in _headers("intenum[.-]*") if sought in header}


def spoil(path: Path, **fields: int) -> None:
    """Overwrite fields of a header."""
    content = bytearray(path.read_bytes())
    header = Header(*layout.HEADER.unpack_from(content, 8))
    layout.HEADER.pack_into(content, 8, *header._replace(**fields))
    with path.open("r+b") as file:
        file.write(content[:192])


def _headers(pattern: str) -> Iterator[tuple[Path, bytes]]:
    """Yield all segments of such names that are in shared memory, with their first bytes."""
    for path in SHM.glob(pattern):
        if not path.is_file():  # a test's: opening a FIFO would hang
            continue
        try:
            # Another test may have planted a pipe there, which would block who opens it.
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
                header = file.read(4096) or b""
        except OSError:  # gone by now; or a test's, and no memory at all
            continue
        if len(header) >= 192:
            yield path, header


@contextlib.contextmanager
def default_method(method: str) -> Iterator[None]:
    """Make it the default start method meanwhile.

    On the lock-based path a value's lock is of that one's context, as multiprocessing's are: who
    would send it to children of another method gets multiprocessing's RuntimeError.
    """
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(method, force=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method(before, force=True)


@functools.cache
def private_shm(size: str) -> tuple[str, ...]:
    """Return what to run a program with for a /dev/shm of its own; () where that can't be had."""
    if WINDOWS:
        return ()
    command = (
        *("unshare", "--mount", "--propagation", "private", "sh", "-c"),
        *(f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"', "sh"),
    )
    try:
        probe = subprocess.run([*command, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return ()
    return command if probe.returncode == 0 else ()


def run(method: str, target: Callable[..., Any], *arguments: Any) -> None:
    """Run a child to its end, which must be a good one."""
    process: Any = multiprocessing.get_context(method).Process(  # type: ignore[attr-defined]
        target=target, args=arguments
    )
    process.start()
    process.join(DEADLINE)
    assert process.exitcode == 0


def fork(body: Callable[[], object]) -> int:
    """Run the body in a child of plain os.fork, which ends by os._exit: 0, or 1 if it raised."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            body()
            code = 0
        except BaseException:  # noqa: BLE001
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)
    return pid


def wait_for(pid: int) -> int:
    """Return the exit code of a child of fork(); kill it after the deadline."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("the child did not end")


def soaked(usual: int, soak: int) -> int:
    """Return how much a test marked soak has to do: more with ATOMIC_INTENUM_SOAK=1."""
    return soak if os.environ.get("ATOMIC_INTENUM_SOAK") == "1" else usual
