"""The demo from its command line to its exit code."""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import platform
import sys

from crew import CAN_KILL, Crew, CrewError
from files import TreeError, compare, count, list_files, printable
from interrupt import Interrupt, Interrupted, ignore
from rates import measure
from report import say_report
from screen import make_screen, say

from atomic_intenum import BACKEND

MOST_WORKERS = 10_000

#: What part of the time goes where; the rest is for starting and for the plain run.
_WORKING, _MEASURING = 0.65, 0.15


def main(argv: list[str] | None = None) -> int:
    """Run the demo and return the exit code for this process, which ignores SIGINT from then on."""
    parser = argparse.ArgumentParser(
        prog="python examples/demo",
        description=(
            "Workers hash the files of a tree, each of which they claim on one board, while a "
            "killer kills some of them. The digests are compared with those of a plain run."
        ),
    )
    add = parser.add_argument
    add("--tree", metavar="PATH", help="the files to hash (default: the standard library)")
    number = f"workers, up to {MOST_WORKERS:,} (default: 8)"
    add("--workers", metavar="N", type=int, default=8, help=number)
    about = "about how long all of it takes (default: 10)"
    add("--seconds", metavar="S", type=float, default=10.0, help=about)
    add("--seed", metavar="N", type=int, default=None, help="of the killer's choices")
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.workers <= MOST_WORKERS:
        parser.error(f"--workers: {arguments.workers} is not from 1 to {MOST_WORKERS:,}")
    if not 0 < arguments.seconds <= 3600:  # NaN is neither
        parser.error(f"--seconds: {arguments.seconds} is not above 0 and up to 3600")
    interrupt = Interrupt()
    interrupt.install()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Paths may hold anything, and the terminal's encoding may have little.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = run(**vars(arguments), interrupt=interrupt)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output is gone (`| head`). The interpreter flushes once more as it exits,
        # and that must not fail as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    # Ctrl-C in the interpreter's exit would print a traceback, or kill before the exit code is given.
    ignore()
    return code


def run(
    tree: str | None, workers: int, seconds: float, seed: int | None, interrupt: Interrupt
) -> int:
    """Run the demo and return the exit code of its process.

    0: it adds up.  1: it does not, or a process failed.  2: there is nothing to hash.  130: Ctrl-C.
    """
    try:
        return _run(tree, workers, seconds, seed, interrupt)
    except Interrupted:
        say("interrupted; all processes are stopped")
        return 130
    except (TreeError, CrewError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise  # standard output's
        print(f"demo: {error}", file=sys.stderr)
        return 2 if isinstance(error, TreeError) else 1


def _run(
    tree: str | None, workers: int, seconds: float, seed: int | None, interrupt: Interrupt
) -> int:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    here = f"backend {BACKEND}, {python}, start method {multiprocessing.get_start_method()}"
    say(f"atomic-intenum: {here}")
    listing = list_files(tree, interrupt.check)
    crew = Crew(listing, workers, seconds * _WORKING, seed, interrupt.check)
    title = f"{crew.who} hash the {count(len(listing.paths), 'file')} of {printable(listing.tree)}"
    say("\n".join([f"{title}, {listing.size() / 1e6:,.1f} MB", *listing.notes]))
    outcome = crew.run(make_screen(title))
    say("\nWhat came of it")
    comparison = compare(listing, outcome.digests, interrupt.check)
    adds_up = say_report(outcome, comparison, listing)
    if not comparison.equal and not comparison.different:
        message = f"{printable(listing.tree)}: no file could be read and compared"
        raise TreeError(message)
    if adds_up:
        say("\nmeasured")
        measure(seconds * _MEASURING, interrupt.check)
    return 0 if adds_up else 1
