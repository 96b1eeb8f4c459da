"""IntEnum values shared between processes: what can be seen of them, and done, from a shell."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from .backends import backend
from .errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NAME = "the segment_name that it was created with"

_EXIT = """exit codes: 0, it was done, or is so; 1, it is not so; 2, it cannot be done.
The values of the lock-based path have no name, and are not seen."""


class _Version(argparse.Action):
    """Prints the version; to look it up takes longer than many a command."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and the backend")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib import metadata  # noqa: PLC0415

        try:
            version = metadata.version("atomic-intenum")
        except metadata.PackageNotFoundError:  # run from its sources
            version = "(not installed)"
        print(f"atomic-intenum {version}, backend {backend.NAME}")
        parser.exit()


def _number(low: float, high: float, text: str) -> float:
    with contextlib.suppress(ValueError):
        if low <= (number := float(text)) <= high:
            return abs(number)  # not -0
    message = f"{text!r} is not a number of seconds from {low:g} to {high:g}"
    raise argparse.ArgumentTypeError(message)


def _timeout(text: str) -> float:
    return _number(0, 1e9, text)


def _seconds(text: str) -> float:
    return _number(0.001, 3600, text)


def _index(text: str) -> int:
    if text.isdecimal():
        return int(text)
    message = f"{text!r} is no index: words are counted from 0"
    raise argparse.ArgumentTypeError(message)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("atomic-intenum", description=__doc__, epilog=_EXIT)
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(run: str, about: str) -> argparse.ArgumentParser:
        name = run.rpartition(".")[2].rstrip("_")
        each = commands.add_parser(name, help=about, description=about)
        each.set_defaults(run=run, command=name)
        each.add_argument("--json", action="store_true", help="print JSON, for programs")
        return each

    each = command("look.list_", "what is in shared memory: kind, size, creator, owners")
    each.add_argument("--pid", type=int, help="only what this process created, owns, or has locked")

    each = command("look.show", "one segment: the value, or who is in what state")
    each.add_argument("name", metavar="NAME", help=_NAME)

    each = command("watch.watch", "what changes, as it does; q ends")
    each.add_argument("names", metavar="NAME", nargs="+", help=_NAME)

    each = command("act.wait", "wait until a value, or all words of an array, are one of MEMBERs")
    each.add_argument("name", metavar="NAME", help=_NAME)
    each.add_argument("members", metavar="MEMBER", nargs="+", help="a member's name")
    each.add_argument("--while", action="store_true", dest="leave", help="until none of them is")
    each.add_argument("--timeout", type=_timeout, metavar="S", help="exit with 1 after S seconds")
    each.add_argument("--index", type=_index, metavar="I", help="of an array: this word alone")
    each.add_argument("--any", action="store_true", help="of an array: until one word is")

    each = command("act.set_", "write a member; this command never owns what it writes")
    each.add_argument("name", metavar="NAME", help=_NAME)
    each.add_argument("member", metavar="MEMBER", help="a member's name")
    each.add_argument("--if", dest="old", metavar="MEMBER", help="only if it is this one; else 1")
    each.add_argument("--index", type=_index, metavar="I", help="of an array: the word")

    each = command("act.clean", "remove what nobody answers for any more")
    each.add_argument("--yes", action="store_true", help="do not ask")

    each = command("look.metrics", "values and arrays as OpenMetrics, for Prometheus")
    each.add_argument("names", metavar="NAME", nargs="*", help=f"{_NAME}; default: all")
    each.add_argument("--text", action="store_true", help="the older text format, for textfiles")

    about = "measure it here, beside multiprocessing.Value and multiprocessing.Event"
    each = command("bench", about)
    about = "about how long all of it takes (default: 15)"
    each.add_argument("--seconds", metavar="S", type=_seconds, default=15.0, help=about)
    return parser


def _bench(args: argparse.Namespace) -> int:
    """Measure; Ctrl-C is noticed between two timings alone.

    A KeyboardInterrupt in the callback of a weak reference would be printed and lost.
    """
    from . import bench  # noqa: PLC0415 - nobody else needs it

    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    if not args.json:
        bench.run(args.seconds, check, lambda text: print(text, flush=True))
        return 0
    from .commands.output import document  # noqa: PLC0415

    rows = bench.run(args.seconds, check, lambda _: None)
    document(backend=backend.NAME, rows=[row._asdict() for row in rows])
    return 0


def _function(args: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    if args.run == "bench":
        return _bench
    module, _, name = args.run.partition(".")
    function: Callable[[argparse.Namespace], int] = getattr(
        importlib.import_module(f".commands.{module}", __package__), name
    )
    return function


def _drop_output() -> None:
    """Write no more: the interpreter flushes as it exits, and that must not fail as well."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: list[str] | None = None) -> int:
    """Do what the arguments say, and return the exit code for this process.

    Args:
        argv: the arguments; None: those of this process.

    Returns:
        0: done, or it is so.  1: it is not so; or nobody reads the output.  2: it cannot be done.
        130: Ctrl-C.

    """
    args = _parser().parse_args(argv)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # it was closed; and print(file=None) is print()
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # names may be in any letters
    try:
        code = _function(args)(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output is gone (`| head`)
        _drop_output()
        return 1
    except Exception as error:  # noqa: BLE001 - whatever it is, an operator gets a line
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        print(f"atomic-intenum {args.command}: {printable(text)[:500]}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:
            _drop_output()
        return 2
    finally:
        # What is left is the interpreter's exit, which Ctrl-C would end with another exit code.
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    return code
