"""The commands that only look: list, show and metrics."""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from ..observe import Collector, Process, SegmentInfo, segment, segments
from .output import (
    GONE,
    PALETTE,
    Cell,
    ProblemError,
    age,
    console,
    cut,
    document,
    line,
    ranges,
    table,
)

if TYPE_CHECKING:
    import argparse


def list_(args: argparse.Namespace) -> int:
    """Print what is in shared memory."""
    infos = [info for info in segments() if args.pid is None or args.pid in pids_of(info)]
    if args.json:
        document(segments=[as_json(info) for info in infos])
        return 0
    rows = [_row(info) for info in infos if not info.problem]
    if rows:
        giving = {"CREATOR": 16, "ENUM": 8, "NAME": 8}
        table(("NAME", "KIND", "ENUM", ">SIZE", "CREATOR", "OWNERS", "LOCK", ">AGE"), rows, giving)
    for info in infos:
        if info.problem:
            line(f"{info.name}: {info.problem} ({about_user(info.user)})")
    if not infos:
        line("no segments" if args.pid is None else f"no segments of process {args.pid}")
    return 0


def show(args: argparse.Namespace) -> int:
    """Print one segment: the value, or who is in what state."""
    info = readable(args.name)
    if args.json:
        document(segments=[as_json(info, words=True)])
        return 0
    if info.kind == "value":
        name = info.name_of(info.values[0])
        about = f"{info.name}: {name} ({info.values[0]})"
        line(Cell(about, f"bold {styles_of(info)[name]}"))
    else:
        line(Cell(f"{info.name}: {info.size:,} words", "bold"))
    for title, text in _facts(info):
        line(f"  {title:<9}{text}")
    if info.kind != "value":
        line("")
        _print_words(info)
    return 0


def metrics(args: argparse.Namespace) -> int:
    """Print what a Collector has: as OpenMetrics, as Prometheus's older text, or as JSON."""
    try:
        collector = Collector(args.names or None)
    except ImportError:
        message = "metrics needs prometheus_client: pip install 'atomic-intenum[metrics]'"
        raise ProblemError(message) from None
    import prometheus_client  # noqa: PLC0415 - an extra
    from prometheus_client.openmetrics import exposition  # noqa: PLC0415

    for name in args.names:
        readable(name)
    registry = prometheus_client.CollectorRegistry()
    registry.register(collector)
    if args.json:
        families = [
            {
                "name": family.name,
                "type": family.type,
                "samples": [[each.labels, each.value] for each in family.samples],
            }
            for family in registry.collect()
        ]
        document(families=families)
    else:
        latest = prometheus_client.generate_latest if args.text else exposition.generate_latest
        text = latest(registry).decode()
        if sys.stdout.isatty():  # what others have written is made fit for it
            for each in text.splitlines():
                line(each)
        else:
            sys.stdout.write(text)
    return 0


# ------------------------------------------------------------------ a segment


def readable(name: str) -> SegmentInfo:
    """Return the segment of that name, all of which could be read; else ProblemError."""
    info = segment(name)
    refuse_unreadable(name, info)
    return info


def refuse_unreadable(name: str, info: SegmentInfo) -> None:
    """Raise ProblemError if a segment has a problem."""
    if info.problem:
        message = f"{name}: {info.problem} ({about_user(info.user)})"
        raise ProblemError(message)


def about_user(user: int) -> str:
    """Return what a message says of who owns a segment."""
    try:
        import pwd  # noqa: PLC0415 - not on Windows

        return f"user {pwd.getpwuid(user).pw_name}"
    except (ImportError, KeyError):
        return f"user {user}"


def pids_of(info: SegmentInfo) -> set[int]:
    """Return the processes that a segment names."""
    creator = [] if info.creator is None else [info.creator]
    processes = (*creator, *info.owners.values(), *info.holders.values())
    # Another PID namespace has such pids too.
    return {process.pid for process in processes if process.alive is not None}


def as_json(info: SegmentInfo, *, words: bool = False) -> dict[str, Any]:
    """Return a segment as --json prints it; the docs have the schema."""
    owners = Counter(info.owners.values())
    found: dict[str, Any] = {
        "name": info.name,
        "memory": info.memory,
        "user": info.user,
        "bytes": info.bytes,
        "created": info.created,
        "problem": info.problem or None,
        "kind": info.kind or None,
        "enum": info.enum or None,
        "members": info.members,
        "on_death": info.on_death,
        "creator": None if info.creator is None else info.creator._asdict(),
        "answered": info.answered,
        "size": info.size,
        "counts": info.counts(),
        "owners": [{**owner._asdict(), "words": count} for owner, count in owners.items()],
        "holders": [{"index": i, **who._asdict()} for i, who in info.holders.items()],
    }
    if words:
        pids = {index: owner.pid for index, owner in info.owners.items()}
        found["words"] = [
            {"index": i, "member": info.name_of(value), "value": value, "owner": pids.get(i)}
            for i, value in enumerate(info.values)
        ]
    return found


def styles_of(info: SegmentInfo) -> defaultdict[str, str]:
    """Return the colour of each member; what is none is loud."""
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(info.members)}
    return defaultdict(lambda: GONE, colours)


def _process(process: Process | None) -> Cell:
    if process is None:
        return Cell("")
    return Cell(cut(str(process), 60), GONE if process.alive is False else "")


def _row(info: SegmentInfo) -> list[Cell]:
    """Return a line of the list."""
    owners = set(info.owners.values())
    dead = sum(owner.alive is False for owner in owners)
    holders = set(info.holders.values())
    one = next(iter(holders), None)
    return [
        Cell(info.name, "bold"),
        Cell(info.kind),
        Cell(info.enum),
        Cell(f"{info.size:,}"),
        _process(info.creator),
        Cell(
            ""
            if info.on_death is None
            else f"{len(owners)}, {dead} gone"
            if dead
            else str(len(owners)),
            GONE if dead else "",
        ),
        Cell(f"{len(holders)} held")
        if len(holders) > 1
        else Cell("" if one is None else str(one.pid)),
        Cell(age(time.time() - info.created)),
    ]


def _facts(info: SegmentInfo) -> list[tuple[str, str]]:
    """Return what is to be said of a segment beside its words."""
    members = ", ".join(f"{name} {value}" for name, value in info.members.items())
    unanswered = (
        "" if info.answered is not False else "; nobody answers for it: it goes with the next clean"
    )
    facts = [
        ("enum", f"{info.enum}: {members}"),
        ("creator", f"{cut(str(info.creator), 200)}{unanswered}"),
        ("age", age(time.time() - info.created)),
    ]
    if isinstance(info.on_death, dict):
        rules = ", ".join(f"{a} becomes {b}" for a, b in info.on_death.items())
        facts.append(("on death", rules))
    elif info.on_death is not None:
        facts.append(("on death", f"becomes {info.on_death}"))
    if info.kind == "value":
        facts += [("owner", str(owner)) for owner in info.owners.values()]
        facts += [("lock", f"held by {holder}") for holder in info.holders.values()]
    return facts


def _print_words(info: SegmentInfo) -> None:
    """Print how many words are what, and which, and whose they are."""
    total, styles = max(info.size, 1), styles_of(info)
    rows = []
    for name, count in info.counts().items():
        bar = "█" * round(20 * count / total)
        style = styles[name]
        rows.append(
            [
                Cell(name, style),
                Cell(f"{count:,}"),
                Cell(f"{count / total:.0%}"),
                Cell(bar, style),
            ]
        )
    plain = console() is None
    cut = 3 if plain else 4
    table(("MEMBER", ">WORDS", ">SHARE", "")[:cut], [row[:cut] for row in rows])
    line("")
    groups: defaultdict[tuple[int, Process | None, Process | None], list[int]] = defaultdict(list)
    for index, value in enumerate(info.values):
        groups[value, info.owners.get(index), info.holders.get(index)].append(index)
    known = {value: place for place, value in enumerate(info.members.values())}
    order = sorted(groups.items(), key=lambda item: (known.get(item[0][0], len(known)), item[1][0]))
    rows = [
        [
            Cell(info.name_of(value), styles[info.name_of(value)]),
            _process(owner),
            _process(holder),
            Cell(ranges(indices)),
        ]
        for (value, owner, holder), indices in order
    ]
    headings = ["MEMBER", "OWNER", "LOCKED BY", "INDICES"]
    shown = [0, *([1] if info.on_death is not None else []), *([2] if info.holders else []), 3]
    giving = {"OWNER": 30, "LOCKED BY": 30, "INDICES": 12}
    columns = [headings[i] for i in shown]
    giving = {name: width for name, width in giving.items() if name in columns}
    table(columns, [[row[i] for i in shown] for row in rows], giving)
