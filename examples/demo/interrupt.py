"""Ctrl-C, noticed at safe points alone.

A KeyboardInterrupt may come up anywhere: inside a weak reference's callback, or inside
multiprocessing between a child's start and its entry in the list of children.  So the handler only
takes a note, and the command looks at it between two short steps.
"""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Interrupted(Exception):  # noqa: N818 - it reports no error
    """Ctrl-C was pressed."""


class Interrupt:
    """Whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.requested = False

    def install(self) -> None:
        """Take over SIGINT."""
        signal.signal(signal.SIGINT, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True

    def check(self) -> None:
        """Do nothing, or raise Interrupted if Ctrl-C was pressed."""
        if self.requested:
            raise Interrupted


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Keep SIGINT pending meanwhile; processes that start meanwhile never get it.

    A terminal sends it to them all, and a new interpreter would print a traceback before it comes
    to ignore it.  The signal mask is inherited, whatever the start method.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore() -> None:
    """Ignore SIGINT from now on."""
    # Held back, or one that comes just before the system is told has no handler when the
    # interpreter gets to it, which complains on stderr.
    with held_back():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
