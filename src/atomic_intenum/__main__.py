"""The command line: ``python -m atomic_intenum bench``."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys

from . import bench


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= 3600:  # NaN is neither
        message = f"{text!r} is not a number of seconds above 0 and up to 3600"
        raise argparse.ArgumentTypeError(message)
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m atomic_intenum",
        description="IntEnum values shared between processes.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    command = commands.add_parser(
        "bench",
        help="measure it here, beside multiprocessing.Value and multiprocessing.Event",
        description=(
            "Reading, writing, comparing and setting, creating, and waking a sleeper: how long "
            "each takes here, beside multiprocessing and beside the floor, which is an empty call."
        ),
    )
    command.add_argument(
        "--seconds",
        metavar="S",
        type=_seconds,
        default=15.0,
        help="about how long all of it takes (default: 15)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and return the exit code for this process.

    SIGINT is noticed between two timings alone, and no more once this has returned: a
    KeyboardInterrupt in the callback of a weak reference would be printed and lost.

    Args:
        argv: the arguments; None: those of this process.

    Returns:
        0: measured.  1: it could not be, or nobody reads the output.  130: Ctrl-C.

    """
    seconds: float = _parser().parse_args(argv).seconds
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    try:
        bench.run(seconds, check)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output is gone (`| head`).  The interpreter flushes once more as it
        # exits, and that must not fail as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"atomic_intenum bench: {error}", file=sys.stderr)
        return 1
    finally:
        # What is left is the interpreter's exit, which Ctrl-C would end with another exit code.
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    return 0


if __name__ == "__main__":
    sys.exit(main())
