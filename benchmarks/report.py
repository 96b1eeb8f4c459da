"""Turns the results of a run into tables (Markdown) and plots (SVG).

    python benchmarks/report.py RESULTS.json --to FOLDER     all tables and plots, into a folder
    python benchmarks/report.py RESULTS.json --readme README.md [--check]
        the short table between the README's markers; --check only says whether it is that

The README names its machine in the first marker, and its plots are beside the results.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import tables
from results import load

if TYPE_CHECKING:
    from results import Results

BEGIN = "<!-- benchmarks of {name}: written by benchmarks/report.py -->"
END = "<!-- end of benchmarks -->"
MARKED = re.compile(
    re.escape(BEGIN).replace(re.escape("{name}"), "([^ :]+)") + ".*?" + re.escape(END), re.DOTALL
)


def full(run: Results, name: str) -> str:
    """Return all tables of a run."""
    sections = [
        ("What is promised", tables.bars(run)),
        ("Operations, one process", tables.operations(run)),
        ("Bindings", tables.bindings(run)),
        ("Waking a sleeper", tables.wakeups(run)),
        ("Several processes", tables.contended(run)),
        ("Arrays", tables.arrays(run)),
        ("Not measured", tables.missing(run)),
    ]
    text = [f"# Benchmarks of {name}", tables.machine(run), tables.READING]
    text += [f"## {title}\n\n{table}" for title, table in sections if table]
    return "\n\n".join(text) + "\n"


def short(run: Results, name: str) -> str:
    """Return what the README has, markers included."""
    parts = [
        BEGIN.format(name=name),
        tables.machine(run),
        tables.bars(run),
        f"![Operations in one process](benchmarks/results/{name}-operations.svg)",
        f"![Several processes](benchmarks/results/{name}-contended.svg)",
        f"![Waking a sleeper](benchmarks/results/{name}-wakeups.svg)",
        f"![Arrays](benchmarks/results/{name}-arrays.svg)",
        tables.bindings(run),
        END,
    ]
    return "\n\n".join(part for part in parts if part)


def rewritten(readme: str, run: Results, name: str) -> str:
    """Return the README with what is between its markers replaced.

    Raises:
        ValueError: it has no markers.

    """
    if MARKED.search(readme) is None:
        message = f"no markers: {BEGIN} ... {END}"
        raise ValueError(message)
    return MARKED.sub(lambda _: short(run, name), readme)


def digest(path: Path) -> str:
    """Return what the plots carry of the file that they were made from."""
    return f"made from {path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description="Tables and plots of a run.")
    parser.add_argument("results", type=Path)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="where tables and plots go")
    parser.add_argument("--readme", type=Path, metavar="PATH")
    parser.add_argument("--check", action="store_true", help="compare the README, write nothing")
    arguments = parser.parse_args()
    run, name = load(arguments.results), arguments.results.stem
    if arguments.to:
        import plots

        arguments.to.mkdir(parents=True, exist_ok=True)
        (arguments.to / f"{name}.md").write_text(full(run, name))
        plots.draw(run, arguments.to, name, digest(arguments.results))
        print(f"{arguments.to / name}.md, and plots beside it")
    if arguments.readme:
        readme = arguments.readme.read_text()
        wanted = rewritten(readme, run, name)
        if arguments.check:
            if readme != wanted:
                print(f"{arguments.readme} has other figures than {arguments.results}")
                return 1
        else:
            arguments.readme.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
