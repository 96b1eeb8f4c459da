"""The short benchmark from its first line to its exit code."""

from __future__ import annotations

import os
import platform
import sys
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING

from ..backends import backend
from ..demo.interrupt import Interrupted
from .contenders import OPERATIONS, names
from .tables import show
from .timing import Loop, on_quietest_cpu, take_turns
from .wakeups import WakeupsError
from .wakeups import measure as measure_wakeups

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..demo.interrupt import Interrupt
    from .contenders import Operation

__all__ = ["run"]

#: What part of the time the wake-ups get.
_WAKEUPS = 0.2
#: Seconds of one timing, and how many timings go between two looks at the clock.
_TIMING = 0.001
_TURNS = 5

_HEADER = ("", "floor", "multiprocessing", "atomic_intenum", "faster", "quartiles")


def run(seconds: float, interrupt: Interrupt) -> int:
    """Measure, print, and return the exit code of this process.

    Args:
        seconds: about how long all of it takes.
        interrupt: that has taken over SIGINT.

    Returns:
        0: measured.  1: the wake-ups could not be measured.  130: Ctrl-C.

    """
    print(_here(), flush=True)
    print(f"about {seconds:g} s; each line's contestants take turns", flush=True)
    print(flush=True)
    try:
        share = seconds * (1 - _WAKEUPS) / len(OPERATIONS)
        with on_quietest_cpu():
            rows = [_operation(operation, share, interrupt.check) for operation in OPERATIONS]
        wakeups = measure_wakeups(seconds * _WAKEUPS, interrupt.check)
    except Interrupted:
        print("interrupted", flush=True)
        return 130
    except (WakeupsError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise  # standard output's
        print(f"atomic_intenum bench: {error}", file=sys.stderr)
        return 1
    rows.append(_row("wake a sleeper, and back", None, wakeups.theirs, wakeups.ours))
    show(_HEADER, rows)
    print()
    print("Medians, beside multiprocessing.Value; the wake-ups beside multiprocessing.Event.")
    print("All but the wake-ups by CPU time, so that what else runs here counts little.")
    print("floor: a builtin that does next to nothing, called or read the same way.")
    print("quartiles: of the ratio, turn by turn; far apart means that other work disturbed it.")
    return 0


def _here() -> str:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"atomic-intenum: backend {backend.NAME}, {platform.python_implementation()} "
        f"{platform.python_version()}, {platform.system()} {platform.release()}, {cpus} CPUs, "
        f"{platform.machine()}"
    )


def _operation(operation: Operation, seconds: float, check: Callable[[], None]) -> tuple[str, ...]:
    """Measure one operation for about so many seconds and return its line."""
    deadline = perf_counter() + seconds
    statements = (operation.floor, operation.rival, operation.ours)
    shared = names()
    loops = [Loop(statement, shared, _TIMING) for statement in statements]
    taken: list[list[float]] = [[] for _ in loops]
    while perf_counter() < deadline or not taken[0]:
        check()
        for seconds_taken, new in zip(taken, take_turns(loops, _TURNS), strict=True):
            seconds_taken.extend(new)
    for loop in loops:
        loop.prepare()  # drops what the creation kept
    floor, theirs, ours = taken
    return _row(operation.name, floor, theirs, ours)


def _row(
    name: str, floor: list[float] | None, theirs: list[float], ours: list[float]
) -> tuple[str, ...]:
    ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return (
        name,
        _time(median(floor)) if floor else "",
        _time(median(theirs)),
        _time(median(ours)),
        f"{_ratio(median(theirs) / median(ours))} x",
        f"{_ratio(low)} - {_ratio(high)}",
    )


def _time(seconds: float) -> str:
    if seconds < 0.99e-6:
        return f"{seconds * 1e9:.1f} ns"
    return f"{seconds * 1e6:.2f} us"


def _ratio(ratio: float) -> str:
    return f"{ratio:.{2 if ratio < 10 else 1 if ratio < 100 else 0}f}"
