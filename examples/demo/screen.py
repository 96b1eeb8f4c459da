"""What is drawn on a terminal by rich, and plain lines elsewhere."""

import contextlib
import functools
import os
import sys
from collections import Counter
from typing import Any, NamedTuple

from board import Job, State

with contextlib.suppress(ImportError):  # rich is an extra
    from rich.live import Live
    from rich.text import Text

say = functools.partial(print, flush=True)  # at once, whoever reads it
#: A cell's letter and colour, and what they mean.  The most important comes first.
Legend = dict[Any, tuple[str, str, str]]
WORKERS: Legend = {
    State.DEAD: ("X", "bold white on red", "dead"),
    State.STARTING: ("S", "black on bright_cyan", "starting"),
    State.HASHING: ("H", "black on yellow", "hashing"),
    State.WAITING: ("w", "black on green", "waiting"),
}
FILES: Legend = {
    Job.RUNNING: ("r", "black on yellow", "claimed"),
    Job.PENDING: ("p", "white on blue", "pending"),
    Job.COMING: (".", "bright_black", "to come"),
    Job.DONE: ("d", "green", "done"),
}
_INTRODUCTION = """\
Each worker sleeps until a file comes, claims it, and hashes it.  Now and then a
killer kills a worker by kill -9.  What it had claimed goes back to the others,
and a supervisor starts it again.
"""


class Look(NamedTuple):
    """What is to be seen at one moment."""

    title: str
    elapsed: float
    states: list[State]
    jobs: list[Job]
    totals: str
    events: list[str]


class Screen:
    """A live drawing if standard output is a terminal and rich is installed, else lines."""

    def __init__(self) -> None:
        self.live: Live | None = None
        self.told, self.due = 0, 0.0
        # A dumb terminal has no way to draw over what is there.
        terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")
        if terminal and "Live" in globals():
            # Drawn by the supervisor alone: rich's own refreshing is a thread.
            self.live = Live(auto_refresh=False, redirect_stdout=False)
            self.live.start()

    def show(self, look: Look) -> None:
        """Draw it, or print what is new."""
        if self.live:
            self.live.update(draw(look, *self.live.console.size), refresh=True)
            return
        for text in look.events[self.told :]:
            say(text)
        self.told = len(look.events)
        if look.elapsed >= self.due:
            self.due = look.elapsed + 0.5
            counts = Counter(look.states)
            states = ", ".join(f"{counts[state]:,} {state.name}" for state in State)
            say(f"{look.elapsed:4.1f} s   {states}; {look.totals}")

    def close(self) -> None:
        """Leave the terminal as it was, with the last drawing on it."""
        if self.live:
            self.live.stop()


def draw(look: Look, width: int, height: int) -> "Text":
    """Return the drawing, which is lower than the terminal by a line at least."""
    room = max(height - 17, 3)  # what is left for cells
    few = len(look.states) <= width // 10 * min(room // 3, 4)  # so that they can be numbered
    across = width // 10 if few else width
    rows = min(-(-len(look.states) // across), room - min(-(-len(look.jobs) // width), room // 3))
    lines = [
        Text(look.title, "bold"),
        *map(Text, _INTRODUCTION.split("\n")),
        *_board("worker", look.states, WORKERS, across, rows, "{:>4} {}   " if few else "{1}"),
        Text(),
        *_board("file", look.jobs, FILES, width, room - rows, "{1}"),
        Text(),
        Text(f"{look.elapsed:4.1f} s   {look.totals}", "bold"),
        *map(Text, [*look.events[-4:], *[""] * 4][:4]),
    ]
    for line in lines:
        line.truncate(width, overflow="crop")
    return Text("\n").join(lines)


def _board(noun: str, states: list[Any], legend: Legend, across: int, rows: int, cell: str) -> Any:
    counts, each, text = Counter(states), -(-len(states) // (across * rows)), "a cell each"
    if each > 1:
        groups = (states[begin : begin + each] for begin in range(0, len(states), each))
        states = [min(group, key=[*legend].index) for group in groups]
        letters = " ".join(letter for letter, _, _ in legend.values())
        text = f"a cell is {each:,} {noun}s, and shows the first of {letters} among them"
    lines = [Text(f"{noun.upper()}S: {text}"), Text()]
    for state in sorted(legend):
        letter, style, meaning = legend[state]
        lines[1].append(f" {letter} ", style).append(f" {counts[state]:,} {meaning}   ")
    for number, state in enumerate(states):
        if number % across == 0:
            lines.append(Text())
        letter, style, _ = legend[state]
        lines[-1].append(cell.format(number + 1, letter), style).append(" " * (len(cell) > 3))
    return lines
