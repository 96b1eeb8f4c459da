"""The demo from its command line to its exit code."""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import platform
import sys

from board import Board, Status
from files import TreeError, compare, count, jobs_of, list_files, printable
from interrupt import Interrupt, Interrupted, ignore
from outcome import say_comparison, say_work
from players import MANY, processes_for, work
from processes import CrewError
from screen import make_screen, say

import atomic_intenum
from atomic_intenum import bench

MOST_WORKERS = 10_000

#: What part of the time goes where; the rest is for listing the files, for what was begun when the
#: time was up, and for the plain run.
_WORKING = 0.5
_MEASURING = 0.4

#: What is measured at the end, by the package's benchmark.
_MEASURED = ("read the member", "set", "compare and set")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python examples/demo",
        description=(
            "Processes hash the files of a tree, each file in the name of a worker. The workers' "
            "statuses are one IntEnumArray, and each worker is claimed from IDLE to CALCULATING by "
            "claim(). The digests are compared with those of a plain run in one process; then some "
            "operations are measured beside multiprocessing.Value."
        ),
    )
    add = parser.add_argument
    add("--tree", metavar="PATH", help="the files to hash (default: the standard library)")
    number = f"workers, up to {MOST_WORKERS:,} (default: one a CPU, from 2 to 8)"
    add("--workers", metavar="N", type=int, default=min(max(_cpus(), 2), 8), help=number)
    about = "about how long all of it takes (default: 10)"
    add("--seconds", metavar="S", type=float, default=10.0, help=about)
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.workers <= MOST_WORKERS:
        parser.error(f"--workers: {arguments.workers} is not from 1 to {MOST_WORKERS:,}")
    if not 0 < arguments.seconds <= 3600:  # NaN is neither
        parser.error(f"--seconds: {arguments.seconds} is not above 0 and up to 3600")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Run the demo and return the exit code for this process, which ignores SIGINT from then on.

    Args:
        argv: the arguments; None: those of this process.

    """
    arguments = _arguments(argv)
    interrupt = Interrupt()
    interrupt.install()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Paths may hold anything, and the terminal's encoding may have little.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = run(arguments.tree, arguments.workers, arguments.seconds, interrupt)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output is gone (`| head`). The interpreter flushes once more as it exits,
        # and that must not fail as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    # What is left is the interpreter's exit.  Ctrl-C in it would print a traceback, or kill before
    # the exit code is given.
    ignore()
    return code


def run(tree: str | None, workers: int, seconds: float, interrupt: Interrupt) -> int:
    """Run the demo and return the exit code of its process.

    Args:
        tree: the folder whose files are hashed; None: the installed standard library.
        workers: how many.
        seconds: about how long all of it takes.
        interrupt: that has taken over SIGINT.

    Returns:
        0: all that could be compared was equal.  1: something was not, or a process failed.  2:
        there is nothing to hash.  130: Ctrl-C.

    """
    try:
        return _run(tree, workers, seconds, interrupt)
    except Interrupted:
        say("interrupted; all processes are stopped")
        return 130
    except (TreeError, CrewError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise  # standard output's
        print(f"demo: {error}", file=sys.stderr)
        return 2 if isinstance(error, TreeError) else 1


def _cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _run(tree: str | None, workers: int, seconds: float, interrupt: Interrupt) -> int:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    here = f"backend {atomic_intenum.BACKEND}, {python}, {count(_cpus(), 'CPU')}"
    say(f"atomic-intenum: {here}, start method {multiprocessing.get_start_method()}")
    listing = list_files(tree, interrupt.check)
    say(
        f"{printable(listing.tree)}: {count(len(listing.files), 'file')}, "
        f"{listing.size / 1e6:,.1f} MB"
    )
    for note in listing.notes:
        say(f"  ({note})")
    crew = f"{count(workers, 'worker')} on one board, which {processes_for(workers)} processes"
    say(f"hashing them over and over for {seconds * _WORKING:.1f} s: {crew}")
    say("claim by claim(IDLE, CALCULATING); who finds nobody sleeps in wait_any(IDLE)")
    say()

    # The first of ours also starts multiprocessing's resource tracker, which unblocks SIGINT: it
    # must not start while that is held back.
    board = Board(workers, Status.UNAVAILABLE)
    # The more workers, the smaller the jobs: the processes that hash are no more than before.
    jobs = jobs_of(listing, most=max(1, 32 * MANY // max(workers, MANY)))
    outcome = work(
        board, jobs, seconds * _WORKING, make_screen(seconds * _WORKING), interrupt.check
    )
    say()
    consistent = say_work(outcome, workers)
    comparison = compare(listing, outcome.readings, interrupt.check)
    same = say_comparison(comparison, listing, outcome)
    if not comparison.equal and not comparison.different:
        message = f"{printable(listing.tree)}: no file could be read and compared"
        raise TreeError(message)
    if not consistent or not same:
        return 1  # there is no sense in measuring what is wrong

    say()
    say(f"measured in this run: {here}; one process, and nobody else uses the value")
    say(bench.HEADER)
    for operation in bench.OPERATIONS:
        if operation.name in _MEASURED:
            share = seconds * _MEASURING / len(_MEASURED)
            say(bench.measure(operation, share, interrupt.check))
    return 0
