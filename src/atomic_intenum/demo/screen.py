"""What the monitor draws on: a terminal, or lines elsewhere."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Protocol

from .files import count

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from .monitor import Look

__all__ = ["Lines", "Screen", "in_words", "make_screen", "say"]


def say(text: str = "") -> None:
    """Print a line at once, whoever reads it."""
    print(text, flush=True)


def in_words(look: Look) -> str:
    """Return what all workers together have done: 1,234 files, 90 transitions."""
    words = [count(sum(look.files), "file")] if look.files else []
    return ", ".join([*words, count(sum(look.transitions), "transition")])


class Screen(Protocol):
    """What the monitor draws on.

    Attributes:
        interval: seconds from one drawing to the next, at least.

    """

    interval: float

    def show(self, elapsed: float, look: Look) -> None:
        """Draw what a look at the board showed."""

    def __enter__(self) -> Self:
        """Begin to draw."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was, with the last drawing on it."""


class Lines:
    """One line a look."""

    interval = 1.0

    def show(self, elapsed: float, look: Look) -> None:
        """Print how many workers have each status, and what all have done."""
        counts = ", ".join(f"{number:,} {status.name}" for status, number in look.counts.items())
        say(f"{elapsed:5.1f} s | {counts} | {in_words(look)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: each line is final."""


def make_screen(seconds: float) -> Screen:
    """Return a live drawing if standard output is a terminal and rich is installed, else lines.

    Args:
        seconds: that the work takes.

    """
    # A dumb terminal has no way to draw over what is there.
    if not sys.stdout.isatty() or os.environ.get("TERM") in (None, "", "dumb"):
        return Lines()
    try:
        from .live import LiveBoard  # noqa: PLC0415 - rich is an extra
    except ImportError:
        return Lines()
    return LiveBoard(seconds)
