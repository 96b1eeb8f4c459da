"""Several processes at the same thing: how much they get done, and how long one operation takes.

    python benchmarks/contended.py [--processes 1 2 4 8] [--json PATH]

For each number of processes, so many are started, each on a CPU (by turns, where there are more
processes than CPUs), but where they sleep to wait for each other. They wait at a barrier, work for
a window of a tenth of a second, and wait again: one contender after the other, five times over.
What counts is the median over the windows of the operations of all processes together in a second.

p50 and p99 are of batches: a process looks at the clock after 50 operations, and the figure is a
batch's time over 50. So a stall shows in its batch by a fiftieth of its length, and nothing shorter
than a batch is told apart. For a lock that everybody is busy with it is each single hand-over: from
one process's release to another one's acquisition.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import machine
from results import Missing, Results, amount, figure
from scenarios import SCENARIOS, Scenario

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier

PROCESSES = (1, 2, 4, 8)
WINDOW = 0.1
WINDOWS = 5
#: How many of a window's batches one process reports.
KEPT = 1000


class Window(NamedTuple):
    """What one process did in a window.

    Attributes:
        rate: operations a second.
        singles: seconds of single ones, or of batches, divided.
        longest: seconds of the longest batch.

    """

    rate: float
    singles: list[float]
    longest: float


def _window(scenario: Scenario, rank: int, batch: Any, seconds: float) -> Window:
    """Work for a window."""
    ends = []
    size = scenario.at_a_time
    started = now = perf_counter()
    until = started + seconds
    while now < until:
        batch(size)
        now = perf_counter()
        ends.append(now)
    singles = scenario.latencies()
    if not scenario.counts(rank):
        return Window(0.0, [], 0.0)
    batches = [end - begin for begin, end in pairwise([started, *ends])]
    if singles is None:
        singles = [each / size for each in batches]
    rate = len(ends) * size / (now - started)
    return Window(rate, singles[:: len(singles) // KEPT + 1], max(batches))


def _work(
    scenarios: list[Scenario],
    rank: int,
    cpu: int | None,
    barrier: Barrier,
    results: Connection,
    turns: int,
    seconds: float,
) -> None:
    """Be one of the processes."""
    everywhere = None if cpu is None else os.sched_getaffinity(0)
    gc.disable()
    with ExitStack() as stack:
        batches = [scenario.open(rank, stack) for scenario in scenarios]
        for _ in range(turns):
            for scenario, batch in zip(scenarios, batches, strict=True):
                if cpu is not None and everywhere is not None:
                    os.sched_setaffinity(0, {cpu} if scenario.pinned else everywhere)
                batch(Scenario.at_a_time)  # warms it up
                scenario.latencies()
                barrier.wait(timeout=60)
                results.send(_window(scenario, rank, batch, seconds))
        barrier.wait(timeout=60)  # nobody takes anything away while another one works


def windows(
    processes: int, wanted: Sequence[type[Scenario]], turns: int, seconds: float
) -> list[list[list[Window]]]:
    """Have so many processes work in scenarios by turns.

    Args:
        processes: how many.
        wanted: the scenarios.
        turns: how many windows of each.
        seconds: how long a window is.

    Returns:
        By scenario, window and process.

    """
    context = multiprocessing.get_context("spawn")
    cpus: list[int | None] = [None]
    if hasattr(os, "sched_getaffinity"):
        cpus = [*sorted(os.sched_getaffinity(0))]
    with ExitStack() as stack:
        scenarios = [cls(context, processes, stack) for cls in wanted]
        barrier = context.Barrier(processes)
        started = []
        for rank in range(processes):
            receiver, sender = context.Pipe(duplex=False)
            cpu = cpus[rank % len(cpus)]
            arguments = (scenarios, rank, cpu, barrier, sender, turns, seconds)
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            sender.close()
            stack.callback(process.join)
            stack.callback(process.kill)
            started.append((process, receiver))
        taken: list[list[list[Window]]] = [[] for _ in scenarios]
        for _ in range(turns):
            for mine in taken:
                mine.append([receiver.recv() for _, receiver in started])
        for process, _ in started:
            process.join(10)
    return taken


def rates(taken: Sequence[Sequence[Window]]) -> list[float]:
    """Return operations a second of all processes together, window by window."""
    return [sum(each.rate for each in window) for window in taken]


def longest(taken: Sequence[Sequence[Window]]) -> list[float]:
    """Return the seconds of the longest batch of any process, window by window."""
    return [max(each.longest for each in window) for window in taken]


def _measure(processes: int, run: Results) -> None:
    wanted = [cls for cls in SCENARIOS if processes >= cls.least and not cls.absence()]
    for cls, taken in zip(wanted, windows(processes, wanted, WINDOWS, WINDOW), strict=True):
        singles = [single for window in taken for each in window for single in each.singles]
        run.figures.append(
            figure(
                "contended",
                cls.what,
                cls.who,
                rates(taken),
                unit="1/s",
                at=processes,
                singles=singles if len(singles) > 1 else (),
            )
        )


def measure(numbers: tuple[int, ...] = PROCESSES) -> Results:
    """Measure all scenarios with each number of processes."""
    run = Results(machine.facts())
    for cls in SCENARIOS:
        if cls.absence():
            run.missing.append(Missing("contended", cls.what, cls.who, cls.absence()))
    for processes in numbers:
        _measure(processes, run)
    return run


def show(run: Results) -> None:
    """Print the figures, scenario by scenario."""
    order = list(dict.fromkeys(each.what for each in SCENARIOS))
    for what in order:
        print(f"\n{what}")
        mine = [each for each in run.figures if each.what == what]
        for each in sorted(mine, key=lambda found: found.at or 0):
            p50 = amount(each.p50, "s") if each.p50 is not None else ""
            p99 = amount(each.p99, "s") if each.p99 is not None else ""
            rate = amount(each.median, each.unit)
            spread = f"({amount(each.low, each.unit)} - {amount(each.high, each.unit)})"
            print(f"  {each.at:>3}  {each.who:38}{rate:>11} {spread:28} p50 {p50:>9} p99 {p99:>9}")
    for gap in run.missing:
        print(f"{gap.what}: {gap.who}: {gap.reason}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Several processes at the same thing.")
    parser.add_argument("--processes", type=int, nargs="+", default=PROCESSES, metavar="N")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where to write the results")
    arguments = parser.parse_args()
    print("\n".join(machine.description()))
    run = measure(tuple(arguments.processes))
    show(run)
    if arguments.json:
        run.save(arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
