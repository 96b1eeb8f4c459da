"""IntEnum values shared between processes: what can be done with them from a shell."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from importlib import metadata

from . import bench
from .backends import backend


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (number := float(text)) <= 3600:
            return number
    message = f"{text!r} is not a number of seconds above 0 and up to 3600"
    raise argparse.ArgumentTypeError(message)


def _version() -> str:
    try:
        version = metadata.version("atomic-intenum")
    except metadata.PackageNotFoundError:  # run from its sources
        version = "(not installed)"
    return f"atomic-intenum {version}, backend {backend.NAME}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("atomic-intenum", description=__doc__)
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    about = "measure it here, beside multiprocessing.Value and multiprocessing.Event"
    command = commands.add_parser("bench", help=about, description=bench.__doc__)
    about = "about how long all of it takes (default: 15)"
    command.add_argument("--seconds", metavar="S", type=_seconds, default=15.0, help=about)
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
        print(f"atomic-intenum bench: {error}", file=sys.stderr)
        return 1
    finally:
        # What is left is the interpreter's exit, which Ctrl-C would end with another exit code.
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    return 0
