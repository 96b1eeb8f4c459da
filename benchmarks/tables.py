"""The results of a run as Markdown tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from results import amount, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from results import Bar, Figure, Results

READING = (
    "Medians; in brackets the quartiles; of several rounds the medians of both, over the quiet "
    "rounds. Times are of one operation, without the loop around it. A ratio is one of medians "
    "that were taken by turns: in each of several interpreters (of what reads megabytes: in every "
    "five turns; of the wake-ups' distribution: in every twenty; of several processes, and the "
    "wake-ups among the bars: in each round), and the median over the quiet ones. Quiet is the "
    "quarter, but three at least, in which both sides together took least."
)

BLOCKS = (
    'There and back: medians of blocks of 20 rounds; "mean": of all rounds, those in which an '
    "interrupted process fell asleep, and then the other, among them. Two processes: all windows "
    "together, their mean."
)

#: Where a run has these rows.
LOCKS = (
    "Lock path: the backend `lock`, in interpreters of its own. Lock hand-over: what all processes "
    'together take and let go, the mean of all windows; "busy": each works for so long inside, '
    "and again outside. Longest without the lock: of any process in a window of 0.3 s, the median "
    "of the windows."
)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _value(figure: Figure) -> str:
    low, high = (amount(each, figure.unit) for each in (figure.low, figure.high))
    return f"{amount(figure.median, figure.unit)} ({low} - {high})"


def _of(run: Results, part: str) -> list[Figure]:
    return [figure for figure in run.figures if figure.part == part]


def machine(run: Results) -> str:
    """Return what it was measured on."""
    here = run.machine
    rivals = ", ".join(f"{name} {version or 'MISSING'}" for name, version in here["rivals"].items())
    load = ", ".join(f"{load:g}" for load in here["load"])
    rounds = here.get("rounds", 1)
    measured = f"Measured on {here['date']}" + (f" in {rounds} rounds" if rounds > 1 else "")
    return (
        f"{here['cpu']}; {here['kernel']}, {here['libc']}; "
        f"{', '.join(here.get('pythons', [here['python']]))}; extension by {here['compiler']}; "
        f"{here['package']}; {rivals}. {measured}; load averages before it: {load}."
    )


# -- what is promised


def _limit(row: Bar) -> str:
    if row.bar is None:
        return ""
    return f"{'≥' if row.faster else '≤'} {row.limit}"


def _verdict(row: Bar) -> str:
    if row.unit == "bytes":
        return "" if row.holds else "**short**"
    text = row.reached
    if not row.absolute:
        text += f" ({ratio(row.low)} - {ratio(row.high)})"
    return text if row.holds else f"{text}, **short**"


def bars(run: Results) -> str:
    """Return each promise with its ratio in each Python."""
    pythons = list(dict.fromkeys(row.python for row in run.bars))
    header = ["operation", "ours", "against", "theirs", "bar", *(f"ratio, {p}" for p in pythons)]
    by_row: dict[tuple[str, str], dict[str, Bar]] = {}
    for row in run.bars:
        by_row.setdefault((row.what, row.rival), {})[row.python] = row
    lines = []
    for (what, rival), found in by_row.items():
        first = next(iter(found.values()))
        faster = "" if first.absolute else " faster" if first.faster else " of its time"
        lines.append(
            [
                what,
                amount(first.ours, first.unit),
                rival,
                amount(first.theirs, first.unit),
                _limit(first) + (faster if first.bar is not None else f"({faster.strip()})"),
                *(_verdict(found[python]) if python in found else "" for python in pythons),
            ]
        )
    notes = [BLOCKS]
    if any(what.startswith("lock hand-over") for what, _ in by_row):
        notes.append(LOCKS)
    return "\n\n".join([_table(header, lines), *notes])


# -- figures


def operations(run: Results) -> str:
    """Return each operation with its contenders, and how many times ours they take."""
    lines = []
    figures = _of(run, "operations")
    for what in dict.fromkeys(figure.what for figure in figures):
        group = sorted((each for each in figures if each.what == what), key=lambda f: f.median)
        ours = next((each for each in group if each.who == "atomic_intenum native"), None)
        for each in group:
            times = f"{ratio(each.times(ours))} x" if ours else ""
            lines.append([what, each.who, _value(each), times])
    return _table(["operation", "who", "one takes", "of native's time"], lines)


def bindings(run: Results) -> str:
    """Return the bindings of each Python beside each other."""
    figures = _of(run, "bindings")
    whats = list(dict.fromkeys(figure.what for figure in figures))
    cells = {(figure.who, figure.what): figure for figure in figures}
    return _table(
        ["binding", *whats],
        [
            [who, *(_value(cells[who, what]) if (who, what) in cells else "" for what in whats)]
            for who in dict.fromkeys(figure.who for figure in figures)
        ],
    )


def wakeups(run: Results) -> str:
    """Return how long waking a sleeper takes, there and back."""
    lines = [
        [each.who, amount(each.p50 or 0, "s"), amount(each.p99 or 0, "s")]
        for each in sorted(_of(run, "wakeups"), key=lambda figure: figure.median)
    ]
    return _table(["there and back", "p50", "p99"], lines)


def contended(run: Results) -> str:
    """Return what several processes do together."""
    lines = [
        [
            each.what,
            each.who,
            str(each.at),
            _value(each),
            "" if each.p50 is None else amount(each.p50, "s"),
            "" if each.p99 is None else amount(each.p99, "s"),
        ]
        for each in sorted(
            _of(run, "contended"), key=lambda figure: (figure.what, figure.at or 0, -figure.median)
        )
    ]
    return _table(["scenario", "who", "processes", "all together", "p50", "p99"], lines)


def arrays(run: Results) -> str:
    """Return what arrays take by size."""
    figures = _of(run, "arrays")
    sizes = sorted({figure.at for figure in figures if figure.at is not None})
    cells = {(figure.what, figure.who, figure.at): figure for figure in figures}
    return _table(
        ["operation", "who", *(f"{size:,}" for size in sizes)],
        [
            [what, who, *(_cell(cells.get((what, who, size))) for size in sizes)]
            for what, who in dict.fromkeys((figure.what, figure.who) for figure in figures)
        ],
    )


def _cell(figure: Figure | None) -> str:
    return "" if figure is None else amount(figure.median, figure.unit)


def missing(run: Results) -> str:
    """Return what was not measured, and why."""
    return _table(
        ["benchmark", "what", "who", "why"],
        [[gap.part, gap.what, gap.who, gap.reason] for gap in run.missing],
    )
