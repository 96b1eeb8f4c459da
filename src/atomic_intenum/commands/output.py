"""How commands print: by rich on a terminal, where it is installed; else as plain text, or JSON."""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import printable

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
    made = Console(highlight=False)
    return None if made.is_dumb_terminal else made


def document(**content: Any) -> None:
    """Print one JSON object, in a line."""
    print(json.dumps({"schema": SCHEMA, **content}), flush=True)


def table(
    headings: Sequence[str], rows: Sequence[Sequence[Cell]], giving: dict[str, int] | None = None
) -> None:
    """Print a table.

    Args:
        headings: of the columns; one that begins with ``>`` has numbers, to the right.
        rows: their cells.
        giving: the columns that give way where a terminal is narrow, in this order, and to what
            width.

    """
    right = [heading.startswith(">") for heading in headings]
    cells = [[Cell(heading.lstrip(">"), "bold") for heading in headings], *rows]
    widths = [max(len(cell.text) for cell in column) for column in zip(*cells, strict=True)]
    to = console()
    over = 0 if to is None else sum(widths) + 2 * (len(widths) - 1) - to.width
    for heading, narrowest in (giving or {}).items():
        column = headings.index(heading)
        less = max(min(over, widths[column] - narrowest), 0)
        widths[column] -= less
        over -= less
    for row in cells:
        line(*(_fitted(*each) for each in zip(row, widths, right, strict=True)))


def _fitted(cell: Cell, width: int, right: bool) -> Cell:  # noqa: FBT001
    """Return a cell as wide as its column, and the space behind it."""
    text = cut(cell.text, width)
    return Cell((text.rjust(width) if right else text.ljust(width)) + "  ", cell.style)


def line(*cells: Cell | str) -> None:
    """Print a line of some texts."""
    to = console()
    texts = [Cell(cell) if isinstance(cell, str) else cell for cell in cells]
    pieces = [Cell(printable(cell.text), cell.style) for cell in texts]
    if to is None:
        print("".join(piece.text for piece in pieces).rstrip(), flush=True)
        return
    from rich.text import Text  # noqa: PLC0415 - an extra

    text = Text.assemble(*pieces)
    text.rstrip()
    to.print(text, soft_wrap=True)


def complain(text: object) -> None:
    """Print a line to stderr."""
    print(printable(str(text)), file=sys.stderr)


def cut(text: str, width: int) -> str:
    """Return a text that is not longer than that."""
    return text if len(text) <= width else text[: width - 1] + "…"


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
