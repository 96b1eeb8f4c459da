"""The demo from its first line to its exit code."""

from __future__ import annotations

import multiprocessing
import os
import platform
import sys
from collections import Counter
from typing import TYPE_CHECKING

from ..backends import backend
from .crew import DISPATCHERS, CrewError, work
from .files import TreeError, compare, count, jobs_of, list_files, printable
from .interrupt import Interrupted
from .measure import measure
from .screen import make_screen, say

if TYPE_CHECKING:
    from .crew import Outcome
    from .files import Comparison, Listing
    from .interrupt import Interrupt
    from .measure import Rates

__all__ = ["run"]

#: What part of the time goes where; the rest is for listing the files and for the plain run.
_WORKING = 0.5
_MEASURING = 0.4


def run(tree: str | None, workers: int | None, seconds: float, interrupt: Interrupt) -> int:
    """Run the demo and return the exit code of its process.

    Args:
        tree: the folder whose files are hashed; None: the installed standard library.
        workers: number of worker processes; None: one a CPU, from 2 to 8.
        seconds: about how long all of it takes.
        interrupt: that has taken over SIGINT.

    Returns:
        0: all that could be compared was equal.  1: something was not, or a process failed.  2:
        there is nothing to hash.  130: Ctrl-C.

    """
    try:
        return _run(tree, workers or min(max(_cpus(), 2), 8), seconds, interrupt)
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


def _run(tree: str | None, workers: int, seconds: float, interrupt: Interrupt) -> int:
    implementation = f"{platform.python_implementation()} {platform.python_version()}"
    here = f"backend {backend.NAME}, {implementation}, {count(_cpus(), 'CPU')}"
    say(f"atomic-intenum: {here}, start method {multiprocessing.get_start_method()}")

    listing = list_files(tree, interrupt.check)
    size = f"{count(len(listing.files), 'file')}, {listing.size / 1e6:,.1f} MB"
    say(f"{printable(listing.tree)}: {size}")
    for note in listing.notes:
        say(f"  ({note})")
    crew = f"{count(workers, 'worker')}, which {DISPATCHERS} dispatchers claim"
    say(f"hashing them over and over for {seconds * _WORKING:.1f} s: {crew}")
    say("by compare_and_set(IDLE, CALCULATING)")
    say()

    screen = make_screen(seconds * _WORKING)
    outcome = work(jobs_of(listing), workers, seconds * _WORKING, screen, interrupt.check)
    say()
    consistent = _say_outcome(outcome, workers)

    comparison = compare(listing, outcome.readings, interrupt.check)
    same = _say_comparison(comparison, listing, outcome)
    if not comparison.equal and not comparison.different:
        message = f"{printable(listing.tree)}: no file could be read and compared"
        raise TreeError(message)

    rates = measure(seconds * _MEASURING, interrupt.check)
    say()
    _say_rates(rates, here)
    return 0 if same and consistent else 1


def _say_outcome(outcome: Outcome, workers: int) -> bool:
    """Say what the workers did, and return whether it adds up."""
    say(
        f"{count(outcome.files, 'digest')} of {count(len(outcome.readings), 'file')} in "
        f"{outcome.seconds:.1f} s; statuses read {count(outcome.polls, 'time')}"
    )
    say(f"claims: {outcome.claims:,} won, {outcome.lost:,} lost to the other dispatcher")
    # One into CALCULATING and one back for each claim; one into IDLE and one out for each worker.
    # A claim that two dispatchers won, or a write that was lost, would show here.
    expected = 2 * outcome.claims + 2 * workers
    if outcome.transitions == expected:
        say(f"transitions: {expected:,}, as many as the claims account for")
        return True
    say(f"TRANSITIONS: {outcome.transitions:,}, where the claims account for {expected:,}")
    return False


def _say_comparison(comparison: Comparison, listing: Listing, outcome: Outcome) -> bool:
    """Say what the plain run showed, and return whether no digest differs."""
    equal = count(comparison.equal, "digest")
    say(f"plain run in this process: {comparison.seconds:.1f} s, {equal} equal")
    missing = len(listing.files) - len(outcome.readings)
    if missing:
        say(f"  the time was up before {count(missing, 'file')} could be hashed: not compared")
    for problem, number in Counter(problem for _, problem in comparison.problems).items():
        example = next(path for path, reason in comparison.problems if reason == problem)
        files = count(number, "file")
        say(f"  {files} not compared: {problem} ({printable(example)})")
    for path in comparison.different:
        say(f"  DIFFERENT: {printable(path)}")
    return not comparison.different


def _say_rates(rates: dict[str, Rates], here: str) -> None:
    say(f"measured in this run: {here};")
    say("one process, and nobody else uses the value")
    say(f"{'per second':<12}{'IntEnumValue':>14}{'multiprocessing.Value':>24}")
    for name, (ours, theirs) in rates.items():
        say(f"{name:<12}{ours:>14,.0f}{theirs:>24,.0f}{ours / theirs:>8.1f} times")
    say("poll: load(), beside .value")
    say("claim: compare_and_set(), beside get_lock(), compare and assign")
