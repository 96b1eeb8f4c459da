"""The demo from its command line to its exit code."""

import argparse
import io
import multiprocessing
import os
import platform
import sys

from crew import Crew
from files import TreeError
from interrupt import hold_back
from report import measure, say_report
from screen import Screen, say

from atomic_intenum import BACKEND


def main(argv: list[str] | None = None) -> int:
    """Run the demo and return the exit code for this process, in which Ctrl-C stays pending."""
    about = "Workers claim files and hash them, while a killer kills some of the workers."
    parser = argparse.ArgumentParser(prog="examples/demo", description=about)
    add = parser.add_argument
    add("--tree", metavar="PATH", help="the files to hash (default: the standard library)")
    add("--workers", metavar="N", type=int, default=8, help="up to 10,000 (default: 8)")
    add("--seconds", metavar="S", type=float, default=10.0, help="in all, about (default: 10)")
    add("--seed", metavar="N", type=int, help="of whom the killer kills, and when")
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.workers <= 10_000:
        parser.error(f"--workers: {arguments.workers} is not from 1 to 10,000")
    if not 0 < arguments.seconds <= 3600:  # NaN is neither
        parser.error(f"--seconds: {arguments.seconds} is not above 0 and up to 3600")
    hold_back()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold anything
    return run(**vars(arguments))


def run(tree: str | None, workers: int, seconds: float, seed: int | None = None) -> int:
    """Run the demo and return the exit code of its process.

    0: it adds up.  1: it does not, or a process failed.  2: there is nothing to hash.  130: Ctrl-C.
    """
    python = f"{platform.python_implementation()} {platform.python_version()}"
    try:
        method = multiprocessing.get_start_method()
        say(f"atomic-intenum: backend {BACKEND}, {python}, start method {method}")
        crew = Crew(tree, workers, seconds * 0.65, seed)
        crew.run(Screen())
        adds_up = say_report(crew)
        if adds_up:
            measure(seconds * 0.15)
    except KeyboardInterrupt:
        say("interrupted; all processes are stopped")
        return 130
    except BrokenPipeError:
        # Who read the output is gone (`| head`), and the interpreter flushes again as it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (TreeError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2 if isinstance(error, TreeError) else 1
    return 0 if adds_up else 1
