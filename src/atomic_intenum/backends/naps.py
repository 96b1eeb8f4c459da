"""How long a wait of the lock-based path naps between two looks: nobody wakes anybody there.

A nap is a quarter of the time slept so far, within bounds, as in csrc/park_poll.h: what comes soon
is seen soon.  In Python a nap costs 20 to 130 us of processor time (the most where the processor
halts meanwhile), and a sleeper may take no more than 1 % of a core: so the longest is 32 ms.
"""

from __future__ import annotations

_SHORTEST, _LONGEST = 1e-6, 32e-3


def nap(slept: float) -> float:
    """Return the seconds to the next look, of a wait that has slept so many so far."""
    return min(max(slept / 4, _SHORTEST), _LONGEST)
