"""The lock of one value: robust, re-entrant, and a multiprocessing RLock to whoever asks."""

from __future__ import annotations

from multiprocessing import synchronize
from typing import TYPE_CHECKING, Any, Self

from .backends import backend
from .memory.segment import Segment, unpickled

if TYPE_CHECKING:
    from .backends.contract import Lock as _Lock
else:
    _Lock = backend.Lock


class ValueLock(_Lock, synchronize.RLock):
    """A value's own lock: what get_lock() returns.

    It is multiprocessing's RLock, so that type hints, ``multiprocessing.Value(..., lock=...)`` and
    ``multiprocessing.Condition(...)`` take it, and its own semaphore.  So ``with`` calls the
    backend's methods, which may be C's: then there is no frame of Python behind the acquisition, as
    multiprocessing's locks have one, in which a signal handler could raise and leave it taken.  All
    objects for the same value count as one lock.  It may be pickled wherever the value may.
    """

    # Its __dict__, which the base has, stays empty: CPython calls methods by a short cut then.
    __slots__ = ("_index", "_segment")

    _index: int
    _segment: Segment

    def __new__(cls, segment: Segment, index: int) -> Self:
        """Make the lock of a segment's word."""
        word, control = segment.word_offset(index), segment.control_offset(index)
        lock = super().__new__(cls, segment.mapping, word, control)
        lock._segment, lock._index = segment, index
        return lock

    def __init__(self, segment: Segment, index: int) -> None:
        """Do nothing: multiprocessing's would make a semaphore."""

    @property
    def _semlock(self) -> Self:
        return self

    # What threading.Condition asks of a lock.

    def _is_owned(self) -> bool:
        return self._is_mine()

    def _recursion_count(self) -> int:
        return self._count() if self._is_mine() else 0

    def _release_save(self) -> int:
        depth = self._recursion_count()
        for _ in range(max(depth, 1)):  # RuntimeError, if it is not this thread's
            self.release()
        return depth

    def _acquire_restore(self, depth: int) -> None:
        raised: BaseException | None = None
        while self._recursion_count() < depth:
            try:
                self.acquire()
            except RuntimeError:  # it cannot be had
                raise
            except BaseException as error:  # noqa: BLE001 - a signal handler's: once it is held
                raised = raised or error
        if raised is not None:
            raise raised

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the value does: by segment and index."""
        return _rebuild, (*self._segment.reference(), self._index)


backend.prepare_class(ValueLock)


def _rebuild(place: Any, nonce: int, index: int) -> ValueLock:
    return ValueLock(unpickled(place, nonce).checked(index), index)
