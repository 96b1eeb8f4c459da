"""Child processes: started without Ctrl-C, watched, and ended whatever happens.

The parent alone listens to Ctrl-C.  A process whose parent is gone ends by itself: it has a look,
by :class:`Parent`, wherever it waits.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from .interrupt import held_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

__all__ = ["CrewError", "Parent", "Processes"]

#: Seconds that a process gets to end after it was asked to, or closed its pipes.
_ENDING = 2.0


class CrewError(Exception):
    """A process failed."""


class Processes:
    """The child processes that still run.

    Args:
        check: called again and again; raises to end it all.

    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._running: list[BaseProcess] = []

    def __bool__(self) -> bool:
        return bool(self._running)

    def start(self, name: str, target: Callable[..., None], *arguments: object) -> BaseProcess:
        """Start a process, whose name errors will give."""
        self._check()
        process = multiprocessing.Process(target=target, args=arguments, name=name, daemon=True)
        with held_back():
            process.start()
        self._running.append(process)
        return process

    def ready(self, sources: Iterable[Connection], timeout: float) -> list[Connection]:
        """Return those connections that have something, having waited for the first.

        Args:
            sources: the connections.
            timeout: seconds; a tenth of one at most, or Ctrl-C would go unnoticed for longer.

        Raises:
            CrewError: a process ended unexpectedly.

        """
        self._check()
        sentinels = {process.sentinel: process for process in self._running}
        ready: list[Connection] = []
        for source in wait([*sources, *sentinels], min(max(timeout, 0.0), 0.1)):
            if isinstance(source, int):
                self._take_end(sentinels[source])
            else:
                ready.append(source)  # type: ignore[arg-type]
        return ready

    def receive(self, connection: Connection, sender: BaseProcess) -> Any:
        """Receive the one report that a process sends, and close the connection.

        Raises:
            CrewError: there is none.

        """
        try:
            return connection.recv()
        except (EOFError, OSError):
            # With forkserver, how it ended comes a moment after its end of the pipe is closed.
            deadline = time.monotonic() + _ENDING
            while sender.is_alive() and time.monotonic() < deadline:
                self._check()
                sender.join(0.1)
            _check_end(sender)
            message = f"{sender.name} sent no report"
            raise CrewError(message) from None
        finally:
            connection.close()

    def _take_end(self, process: BaseProcess) -> None:
        process.join()
        _check_end(process)
        self._running.remove(process)

    def stop(self) -> None:
        """End whatever still runs."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.join(_ENDING)
            if process.exitcode is None:
                process.kill()
                process.join()


def _check_end(process: BaseProcess) -> None:
    if process.exitcode:
        message = f"{process.name} ended unexpectedly, exit code {process.exitcode}"
        raise CrewError(message) from None


class Parent:
    """The parent of this process, which it must not outlive."""

    def __init__(self) -> None:
        parent = multiprocessing.parent_process()
        if parent is None:
            message = "to be run in a child process"
            raise RuntimeError(message)
        #: What becomes ready, for multiprocessing's wait(), some time after the parent has ended:
        #: with fork, not before the children that were started later have ended as well.
        self.sentinel: int = parent.sentinel
        self._pid = os.getppid()

    def gone(self) -> bool:
        """Return whether the parent has ended."""
        return os.getppid() != self._pid or bool(wait([self.sentinel], 0))
