"""The command line: ``python -m atomic_intenum demo``, and ``bench``."""

from __future__ import annotations

import argparse
import io
import math
import os
import sys

from .demo.interrupt import Interrupt, ignore
from .demo.limits import MOST_PROCESSES, MOST_WORKERS


def _worker_count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= MOST_WORKERS:
        message = f"{text!r} is not a whole number from 1 to {MOST_WORKERS:,}"
        raise argparse.ArgumentTypeError(message)
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= 3600:  # NaN is neither
        message = f"{text!r} is not a number of seconds above 0 and up to 3600"
        raise argparse.ArgumentTypeError(message)
    return number


def _demo(arguments: argparse.Namespace, interrupt: Interrupt) -> int:
    # Only here: the other commands, and --help, need none of it.
    from .demo import command  # noqa: PLC0415

    return command.run(arguments.tree, arguments.workers, arguments.seconds, interrupt)


def _bench(arguments: argparse.Namespace, interrupt: Interrupt) -> int:
    from .bench import command  # noqa: PLC0415 - as above

    return command.run(arguments.seconds, interrupt)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m atomic_intenum",
        description="IntEnum values shared between processes.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="watch workers being claimed while they hash files, and see what was measured",
        description=(
            "Worker processes hash the files of a tree. Their statuses are one IntEnumArray, and "
            "each worker is claimed from IDLE to CALCULATING by claim(). The digests are compared "
            "with those of a plain run in one process; then reading and claiming are measured "
            f"beside multiprocessing.Value. More than {MOST_PROCESSES} workers are simulated by a "
            "few processes, which hash nothing."
        ),
    )
    demo.add_argument(
        "--tree", metavar="PATH", help="the files to hash (default: the installed standard library)"
    )
    demo.add_argument(
        "--workers",
        metavar="N",
        type=_worker_count,
        help=(
            f"workers: up to {MOST_PROCESSES} processes, and simulated ones from there up to "
            f"{MOST_WORKERS:,} (default: one process a CPU, from 2 to 8)"
        ),
    )
    demo.add_argument(
        "--seconds",
        metavar="S",
        type=_seconds,
        default=10.0,
        help="about how long all of it takes (default: 10)",
    )
    demo.set_defaults(command=_demo)
    bench = commands.add_parser(
        "bench",
        help="measure it here, beside multiprocessing.Value and multiprocessing.Event",
        description=(
            "Reading, writing, comparing and setting, creating, and waking a sleeper: how long "
            "each takes here, beside multiprocessing and beside the floor, which is an empty call."
        ),
    )
    bench.add_argument(
        "--seconds",
        metavar="S",
        type=_seconds,
        default=15.0,
        help="about how long all of it takes (default: 15)",
    )
    bench.set_defaults(command=_bench)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run a command and return the exit code for this process, which ignores SIGINT from then on.

    Args:
        argv: the arguments; None: those of this process.

    """
    arguments = _parser().parse_args(argv)
    interrupt = Interrupt()
    interrupt.install()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Paths may hold anything, and the terminal's encoding may have little.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code: int = arguments.command(arguments, interrupt)
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


if __name__ == "__main__":
    sys.exit(main())
