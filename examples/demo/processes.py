"""Child processes: started without Ctrl-C, heard, and ended whatever happens.

The parent alone listens to Ctrl-C.  A process whose parent is gone ends by itself: it asks
:class:`Parent` wherever it waits.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, cast

from interrupt import held_back, ignore

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

#: Seconds that a process gets to end after it was asked to, or closed its pipe.
_ENDING = 2.0


class CrewError(Exception):
    """A process failed."""


class Processes:
    """The child processes that still run, each with the pipe on which it reports.

    Args:
        check: called again and again; raises to end it all.

    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._running: dict[Connection, BaseProcess] = {}

    def __bool__(self) -> bool:
        return bool(self._running)

    def start(self, name: str, target: Callable[..., None], *arguments: object) -> None:
        """Start a process: ``target(parent, report, *arguments)``.

        Args:
            name: that errors will give.
            target: gets its Parent, and a function that sends a message.
            arguments: for it.

        """
        self._check()
        incoming, outgoing = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.Process(
            target=_child, args=(incoming, outgoing, target, *arguments), name=name, daemon=True
        )
        self._running[incoming] = process
        _have_tracker()
        with held_back():
            process.start()
        outgoing.close()

    def messages(self, timeout: float) -> list[Any]:
        """Return what processes have sent, having waited for the first message.

        Args:
            timeout: seconds; a tenth of one at most, or Ctrl-C would go unnoticed for longer.

        Raises:
            CrewError: a process ended unexpectedly.

        """
        self._check()
        messages: list[Any] = []
        for ready in wait(list(self._running), min(max(timeout, 0.0), 0.1)):
            connection = cast("Connection", ready)
            try:
                messages.append(connection.recv())
            except (EOFError, OSError):
                self._take_end(connection)
        return messages

    def _take_end(self, connection: Connection) -> None:
        process = self._running[connection]
        # With forkserver, how it ended comes a moment after its end of the pipe is closed.
        process.join(_ENDING)
        if process.exitcode:
            message = f"{process.name} ended unexpectedly, exit code {process.exitcode}"
            raise CrewError(message) from None
        del self._running[connection]
        connection.close()

    def stop(self) -> None:
        """End whatever still runs."""
        started = [process for process in self._running.values() if process.pid is not None]
        for process in started:
            process.terminate()
        for process in started:
            process.join(_ENDING)
            if process.exitcode is None:
                process.kill()
                process.join()
        for connection in self._running:
            connection.close()


def _have_tracker() -> None:
    """Have the process running that multiprocessing starts with the first one, but for fork's.

    As it starts, multiprocessing lets SIGINT through, whoever holds it back.
    """
    if sys.platform != "win32" and multiprocessing.get_start_method() != "fork":
        resource_tracker.ensure_running()


def _child(
    incoming: Connection, outgoing: Connection, target: Callable[..., None], *arguments: object
) -> None:
    ignore()  # the parent stops this process
    # With the parent gone, a full pipe that this process could read itself would hold it for ever.
    incoming.close()
    with contextlib.suppress(BrokenPipeError):
        target(Parent(), outgoing.send, *arguments)


class Parent:
    """The parent of this process, which it must not outlive."""

    def __init__(self) -> None:
        parent = multiprocessing.parent_process()
        if parent is None:
            message = "to be run in a child process"
            raise RuntimeError(message)
        # Becomes ready some time after the parent has ended: with fork, not before the children
        # that were started later have ended as well.
        self._sentinel = parent.sentinel
        self._pid = os.getppid()

    def gone(self, timeout: float = 0.0) -> bool:
        """Wait for some seconds, and return whether the parent has ended."""
        return bool(wait([self._sentinel], timeout)) or os.getppid() != self._pid
