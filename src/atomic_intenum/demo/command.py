"""The demo from its first line to its exit code."""

from __future__ import annotations

import multiprocessing
import os
import platform
import sys
from typing import TYPE_CHECKING

from ..backends import backend
from . import report
from .board import Board, Status
from .crew import DISPATCHERS, work
from .files import TreeError, compare, count, jobs_of, list_files, printable
from .interrupt import Interrupted
from .limits import MOST_PROCESSES
from .measure import measure, measure_board
from .processes import CrewError
from .screen import make_screen, say
from .simulation import simulate

if TYPE_CHECKING:
    from .interrupt import Interrupt

__all__ = ["run"]

#: What part of the time goes where; the rest is for listing the files and for the plain run, or, of
#: a simulation, for what was begun when its time was up.
_WORKING = 0.5
_MEASURING = 0.4


def run(tree: str | None, workers: int | None, seconds: float, interrupt: Interrupt) -> int:
    """Run the demo and return the exit code of its process.

    Args:
        tree: the folder whose files are hashed; None: the installed standard library.
        workers: number of workers: processes up to MOST_PROCESSES, simulated ones beyond it; None:
            one process a CPU, from 2 to 8.
        seconds: about how long all of it takes.
        interrupt: that has taken over SIGINT.

    Returns:
        0: all that could be compared was equal.  1: something was not, or a process failed.  2:
        there is nothing to hash.  130: Ctrl-C.

    """
    workers = workers or min(max(_cpus(), 2), 8)
    try:
        if workers <= MOST_PROCESSES:
            return _hash(tree, workers, seconds, interrupt)
        if tree is not None:
            return _fail(
                f"--tree is for up to {MOST_PROCESSES} workers: simulated ones hash nothing", 2
            )
        return _simulate(workers, seconds, interrupt)
    except Interrupted:
        say("interrupted; all processes are stopped")
        return 130
    except TreeError as error:
        return _fail(str(error), 2)
    except (CrewError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise  # standard output's
        return _fail(str(error), 1)


def _fail(reason: str, code: int) -> int:
    print(f"atomic_intenum demo: {reason}", file=sys.stderr)
    return code


def _cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _say_where() -> str:
    """Say where this runs, and return what the measurements need of it."""
    implementation = f"{platform.python_implementation()} {platform.python_version()}"
    here = f"backend {backend.NAME}, {implementation}, {count(_cpus(), 'CPU')}"
    say(f"atomic-intenum: {here}, start method {multiprocessing.get_start_method()}")
    return here


def _hash(tree: str | None, workers: int, seconds: float, interrupt: Interrupt) -> int:
    """Have real workers hash files."""
    here = _say_where()
    listing = list_files(tree, interrupt.check)
    size = f"{count(len(listing.files), 'file')}, {listing.size / 1e6:,.1f} MB"
    say(f"{printable(listing.tree)}: {size}")
    for note in listing.notes:
        say(f"  ({note})")
    crew = f"{count(workers, 'worker')}, which {DISPATCHERS} dispatchers claim"
    say(f"hashing them over and over for {seconds * _WORKING:.1f} s: {crew}")
    say("by claim(IDLE, CALCULATING) on one board; nobody polls: who waits, sleeps")
    say()

    # The first of ours also starts multiprocessing's resource tracker, which unblocks SIGINT: it
    # must not start while that is held back.
    board = Board(workers, Status.UNAVAILABLE)
    screen = make_screen(seconds * _WORKING)
    outcome = work(board, jobs_of(listing), seconds * _WORKING, screen, interrupt.check)
    say()
    consistent = report.say_work(outcome, workers)

    comparison = compare(listing, outcome.readings, interrupt.check)
    same = report.say_comparison(comparison, listing, outcome)
    if not comparison.equal and not comparison.different:
        message = f"{printable(listing.tree)}: no file could be read and compared"
        raise TreeError(message)

    rates = measure(seconds * _MEASURING, interrupt.check)
    say()
    report.say_rates(rates, here)
    return 0 if same and consistent else 1


def _simulate(workers: int, seconds: float, interrupt: Interrupt) -> int:
    """Have a few processes simulate many workers."""
    here = _say_where()
    processes = min(max(_cpus(), 2), 4)
    crew = f"{count(workers, 'simulated worker')} on one board"
    say(f"{crew}, which {processes} processes claim for {seconds * _WORKING:.1f} s")
    say("by claim(IDLE, CALCULATING); who finds nobody sleeps in wait_any(IDLE)")
    say()

    board = Board(workers, Status.UNAVAILABLE)  # before any process starts: see _hash()
    screen = make_screen(seconds * _WORKING)
    outcome = simulate(board, processes, seconds * _WORKING, screen, interrupt.check)
    say()
    if not report.say_simulation(outcome, workers):
        return 1  # there is no sense in measuring a board that is wrong

    part = seconds * _MEASURING / 2
    rates = measure(part, interrupt.check)
    rates_of_board = measure_board(board, part, interrupt.check)
    say()
    report.say_rates(rates, here)
    report.say_board_rates(rates_of_board, workers)
    return 0
