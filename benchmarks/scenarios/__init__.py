"""What several processes do at the same time, as each contender does it best.

A Scenario is made in the parent, goes to each process as it starts, and gives there a function that
does a batch of operations.
"""

from __future__ import annotations

from .base import Scenario
from .claim import ClaimArray, ClaimLocked, ClaimQueue, ClaimValues
from .disjoint import (
    DisjointAtomicshm,
    DisjointLocked,
    DisjointPacked,
    DisjointPadded,
    DisjointValues,
)
from .lock import LockLocked, LockLocked1, LockLocked10, LockOurs, LockOurs1, LockOurs10
from .one_word import OneWordAtomicshm, OneWordLocked, OneWordOurs
from .readers import ReadersAtomicshm, ReadersLocked, ReadersOurs, ReadersUnlocked

__all__ = ["SCENARIOS", "Scenario"]

SCENARIOS: list[type[Scenario]] = [
    OneWordOurs,
    OneWordAtomicshm,
    OneWordLocked,
    ReadersOurs,
    ReadersAtomicshm,
    ReadersUnlocked,
    ReadersLocked,
    DisjointPacked,
    DisjointPadded,
    DisjointValues,
    DisjointAtomicshm,
    DisjointLocked,
    LockOurs,
    LockLocked,
    LockOurs1,
    LockLocked1,
    LockOurs10,
    LockLocked10,
    ClaimArray,
    ClaimValues,
    ClaimQueue,
    ClaimLocked,
]
