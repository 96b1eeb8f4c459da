"""The board on a terminal, drawn over again and again; needs rich."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from board import Status
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text
from screen import Lines, in_words

if TYPE_CHECKING:
    from typing import Self

    from monitor import Look
    from rich.console import ConsoleOptions, RenderableType, RenderResult

_STYLES = {
    Status.UNAVAILABLE: Style.parse("dim"),
    Status.IDLE: Style.parse("green"),
    Status.CALCULATING: Style.parse("bold yellow"),
}

#: A worker's cell.  Not its colour alone: terminals and people may have none.
_CELLS = {Status.UNAVAILABLE: "\u00b7", Status.IDLE: "\u25a1", Status.CALCULATING: "\u25a0"}
_ASCII_CELLS = {Status.UNAVAILABLE: ".", Status.IDLE: "o", Status.CALCULATING: "#"}

#: So that the columns stay where they are when a status changes.
_WIDEST = max(len(status.name) for status in Status)

#: Workers that get a row each, if the terminal is high enough.
_MOST_ROWS = 16

#: Lines of the table beside the workers' rows, the caption included.
_TABLE_LINES = 7

#: Lines below the cells: what does not fit, the counts, the caption, and the cursor's own.
_CELL_LINES = 4


class LiveBoard(Lines):
    """A row for each of a few workers, or a cell for each of many.

    Args:
        seconds: that the work takes.

    """

    interval = 0.1

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # Drawn by the monitor alone: rich's own refreshing is a thread, and nothing here needs one.
        self._live = Live(
            console=Console(),
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def show(self, elapsed: float, look: Look) -> None:
        """Draw the statuses, and what the workers have done."""
        caption = f"{elapsed:.1f} s of {self._seconds:.1f} s, {in_words(look)}"
        rows = len(look.statuses)
        few = rows <= min(_MOST_ROWS, self._live.console.height - _TABLE_LINES)
        drawing = _table(look, caption) if few else _cells(look, caption)
        self._live.update(drawing, refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Show the cursor again; the last drawing stays."""
        self._live.stop()


def _table(look: Look, caption: str) -> Table:
    """Return status, files done and transitions of each worker."""
    table = Table(box=box.SIMPLE_HEAVY, show_footer=True, caption=caption, caption_justify="left")
    table.add_column("worker", "all", justify="right")
    table.add_column("status", min_width=_WIDEST)
    table.add_column("files done", f"{sum(look.files):,}", justify="right", min_width=10)
    transitions = f"{sum(look.transitions):,}"
    table.add_column("transitions", transitions, justify="right", min_width=11)
    workers = zip(look.statuses, look.files, look.transitions, strict=True)
    for number, (status, files, changes) in enumerate(workers, 1):
        name = Text(status.name, _STYLES[status])
        table.add_row(str(number), name, f"{files:,}", f"{changes:,}")
    return table


def _cells(look: Look, caption: str) -> RenderableType:
    return Group(_Cells(look), _line(caption, "dim"))


class _Cells:
    """A cell for each worker, as many as fit, and a count for each status."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        look = self._look
        cells = _ASCII_CELLS if options.ascii_only else _CELLS
        width = options.max_width
        fitting = width * max(console.height - _CELL_LINES, 1)
        # Runs of equal cells, not single ones: thousands of styled characters take a while.
        for begin in range(0, min(len(look.statuses), fitting), width):
            for status, run in groupby(look.statuses[begin : begin + width]):
                yield Segment(cells[status] * len(list(run)), _STYLES[status])
            yield Segment.line()
        rest = look.statuses[fitting:]
        if rest:
            beyond = Counter(rest)
            words = ", ".join(f"{beyond[status]:,} {status.name}" for status in Status)
            yield _line(f"and {len(rest):,} workers that do not fit here: {words}", "dim")
        yield _line("   ").join(
            Text(f"{cells[status]} {number:,} {status.name}", _STYLES[status])
            for status, number in look.counts.items()
        )


def _line(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")
