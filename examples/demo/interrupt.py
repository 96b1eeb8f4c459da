"""Ctrl-C, noticed at safe points alone.

A KeyboardInterrupt may come up anywhere, inside multiprocessing between a child's start and its entry
in the list of children too.  So the handler takes a note, and the command looks at it now and then.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


class Interrupted(Exception):  # noqa: N818 - it reports no error
    """Ctrl-C was pressed."""


class Interrupt:
    """Whether Ctrl-C was pressed."""

    requested = False

    def install(self) -> None:
        """Take over SIGINT."""
        signal.signal(signal.SIGINT, lambda *_: setattr(self, "requested", True))

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
    mask = getattr(signal, "pthread_sigmask", lambda *_: ())
    before = mask(getattr(signal, "SIG_BLOCK", 0), {signal.SIGINT})
    try:
        yield
    finally:
        mask(getattr(signal, "SIG_SETMASK", 0), before)


def ignore() -> None:
    """Ignore SIGINT from now on."""
    # Held back, or one that comes just before the system is told has no handler when the
    # interpreter gets to it, which complains on stderr.
    with held_back():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
