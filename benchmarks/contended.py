"""Several processes at the same thing: how much they get done, and how long one operation takes.

    python benchmarks/contended.py [--processes 1 2 4 8] [--json PATH]

For each number of processes, so many are started, each on a CPU (by turns, where there are more
processes than CPUs). They wait at a barrier, work for a window of a tenth of a second, and wait
again: one contender after the other, five times over. What counts is the median over the windows
of the operations of all processes together in a second.

p50 and p99 are of batches: a process looks at the clock after each BATCH operations, and the figure
is a batch's time over BATCH. So a stall shows in its batch by a fiftieth of its length, and nothing
shorter than a batch is told apart. For the lock it is each single hand-over: from one process's
release to another one's acquisition.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import machine
from results import Missing, Results, amount, figure
from scenarios import SCENARIOS, Scenario

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier

PROCESSES = (1, 2, 4, 8)
BATCH = 50
WINDOW = 0.1
WINDOWS = 5
#: How many of a window's batches one process reports.
KEPT = 1000


def _window(scenario: Scenario, rank: int, batch: Any) -> tuple[float, list[float]]:
    """Work for a window and return operations a second, and seconds of single ones."""
    ends = []
    started = now = perf_counter()
    until = started + WINDOW
    while now < until:
        batch(BATCH)
        now = perf_counter()
        ends.append(now)
    rate = len(ends) * BATCH / (now - started) if scenario.counts(rank) else 0.0
    singles = scenario.latencies()
    if singles is None:
        singles = [
            (end - begin) / BATCH for begin, end in zip([started, *ends], ends, strict=False)
        ]
    if not scenario.counts(rank):
        return 0.0, []
    return rate, singles[:: len(singles) // KEPT + 1]


def _work(
    scenarios: list[Scenario], rank: int, cpu: int | None, barrier: Barrier, results: Connection
) -> None:
    """Be one of the processes."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    gc.disable()
    with ExitStack() as stack:
        batches = [scenario.open(rank, stack) for scenario in scenarios]
        for _ in range(WINDOWS):
            for scenario, batch in zip(scenarios, batches, strict=True):
                batch(BATCH)  # warms it up
                scenario.latencies()
                barrier.wait(timeout=60)
                results.send(_window(scenario, rank, batch))
        barrier.wait(timeout=60)  # nobody takes anything away while another one works


def _measure(processes: int, run: Results) -> None:
    context = multiprocessing.get_context("spawn")
    cpus: list[int | None] = [None]
    if hasattr(os, "sched_getaffinity"):
        cpus = [*sorted(os.sched_getaffinity(0))]
    with ExitStack() as stack:
        scenarios = [
            cls(context, processes, stack)
            for cls in SCENARIOS
            if processes >= cls.least and not cls.absence()
        ]
        barrier = context.Barrier(processes)
        started = []
        for rank in range(processes):
            receiver, sender = context.Pipe(duplex=False)
            arguments = (scenarios, rank, cpus[rank % len(cpus)], barrier, sender)
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            sender.close()
            stack.callback(process.join)
            stack.callback(process.kill)
            started.append((process, receiver))
        rates: list[list[float]] = [[] for _ in scenarios]
        singles: list[list[float]] = [[] for _ in scenarios]
        for _ in range(WINDOWS):
            for number in range(len(scenarios)):
                answers = [receiver.recv() for _, receiver in started]
                rates[number].append(sum(rate for rate, _ in answers))
                singles[number].extend(single for _, some in answers for single in some)
        for process, _ in started:
            process.join(10)
    for scenario, mine, taken in zip(scenarios, rates, singles, strict=True):
        run.figures.append(
            figure(
                "contended",
                scenario.what,
                scenario.who,
                mine,
                unit="1/s",
                at=processes,
                singles=taken if len(taken) > 1 else (),
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
