"""Boards: what arrays look like on a terminal of some size."""

from __future__ import annotations

import string
from collections import Counter
from typing import TYPE_CHECKING, Any

from ..errors import printable
from ..observe import STATES
from .look import styles_of
from .output import GONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..observe import SegmentInfo

#: What each word's column takes at least, where each has one.
_COLUMN = 40

#: Pieces of a line: texts with their styles.
Line = list[tuple[str, str]]


class Board:
    """An array as it is known here.

    Args:
        info: of its segment; may be replaced by a later one.

    """

    def __init__(self, info: SegmentInfo) -> None:
        self.info = info
        self.words: list[str] = []
        self.counts: Counter[str] = Counter()
        self._letters = _letters_of(info)
        self._styles = styles_of(info)

    def change(self, changed: dict[int, str]) -> None:
        """Note what words have become: all of them at first."""
        if not self.words:
            self.words = [*changed.values()]
            self.counts = Counter(self.words)
            return
        for index, name in changed.items():
            self.counts[self.words[index]] -= 1
            self.counts[name] += 1
            self.words[index] = name

    def lines(self, width: int, height: int) -> Iterator[Line]:
        """Yield at most so many lines."""
        yield self._title()
        if not self.words:
            return
        yield []
        counted = [name for name in self.info.members if self.counts[name]]
        shown = counted[: max(height // 3, 2)]
        size = len(self.words)
        longest = max((len(name) for name in shown), default=0)
        bar = max(width - longest - 24, 4)
        for name in shown:
            count, style = self.counts[name], self._styles[name]
            letter, padded = self._letters.get(name, "?"), printable(name).ljust(longest)
            text = f"{count:>10,} {count / size:>4.0%}  "
            length = max(round(bar * count / size), count > 0)
            yield [(f"{letter} {padded}", style), (text, ""), ("█" * length, style)]
        more = len(counted) - len(shown)
        yield [(f"and {more} more", "")] if more else []
        left = max(height - len(shown) - 3, 1)
        columns = -(-size // left)
        if columns * _COLUMN <= max(width, _COLUMN):
            yield from self._each(-(-size // columns), width // columns)
        else:
            yield from self._cells(width, max(left - 1, 1))

    def _title(self) -> Line:
        info = self.info
        line: Line = [
            (info.name, "bold"),
            (f"  {printable(info.enum)}, {len(self.words):,} words", ""),
        ]
        if info.creator is not None:
            style = GONE if info.creator.alive is False else ""
            line += [(", created by ", ""), (str(info.creator), style)]
        owners = set(info.owners.values())
        dead = sum(owner.alive is False for owner in owners)
        if info.on_death is not None:
            line.append((f", {len(owners)} owner{'s' * (len(owners) != 1)}", ""))
        if dead:
            line.append((f", {dead} of them {STATES[False]}", GONE))
        return line

    def _each(self, rows: int, width: int) -> Iterator[Line]:
        """Yield lines with a column for each word, and who owns it."""
        digits = len(str(len(self.words) - 1))
        for row in range(rows):
            line: Line = []
            for index in range(row, len(self.words), rows):
                name, owner = self.words[index], self.info.owners.get(index)
                text = f"{index:>{digits}} {printable(name)}"[: width - 1]
                whose = "" if owner is None else f"  {owner}"[: width - 1 - len(text)]
                style = GONE if owner is not None and owner.alive is False else "dim"
                space = " " * (width - len(text) - len(whose))
                line += [(text, self._styles[name]), (whose, style), (space, "")]
            yield line

    def _cells(self, width: int, rows: int) -> Iterator[Line]:
        """Yield lines with a letter for each word, or for several."""
        size = len(self.words)
        each = -(-size // (width * max(rows, 1)))
        cells = [
            Counter(self.words[at : at + each]).most_common(1)[0][0] for at in range(0, size, each)
        ]
        for at in range(0, len(cells), width):
            yield [
                (self._letters.get(name, "?"), self._styles[name])
                for name in cells[at : at + width]
            ]
        several = f"a letter is {each:,} words: what most of them are"
        yield [("a letter is a word" if each == 1 else several, "dim")]


def _letters_of(info: SegmentInfo) -> dict[str, str]:
    """Return a letter for each member, its own if it can be."""
    free = dict.fromkeys(string.ascii_uppercase + string.ascii_lowercase + string.digits)
    letters = {}
    for name in info.members:
        wanted = [letter for letter in name.upper() + name.lower() if letter in free]
        letters[name] = next(iter(wanted or free), "#")
        free.pop(letters[name], None)
    return letters


def frame(boards: list[Board], lines: list[tuple[str, str]], width: int, height: int) -> Any:
    """Return what fills a terminal: the boards, and below them the last of the lines."""
    from rich.text import Text  # noqa: PLC0415 - an extra

    rest = min(len(lines), max(height // 3, 1)) if lines else 0
    share = (height - rest - 1) // len(boards)
    text = Text(no_wrap=True, overflow="crop", end="")
    printed = 0
    for board in boards:
        shown = list(board.lines(width, share - 1))[: share - 1] if share > 1 else []
        for pieces in [*shown, *[[]] * (share - len(shown))]:
            text.append_text(_cropped(pieces, width)).append("\n")
            printed += 1
    for said, style in lines[len(lines) - rest :]:
        text.append(said[:width], style or None).append("\n")
        printed += 1
    text.append("\n" * (height - printed - 1))
    return text.append("q ends"[:width], "dim")


def _cropped(pieces: Line, width: int) -> Any:
    from rich.text import Text  # noqa: PLC0415

    text = Text.assemble(*((piece, style) for piece, style in pieces), no_wrap=True, end="")
    text.truncate(width, overflow="ellipsis")
    return text
