"""Waking who sleeps: in turns between two processes, in asyncio, and many on one word.

    python benchmarks/wakeups.py            the rows: there and back, and asyncio's
    python benchmarks/wakeups.py --growth   1 to 1,000 sleepers on one word

There and back: one process hands the turn to another and waits until it comes back, each on a CPU
of its own; each side does it its own way.  A repeat's time is the median of blocks of 20 rounds:
who spins and is interrupted falls asleep, then so does the other, for tens of rounds.  "Mean" is
that of all rounds, with these among them.  The C side (pingpong.c) says what this machine charges
for the same wake-up in the same second.

asyncio: a process has 10,000 waits on 1,000 values in one loop, and notes when one of them was
woken; another process waits in a call that blocks; and the loop has an eventfd in add_reader() as
well, which is asyncio's own way, and the floor.
"""

from __future__ import annotations

import asyncio
import gc
import mmap
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from enum import IntEnum
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import rows
from machine import absence, cpus, pin
from operations import BUSY, IDLE, NAMES, Loop, Statement, WorkerStatus, function, take_turns
from results import Missing, Series, emit

from atomic_intenum import IntEnumValue

FORK = multiprocessing.get_context("fork")
SOURCE, COMPILER = Path(__file__).with_name("pingpong.c"), os.environ.get("CC") or "cc"
#: How long a wait looks before it sleeps, in microseconds; how long people sleep between two looks.
SPIN, NAP = 5, 0.001
REPEATS, BLOCK = 8, 20
FASTIPC = "fastipc.FutexWord"
WAKE_ALL, SLEEPERS = "wake all, until all are awake", (1, 10, 100, 1000)
#: The two CPUs to be on, where there are two.
ON = cpus()[0], cpus()[-1]
#: Seconds of a round: the median of blocks, and the mean of all.
Turn = tuple[float, float]


def _start(stack: ExitStack, target: Callable[[], None]) -> None:
    """Start a process that is killed in the end."""
    process = FORK.Process(target=target, daemon=True)
    process.start()
    stack.callback(process.join)
    stack.callback(process.kill)


# -- there and back


#: How two processes hand each other the turn: rounds of a repeat, and what each side does.
_OURS = ("status.set(BUSY)\nstatus.wait_for(IDLE)", "status.wait_for(BUSY)\nstatus.set(IDLE)")
WAYS = {
    rows.ASLEEP: (200, *_OURS),
    rows.SPINNING: (8_000, *_OURS),
    rows.EVENT: (100, "p.set(); q.wait(); q.clear()", "p.wait(); p.clear(); q.set()"),
    "multiprocessing.Condition": (100, "turn(1); await_turn(0)", "await_turn(1); turn(0)"),
    "multiprocessing.Semaphore": (200, "s.release(); t.acquire()", "s.acquire(); t.release()"),
    "multiprocessing.Pipe": (
        200,
        "a.send_bytes(x); a.recv_bytes()",
        "b.recv_bytes(); b.send_bytes(x)",
    ),
    FASTIPC: (200, "post(words[0]); fetch(words[1])", "fetch(words[0]); post(words[1])"),
    f"{rows.LOCKED}, sleep({NAP:g})": (20, "value.value = 1; poll(0)", "poll(1); value.value = 0"),
}


def _shared() -> dict[str, Any]:
    """Return what the two processes share, by the names that their statements use."""
    condition, now, value = FORK.Condition(), FORK.RawValue("i", 0), FORK.Value("i", 0)
    p, q, s, t = FORK.Event(), FORK.Event(), FORK.Semaphore(0), FORK.Semaphore(0)
    (a, b), x, status = FORK.Pipe(), b"1", WorkerStatus(IDLE)
    words: Any = ()
    if not absence("fastipc"):
        from fastipc._primitives import FutexWord

        memory = memoryview(mmap.mmap(-1, 4096))
        words = FutexWord(memory[:4]), FutexWord(memory[64:68])

    def turn(number: int) -> None:
        with condition:
            now.value = number
            condition.notify()

    def await_turn(number: int) -> None:
        with condition:
            condition.wait_for(lambda: now.value == number)

    def poll(number: int) -> None:
        while value.value != number:
            time.sleep(NAP)

    def post(word: Any) -> None:
        word.store_release(1)
        word.wake()

    def fetch(word: Any) -> None:
        while word.load_acquire() == 0:
            word.wait(0)
        word.store_release(0)

    return {**NAMES, **locals()}


def _prepare(way: str) -> None:
    from atomic_intenum import _native

    _native.set_spin(SPIN if way == rows.SPINNING else 0)


def _repeat(name: str, shared: dict[str, Any]) -> Turn:
    _prepare(name)
    rounds, text, _ = WAYS[name]
    there, moments = function(text, list(shared)), [perf_counter()]
    for _ in range(rounds // BLOCK):
        there(BLOCK, **shared)
        moments.append(perf_counter())
    blocks = median(after - before for before, after in pairwise(moments))
    return blocks / BLOCK, (moments[-1] - moments[0]) / rounds


def _plain_c(stack: ExitStack, program: Path, spin: float, rounds: int) -> Callable[[], Turn]:
    command = [str(program), *map(str, (spin, rounds, REPEATS, *ON))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    stack.enter_context(process)
    stack.callback(process.kill)

    def repeat() -> Turn:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        middle, mean = map(float, process.stdout.readline().split())
        return middle, mean

    return repeat


def there_and_back() -> list[Series]:
    with ExitStack() as stack:
        shared, sides = _shared(), {}
        if shutil.which(COMPILER):
            program = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "pingpong"
            subprocess.run([COMPILER, "-std=c11", "-O2", "-o", program, SOURCE], check=True)
            sides[rows.C_ASLEEP] = _plain_c(stack, program, 0, WAYS[rows.ASLEEP][0])
            sides[rows.C_SPINNING] = _plain_c(stack, program, SPIN, WAYS[rows.SPINNING][0])
        orders, theirs = FORK.Pipe()

        def partner() -> None:
            """Be the other process: for each order play one repeat."""
            pin(ON[1])
            gc.disable()
            while True:
                rounds, _, text = WAYS[name := theirs.recv()]
                answer = function(text, list(shared))
                _prepare(name)
                theirs.send("ready")
                answer(rounds, **shared)

        _start(stack, partner)
        stack.callback(pin, *cpus())
        pin(ON[0])
        gc.disable()

        def by(name: str) -> Turn:
            orders.send(name)
            orders.recv()
            return _repeat(name, shared)

        names = [name for name in WAYS if name != FASTIPC or shared["words"]] + [*sides]
        taken: dict[str, list[Turn]] = {name: [] for name in names}
        for turn in range(REPEATS):
            for name in reversed(names) if turn % 2 else names:
                taken[name].append(sides[name]() if name in sides else by(name))
    means = {rows.SPINNING: rows.SPINNING_MEAN, rows.EVENT: rows.EVENT_MEAN}
    return [
        *(Series(rows.TURN, name, [middle for middle, _ in each]) for name, each in taken.items()),
        *(Series(rows.TURN, means[name], [mean for _, mean in taken[name]]) for name in means),
    ]


# -- asyncio


class Goal(IntEnum):  # ten waits on each value, each for another member
    REST, A, B, C, D, E, F, G, H, I, J = range(11)  # noqa: E741


class Unwatched(IntEnum):  # with a pool of its own, in which nobody waits
    REST, A = range(2)


VALUES, GOALS, ROUNDS = 1000, list(Goal)[1:], 40
#: Seconds between two wake-ups: until everybody sleeps again.
PAUSE = 0.002


def _until_woken(woken: Any, wake: Callable[[], object]) -> float:
    """Return how long after a wake-up the other process ran."""
    time.sleep(PAUSE)
    woken.value = 0.0
    started = perf_counter()
    wake()
    while woken.value == 0.0:
        assert perf_counter() < started + 5, "nobody was woken"
        time.sleep(PAUSE / 4)
    return float(woken.value) - started


def in_asyncio() -> list[Series]:
    """Return what a wake-up takes in a loop of 10,000 waits, and what these cost."""
    values = [IntEnumValue[Goal](Goal.REST) for _ in range(VALUES)]
    unrelated, blocking = IntEnumValue[Goal](Goal.REST), IntEnumValue[Goal](Goal.REST)
    alone = IntEnumValue[Unwatched](Unwatched.REST)
    woken, eventfd, (answers, theirs) = FORK.RawValue("d", 0.0), os.eventfd(0), FORK.Pipe()

    async def wait(value: IntEnumValue[Goal], goal: Goal) -> None:
        while True:
            await value.aio.wait_for(goal)
            woken.value = perf_counter()
            value.set(Goal.REST)

    def by_eventfd() -> None:
        os.eventfd_read(eventfd)
        woken.value = perf_counter()

    async def watch() -> None:
        """Wait 10,000 times; say what that costs; and then be woken for ever."""
        loop = asyncio.get_running_loop()
        loop.add_reader(eventfd, by_eventfd)
        waits = [loop.create_task(wait(value, goal)) for value in values for goal in GOALS]
        await asyncio.sleep(0.5)
        names = (task / "comm" for task in Path("/proc/self/task").iterdir())
        threads = sum(name.read_text().strip() == "intenum-watch" for name in names)
        gc.collect()
        used = time.process_time()
        await asyncio.sleep(1)
        idle, cancelled = time.process_time() - used, []
        for each in waits[::500]:
            started = perf_counter()
            each.cancel()
            await asyncio.wait([each])
            cancelled.append(perf_counter() - started)
        theirs.send((threads, idle, cancelled))
        await loop.create_future()

    def block() -> None:
        _prepare("asleep")
        while True:
            blocking.wait_for(Goal.A)
            woken.value = perf_counter()
            blocking.set(Goal.REST)

    # None of those whose wait was cancelled, which are each fiftieth value's first.
    waited_for = (number for number in range(0, 10 * VALUES, 17) if number % VALUES % 50)

    def wake_one() -> None:
        number = next(waited_for)
        values[number % VALUES].set(GOALS[number % 10])

    wakes: dict[str, Callable[[], object]] = {
        rows.OURS: wake_one,
        rows.EVENTFD: lambda: os.eventfd_write(eventfd, 1),
        rows.BLOCKING: lambda: blocking.set(Goal.A),
    }
    with ExitStack() as stack:
        _start(stack, lambda: asyncio.run(watch()))
        _start(stack, block)
        threads, idle, cancelled = answers.recv()
        gc.disable()
        turns = [[_until_woken(woken, wake) for wake in wakes.values()] for _ in range(ROUNDS)]
        loops = {
            rows.OURS: Loop(Statement("value.set(A)"), {"value": unrelated, "A": Goal.A}),
            rows.UNWATCHED: Loop(Statement("value.set(A)"), {"value": alone, "A": Unwatched.A}),
        }
        written = take_turns(list(loops.values()), 20)
    taken = zip(wakes, map(list, zip(*turns, strict=True)), strict=True)
    return [
        *(Series(rows.AIO, name, each) for name, each in taken),
        *(Series(rows.AIO_WRITER, name, each) for name, each in zip(loops, written, strict=True)),
        Series(rows.AIO_THREADS, rows.OURS, [threads], unit=""),
        Series(rows.AIO_IDLE, rows.OURS, [idle * 100], unit="%"),
        Series(rows.AIO_CANCEL, rows.OURS, cancelled),
    ]


# -- many on one word


def _wake_all(number: int, rounds: int) -> dict[str, list[float]]:
    """Return how long it takes until so many sleepers, each a process, have been woken."""
    status, event, ready, done = WorkerStatus(IDLE), FORK.Event(), *map(FORK.Semaphore, (0, 0))

    def sleeper() -> None:
        gc.disable()
        _prepare("asleep")
        for turn in range(2 * rounds):
            ready.release()
            if turn % 2:
                event.wait()
            else:
                status.wait_for(IDLE if turn % 4 else BUSY)
            done.release()

    taken: dict[str, list[float]] = {rows.OURS: [], rows.EVENT: []}
    with ExitStack() as stack:
        for _ in range(number):
            _start(stack, sleeper)
        for turn in range(2 * rounds):
            event.clear()
            for _ in range(number):
                ready.acquire()
            time.sleep(0.02 + number / 20_000)  # until they sleep
            started = perf_counter()
            if turn % 2:
                event.set()
            else:
                status.set(IDLE if turn % 4 else BUSY)
            for _ in range(number):
                done.acquire()
            taken[rows.EVENT if turn % 2 else rows.OURS].append(perf_counter() - started)
    return taken


if __name__ == "__main__":
    if "--growth" in sys.argv:
        found = ((number, _wake_all(number, 5).items()) for number in SLEEPERS)
        emit(Series(WAKE_ALL, who, taken, number) for number, all_ in found for who, taken in all_)
        sys.exit()
    gaps = [Missing(rows.TURN, FASTIPC, reason) for reason in [absence("fastipc")] if reason]
    if shutil.which(COMPILER) is None:
        reason = f"no C compiler ({COMPILER}) for {SOURCE.name}"
        gaps += [Missing(rows.TURN, who, reason) for who in (rows.C_ASLEEP, rows.C_SPINNING)]
    emit([*there_and_back(), *in_asyncio()], gaps)
