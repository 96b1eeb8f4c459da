"""What may be a wait's timeout."""

from __future__ import annotations

import math
import time


def deadline_of(timeout: float | None) -> float:
    """Return a wait's timeout as a time of the monotonic clock, in seconds.

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
    if seconds < 0:
        message = "timeout must not be negative"
        raise ValueError(message)
    return time.monotonic() + seconds
