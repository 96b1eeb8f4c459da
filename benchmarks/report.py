"""Turns the results of a run into tables (Markdown) and plots (SVG).

    python benchmarks/report.py RESULTS.json --to FOLDER     all tables and plots, into a folder
    python benchmarks/report.py RESULTS.json --into PAGE... [--check]
        what a page has between its markers: the short table, or the few figures of the README;
        --check only says whether it is that

A page names its machine in the first marker, and its plots are beside the results.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import tables
from results import amount, load, ratio

if TYPE_CHECKING:
    from results import Results

MARKED = re.compile(
    "<!-- (?P<what>benchmarks|figures) of [^ :]+: written by benchmarks/report.py -->.*?"
    "<!-- end of (?P=what) -->",
    re.DOTALL,
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


def short(run: Results, name: str) -> list[str]:
    """Return what the page of the benchmarks has."""
    return [
        tables.machine(run),
        tables.bars(run),
        f"![Operations in one process](../benchmarks/results/{name}-operations.svg)",
        f"![Several processes](../benchmarks/results/{name}-contended.svg)",
        f"![Waking a sleeper](../benchmarks/results/{name}-wakeups.svg)",
        f"![Arrays](../benchmarks/results/{name}-arrays.svg)",
        tables.bindings(run),
    ]


#: The README's figures: the operation, and what the README says of it.
FIGURES = {
    "value": "reading is {ratio} times faster than `multiprocessing.Value`",
    "set": "writing {ratio} times",
    "compare_and_set": "claiming {ratio} times",
    "create": "creating {ratio} times",
    "bytes of /dev/shm each": "a value takes {ours}, not {theirs}",
}


def few(run: Results, name: str) -> list[str]:
    """Return what the README has: the chart, and a sentence of five figures at most."""
    found: dict[str, str] = {}
    for row in run.bars:  # of the first Python, as in the tables
        if row.what in FIGURES and row.rival == "multiprocessing.Value":
            ours, theirs = (amount(each, row.unit) for each in (row.ours, row.theirs))
            text = FIGURES[row.what].format(ratio=ratio(row.ratio), ours=ours, theirs=theirs)
            found.setdefault(row.what, text)
    *others, last = (found[what] for what in FIGURES if what in found)
    cpu = run.machine["cpu"].partition(",")[0]
    sentence = f"On an {cpu}, {', '.join(others)}, and {last}."
    return [
        f"![Times faster than multiprocessing.Value, as bars](benchmarks/results/{name}-chart.svg)",
        textwrap.fill(sentence, 96),
    ]


def rewritten(page: str, run: Results, name: str) -> str:
    """Return a page with what is between its markers replaced.

    Raises:
        ValueError: it has no markers.

    """
    found = MARKED.search(page)
    if found is None:
        message = "no markers: <!-- benchmarks of NAME: written by benchmarks/report.py --> ..."
        raise ValueError(message)
    what = found["what"]
    parts = [
        f"<!-- {what} of {name}: written by benchmarks/report.py -->",
        *{"benchmarks": short, "figures": few}[what](run, name),
        f"<!-- end of {what} -->",
    ]
    return MARKED.sub(lambda _: "\n\n".join(part for part in parts if part), page)


def digest(path: Path) -> str:
    """Return what the plots carry of the file that they were made from."""
    return f"made from {path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description="Tables and plots of a run.")
    parser.add_argument("results", type=Path)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="where tables and plots go")
    parser.add_argument("--into", type=Path, metavar="PAGE", nargs="+", default=[])
    parser.add_argument("--check", action="store_true", help="compare the pages, write nothing")
    arguments = parser.parse_args()
    run, name = load(arguments.results), arguments.results.stem
    if arguments.to:
        import plots

        arguments.to.mkdir(parents=True, exist_ok=True)
        (arguments.to / f"{name}.md").write_text(full(run, name))
        plots.draw(run, arguments.to, name, digest(arguments.results))
        print(f"{arguments.to / name}.md, and plots beside it")
    different = False
    for path in arguments.into:
        page = path.read_text()
        wanted = rewritten(page, run, name)
        if not arguments.check:
            path.write_text(wanted)
        elif page != wanted:
            print(f"{path} has other figures than {arguments.results}")
            different = True
    return int(different)


if __name__ == "__main__":
    sys.exit(main())
