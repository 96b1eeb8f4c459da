"""A terminal that programs run on, and what its screen shows."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pyte

from helpers.support import DEADLINE, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Has the terminal as its own, so that its Ctrl-C and its changes of size come as signals.
_RUN = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Terminal:
    """A pseudo-terminal of some size with a program on it."""

    def __init__(
        self, ours: int, process: subprocess.Popen[bytes], width: int, height: int
    ) -> None:
        self.process = process
        self._ours = ours
        self._screen = pyte.Screen(width, height)
        self._stream: Any = pyte.ByteStream(self._screen)
        self.written = b""

    def text(self) -> str:
        """Return what the screen shows."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def feed(self, patience: float) -> bool:
        """Take what the program writes; False if it has ended."""
        if not select.select([self._ours], [], [], patience)[0]:
            return True
        try:
            written = os.read(self._ours, 1 << 16)
        except OSError:  # nobody has the other end
            return False
        self.written += written
        self._stream.feed(written)
        return bool(written)

    def until(self, shown: str | Callable[[str], object]) -> str:
        """Wait until the screen shows this; AssertionError after the deadline."""
        deadline = time.monotonic() + DEADLINE
        while not (shown in self.text() if isinstance(shown, str) else shown(self.text())):
            assert time.monotonic() < deadline, self.text()
            assert self.feed(0.1), f"it has ended, showing:\n{self.text()}"
        return self.text()

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._ours, keys)

    def resize(self, width: int, height: int) -> None:
        """Have another size."""
        import fcntl
        import termios

        self._screen.resize(height, width)
        size = struct.pack("HHHH", height, width, 0, 0)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)

    def is_raw(self) -> bool:
        """Tell whether keys reach the program at once, or unseen."""
        import termios

        return not termios.tcgetattr(self._ours)[3] & termios.ICANON

    def end(self) -> int:
        """Wait for the program's end, and return its exit code."""
        deadline = time.monotonic() + DEADLINE
        while self.feed(0.1):
            assert time.monotonic() < deadline, self.text()
            if self.process.poll() is not None and not select.select([self._ours], [], [], 0)[0]:
                break
        return self.process.wait(DEADLINE)


@contextlib.contextmanager
def terminal(
    *arguments: str,
    program: tuple[str, ...] = ("-m", "atomic_intenum"),
    width: int = 80,
    height: int = 24,
    **changes: str,
) -> Iterator[Terminal]:
    """Run a command of atomic-intenum on a terminal; end it if it has not ended."""
    import fcntl
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    env = environment(**{"TERM": "xterm-256color", **changes})
    # Kept open here, so that what the terminal is set to can be asked when the program has ended.
    with subprocess.Popen(
        [sys.executable, "-c", _RUN, *program, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={name: said for name, said in env.items() if name not in ("COLUMNS", "LINES")},
    ) as process:
        try:
            yield Terminal(ours, process, width, height)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            os.close(theirs)
            os.close(ours)
