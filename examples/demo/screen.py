"""What the monitor draws on: a terminal, or lines elsewhere."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from files import count

if TYPE_CHECKING:
    from typing import Self

    from monitor import Look


def say(text: str = "") -> None:
    """Print a line at once, whoever reads it."""
    print(text, flush=True)


def in_words(look: Look) -> str:
    """Return what all workers together have done: 1,234 files, 90 transitions."""
    return f"{count(sum(look.files), 'file')}, {count(sum(look.transitions), 'transition')}"


class Lines:
    """Lines, one a look; and what any other screen has to do.

    Attributes:
        interval: seconds from one drawing to the next, at least.

    """

    interval = 1.0

    def show(self, elapsed: float, look: Look) -> None:
        """Print how many workers have each status, and what all have done."""
        counts = ", ".join(f"{number:,} {status.name}" for status, number in look.counts.items())
        say(f"{elapsed:5.1f} s | {counts} | {in_words(look)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was, with the last drawing on it."""


def make_screen(seconds: float) -> Lines:
    """Return a live drawing if standard output is a terminal and rich is installed, else lines.

    Args:
        seconds: that the work takes.

    """
    # A dumb terminal has no way to draw over what is there.
    if not sys.stdout.isatty() or os.environ.get("TERM") in (None, "", "dumb"):
        return Lines()
    try:
        from live import LiveBoard  # noqa: PLC0415 - rich is an extra
    except ImportError:
        return Lines()
    return LiveBoard(seconds)
