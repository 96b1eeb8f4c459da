"""The demo from its command line to its exit code."""

import argparse
import multiprocessing
import os
import platform
import sys

from crew import Crew
from interrupt import hold_back
from screen import Screen, say
from summary import measure, say_report

from atomic_intenum import BACKEND


def main(argv: list[str] | None = None) -> int:
    """Run the demo and return the exit code for this process, in which Ctrl-C stays pending."""
    parser = argparse.ArgumentParser(prog="examples/demo", description="See workers being killed.")
    add = parser.add_argument
    add("--tree", metavar="PATH", help="the files to hash (default: the standard library)")
    add("--workers", metavar="N", type=int, default=8, help="up to 10,000 (default: 8)")
    add("--seconds", metavar="S", type=float, default=10.0, help="in all, about (default: 10)")
    add("--seed", metavar="N", type=int, help="of whom the killer kills, and when")
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.workers <= 10_000 or not 0 < arguments.seconds <= 3600:  # nor NaN
        parser.error("--workers is from 1 to 10,000, and --seconds above 0 and up to 3600")
    hold_back()
    return run(**vars(arguments))


def run(tree: str | None, workers: int, seconds: float, seed: int | None = None) -> int:
    """Run the demo; return 0, 1 if it does not add up, 2 if there is no work, 130 after Ctrl-C."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    try:
        say(f"atomic-intenum: {BACKEND}, {python}, {multiprocessing.get_start_method()}")
        if BACKEND == "lock":
            say("The killer holds the boards' locks as it kills: a victim's would stay locked.")
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
    except OSError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1 if isinstance(error, ChildProcessError) else 2
    return 0 if adds_up else 1
