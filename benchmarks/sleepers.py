"""How long it takes to wake a sleeper, there and back, round by round, by each way of waiting.

Each round begins when the other process has been asleep for a while (PAUSE): nobody is still
spinning, and the CPU may have gone to sleep too. That is how a worker waits that has little to do;
in bars.py turns follow each other at once. The rounds of the contenders come by turns, some of
each; a turn is a set. What the machine takes to wake somebody changes by half from one minute to
the next, and is no part of what a sleep takes, so the turns are spread over several moments of a
run. There are stretches in which a Pipe takes 0.6 ms longer than in others, and nobody else does;
why is not known.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import tempfile
import time
from contextlib import ExitStack
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import machine
from contenders import BUSY, IDLE, OURS, WorkerStatus
from results import Missing, Results, figure, in_sets
from timing import no_collection
from wakeups import MissingError, compiled, plain_c, two_cpus

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

WHAT = "there and back, one round"
PLAIN_C = "plain C on a futex (floor)"
#: Rounds of each contender at each moment: so many at a time, so many times.
ROUNDS, TURNS = 20, 20
#: Seconds from when the sleeper says that it goes to sleep to the round's begin.
PAUSE = 0.0005
#: What people sleep between two looks, in seconds.
NAP = 0.001


class Shared(NamedTuple):
    """What the two processes share."""

    status: WorkerStatus
    value: Any
    events: tuple[Any, Any]
    condition: Any
    semaphores: tuple[Any, Any]
    pipes: tuple[Connection, Connection]


def _by_value(shared: Shared, first: bool) -> None:
    if first:
        shared.status.set(BUSY)
        shared.status.wait_for(IDLE)
    else:
        shared.status.wait_for(BUSY)
        shared.status.set(IDLE)


def _by_events(shared: Shared, first: bool) -> None:
    ping, pong = shared.events
    if first:
        ping.set()
        pong.wait()
        pong.clear()
    else:
        ping.wait()
        ping.clear()
        pong.set()


def _by_condition(shared: Shared, first: bool) -> None:
    condition, turn = shared.condition, shared.value.get_obj()
    with condition:
        if first:
            turn.value = 1
            condition.notify()
            condition.wait_for(lambda: turn.value == 0)
        else:
            condition.wait_for(lambda: turn.value == 1)
            turn.value = 0
            condition.notify()


def _by_semaphores(shared: Shared, first: bool) -> None:
    ping, pong = shared.semaphores
    if first:
        ping.release()
        pong.acquire()
    else:
        ping.acquire()
        pong.release()


def _by_pipe(shared: Shared, first: bool) -> None:
    if first:
        shared.pipes[0].send_bytes(b"1")
        shared.pipes[0].recv_bytes()
    else:
        shared.pipes[1].recv_bytes()
        shared.pipes[1].send_bytes(b"0")


def _by_polling(shared: Shared, first: bool) -> None:
    value = shared.value
    if first:
        value.value = 1
        while value.value != 0:
            time.sleep(NAP)
    else:
        while value.value != 1:
            time.sleep(NAP)
        value.value = 0


WAYS: dict[str, Callable[[Shared, bool], None]] = {
    f"{OURS.label}, wait_for": _by_value,
    "multiprocessing.Semaphore": _by_semaphores,
    "multiprocessing.Pipe": _by_pipe,
    "multiprocessing.Event": _by_events,
    "multiprocessing.Condition": _by_condition,
    f"multiprocessing.Value, sleep({NAP:g})": _by_polling,
}


def _partner(orders: Connection, shared: Shared, cpu: int) -> None:
    """Be the other process: for each order play one round."""
    os.sched_setaffinity(0, {cpu})
    gc.disable()
    while (way := orders.recv()) is not None:
        orders.send("going to sleep")
        WAYS[way](shared, False)


def _samples(stack: ExitStack, cpus: tuple[int, int]) -> dict[str, list[float]]:
    context = multiprocessing.get_context("spawn")
    shared = Shared(
        WorkerStatus(IDLE),
        context.Value("i", 0),
        (context.Event(), context.Event()),
        context.Condition(),
        (context.Semaphore(0), context.Semaphore(0)),
        context.Pipe(),
    )
    program = compiled(stack.enter_context(tempfile.TemporaryDirectory()))
    in_c = stack.enter_context(plain_c(program, 0, 1, cpus, repeats=ROUNDS * TURNS + 1))
    orders, theirs = context.Pipe()
    process = context.Process(target=_partner, args=(theirs, shared, cpus[1]), daemon=True)
    process.start()
    theirs.close()
    stack.callback(process.join)
    stack.callback(process.kill)
    stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[0]})
    stack.enter_context(no_collection())

    def one_round(way: str) -> float:
        orders.send(way)
        orders.recv()
        time.sleep(PAUSE)
        started = perf_counter()
        WAYS[way](shared, True)
        return perf_counter() - started

    def one_in_c() -> float:
        time.sleep(PAUSE)
        return in_c().median

    samples: dict[str, list[float]] = {PLAIN_C: [], **{way: [] for way in WAYS}}
    one_in_c()
    for way in WAYS:
        one_round(way)
    for _ in range(TURNS):
        samples[PLAIN_C] += [one_in_c() for _ in range(ROUNDS)]
        for way in WAYS:
            samples[way] += [one_round(way) for _ in range(ROUNDS)]
    return samples


class Sleepers:
    """What all ways took at several moments."""

    def __init__(self) -> None:
        self._samples: dict[str, list[float]] = {PLAIN_C: [], **{way: [] for way in WAYS}}
        self._missing = ""

    def measure(self) -> None:
        """Measure all ways at this moment."""
        try:
            cpus = two_cpus()
            with ExitStack() as stack:
                samples = _samples(stack, cpus)
        except MissingError as error:
            self._missing = str(error)
            return
        for way, taken in samples.items():
            self._samples[way] += taken

    def results(self) -> Results:
        """Return all moments' figures."""
        run = Results(machine.facts())
        for way, taken in self._samples.items():
            if self._missing:
                run.missing.append(Missing("wakeups", WHAT, way, self._missing))
                continue
            sets = in_sets(taken, ROUNDS)
            run.figures.append(
                figure("wakeups", WHAT, way, taken, singles=taken, plotted=True, sets=sets)
            )
        return run
