"""Forks with pthread_atfork's handlers and without, and children that outlive who forked them."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from typing import Self

#: Numbers of the system call clone, which runs no handlers of pthread_atfork.
CLONE = {"x86_64": 56, "aarch64": 220}


def clone() -> int:
    """Fork past the handlers of pthread_atfork."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    return int(call(CLONE[platform.machine()], ctypes.c_ulong(signal.SIGCHLD), 0, 0, 0, 0))


def fork() -> int:
    """Fork as Python does, where there is a fork."""
    return os.fork()


FORKS = {"fork": fork, "clone": clone}

by_forks = pytest.mark.parametrize(
    "how",
    [
        "fork",
        pytest.param(
            "clone",
            marks=pytest.mark.skipif(
                sys.platform != "linux" or platform.machine() not in CLONE,
                reason="the number of that call is not known here",
            ),
        ),
    ],
)


class Bystander:
    """A process that a child of this one forks, and that outlives it until it is told to end."""

    def __init__(self) -> None:
        self.to_it, self.from_it = os.pipe(), os.pipe()

    def live_in_a_child(self, how: str, *, closing: bool = True) -> None:
        """Fork; in the child, live until told, with nothing open that others wait for.

        Unless it is ``closing``, it keeps all else.
        """
        if FORKS[how]() == 0:
            try:
                if closing:
                    low, high = sorted((self.to_it[0], self.from_it[1]))
                    os.closerange(0, low)
                    os.closerange(low + 1, high)
                    os.closerange(high + 1, 10_000)
                else:
                    os.close(self.to_it[1])
                while os.read(self.to_it[0], 1):
                    os.write(self.from_it[1], b"alive")
            finally:
                os._exit(0)

    def __enter__(self) -> Self:
        return self

    def is_alive(self) -> bool:
        """Ask it."""
        os.write(self.to_it[1], b"?")
        return os.read(self.from_it[0], 5) == b"alive"

    def __exit__(self, *_: object) -> None:
        """End it, and wait for that."""
        for end in self.to_it[1], self.to_it[0], self.from_it[1]:
            os.close(end)
        os.read(self.from_it[0], 1)
        os.close(self.from_it[0])
