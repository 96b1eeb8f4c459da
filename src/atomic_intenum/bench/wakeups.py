"""Waking a sleeper in another process, there and back: wait_for() beside multiprocessing.Event.

One process hands the turn to the other and sleeps until it comes back: ours with one value, the
rival with two Events.  They take turns in short rounds.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from ..demo.interrupt import held_back, ignore
from .contenders import Status, WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Event

__all__ = ["Wakeups", "WakeupsError", "measure"]

#: Rounds of one timing.
_ROUNDS = 100
#: Seconds after which the other process counts as dead.
_PATIENCE = 10.0


class WakeupsError(Exception):
    """The other process ended too early."""


class Wakeups(NamedTuple):
    """Seconds of one round there and back, timing by timing."""

    ours: list[float]
    theirs: list[float]


class _Game(NamedTuple):
    """What the two processes share."""

    status: WorkerStatus
    ping: Event
    pong: Event


def _by_value(game: _Game, first: bool) -> None:  # noqa: FBT001
    status = game.status
    for _ in range(_ROUNDS):
        if first:
            status.set(Status.BUSY)
            status.wait_for(Status.IDLE, timeout=_PATIENCE)
        else:
            status.wait_for(Status.BUSY, timeout=_PATIENCE)
            status.set(Status.IDLE)


def _by_events(game: _Game, first: bool) -> None:  # noqa: FBT001
    ping, pong = game.ping, game.pong
    for _ in range(_ROUNDS):
        if first:
            ping.set()
            if not pong.wait(_PATIENCE):
                raise TimeoutError
            pong.clear()
        else:
            if not ping.wait(_PATIENCE):
                raise TimeoutError
            ping.clear()
            pong.set()


_PLAY = {"ours": _by_value, "theirs": _by_events}


def _partner(game: _Game, orders: Connection, cpu: int | None) -> None:
    """Be the other process: play one timing for each order, until there is None."""
    ignore()  # the parent ends this process
    _stay_on(cpu)
    # Nobody at the other end, or nobody who plays: the parent is gone.
    with contextlib.suppress(EOFError, OSError, TimeoutError):
        while (side := orders.recv()) is not None:
            orders.send("ready")
            _PLAY[side](game, first=False)


def _stay_on(cpu: int | None) -> None:
    if cpu is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cpu})


@contextlib.contextmanager
def _two_cpus() -> Iterator[tuple[int | None, int | None]]:
    """Yield two CPUs to be on, of which this process takes the first meanwhile; or no choice."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(allowed) < 2:
        yield None, None
        return
    _stay_on(allowed[0])
    try:
        yield allowed[0], allowed[-1]
    finally:
        os.sched_setaffinity(0, set(allowed))


def measure(seconds: float, check: Callable[[], None]) -> Wakeups:
    """Measure for about so many seconds.

    Args:
        seconds: for all of it.
        check: called between two timings; raises to end it.

    Raises:
        WakeupsError: the other process ended too early.

    """
    context = multiprocessing.get_context()
    game = _Game(WorkerStatus(Status.IDLE), context.Event(), context.Event())
    orders, theirs = context.Pipe()
    with orders, _two_cpus() as (_, other):
        process = context.Process(target=_partner, args=(game, theirs, other), daemon=True)
        with held_back():
            process.start()
        theirs.close()
        try:
            return _measure(game, orders, seconds, check)
        except (EOFError, OSError, TimeoutError) as error:
            message = "the process to be woken ended too early, or was never woken"
            raise WakeupsError(message) from error
        finally:
            with contextlib.suppress(OSError):
                orders.send(None)
            process.join(1)
            process.kill()
            process.join()


def _measure(game: _Game, orders: Connection, seconds: float, check: Callable[[], None]) -> Wakeups:
    taken = Wakeups([], [])

    def time(side: str) -> float:
        orders.send(side)
        orders.recv()
        started = perf_counter()
        _PLAY[side](game, first=True)
        return (perf_counter() - started) / _ROUNDS

    for side in _PLAY:
        time(side)  # a first timing warms both processes up, and is not counted
    deadline = perf_counter() + seconds
    while perf_counter() < deadline or not taken.theirs:
        check()
        taken.ours.append(time("ours"))
        taken.theirs.append(time("theirs"))
    return taken
