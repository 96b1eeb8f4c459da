"""The boards on a terminal, drawn over again and again; needs rich."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from board import Job
from rich.console import Console
from rich.live import Live
from rich.text import Text
from screen import FILES, WORKERS, Legend, Lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from crew import Look

#: Columns of a worker's cell that has room for its number; lines of events; all lines but the cells.
_TILE, _EVENTS, _OTHER = 10, 4, 12


class LiveBoard(Lines):
    """Cells for the workers, cells for the files, a legend with counts, and the latest events."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = title
        # Drawn by the supervisor alone: rich's own refreshing is a thread, and nothing here needs one.
        self.live = Live(
            console=Console(highlight=False),
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def show(self, look: Look) -> None:
        """Draw the boards."""
        size = self.live.console.size
        self.live.update(draw(self.title, look, size.width, size.height), refresh=True)

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Show the cursor again; the last drawing stays."""
        self.live.stop()


def draw(title: str, look: Look, width: int, height: int) -> Text:
    """Return the whole drawing, which is lower than the terminal by a line at least."""
    room = max(height - 1 - _EVENTS - _OTHER, 2)
    few = len(look.states) <= width // _TILE * min(room // 3, 4)
    across = width // _TILE if few else width
    rows = min(-(-len(look.states) // across), room - min(-(-len(look.jobs) // width), room // 3))
    done = look.jobs.count(Job.DONE)
    totals = (
        f"{look.elapsed:4.1f} s   {done:,} of {len(look.jobs):,} files done   "
        f"{look.kills} killed   {look.back:,} claims given back   {look.races:,} races lost"
    )
    lines = [
        Text(title, "bold"),
        Text("A killer kills a worker now and then, by kill -9. The file that it had claimed goes"),
        Text("back to the others, and a supervisor starts it again. No file may get lost."),
        Text(),
        *_board("worker", look.states, WORKERS, across, rows, numbered=few),
        Text(),
        *_board("file", look.jobs, FILES, width, room - rows),
        Text(),
        Text(totals, "bold"),
        *(Text(f"{when:4.1f} s   {text}") for when, text in look.events[-_EVENTS:]),
    ]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def _board(
    noun: str, states: Sequence[Any], legend: Legend, across: int, rows: int, *, numbered: bool = False
) -> list[Text]:
    """Return a board: what a cell is, how many are in which state, and the cells."""
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
