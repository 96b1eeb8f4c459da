"""What the tests of names make, spoil and run."""

from __future__ import annotations

import contextlib
import gc
import os
from typing import TYPE_CHECKING, Any

import pytest

from helpers.inside import layout, owner
from helpers.support import (
    IDLE,
    SHM,
    WorkerStatus,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


#: The lock-based path shares by inheritance only: it has no names.
named = pytest.mark.only_on("native", "cffi")


unnamed = pytest.mark.only_on("lock")


@contextlib.contextmanager
def own_name(test: str) -> Iterator[str]:
    """Give a segment name of a test alone; nothing of that name may be left."""
    chosen = f"t{os.getpid()}-{abs(hash(test)) % 10**12}"
    yield chosen
    gc.collect()
    owner.drain(forget=chosen)
    left = (SHM / chosen).exists()
    (SHM / chosen).unlink(missing_ok=True)
    assert not left, f"{chosen} is left"


def make(name: str, member: Any = IDLE) -> WorkerStatus:
    """Create a value of that name."""
    return WorkerStatus(member, segment_name=name)


def failing(error: int, filename: str | None = None) -> Callable[..., Any]:
    """Return what a call looks like that fails; of a signal handler's, with its own filename."""

    def call(*_: object) -> None:
        raise OSError(error, os.strerror(error), filename)

    return call


def spoil(name: str, **fields: int) -> None:
    """Overwrite fields of the header of a segment in place."""
    with (SHM / name).open("r+b") as file:
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
