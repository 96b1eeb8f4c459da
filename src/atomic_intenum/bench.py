"""What this package costs here, beside multiprocessing: ``python -m atomic_intenum bench``.

timeit runs each statement, and the contestants of a line take turns, so that whatever else the
machine does meets all of them.  The rival is ``multiprocessing.Value("i")`` the way its
documentation shows it: it holds ints, and is given ints.  The floor is what the interpreter charges
for reaching compiled code that does next to nothing, by the same kind of call.

It needs nothing but the package.  The long benchmark is in benchmarks/ of the sources.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import sys
from enum import IntEnum
from functools import partial
from statistics import median, quantiles
from threading import Thread
from time import get_clock_info, perf_counter, thread_time
from timeit import Timer
from typing import TYPE_CHECKING, Any, NamedTuple

from .backends import backend
from .value import IntEnumValue

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from multiprocessing.synchronize import Event

_WAKEUPS = 0.2  # what part of the time they get
_TIMING = 0.001  # seconds, about
#: CPU time does not count what other processes run.  A clock with coarse ticks cannot be used.
_clock = thread_time if get_clock_info("thread_time").resolution <= 1e-6 else perf_counter
#: How often a statement is repeated in timeit's loop, so that the loop itself costs little.
_UNROLL = 10 if sys.implementation.name == "cpython" else 1
_ROUNDS = 100  # wake-ups there and back in one timing
_PATIENCE = 10.0  # seconds after which the other process counts as dead

_LINE = "{:<24}{:>10}{:>17}{:>16}{:>14}{:>15}"
HEADER = _LINE.format("", "floor", "multiprocessing", "atomic_intenum", "faster", "quartiles")
_LEGEND = """
Medians, beside multiprocessing.Value; the wake-ups beside multiprocessing.Event.
All but the wake-ups by CPU time, so that what else runs here counts little.
floor: a builtin that does next to nothing, called or read the same way.
quartiles: of the ratio, turn by turn; far apart means that other work disturbed it."""


class Status(IntEnum):
    """What a worker is doing."""

    IDLE = 1
    BUSY = 2


class WorkerStatus(IntEnumValue[Status]):
    """What a user of this package writes."""


class Operation(NamedTuple):
    """One line of the table: a statement each for the floor, multiprocessing.Value and this."""

    name: str
    floor: str
    theirs: str
    ours: str
    number: int = 1  # of operations in each of these statements
    before: str = "pass"  # runs before each timing, untimed


class Row(NamedTuple):
    """What was measured of an operation: medians in seconds, and the ratio's quartiles."""

    operation: str
    floor: float | None
    multiprocessing: float
    atomic_intenum: float
    faster: float
    quartiles: tuple[float, float]

    def __str__(self) -> str:
        taken = (self.floor, self.multiprocessing, self.atomic_intenum)
        times = ["" if each is None else f"{each * 1e9:,.1f} ns" for each in taken]
        low, high = self.quartiles
        between = f"{low:.1f} - {high:.1f}"
        return _LINE.format(self.operation, *times, f"{self.faster:.1f} times", between)


# Both ways, so that each one finds what it expects.
_TOGGLE_THEIRS = """\
with value.get_lock():
    if value.value == 1:
        value.value = 2
with value.get_lock():
    if value.value == 2:
        value.value = 1"""
_TOGGLE_OURS = "status.compare_and_set(IDLE, BUSY)\nstatus.compare_and_set(BUSY, IDLE)"
_TOGGLE_FLOOR = "empty.pop(one, one)\nempty.pop(one, one)"
_CREATE_THEIRS, _CREATE_OURS = 'keep(Value("i", 1))', "keep(WorkerStatus(IDLE))"
_BOTH_IDLE = "value.value = 1; status.set(IDLE)"

OPERATIONS = [
    Operation("read the member", "one.conjugate()", "Enum(value.value)", "status.load()"),
    Operation("read .value", "one.real", "value.value", "status.value"),
    Operation("read .name", "one.real", "Enum(value.value).name", "status.name"),
    Operation("== member", "anything == anything", "value.value == IDLE", "status == IDLE"),
    Operation("set", "empty.get(one)", "value.value = 1", "status.set(IDLE)"),
    Operation("compare and set", _TOGGLE_FLOOR, _TOGGLE_THEIRS, _TOGGLE_OURS, 2, _BOTH_IDLE),
    Operation("create", "keep(Any())", _CREATE_THEIRS, _CREATE_OURS, before="kept.clear()"),
]


def objects() -> dict[str, Any]:
    """Return what the statements use, by its names."""
    kept: list[object] = []
    return {
        **Status.__members__,
        "Any": object,
        "Enum": Status,
        "Value": multiprocessing.Value,
        "WorkerStatus": WorkerStatus,
        "anything": object(),
        "empty": {},
        "kept": kept,
        "keep": kept.append,
        "one": 1,
        "status": WorkerStatus(Status.IDLE),
        "value": multiprocessing.Value("i", Status.IDLE),
    }


def _take_turns(
    contestants: Sequence[Callable[[], float]], seconds: float, check: Callable[[], None]
) -> list[list[float]]:
    """Call the contestants by turns, and return what each one returned, turn by turn."""
    taken: list[list[float]] = [[] for _ in contestants]
    order = list(zip(contestants, taken, strict=True))
    deadline = perf_counter() + seconds
    while perf_counter() < deadline or not taken[0]:
        check()
        for contestant, found in order:
            found.append(contestant())
        order.reverse()  # each one changes the caches for the next
    return taken


def measure(operation: Operation, seconds: float, check: Callable[[], None]) -> Row:
    """Measure an operation for about so long."""
    found = objects()

    def contestant(statement: str) -> Callable[[], float]:
        text = "\n".join([statement] * _UNROLL)
        timer = Timer(text, operation.before, _clock, found)
        loops = 1
        while timer.timeit(loops) < _TIMING / 2 and loops < 1 << 20:
            loops *= 2
        return lambda: timer.timeit(loops) / (loops * _UNROLL * operation.number)

    contestants = [contestant(text) for text in (operation.floor, operation.theirs, operation.ours)]
    return _row(operation.name, *_take_turns(contestants, seconds, check))


def _wakeups(seconds: float, check: Callable[[], None]) -> Row:
    """Measure waking a sleeper in another process, there and back.

    The other process answers each change of a value, or each Event of multiprocessing, by one of
    its own.  Each process has a CPU of its own, where there are two: on a common one nobody is
    woken, the one that runs merely makes room.
    """
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    # First: an Event may start multiprocessing's resource tracker, which unblocks SIGINT.
    status = WorkerStatus(Status.IDLE)
    ping, pong = multiprocessing.Event(), multiprocessing.Event()
    arguments = (cpus[1:][-1:], status, ping, pong)
    process = multiprocessing.Process(target=_answer, args=arguments, daemon=True)

    def by_events() -> None:
        ping.set()
        if not pong.wait(_PATIENCE):
            raise TimeoutError
        pong.clear()

    def by_value() -> None:
        status.set(Status.BUSY)
        status.wait_for(Status.IDLE, timeout=_PATIENCE)

    def time(play: Callable[[], None]) -> float:
        return Timer(play).timeit(_ROUNDS) / _ROUNDS

    # A terminal sends Ctrl-C to all processes; the child starts with SIGINT blocked.
    blocked = getattr(signal, "pthread_sigmask", lambda *_: None)
    blocked(getattr(signal, "SIG_BLOCK", 0), {signal.SIGINT})
    process.start()
    blocked(getattr(signal, "SIG_UNBLOCK", 0), {signal.SIGINT})
    try:
        _stay_on(cpus[:1])
        contestants = [partial(time, play) for play in (by_events, by_value)]
        for contestant in contestants:
            contestant()  # warms both processes up
        return _row("wake a sleeper, and back", [], *_take_turns(contestants, seconds, check))
    except TimeoutError as error:
        message = "the process to be woken ended too early, or was never woken"
        raise ChildProcessError(message) from error
    finally:
        _stay_on(cpus)
        process.kill()
        process.join()


def _answer(cpus: list[int], status: WorkerStatus, ping: Event, pong: Event) -> None:
    """Be the other process, until it is killed or the parent ends."""

    def by_events() -> None:
        while ping.wait():
            ping.clear()
            pong.set()

    def by_value() -> None:
        while status.wait_for(Status.BUSY):
            status.set(Status.IDLE)

    _stay_on(cpus)
    for play in (by_events, by_value):
        Thread(target=play, daemon=True).start()
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # one that is killed may leave an Event's lock taken, and exit would wait for it


def _stay_on(cpus: Collection[int]) -> None:
    """Have this process run on these CPUs alone, if it was told any."""
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def _row(name: str, *seconds: list[float]) -> Row:
    """Return what the contestants took, of which ours is the last."""
    floor, theirs, ours = seconds
    ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    least = median(floor) if floor else None
    faster = median(theirs) / median(ours)
    return Row(name, least, median(theirs), median(ours), faster, (low, high))


def run(seconds: float, check: Callable[[], None], say: Callable[[object], None]) -> list[Row]:
    """Measure everything.

    Args:
        seconds: about how long all of it takes.
        check: called every few milliseconds; raises to end it.
        say: called with each line of the table, as it comes.

    Raises:
        ChildProcessError: the wake-ups could not be measured.

    """
    python = f"{platform.python_implementation()} {platform.python_version()}"
    say(f"atomic-intenum: backend {backend.NAME}, {python}, {platform.platform()}")
    say(f"about {seconds:g} s; each line's contestants take turns\n")
    share = seconds * (1 - _WAKEUPS) / len(OPERATIONS)
    say(HEADER)
    rows = []
    for operation in OPERATIONS:
        rows.append(measure(operation, share, check))
        say(rows[-1])
    rows.append(_wakeups(seconds * _WAKEUPS, check))
    say(rows[-1])
    say(_LEGEND)
    return rows
