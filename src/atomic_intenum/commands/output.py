"""How commands print: by rich on a terminal, where it is installed; else as plain text, or JSON."""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The version of what --json prints.
SCHEMA = 1

#: What members look like, in their order.
PALETTE = ("green", "yellow", "cyan", "magenta", "blue", "bright_red", "bright_green", "white")
GONE = "bold red"


class ProblemError(ValueError):
    """Why a command cannot do what it was told: one line on stderr, and exit code 2."""


class Cell(NamedTuple):
    """A text, and how rich shows it."""

    text: str
    style: str = ""


@functools.cache
def console() -> Any:
    """Return rich's console; None where stdout is no terminal, or there is no rich."""
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return Console(highlight=False)


def document(**content: Any) -> None:
    """Print one JSON object, in a line."""
    print(json.dumps({"schema": SCHEMA, **content}), flush=True)


def table(headings: Sequence[str], rows: Sequence[Sequence[Cell]], *, wide: str = "") -> None:
    """Print a table.

    Args:
        headings: of the columns; one that begins with ``>`` has numbers, to the right.
        rows: their cells.
        wide: the heading of the column that gives way where a terminal is narrow.

    """
    names = [heading.lstrip(">") for heading in headings]
    right = [heading.startswith(">") for heading in headings]
    to = console()
    if to is None:
        texts = [names, *([cell.text for cell in row] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        for line in texts:
            padded = (
                text.rjust(width) if side else text.ljust(width)
                for text, width, side in zip(line, widths, right, strict=True)
            )
            print("  ".join(padded).rstrip())
        return
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name, side in zip(names, right, strict=True):
        giving = name == wide
        grid.add_column(
            name,
            justify="right" if side else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=min(len(name), 8) if giving else None,
            ratio=None,
        )
    for row in rows:
        grid.add_row(*(Text(cell.text, cell.style) for cell in row))
    to.print(grid)


def line(text: str, style: str = "") -> None:
    """Print a line."""
    to = console()
    if to is None:
        print(text, flush=True)
    else:
        to.print(text, style=style or None, markup=False, soft_wrap=True)


def age(seconds: float) -> str:
    """Return how long something has been there, for people."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def ranges(indices: Sequence[int]) -> str:
    """Return ascending indices for people: 0-3, 7."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ", ".join(f"{low}-{high}" if low < high else str(low) for low, high in runs)
