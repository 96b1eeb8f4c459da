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
    if math.isnan(timeout):  # TypeError for what float() alone would take, as "1"
        message = "timeout must not be NaN"
        raise ValueError(message)
    seconds = float(timeout)
    if seconds < 0:
        message = "timeout must not be negative"
        raise ValueError(message)
    return time.monotonic() + seconds
