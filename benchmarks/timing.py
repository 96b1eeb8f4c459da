"""Loops that time one statement without the harness's own calls in between.

A statement is compiled into a loop of its own, ``UNROLL`` times in a row: each call site has its
own inline caches, so CPython specialises it for what it sees there and nothing else, as at a call
site of a user's program; and the ``for`` around it costs a sixteenth of what it would.

What counts is the thread's CPU time, in the kernel too: on a busy machine that leaves out the time
that others ran meanwhile. Nothing that is timed by a loop sleeps.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from time import get_clock_info, perf_counter, thread_time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["UNROLL", "Loop", "Statement", "no_collection", "on_quietest_cpu", "take_turns"]

#: Where the CPU time comes by the tick of a clock, the wall clock is finer.
_clock = thread_time if get_clock_info("thread_time").resolution <= 1e-6 else perf_counter

_CPYTHON = sys.implementation.name == "cpython"
#: A compiler at run time gives up on a loop that is too long, and compiles a short one as well.
UNROLL = 16 if _CPYTHON else 1
#: Seconds that such a compiler gets to see that a loop is hot.
_WARM_UP = 0.0 if _CPYTHON else 0.2


@dataclass(frozen=True)
class Statement:
    """What to time.

    Attributes:
        text: the statement or statements.
        operations: how many operations these are.
        before: what to run before each timed loop, untimed.
        holds: an expression that is true once ``before`` has run, if the statement does what it is
            said to do: a compare-and-set that never matches would be another thing's figure.

    """

    text: str
    operations: int = 1
    before: str = ""
    holds: str = ""


class Loop:
    """A statement over the names that it uses, ready to be timed.

    Args:
        statement: what to time.
        names: the objects it uses; they become local variables.
        seconds: how long one timing is to take, about.

    """

    def __init__(self, statement: Statement, names: dict[str, Any], seconds: float) -> None:
        used = [name for name in names if name in _identifiers(statement)]
        self._names = {name: names[name] for name in used}
        self._before = _function(statement.before or "pass", used)
        self._timed = _function(statement.text, used, unroll=UNROLL)
        self._operations = statement.operations
        if statement.holds:
            self._before(1, **self._names)
            if not eval(statement.holds, {}, self._names):
                message = f"this does not hold: {statement.holds}"
                raise AssertionError(message)
        self.rounds = 1
        until = perf_counter() + _WARM_UP
        while perf_counter() < until:
            self.rounds = 4096
            self._seconds()
        self.rounds = 1
        # From below, and the first calls warm the inline caches up.
        while self._seconds() < seconds / 2 and self.rounds < 1 << 20:
            self.rounds *= 2

    @property
    def operations(self) -> int:
        """How many operations one timing has."""
        return self.rounds * UNROLL * self._operations

    def prepare(self) -> None:
        """Run what goes before a timing."""
        self._before(1, **self._names)

    def run(self) -> None:
        """Run the loop."""
        self._timed(self.rounds, **self._names)

    def _seconds(self) -> float:
        self.prepare()
        start = _clock()
        self._timed(self.rounds, **self._names)
        return _clock() - start

    def time(self) -> float:
        """Return the seconds that one operation took."""
        return self._seconds() / self.operations


def _identifiers(statement: Statement) -> set[str]:
    code = "\n".join((statement.text, statement.before, statement.holds or "0"))
    return set(compile(code, "<statement>", "exec").co_names)


def _function(text: str, parameters: list[str], unroll: int = 1) -> Callable[..., None]:
    body = "\n".join("        " + line for line in text.splitlines())
    source = "\n".join(
        (
            f"def timed({', '.join(['_rounds', *parameters])}):",
            "    for _ in range(_rounds):",
            *[body] * unroll,
        )
    )
    namespace: dict[str, Any] = {}
    exec(compile(source, "<statement>", "exec"), namespace)
    function: Callable[..., None] = namespace["timed"]
    return function


def take_turns(loops: Sequence[Loop], repeats: int, warm_up: int = 0) -> list[list[float]]:
    """Time loops by turns, so that whatever drifts meanwhile hits all of them.

    Args:
        loops: what to time; the order is turned round each time, since whoever comes later may find
            a clock or a cache that the one before has changed.
        repeats: how many timings of each.
        warm_up: how many timings of each go before, which are not returned.

    Returns:
        Seconds per operation of each loop, turn by turn.

    """
    taken: list[list[float]] = [[] for _ in loops]
    order = list(zip(loops, taken, strict=True))
    with no_collection():
        for _ in range(warm_up + repeats):
            for loop, seconds in order:
                seconds.append(loop.time())
            order.reverse()
    return [seconds[warm_up:] for seconds in taken]


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the cyclic garbage collector out: when it runs depends on what else lives here."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def on_quietest_cpu() -> Iterator[int | None]:
    """Stay on the one CPU that is the fastest just now; yields None where that can't be asked for.

    Children that start meanwhile inherit it.
    """
    if sys.platform == "win32" or not hasattr(os, "sched_setaffinity"):
        yield None
        return
    allowed = os.sched_getaffinity(0)
    taken = {}
    try:
        for cpu in allowed:
            os.sched_setaffinity(0, {cpu})
            taken[cpu] = sum(_spin() for _ in range(10))
        quietest = min(taken, key=taken.__getitem__)
        os.sched_setaffinity(0, {quietest})
        yield quietest
    finally:
        os.sched_setaffinity(0, allowed)


def _spin() -> float:
    start = perf_counter()
    for _ in range(50_000):
        pass
    return perf_counter() - start
