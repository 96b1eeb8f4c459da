"""Two processes that compare and set one word all the time: ours and a locked one by turns.

An attempt is the same on both sides: one compare, and an assignment where it matched. Each
process tries to toggle between two members all the time, whatever the other one does.

What comes of it has more than one state: a virtual machine's two CPUs are on one core for some
seconds, on two for the next, and then everything is twice as fast. So a few windows are measured
at a time, and others minutes later; and the throughput is that of all windows together, their mean:
a median would be in one state or the other.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

from contenders import BUSY, IDLE, WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier

#: How long a window is, in seconds.
WINDOW = 0.1
#: How long to wait for one of the processes, in seconds.
PATIENCE = 60


@dataclass
class Tally:
    """What one process did in one window."""

    seconds: float
    attempts: int
    successes: int


@dataclass
class Samples:
    """Seconds per attempt, and per successful one, of both processes together, by window."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    ours_useful: list[float] = field(default_factory=list)
    theirs_useful: list[float] = field(default_factory=list)


def _contend_ours(status: WorkerStatus, until: float) -> tuple[int, int]:
    attempts = successes = 0
    while perf_counter() < until:
        for _ in range(50):
            if status.compare_and_set(IDLE, BUSY):
                successes += 1
            if status.compare_and_set(BUSY, IDLE):
                successes += 1
        attempts += 100
    return attempts, successes


def _contend_locked(value: Any, until: float) -> tuple[int, int]:
    attempts = successes = 0
    while perf_counter() < until:
        for _ in range(50):
            with value.get_lock():
                if value.value == 1:
                    value.value = 2
                    successes += 1
            with value.get_lock():
                if value.value == 2:
                    value.value = 1
                    successes += 1
        attempts += 100
    return attempts, successes


def _window(
    contend: Callable[[Any, float], tuple[int, int]], target: Any, barrier: Barrier
) -> Tally:
    barrier.wait(timeout=PATIENCE)
    start = perf_counter()
    attempts, successes = contend(target, start + WINDOW)
    return Tally(perf_counter() - start, attempts, successes)


def _contend(
    status: WorkerStatus, value: Any, barrier: Barrier, parent: Connection, cpu: int | None
) -> None:
    """Be one of the two: when told to, windows on our word and on the locked one by turns."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    gc.disable()
    while turns := parent.recv():
        tallies = []
        for _ in range(turns):
            ours = _window(_contend_ours, status, barrier)
            tallies.append((ours, _window(_contend_locked, value, barrier)))
        parent.send(tallies)


class TwoProcesses:
    """The two, for a ``with``; each stays on a CPU of its own where there are two.

    Attributes:
        samples: of all windows so far.

    """

    def __init__(self) -> None:
        self.samples = Samples()
        self._connections: list[Connection] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start them; they sleep until they are told to work."""
        context = multiprocessing.get_context("spawn")
        # Kept: a lock's name goes with the one that made it, maybe before the other process has it.
        self._shared = WorkerStatus(IDLE), context.Value("i", IDLE), context.Barrier(2)
        cpus: list[int | None] = [None, None]
        if hasattr(os, "sched_getaffinity"):
            allowed = sorted(os.sched_getaffinity(0))
            if len(allowed) >= 2:
                cpus = [allowed[0], allowed[-1]]
            else:
                print("   (only one CPU: the two processes take turns on it)")
        for cpu in cpus:
            mine, theirs = context.Pipe()
            arguments = (*self._shared, theirs, cpu)
            process = context.Process(target=_contend, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._stack.callback(process.join)
            self._stack.callback(process.kill)
            self._connections.append(mine)
        return self

    def __exit__(self, *_: object) -> None:
        """End them."""
        self._stack.close()

    def measure(self, turns: int) -> None:
        """Have them do so many windows of each side; takes a fifth of a second for each.

        Raises:
            TimeoutError: one of them does not answer.

        """
        for connection in self._connections:
            connection.send(turns)
        tallies: list[list[tuple[Tally, Tally]]] = []
        for connection in self._connections:
            if not connection.poll(PATIENCE):
                message = "one of the two processes does not answer"
                raise TimeoutError(message)
            tallies.append(connection.recv())
        for one, other in zip(*tallies, strict=True):
            (one_ours, one_theirs), (other_ours, other_theirs) = one, other
            self.samples.ours.append(_attempt(one_ours, other_ours))
            self.samples.theirs.append(_attempt(one_theirs, other_theirs))
            self.samples.ours_useful.append(_success(one_ours, other_ours))
            self.samples.theirs_useful.append(_success(one_theirs, other_theirs))


def _attempt(*tallies: Tally) -> float:
    """Return the seconds of an attempt of both together: the rates of the two added up."""
    return 1 / sum(tally.attempts / tally.seconds for tally in tallies)


def _success(*tallies: Tally) -> float:
    """Return the seconds of a successful one."""
    return 1 / sum(tally.successes / tally.seconds for tally in tallies)
