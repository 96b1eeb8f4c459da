"""The results of a run as charts, SVG with text as text: for grey paper, and 600 pixels wide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import rows
from growth import GROWTH, line_of
from results import Results

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.ticker import EngFormatter
from results import amount, times

WIDTH = 6.25  # inches, of 96 pixels
DARK, PALE, OTHERS, MARKERS = "#0b5e44", "#c4cecb", ["#777777", "#c1440e", "#3366aa"], "osD^"
#: The rows of the chart: of which operation, and what it is called there.
CHART = {
    "value": "read",
    "set": "write",
    "create": "create",
    "compare_and_set": "claim: compare and set",
    rows.TWO: "claim, two processes at once",
    rows.COUNTS: "count 10,000 statuses",
}


def _axes(rows_: int, columns: int, height: float) -> tuple[Any, list[Any]]:
    figure, axes = plt.subplots(rows_, columns, figsize=(WIDTH, height), squeeze=False)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
        ax.minorticks_off()
    return figure, list(axes.flat)


def _bars(named: Sequence[tuple[str, float, str, bool]], title: str) -> Any:
    """Draw labelled bars: a name, a length, its label, and whether it is ours."""
    figure, [ax] = _axes(1, 1, 0.8 + 0.3 * len(named))
    names, lengths, labels, ours = zip(*named, strict=True)
    places, colours = range(len(named)), [DARK if each else PALE for each in ours]
    drawn = ax.barh(places, lengths, height=0.65, color=colours, edgecolor="#333333", linewidth=0.5)
    ax.bar_label(drawn, labels, padding=4, fontsize=9)
    ax.set_yticks(places, names)
    ax.set_xlim(min(1, *lengths) / 1.5, 6 * max(lengths))
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0, labelsize=9)
    figure.suptitle(title, fontsize=9, x=0.02, ha="left")
    return figure


def chart(run: Results) -> Any:
    """Draw how many times faster than multiprocessing.Value it is."""
    mine = [row for row in run.rows if row.faster and row.rival in (rows.LOCKED, rows.VALUES)]
    found = {row.title: row.reached for row in mine}
    named = [(CHART[k], found[k], f"{times(found[k])} x", True) for k in CHART if k in found]
    return _bars(named, "times faster than multiprocessing.Value (log scale)")


def _takes(run: Results, titles: dict[str, str], unit: float, title: str) -> Any:
    named = []
    for what, name in titles.items():
        mine = [each for each in run.figures if each.what == what and "mean" not in each.who]
        for each in sorted(mine, key=lambda each: each.median):
            label = amount(each.median, "s")
            named.append((name + each.who, each.median / unit, label, rows.OURS in each.who))
    return _bars(named, title)


def operations(run: Results) -> Any:
    titles = {"load": "read: ", "compare_and_set": "claim: "}
    return _takes(run, titles, 1e-9, "nanoseconds for one (log scale)")


def wakeups(run: Results) -> Any:
    title = "microseconds to wake another process, and back (log scale)"
    return _takes(run, {rows.TURN: ""}, 1e-6, title)


def growth(run: Results) -> Any:
    """Draw what grows, each thing with its contenders and their lines of cost."""
    figure, axes = _axes(3, 2, 8.4)
    for ax, (what, (by, _)) in zip(axes, GROWTH.items(), strict=True):
        for place, (who, figures) in enumerate(run.of(what).items()):
            colour = DARK if who == rows.OURS else OTHERS[place % len(OTHERS)]
            numbers, line = [each.at or 0 for each in figures], line_of(run, what, who)
            medians = [each.median * 1e6 for each in figures]
            ax.plot(numbers, medians, MARKERS[place], markersize=4, color=colour, label=who)
            ax.plot(numbers, [line.at(n) * 1e6 for n in numbers], color=colour, linewidth=0.8)
        ax.set_yscale("log")
        ax.set_title(f"{what}: us", fontsize=8, loc="left")
        ax.set_xlabel(f"{by}s", fontsize=8)
        ax.grid(linewidth=0.3)
        ax.legend(fontsize=6.5, frameon=False)
    return figure


CHARTS = {"chart": chart, "operations": operations, "wakeups": wakeups, "growth": growth}


def draw(run: Results, folder: Path, name: str, origin: str) -> None:
    """Write the charts, NAME-CHART.svg, each with a note of what it was made from."""
    # Text as text, and the same file from the same figures.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"})
    folder.mkdir(parents=True, exist_ok=True)
    for kind, make in CHARTS.items():
        figure, path = make(run), folder / f"{name}-{kind}.svg"
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None, "Description": origin}, transparent=False)
        plt.close(figure)
        # matplotlib leaves spaces at the end of lines.
        lines = (line.rstrip() for line in path.read_text().splitlines())
        path.write_text("\n".join(lines) + "\n")
