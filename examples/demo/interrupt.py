"""Ctrl-C, noticed between two steps; KeyboardInterrupt could come inside of multiprocessing."""

import multiprocessing
import signal
from multiprocessing import resource_tracker

POSIX = hasattr(signal, "pthread_sigmask")


def hold_back() -> None:
    """Keep SIGINT pending from now on, and in all processes, which inherit that."""
    if POSIX:
        if multiprocessing.get_start_method() != "fork":
            resource_tracker.ensure_running()  # as it starts, it lets SIGINT through
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def check() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed; called every tenth of a second or sooner."""
    if POSIX and signal.SIGINT in signal.sigpending():
        raise KeyboardInterrupt
