"""What the tests of names make, spoil and run."""

from __future__ import annotations

import contextlib
import gc
import os
import struct
import textwrap
from typing import TYPE_CHECKING, Any

from helpers.inside import layout
from helpers.support import (
    IDLE,
    SHM,
    WorkerStatus,
    fork,
    private_shm,
    run_script,
    wait_for,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path


def path_of(name: str) -> Path:
    """Return where the shared memory of that segment name is among the files."""
    return SHM / f"intenum.{name}"


@contextlib.contextmanager
def own_name(test: str) -> Iterator[str]:
    """Give a segment name of a test alone; nobody may answer for it at the end.

    What was pickled lingers, and gives way to who has created it: this process.
    """
    chosen = f"t{os.getpid()}-{abs(hash(test)) % 10**10}"
    yield chosen
    path = path_of(chosen)
    for _ in range(3):  # as collect() does, but only where there is need: it takes PyPy a second
        if path.exists():
            gc.collect()
    if path.exists():
        try:
            make(chosen).unlink()
        finally:
            path.unlink(missing_ok=True)


def make(name: str, member: Any = IDLE, *, exist_ok: bool = False) -> WorkerStatus:
    """Create a value of that name."""
    return WorkerStatus(member, segment_name=name, exist_ok=exist_ok)


def sweep() -> None:
    """Have a process look through the names, as each does at its first creation."""
    assert wait_for(fork(lambda: WorkerStatus(IDLE).close())) == 0


def identity_of(path: Path) -> tuple[int, ...]:
    """Return what tells whether somebody has touched what is there; reading is allowed."""
    status = path.lstat()
    return status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_nlink


@contextlib.contextmanager
def planted(path: Path, content: bytes, size: int | None = None) -> Iterator[None]:
    """Put a file there that somebody answers for meanwhile, as a process that lives: nobody sweeps.

    Args:
        path: where it is.
        content: its first bytes.
        size: of the file, of which no more is there than the content.

    """
    import fcntl

    draft = path.with_name(f"draft-{path.name}")
    with draft.open("w+b") as file:
        lock = struct.pack("hhqqi", fcntl.F_RDLCK, os.SEEK_SET, 0, 1, 0)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
        file.write(content)
        file.flush()
        os.truncate(draft, len(content) if size is None else size)
        draft.rename(path)
        yield


def spoil(name: str, **fields: int) -> None:
    """Overwrite fields of the header of a segment in place."""
    with path_of(name).open("r+b") as file:
        header = layout.Header(*layout.HEADER.unpack(file.read(192)[8 : 8 + layout.HEADER.size]))
        file.seek(8)
        file.write(layout.HEADER.pack(*header._replace(**fields)))


HEAD = """
import enum, multiprocessing, os, sys, time
from atomic_intenum import IntEnumValue

class WorkerStatusEnum(enum.IntEnum):
    UNAVAILABLE = enum.auto()
    IDLE = enum.auto()
    CALCULATING = enum.auto()

class WorkerStatus(IntEnumValue[WorkerStatusEnum]):
    pass

class JobEnum(enum.IntEnum):
    DONE = 1

name = sys.argv[1]
"""


def run_alone(source: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script with a /dev/shm of its own, where nobody else sweeps."""
    prefix = private_shm("8m")
    if not prefix:
        import pytest

        pytest.skip("no mount namespace here: it takes root")
    return run_script(HEAD + textwrap.dedent(source), *arguments, folder=folder, prefix=prefix)
