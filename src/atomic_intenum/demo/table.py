"""The live table; needs rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .crew import Status

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from .crew import Look

__all__ = ["LiveTable"]

_STYLES = {
    Status.UNAVAILABLE: "dim",
    Status.IDLE: "green",
    Status.CALCULATING: "bold yellow",
}

#: So that the columns stay where they are when a status changes.
_WIDEST = max(len(status.name) for status in Status)


class LiveTable:
    """A table that is drawn over again and again.

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

    def show(self, elapsed: float, looks: list[Look]) -> None:
        """Draw status, files done and transitions of each worker."""
        files = sum(look.files for look in looks)
        transitions = sum(look.transitions for look in looks)
        table = Table(
            box=box.SIMPLE_HEAVY,
            show_footer=True,
            caption=f"{elapsed:.1f} s of {self._seconds:.1f} s, {files / elapsed:,.0f} files/s",
            caption_justify="left",
        )
        table.add_column("worker", "all", justify="right")
        table.add_column("status", min_width=_WIDEST)
        table.add_column("files done", f"{files:,}", justify="right", min_width=10)
        table.add_column("transitions", f"{transitions:,}", justify="right", min_width=11)
        for number, look in enumerate(looks, 1):
            status = Text(look.status.name, _STYLES[look.status])
            table.add_row(str(number), status, f"{look.files:,}", f"{look.transitions:,}")
        self._live.update(table, refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Show the cursor again; the last table stays."""
        self._live.stop()
