"""Turns a run's file into tables and charts, in README and docs.

    python benchmarks/report.py RESULTS.json [--to FOLDER] [--into PAGE... [--check]]
        charts into a folder; what a page has between its markers, or only whether it is that
    python benchmarks/report.py RESULTS.json --against OTHER.json
        which bars of two runs are more than 20 % apart, though neither is wide

A page names its machine in the first marker, and its charts are beside the results.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import rows
from growth import GROWTH, described
from machine import description
from results import Results, amount, load, times

AGREE = 1.2
MARKED = re.compile(
    "<!-- (?P<what>benchmarks|figures) of [^ :]+: written by benchmarks/report.py -->.*?"
    "<!-- end of (?P=what) -->",
    re.DOTALL,
)
#: The README's figures: the operation, and what the README says of it.
FIGURES = {
    "value": "reading is {ratio} times faster than `multiprocessing.Value`",
    "set": "writing {ratio} times",
    "compare_and_set": "claiming {ratio} times",
    "create": "creating {ratio} times",
    rows.BYTES: "a value takes {ours}, not {theirs}",
}


def _table(header: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> str:
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))


def machine(run: Results) -> str:
    here = run.machine
    facts = "; ".join(line[10:] for line in description(here))
    return f"{facts}. Measured on {here['date']}: {here['rounds']} rounds, {here['seconds']} s."


def bars(run: Results) -> str:
    """Return each row with its bar, and what became of it."""
    lines = [[cell.replace("MISSED", "**missed**") for cell in row.cells] for row in run.rows]
    return _table(["operation", "against", "ours", "theirs", "reached", "bar", ""], lines, 2)


def growth(run: Results) -> str:
    """Return what grows: a table for each thing, with lines of cost, and what they mean."""
    parts = []
    for what, (by, means) in GROWTH.items():
        if rows.OURS not in (every := run.of(what)):
            continue
        numbers = sorted({figure.at or 0 for figures in every.values() for figure in figures})
        lines = []
        for who, figures in every.items():
            found = {figure.at: amount(figure.median, figure.unit) for figure in figures}
            lines.append([who, *(found.get(n, "") for n in numbers), described(run, what, who)])
        head = [f"{what}: {by}s", *(f"{number:,}" for number in numbers), "line of cost"]
        parts += [_table(head, lines), means(run)]
    return "\n\n".join(parts)


def figures(run: Results) -> str:
    """Return everything that has no number of processes or words, contender by contender."""
    lines = []
    mine = [each for each in run.figures if each.at is None]
    for what in dict.fromkeys(each.what for each in mine):
        for each in sorted((each for each in mine if each.what == what), key=lambda f: f.median):
            low, middle, high = (amount(v, each.unit) for v in (each.low, each.median, each.high))
            lines.append([what, each.who, f"{middle} ({low} - {high})"])
    return _table(["what", "who", "median (quartiles)"], lines, 2)


def missing(run: Results) -> str:
    lines = [[gap.what, gap.who, gap.reason] for gap in run.missing]
    return _table(["not measured", "who", "why"], lines, 3) if lines else ""


def page(run: Results, name: str) -> list[str]:
    titles = {"operations": "Reading and claiming", "wakeups": "Waking", "growth": "What grows"}
    charts = [f"![{titles[k]}](../benchmarks/results/{name}-{k}.svg)" for k in titles]
    return [machine(run), bars(run), missing(run), *charts[:2], growth(run), charts[2]]


def few(run: Results, name: str) -> list[str]:
    """Return what the README has: the chart, and a sentence of five figures at most."""
    found: dict[str, str] = {}
    for row in run.rows:
        if row.title in FIGURES and row.rival == rows.LOCKED:
            ours, theirs = (amount(each or 0, row.unit) for each in (row.ours, row.theirs))
            text = FIGURES[row.title].format(ratio=times(row.reached), ours=ours, theirs=theirs)
            found.setdefault(row.title, text)
    *others, last = (found[what] for what in FIGURES if what in found)
    cpu = run.machine["cpu"].partition(",")[0]
    return [
        f"![Times faster than multiprocessing.Value, as bars](benchmarks/results/{name}-chart.svg)",
        textwrap.fill(f"On an {cpu}, {', '.join(others)}, and {last}.", 96),
    ]


def rewritten(text: str, run: Results, name: str) -> str:
    """Return a page with what is between its markers replaced; ValueError if it has none."""
    found = MARKED.search(text)
    if found is None:
        message = "no markers: <!-- benchmarks of NAME: written by benchmarks/report.py --> ..."
        raise ValueError(message)
    what = found["what"]
    parts = [
        f"<!-- {what} of {name}: written by benchmarks/report.py -->",
        *{"benchmarks": page, "figures": few}[what](run, name),
        f"<!-- end of {what} -->",
    ]
    return MARKED.sub(lambda _: "\n\n".join(part for part in parts if part), text)


def digest(path: Path) -> str:
    """Return what the charts carry of the file that they were made from."""
    return f"made from {path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"


def differing(one: Results, other: Results) -> list[str]:
    """Return the bars of two runs that are too far apart, though neither is wide."""
    second = {(row.title, row.rival): row for row in other.rows}
    pairs = [(row, second.get((row.title, row.rival))) for row in one.rows if row.limit]
    return [
        f"{row.title} / {row.rival}: {row.reached:.4g} and {twin.reached:.4g}"
        for row, twin in pairs
        if twin is not None and not (row.wide or twin.wide)
        if max(row.reached, twin.reached) > AGREE * min(row.reached, twin.reached)
    ]


def main() -> int:
    """Write, check, or compare; 1 if something differs."""
    parser = argparse.ArgumentParser(description="Tables and charts of a run.")
    parser.add_argument("results", type=Path)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="where the charts go")
    parser.add_argument("--into", type=Path, metavar="PAGE", nargs="+", default=[])
    parser.add_argument("--check", action="store_true", help="compare the pages, write nothing")
    parser.add_argument("--against", type=Path, metavar="OTHER", help="another run of this machine")
    arguments = parser.parse_args()
    run, name, wrong = load(arguments.results), arguments.results.stem, []
    if arguments.to:
        import plots

        plots.draw(run, arguments.to, name, digest(arguments.results))
        text = "\n\n".join(part for part in [*page(run, name), figures(run)] if part)
        (arguments.to / f"{name}.md").write_text(text.replace("../benchmarks/results/", "") + "\n")
        print(f"{arguments.to / name}.md, and charts beside it")
    for path in arguments.into:
        text = path.read_text()
        wanted = rewritten(text, run, name)
        if not arguments.check:
            path.write_text(wanted)
        elif text != wanted:
            wrong.append(f"{path} has other figures than {arguments.results}")
    if arguments.against:
        wrong += differing(run, load(arguments.against))
    print("\n".join(wrong), end="\n" * bool(wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
