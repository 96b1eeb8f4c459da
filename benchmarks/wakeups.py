"""Waking a sleeper, there and back, between two processes on two CPUs: ours, the rival, plain C.

One process hands the turn to the other and waits until it comes back. Each side does it its own
way: ours with one value, multiprocessing with two Events, plain C (pingpong.c) with a shared futex.
They are timed by turns, in short repeats; whoever isn't being timed sleeps in a read from a pipe.
A repeat's time is the median of blocks of 20 rounds, on every side: who spins and is interrupted,
by the timer or by another machine on this CPU, falls asleep, then so does the other, and from there
they wake each other for tens of rounds until one is quick enough again. The means of all rounds,
which have that in them, are reported beside it, on every side too.

How long a wake-up takes drifts by a fifth within minutes, where the machine is a virtual one: so a
pair of processes is timed for a second, and others later, between other things.

Two free CPUs are needed: where somebody else is on one of them, a wake-up takes what the scheduler
makes it take. The C side says what this machine charged for the same wake-up in the same minute.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from contenders import BUSY, IDLE, WorkerStatus
from timing import no_collection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

SOURCE = Path(__file__).with_name("pingpong.c")
#: How many repeats of each pair of processes.
REPEATS = 10
#: How long a wait looks before it sleeps, in microseconds.
SPIN = 5
#: Rounds of one repeat: a few hundredths of a second; and those that are timed together.
ASLEEP_ROUNDS, SPINNING_ROUNDS, EVENT_ROUNDS = 400, 20_000, 200
BLOCK = 20  # also in pingpong.c

#: Seconds of one round, repeat by repeat; by side, and by side and MEAN.
Samples = dict[str, list[float]]
MEAN = ", mean"


class Repeat(NamedTuple):
    """Seconds of one round: the median of blocks, and the mean of all."""

    median: float
    mean: float


class MissingError(Exception):
    """This machine has not what it takes."""


def two_cpus() -> tuple[int, int]:
    """Return the two CPUs to be on."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(allowed) < 2:
        message = "MISSING: this needs two CPUs and a way to stay on them"
        raise MissingError(message)
    return allowed[0], allowed[-1]


def _ours(status: WorkerStatus, rounds: int, first: bool) -> None:
    for _ in range(rounds):
        if first:
            status.set(BUSY)
            status.wait_for(IDLE)
        else:
            status.wait_for(BUSY)
            status.set(IDLE)


def _events(ping: Any, pong: Any, rounds: int, first: bool) -> None:
    for _ in range(rounds):
        if first:
            ping.set()
            pong.wait()
            pong.clear()
        else:
            ping.wait()
            ping.clear()
            pong.set()


def _play(side: str, rounds: int, first: bool, status: WorkerStatus, ping: Any, pong: Any) -> None:
    if side == "event":
        _events(ping, pong, rounds, first)
    else:
        _ours(status, rounds, first)


def _prepare(side: str) -> None:
    """Have ours spin, or not."""
    from atomic_intenum import _native

    _native.set_spin(SPIN if side == "spinning" else 0)


def _partner(orders: Connection, status: WorkerStatus, ping: Any, pong: Any, cpu: int) -> None:
    """Be the other process: for each order play one repeat."""
    os.sched_setaffinity(0, {cpu})
    gc.disable()
    while (order := orders.recv()) is not None:
        orders.send("ready")
        side, rounds = order
        _prepare(side)
        _play(side, rounds, False, status, ping, pong)


@contextmanager
def _python_pair(cpus: tuple[int, int]) -> Iterator[Callable[[str, int], Repeat]]:
    """Yield what times a repeat of ours or of multiprocessing's."""
    context = multiprocessing.get_context("spawn")
    status, ping, pong = WorkerStatus(IDLE), context.Event(), context.Event()
    orders, theirs = context.Pipe()
    arguments = (theirs, status, ping, pong, cpus[1])
    process = context.Process(target=_partner, args=arguments, daemon=True)
    process.start()
    theirs.close()

    def time(side: str, rounds: int) -> Repeat:
        orders.send((side, rounds))
        orders.recv()
        _prepare(side)
        assert rounds % BLOCK == 0, "or the partner would wait for the rest"
        times = [perf_counter()]
        for _ in range(rounds // BLOCK):
            _play(side, BLOCK, True, status, ping, pong)
            times.append(perf_counter())
        blocks = median(after - before for before, after in pairwise(times))
        return Repeat(blocks / BLOCK, (times[-1] - times[0]) / rounds)

    try:
        yield time
        orders.send(None)
        process.join(5)
    finally:
        process.kill()
        process.join()


@contextmanager
def plain_c(
    program: Path, spin: float, rounds: int, cpus: tuple[int, int], repeats: int = REPEATS
) -> Iterator[Callable[[], Repeat]]:
    """Yield what times a repeat of plain C."""
    command = [str(program), *map(str, (spin, rounds, repeats, *cpus))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        reader, writer = process.stdout, process.stdin
        assert reader is not None
        assert writer is not None

        def time() -> Repeat:
            writer.write(b"\n")
            writer.flush()
            return Repeat(*map(float, reader.readline().split()))

        try:
            yield time
        finally:
            process.kill()


def compiled(folder: str) -> Path:
    compiler = os.environ.get("CC") or "cc"
    if shutil.which(compiler) is None:
        message = f"MISSING: no C compiler ({compiler}) for {SOURCE.name}"
        raise MissingError(message)
    program = Path(folder) / "pingpong"
    done = subprocess.run(
        [compiler, "-std=c11", "-O2", "-o", str(program), str(SOURCE)],
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        message = f"MISSING: {SOURCE.name} can't be compiled here: {done.stdout.strip()}"
        raise MissingError(message)
    return program


class Wakeups:
    """The samples of "asleep", "spinning", "event", "C asleep" and "C spinning"; for a ``with``.

    Attributes:
        samples: of all pairs of processes so far.

    Raises:
        MissingError: this machine has no two CPUs, or no C compiler.

    """

    def __init__(self) -> None:
        self.samples: Samples = {}
        self._cpus = two_cpus()
        with ExitStack() as stack:
            self._program = compiled(stack.enter_context(tempfile.TemporaryDirectory()))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the program."""
        self._stack.close()

    def measure(self) -> None:
        """Add a pair of processes: where their memory lies makes some per cent."""
        cpus, program = self._cpus, self._program
        with ExitStack() as stack:
            time = stack.enter_context(_python_pair(cpus))
            c_asleep = stack.enter_context(plain_c(program, 0, ASLEEP_ROUNDS, cpus))
            c_spinning = stack.enter_context(plain_c(program, SPIN, SPINNING_ROUNDS, cpus))
            allowed = os.sched_getaffinity(0)
            stack.callback(os.sched_setaffinity, 0, allowed)
            os.sched_setaffinity(0, {cpus[0]})
            stack.enter_context(no_collection())
            sides: dict[str, Callable[[], Repeat]] = {
                "asleep": lambda: time("asleep", ASLEEP_ROUNDS),
                "C asleep": c_asleep,
                "event": lambda: time("event", EVENT_ROUNDS),
                "spinning": lambda: time("spinning", SPINNING_ROUNDS),
                "C spinning": c_spinning,
            }
            for _ in range(REPEATS):
                for name, side in sides.items():
                    repeat = side()
                    self.samples.setdefault(name, []).append(repeat.median)
                    self.samples.setdefault(name + MEAN, []).append(repeat.mean)
