"""What may be a wait's timeout."""

from __future__ import annotations

import math
import time


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
