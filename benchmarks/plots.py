"""The results of a run as plots, SVG with text as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from results import ratio

if TYPE_CHECKING:
    from pathlib import Path

    from results import Figure, Results

#: The operations that are drawn; the tables have all.
OPERATIONS = ("load", "value", "name", "== member", "set", "compare_and_set", "create")
#: Ours in strong colours, all others in greys and pales; the same everywhere.
COLOURS = {
    "atomic_intenum native": "#0b6e4f",
    "atomic_intenum cffi": "#3aa17e",
    "atomic_intenum lock": "#9ad1b8",
    "multiprocessing.Value": "#c1440e",
    "the original": "#e58f65",
    "atomicshm": "#3366aa",
    "numpy": "#3366aa",
    "floor": "#999999",
    "plain C": "#999999",
}
OTHERS = ["#8a5a9e", "#b8860b", "#7a6a5a", "#cc7799", "#556b2f", "#444444"]


def _colours(labels: list[str]) -> dict[str, str]:
    """Return a colour for each label; no two labels of a plot have the same."""
    others = iter(OTHERS * 3)
    found = {label: COLOURS[label] for label in labels if label in COLOURS}
    for label in labels:
        known = next((COLOURS[name] for name in COLOURS if label.startswith(name)), None)
        if label not in found:
            found[label] = known if known and known not in found.values() else next(others)
    return {label: found[label] for label in labels}


def _axes(columns: int, rows: int, width: float, height: float) -> tuple[Any, list[Any]]:
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False)
    flat = list(axes.flat)
    for ax in flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    return figure, flat


def _labels(figures: list[Figure]) -> list[str]:
    return list(dict.fromkeys(figure.who for figure in figures))


def operations(run: Results) -> Any:
    """Draw what an operation takes: a dot for the median, a line for the quartiles."""
    figures = [each for each in run.figures if each.part == "operations"]
    wanted = [what for what in OPERATIONS if any(each.what == what for each in figures)]
    figures = [each for each in figures if each.what in wanted and "hoisted" not in each.who]
    labels = sorted(
        {each.who for each in figures if "races" not in each.who},
        key=lambda who: min(each.median for each in figures if each.who == who),
    )
    colours = _colours(labels)
    figure, [ax] = _axes(1, 1, 10, 5)
    for place, label in enumerate(labels):
        mine = {each.what: each for each in figures if each.who == label}
        shift = (place - len(labels) / 2) * 0.09
        rows = [number + shift for number, what in enumerate(wanted) if what in mine]
        found = [mine[what] for what in wanted if what in mine]
        ax.errorbar(
            [each.median * 1e9 for each in found],
            rows,
            xerr=[
                [(each.median - each.low) * 1e9 for each in found],
                [(each.high - each.median) * 1e9 for each in found],
            ],
            fmt="o",
            markersize=4,
            linewidth=1,
            color=colours[label],
            label=label,
        )
    ax.set_xscale("log")
    ax.set_yticks(range(len(wanted)), wanted)
    ax.invert_yaxis()
    ax.set_xlabel("nanoseconds for one, median and quartiles; log scale")
    ax.grid(axis="x", linewidth=0.3)
    ax.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def contended(run: Results) -> Any:
    """Draw operations a second by number of processes, a panel for each scenario."""
    figures = [each for each in run.figures if each.part == "contended"]
    whats = list(dict.fromkeys(each.what for each in figures))
    columns = 3
    figure, axes = _axes(columns, -(-len(whats) // columns), 11, 3.2 * -(-len(whats) // columns))
    for ax in axes[len(whats) :]:
        ax.set_visible(False)
    for ax, what in zip(axes, whats, strict=False):
        group = [each for each in figures if each.what == what]
        colours = _colours(_labels(group))
        for label in colours:
            line = [each for each in group if each.who == label]
            ax.plot(
                [each.at for each in line],
                [each.median / 1e6 for each in line],
                "o-",
                markersize=3,
                linewidth=1,
                color=colours[label],
                label=label,
            )
        ax.set_title(what, fontsize=9)
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xticks(sorted({each.at for each in group if each.at}))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.set_xlabel("processes", fontsize=8)
        ax.set_ylabel("million a second", fontsize=8)
        ax.legend(fontsize=6, frameon=False)
    return figure


def wakeups(run: Results) -> Any:
    """Draw the distribution of there and back."""
    figures = [each for each in run.figures if each.part == "wakeups" and each.spread]
    colours = _colours(_labels(figures))
    figure, [ax] = _axes(1, 1, 10, 3.6)
    shares = [*range(5, 100, 5), 99]
    for each in figures:
        ax.plot(
            [seconds * 1e6 for seconds in each.spread],
            shares,
            linewidth=1.2,
            color=colours[each.who],
            label=each.who,
        )
    ax.set_xscale("log")
    ax.set_xlabel("microseconds there and back, the other one asleep; log scale")
    ax.set_ylabel("% of the rounds took less")
    ax.grid(linewidth=0.3)
    ax.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def arrays(run: Results) -> Any:
    """Draw what counting and claiming take by size."""
    figures = [each for each in run.figures if each.part == "arrays"]
    lines = list(dict.fromkeys((each.what, each.who) for each in figures))
    colours = _colours([f"{who}, {what}" for what, who in lines])
    figure, [ax] = _axes(1, 1, 8, 4)
    for what, who in lines:
        line = [each for each in figures if (each.what, each.who) == (what, who)]
        label = f"{who}, {what}"
        ax.plot(
            [each.at for each in line],
            [each.median * 1e6 for each in line],
            "o-",
            markersize=3,
            linewidth=1,
            color=colours[label],
            label=label,
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("statuses")
    ax.set_ylabel("microseconds")
    ax.grid(linewidth=0.3)
    ax.legend(fontsize=7, frameon=False)
    return figure


#: The rows of the chart: of which operation, and what it is called there.
CHART = {
    "value": "read",
    "set": "write",
    "create": "create",
    "compare_and_set": "claim: compare and set",
    "two processes, attempts": "claim, two processes at once",
    "counts of 10,000 words, three members": "count 10,000 statuses",
}
LOCKED = "multiprocessing.Value"


def chart(run: Results) -> Any:
    """Draw how many times faster than multiprocessing.Value it is: a labelled bar a row."""
    ratios: dict[str, float] = {}
    for row in run.bars:  # of the first Python, as in the tables
        if row.what in CHART and row.faster and row.rival.endswith((LOCKED, f"{LOCKED}, read")):
            ratios.setdefault(row.what, row.ratio)
    rows = [(CHART[what], ratios[what]) for what in CHART if what in ratios]
    figure, [ax] = _axes(1, 1, 6.25, 2.6)
    bars = ax.barh(
        [name for name, _ in rows],
        [times for _, times in rows],
        height=0.65,
        color=COLOURS["atomic_intenum native"],
    )
    ax.bar_label(bars, [f"{ratio(times)} x" for _, times in rows], padding=4, fontsize=9)
    ax.set_xscale("log")
    ax.set_xlim(1, 2.2 * max((times for _, times in rows), default=1))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0, labelsize=9)
    ax.minorticks_off()
    ax.set_title("times faster than multiprocessing.Value (log scale)", fontsize=9, loc="left")
    return figure


PLOTS = {
    "chart": chart,
    "operations": operations,
    "contended": contended,
    "wakeups": wakeups,
    "arrays": arrays,
}


def draw(run: Results, folder: Path, name: str, origin: str) -> None:
    """Write the plots, NAME-PLOT.svg, each with a note of what it was made from."""
    parts = {each.part for each in run.figures} | ({"chart"} if run.bars else set())
    # Text as text, and the same file from the same figures.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"})
    for plot, make in PLOTS.items():
        if plot in parts:
            figure = make(run)
            figure.tight_layout()
            path = folder / f"{name}-{plot}.svg"
            figure.savefig(path, metadata={"Date": None, "Description": origin}, transparent=False)
            plt.close(figure)
            # matplotlib leaves spaces at the end of lines.
            lines = (line.rstrip() for line in path.read_text().splitlines())
            path.write_text("\n".join(lines) + "\n")
