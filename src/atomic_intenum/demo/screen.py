"""What the monitor draws: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Protocol

from .files import count

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from .crew import Look

__all__ = ["Lines", "Screen", "make_screen", "say"]


def say(text: str = "") -> None:
    """Print a line at once, whoever reads it."""
    print(text, flush=True)


class Screen(Protocol):
    """What the monitor draws on.

    Attributes:
        interval: seconds from one drawing to the next.

    """

    interval: float

    def show(self, elapsed: float, looks: list[Look]) -> None:
        """Draw one look at each worker."""

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

    def show(self, elapsed: float, looks: list[Look]) -> None:
        """Print status, files done and transitions of each worker."""
        workers = " | ".join(
            f"{number} {look.status.name}, {count(look.files, 'file')}, "
            f"{count(look.transitions, 'transition')}"
            for number, look in enumerate(looks, 1)
        )
        say(f"{elapsed:5.1f} s | {workers}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: each line is final."""


def make_screen(seconds: float) -> Screen:
    """Return a live table if standard output is a terminal and rich is installed, else lines.

    Args:
        seconds: that the work takes.

    """
    # A dumb terminal has no way to draw over what is there.
    if not sys.stdout.isatty() or os.environ.get("TERM") in (None, "", "dumb"):
        return Lines()
    try:
        from .table import LiveTable  # noqa: PLC0415 - rich is an extra
    except ImportError:
        return Lines()
    return LiveTable(seconds)
