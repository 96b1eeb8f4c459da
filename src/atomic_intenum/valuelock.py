"""The lock of one value: robust, re-entrant, and a multiprocessing RLock to whoever asks."""

from __future__ import annotations

from multiprocessing import synchronize
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .segment import Segment


class Semlock(Protocol):
    """What multiprocessing expects behind a lock, and whether its last holder died."""

    @property
    def abandoned(self) -> bool:
        """Whether the last acquisition here took over from a holder that died."""

    def acquire_quietly(self) -> object:
        """Wait for the lock and take it, for a write: the report of a death stays for others."""


class ValueLock(synchronize.RLock):
    """A value's own lock: what get_lock() returns.

    multiprocessing's RLock with another semaphore inside, so that type hints,
    ``multiprocessing.Value(..., lock=...)`` and ``multiprocessing.Condition(...)`` take it.  All
    objects for the same value count as one lock.  It may be pickled wherever the value may.
    """

    def __init__(self, segment: Segment, index: int, semlock: Semlock) -> None:
        # Not the base's __init__: that makes a semaphore.
        self._segment = segment
        self._index = index
        self._semlock = semlock
        self._make_methods()  # type: ignore[attr-defined] # acquire and release, without a frame

    @property
    def abandoned(self) -> bool:
        """Whether the last acquisition here took over from a holder that died."""
        return self._semlock.abandoned

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the value does: by segment and index."""
        return _rebuild, (*self._segment.reference(), self._index)


def _rebuild(name: str, nonce: int, index: int) -> Any:
    # Not at the top: the backends import this module.
    from .backends import backend  # noqa: PLC0415
    from .segment import attach  # noqa: PLC0415

    return backend.make_lock(attach(name, nonce).checked(index), index)
