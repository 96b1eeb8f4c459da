"""What is drawn on a terminal by rich, and plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from board import Job, State

if TYPE_CHECKING:
    from rich.text import Text

#: A cell's letter and colour, and what they mean.  The most important comes first.
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

#: Columns of a worker's cell that has room for its number; lines of events; lines but cells.
_TILE, _EVENTS, _OTHER = 10, 4, 16


class Look(NamedTuple):
    """What is to be seen at one moment."""

    title: str
    elapsed: float
    states: list[State]
    jobs: list[Job]
    totals: str
    events: list[str]


def say(text: str = "") -> None:
    """Print a line at once, whoever reads it."""
    print(text, flush=True)


class Lines:
    """Prints a line now and then, and one for each event; and what any other screen has to do."""

    def __init__(self) -> None:
        self.told, self.next = 0, 0.0

    def show(self, look: Look) -> None:
        """Show what is new."""
        for text in look.events[self.told :]:
            say(text)
        self.told = len(look.events)
        if look.elapsed >= self.next:
            self.next = look.elapsed + 0.7
            counts = Counter(look.states)
            states = ", ".join(f"{counts[state]:,} {state.name}" for state in State)
            say(f"{look.elapsed:4.1f} s   {states}; {look.totals}")

    def close(self) -> None:
        """Leave the terminal as it was, with the last drawing on it."""


class Live(Lines):
    """Draws over what it drew."""

    def __init__(self) -> None:
        from rich import console, live  # noqa: PLC0415 - rich is an extra

        # Drawn by the supervisor alone: rich's own refreshing is a thread, and nothing needs one.
        self.live = live.Live(console=console.Console(), auto_refresh=False, redirect_stdout=False)
        self.live.start()

    def show(self, look: Look) -> None:
        """Draw it."""
        self.live.update(draw(look, *self.live.console.size), refresh=True)

    def close(self) -> None:
        """Show the cursor again; the last drawing stays."""
        self.live.stop()


def make_screen() -> Lines:
    """Return a live drawing if standard output is a terminal and rich is installed, else lines."""
    # A dumb terminal has no way to draw over what is there.
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb"):
        try:
            return Live()
        except ImportError:
            pass
    return Lines()


def draw(look: Look, width: int, height: int) -> Text:
    """Return the drawing, which is lower than the terminal by a line at least."""
    from rich.text import Text  # noqa: PLC0415

    room = max(height - _OTHER, 2)
    few = len(look.states) <= width // _TILE * min(room // 3, 4)
    across = width // _TILE if few else width
    rows = min(-(-len(look.states) // across), room - min(-(-len(look.jobs) // width), room // 3))
    events = [*look.events[-_EVENTS:], *[""] * _EVENTS][:_EVENTS]
    lines = [
        Text(look.title, "bold"),
        Text("Now and then a killer kills a worker by kill -9. What it had claimed goes back to"),
        Text("the others, and a supervisor starts the worker again. No file may get lost."),
        Text(),
        *_board("worker", look.states, WORKERS, across, rows, numbered=few),
        Text(),
        *_board("file", look.jobs, FILES, width, room - rows),
        Text(),
        Text(f"{look.elapsed:4.1f} s   {look.totals}", "bold"),
        *map(Text, events),
    ]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def _board(
    noun: str,
    states: Sequence[Any],
    legend: Legend,
    across: int,
    rows: int,
    *,
    numbered: bool = False,
) -> list[Text]:
    """Return a board: what a cell is, how many are in which state, and the cells."""
    from rich.text import Text  # noqa: PLC0415

    counts = Counter(states)
    each = -(-len(states) // (across * rows))
    text = "a cell each"
    if each > 1:
        order = {state: place for place, state in enumerate(legend)}
        groups = (states[begin : begin + each] for begin in range(0, len(states), each))
        states = [min(group, key=order.__getitem__) for group in groups]
        letters = " ".join(letter for letter, _, _ in legend.values())
        text = f"a cell is {each:,} {noun}s, and shows the first of {letters} among them"
    parts = [
        Text.assemble((f" {letter} ", style), f" {counts[state]:,} {meaning}")
        for state, (letter, style, meaning) in reversed(legend.items())
    ]
    lines = [Text(f"{noun.upper()}S: {text}"), Text("   ").join(parts)]
    for begin in range(0, len(states), across):
        line = Text()
        for number, state in enumerate(states[begin : begin + across], begin + 1):
            letter, style, _ = legend[state]
            line.append(f" {number:>3}  {letter} " if numbered else letter, style)
            line.append("  " if numbered else "")
        lines.append(line)
    return lines
