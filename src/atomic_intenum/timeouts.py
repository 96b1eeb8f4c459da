"""What may be a wait's timeout, and what is said when it is over."""

from __future__ import annotations

import math
import time
from typing import Any


def deadline_of(timeout: float | None, *, negative: bool = False) -> float:
    """Return a timeout in seconds as a time of the monotonic clock.

    Args:
        timeout: None is for ever.
        negative: whether it may be negative, as for multiprocessing's locks: those try once.

    Raises:
        ValueError: it is negative or NaN.
        TypeError: it is no number.

    """
    if timeout is None:
        return math.inf
    seconds = math.ldexp(timeout, 0)  # as float(), asked once, but TypeError for "1"
    if math.isnan(seconds):
        message = "timeout must not be NaN"
        raise ValueError(message)
    if seconds < 0 and not negative:
        message = "timeout must not be negative"
        raise ValueError(message)
    return time.monotonic() + seconds


def timed_out(method: str, members: tuple[Any, ...], still: str, timeout: Any) -> TimeoutError:
    """Return the error of a wait: for what, what it is instead, and after how long."""
    wanted = [each if isinstance(each, str) else each._name_ for each in members[:4]]
    if len(members) > len(wanted):
        wanted.append("...")
    return TimeoutError(f"{method}({', '.join(wanted)}): still {still} after {timeout} s")
