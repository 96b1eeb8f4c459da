"""The lock of one value: robust, re-entrant, and a multiprocessing RLock to whoever asks."""

from __future__ import annotations

from multiprocessing import synchronize
from typing import Any

from .backends import backend
from .memory.segment import Segment, unpickled


class _OfSemlock:
    """A method of a lock that is its semlock's own, which may be C's.

    ``with`` gets both before it enters.  So there is no frame of Python behind the acquisition, as
    multiprocessing's locks have one, in which a signal handler could raise and leave it taken.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, lock: ValueLock | None, owner: object = None) -> Any:
        return self if lock is None else getattr(lock._semlock, self._name)

    def __call__(self, lock: ValueLock, *args: object) -> Any:
        """Call it as ExitStack does: by the class."""
        return getattr(lock._semlock, self._name)(*args)


class ValueLock(synchronize.RLock):
    """A value's own lock: what get_lock() returns.

    multiprocessing's RLock with another semaphore inside, so that type hints,
    ``multiprocessing.Value(..., lock=...)`` and ``multiprocessing.Condition(...)`` take it.  All
    objects for the same value count as one lock.  It may be pickled wherever the value may.
    """

    __enter__ = _OfSemlock("__enter__")
    __exit__ = _OfSemlock("__exit__")

    def __init__(self, segment: Segment, index: int) -> None:
        # Not the base's __init__: that makes a semaphore.
        self._segment = segment
        self._index = index
        word, control = segment.word_offset(index), segment.control_offset(index)
        self._semlock = backend.Lock(segment.mapping, word, control)
        self._make_methods()  # type: ignore[attr-defined] # acquire and release, without a frame

    @property
    def abandoned(self) -> bool:
        """Whether the last acquisition here took over from a holder that died."""
        return bool(self._semlock.abandoned)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the value does: by segment and index."""
        return _rebuild, (*self._segment.reference(), self._index)


def _rebuild(place: Any, nonce: int, index: int) -> ValueLock:
    return ValueLock(unpickled(place, nonce).checked(index), index)
