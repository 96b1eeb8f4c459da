"""Live segments as data: what is in shared memory, in which state, and whose it is.

It only looks: no process notices it, and nothing is given back or removed.  Segments come and go
meanwhile, and may be of anybody: each is read once, and what cannot be read of one is told in its
``problem``.  Values of the lock-based path are in memory without a name, and are not seen.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import printable
from .layout import KIND_ARRAY, KIND_POOL, KIND_VALUE
from .memory import reading
from .memory.segment import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .layout import Header

__all__ = ["Collector", "Process", "SegmentInfo", "segment", "segments"]

_KINDS = {KIND_POOL: "pool", KIND_VALUE: "value", KIND_ARRAY: "array"}


class Process(NamedTuple):
    """A process that a segment names."""

    #: The pid that it has in its own PID namespace.
    pid: int
    #: What it was started as; empty where that cannot be told: it has ended, or is in another PID
    #: namespace.
    command: str
    #: Whether it lives; None where that cannot be told.
    alive: bool | None

    def __str__(self) -> str:
        return f"{self.pid} {self.command or STATES[self.alive]}"


#: How to say whether a process lives.
STATES = {True: "alive", False: "gone", None: "elsewhere"}


@dataclass(frozen=True)
class SegmentInfo:
    """A segment, as it was when it was read."""

    #: As a user knows it, and as shared memory does.
    name: str
    memory: str
    #: The id of the user who owns it.
    user: int
    #: Bytes.
    bytes: int
    #: When it was created, in seconds of the epoch.
    created: float
    #: Why it, or the rest of it, cannot be read; empty: all of it was.
    problem: str = ""
    #: Tells it from another one of its name, before or after it.
    nonce: int = 0
    #: ``value``, ``array``, or ``pool``: values without a name, of one process.
    kind: str = ""
    #: The name of the enum, and its members' names and values.
    enum: str = ""
    members: dict[str, int] = field(default_factory=dict)
    #: What becomes of what a dead process owned: by member, or one for all; None: nobody owns.
    on_death: dict[str, str] | str | None = None
    #: Who created it; and whether a process answers for its name: if none does, nobody needs it.
    #: None: that cannot be told.
    creator: Process | None = None
    answered: bool | None = None
    #: The words' values, in their order.  Of a pool: those handed out.
    values: Sequence[int] = ()
    #: By index: who owns, or leases, a word; and who holds its lock.
    owners: dict[int, Process] = field(default_factory=dict)
    holders: dict[int, Process] = field(default_factory=dict)

    @property
    def named(self) -> bool:
        """Whether it has a name to attach by; else pickles and children alone reach it."""
        return self.name != self.memory

    @property
    def size(self) -> int:
        """How many words it has."""
        return len(self.values)

    @functools.cached_property
    def _names(self) -> dict[int, str]:
        return {value: name for name, value in self.members.items()}

    def name_of(self, value: int) -> str:
        """Return the name of the member of that value; of what is no member's, the number."""
        return self._names.get(value, str(value))

    def counts(self) -> dict[str, int]:
        """Return how many words are each member, and each number that is no member's."""
        found = Counter(self.values)
        counts = {name: found.pop(value, 0) for name, value in self.members.items()}
        return counts | {str(value): count for value, count in found.items()}


def segments() -> list[SegmentInfo]:
    """Return all segments of this package in shared memory, by name.

    What this user may not read is among them, with its ``problem``.

    Raises:
        OSError: this system does not list shared memory (Linux does).

    """
    found = []
    for memory in reading.names():
        with contextlib.suppress(FileNotFoundError):  # gone by now
            found.append(_info(reading.read(memory)))
    return sorted(found, key=lambda info: info.name)


def segment(name: str, *, words: bool = True) -> SegmentInfo:
    """Return the segment of that name.

    Args:
        name: as it was created; or, of a pool, as segments() calls it.
        words: False: leave out what the words are, and whose.

    Raises:
        FileNotFoundError: there is none.

    """
    for memory in reading.memories_of(name):
        with contextlib.suppress(FileNotFoundError):
            return _info(reading.read(memory, words=words))
    raise missing(name)


def missing(name: str) -> FileNotFoundError:
    """Return the error of a name that nobody has."""
    message = f"no value or array is called {name!r}: its creator has not started, or has ended"
    return FileNotFoundError(message)


def _info(seen: reading.Seen) -> SegmentInfo:
    """Put names on what was read."""
    info = {"answered": seen.answered} if seen.header is None else _about(seen, seen.header)
    return SegmentInfo(
        name=shown(seen.memory),
        memory=seen.memory,
        user=seen.user,
        bytes=seen.size,
        created=seen.created,
        problem=seen.problem,
        **info,
    )


def _about(seen: reading.Seen, header: Header) -> dict[str, Any]:
    here = header.pid_namespace == _namespace()
    pid, answered = header.creator_pid, seen.answered
    started = _started(f"{pid}") if here else None
    alive = None if started is None else started > 0 and header.creator_start in (0, started)
    if answered is None:  # no lock tells: the core asks the creator's pid as well
        answered = alive
    elif not answered and alive is None:
        alive = False

    def member(value: int) -> str:
        return names.get(value, str(value))

    names = {value: name for name, value in seen.members.items()}
    rules, on_death = seen.rules, None
    if rules is not None:
        pairs = {member(old): member(new) for old, new in rules.pairs}
        on_death = pairs or member(rules.always or 0)
    owners = {number: _owner(row) for number, row in seen.rows.items()}
    values: Sequence[int] = seen.numbers
    if header.kind == KIND_POOL:
        # They are handed out in their order, and one that was not is 0.
        last = max((i for i, value in enumerate(values) if value), default=-1)
        values = values[: last + 1]
    return {
        "nonce": header.nonce,
        "kind": _KINDS.get(header.kind, ""),
        "enum": seen.enum,
        "members": seen.members,
        "on_death": on_death,
        "creator": Process(pid, _command(pid) if alive else "", alive),
        "answered": answered,
        "values": values,
        "owners": {index: owners[row] for index, row in seen.owners.items()},
        "holders": {index: _holder(*who, here=here) for index, who in seen.holders.items()},
    }


# ------------------------------------------------------------------ processes


def _owner(row: reading.Row) -> Process:
    """Return who owns words: the lock tells whether it lives; where there is none, its pid."""
    here = row.namespace == _namespace() & 0xFFFF
    alive = row.alive
    if alive is None and here:
        started = _started(f"{row.pid}")
        alive = None if started is None else started > 0
    return Process(row.pid, _command(row.pid) if here and alive else "", alive)


def _holder(pid: int, thread: int, *, here: bool) -> Process:
    """Return who holds a lock: a thread, by its number in its PID namespace."""
    started = _started(f"{pid}/task/{thread}") if here else None
    alive = None if started is None else started > 0
    return Process(pid, _command(pid) if alive else "", alive)


def _namespace() -> int:
    """Return the inode of the namespace of this process's PIDs; 0 where there is no such thing."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116
    except OSError:
        return 0


def _started(who: str) -> int | None:
    """Return when a process, or a thread of one, started: in the system's ticks.

    0: there is none, or it has ended.  None: this system does not tell.
    """
    # The command, in parentheses, may hold anything; the state and 19 fields follow.
    fields = _content(f"/proc/{who}/stat").rpartition(b")")[2].split()
    if len(fields) < 20:
        return 0 if os.path.exists("/proc/self/stat") else None  # noqa: PTH110
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def _command(pid: int) -> str:
    """Return what a process was started as, without what a terminal would take for more."""
    words = _content(f"/proc/{pid}/cmdline").rstrip(b"\0").decode(errors="replace").split("\0")
    if words[0]:
        words[0] = os.path.basename(words[0])  # noqa: PTH119
    return printable(" ".join(words))


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read(1000)
    except OSError:
        return b""


# ------------------------------------------------------------------ metrics


class Collector:
    """What segments hold, for prometheus_client; any process of their user can serve it.

    ``prometheus_client.REGISTRY.register(Collector())``.  Each scrape reads them anew.

    Args:
        names: of the segments; None: all values and arrays that have a name, and may be read.

    Raises:
        ImportError: there is no prometheus_client (``pip install 'atomic-intenum[metrics]'``).

    """

    def __init__(self, names: Iterable[str] | None = None) -> None:
        import prometheus_client  # noqa: F401, PLC0415 - an extra

        self._names = None if names is None else list(names)

    def describe(self) -> list[Any]:
        """Return nothing: to register it reads no segment."""
        return []

    def _infos(self) -> Iterator[SegmentInfo]:
        if self._names is None:
            yield from (each for each in segments() if each.named and not each.problem)
            return
        found = {}  # one that is asked for by two names is one
        for name in self._names:
            try:
                info = segment(name)
            except FileNotFoundError:
                info = SegmentInfo(name, "", 0, 0, 0.0, "it is not there", answered=False)
            found[info.name] = info
        yield from found.values()

    def collect(self) -> Iterator[Any]:
        """Yield the families of metrics: the docs' page on metrics has each."""
        from prometheus_client import core  # noqa: PLC0415

        gauge = core.GaugeMetricFamily
        prefix, one = "atomic_intenum", ["segment"]
        state = core.StateSetMetricFamily(
            f"{prefix}_state", "Which member a value is.", labels=["segment", "enum"]
        )
        words = gauge(
            f"{prefix}_words",
            "How many words of an array are this member.",
            labels=["segment", "enum", "member"],
        )
        owners = gauge(
            f"{prefix}_owners", "Processes that own words.", labels=["segment", "process"]
        )
        locked = gauge(f"{prefix}_locked_words", "Words whose lock somebody holds.", labels=one)
        answered = gauge(
            f"{prefix}_answered", "1 if a process answers for the segment; else 0.", labels=one
        )
        for info in self._infos():
            if info.answered is not None:
                answered.add_metric([info.name], int(info.answered))
            if info.problem:
                continue
            counts = info.counts()
            if info.kind == "value":
                is_ = {name: bool(count) for name, count in counts.items()}
                state.add_metric([info.name, info.enum], is_)
            else:
                for name, count in counts.items():
                    words.add_metric([info.name, info.enum, name], count)
            if info.on_death is not None:
                each = set(info.owners.values())
                for alive in (True, False):
                    number = sum(process.alive is alive for process in each)
                    owners.add_metric([info.name, "alive" if alive else "dead"], number)
            locked.add_metric([info.name], len(info.holders))
        yield from (state, words, owners, locked, answered)
