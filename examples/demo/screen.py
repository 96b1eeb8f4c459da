"""What is drawn, and plain lines where it cannot be drawn."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from board import Job, State

if TYPE_CHECKING:
    from typing import Self

    from crew import Look

#: A cell's letter and colour, and what it means; where a cell stands for several, it shows the one
#: of them that comes first here.
Legend = dict[Any, tuple[str, str, str]]
WORKERS: Legend = {
    State.DEAD: ("X", "bold white on red", "dead"),
    State.STARTING: ("S", "black on bright_cyan", "starting"),
    State.HASHING: ("H", "black on yellow", "hashing"),
    State.WAITING: ("w", "black on green", "asleep until a file comes"),
}
FILES: Legend = {
    Job.RUNNING: ("r", "black on yellow", "claimed"),
    Job.PENDING: ("p", "white on blue", "pending"),
    Job.COMING: (".", "bright_black", "to come"),
    Job.DONE: ("d", "green", "done"),
}


def say(text: str = "") -> None:
    """Print a line at once, whoever reads it."""
    print(text, flush=True)


class Lines:
    """A line a second and one for each event; and what any other screen has to do."""

    def __init__(self) -> None:
        self.told = 0
        self.next = 0.0

    def show(self, look: Look) -> None:
        """Print what is new."""
        for when, text in look.events[self.told :]:
            say(f"{when:5.1f} s | {text}")
        self.told = len(look.events)
        done = look.jobs.count(Job.DONE)
        if look.elapsed >= self.next or done == len(look.jobs):
            self.next = look.elapsed + 1.0
            counts = Counter(look.states)
            words = ", ".join(f"{counts[state]:,} {state.name}" for state in State)
            say(f"{look.elapsed:5.1f} s | {words} | {done:,} of {len(look.jobs):,} files DONE")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was, with the last drawing on it."""


def make_screen(title: str) -> Lines:
    """Return a live drawing if standard output is a terminal and rich is installed, else lines."""
    # A dumb terminal has no way to draw over what is there.
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb"):
        try:
            from live import LiveBoard  # noqa: PLC0415 - rich is an extra
        except ImportError:
            pass
        else:
            return LiveBoard(title)
    return Lines()
