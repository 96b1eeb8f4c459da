"""README and documentation as pages: their examples, which the tests run as scripts.

A comment before a python block says what is special about it, with commas between::

    <!-- example: continues, needs numpy -->

``continues``: the block goes on where the one before it ended; both are one script.
``needs NAME``: skipped where NAME cannot be imported; ``needs life locks``: where the kernel does
not tell who lives; ``needs SIGKILL``: on Windows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from helpers.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

README = ROOT / "README.md"
DOCS = ROOT / "docs"

#: Each python block, what is said of it, and the text block behind it: what it prints.
BLOCK = re.compile(
    r"(?:^<!-- example: (?P<notes>.*?) -->\n+)?"
    r"^```python\n(?P<code>.*?)^```\n(?:\n^```text\n(?P<output>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)


@dataclass
class Example:
    """One script: a block, and those that continue it.

    Attributes:
        name: of the page, and the example's number there.
        code: all of it.
        output: what it prints.
        notes: what the comments say.

    """

    name: str
    code: str = ""
    output: str = ""
    notes: set[str] = field(default_factory=set)

    @property
    def needs(self) -> list[str]:
        """The modules, and what else, without which it is skipped."""
        return sorted(note.removeprefix("needs ") for note in self.notes if "needs " in note)

    @property
    def needs_core(self) -> bool:
        """Whether it does what the lock-based path cannot: a value sent later, or a name."""
        return "ProcessPoolExecutor(" in self.code or "segment_name=" in self.code


def pages() -> list[Path]:
    """Return README and all pages of the documentation that are here."""
    return [page for page in [README, *sorted(DOCS.rglob("*.md"))] if page.is_file()]


def examples_of(page: Path) -> list[Example]:
    """Return a page's scripts."""
    found: list[Example] = []
    for block in BLOCK.finditer(page.read_text()):
        notes = set((block["notes"] or "").split(", ")) - {""}
        if "continues" not in notes:
            name = page.relative_to(ROOT).with_suffix("")
            found.append(Example(f"{name}-{len(found)}"))
        found[-1].code += block["code"]
        found[-1].output += block["output"] or ""
        found[-1].notes |= notes - {"continues"}
    return found
