"""Pools: where the values without a name get their words."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .. import layout
from ..backends import backend
from ..process import ProcessLock
from .segment import create, weigh

if TYPE_CHECKING:
    from ..layout import Rules
    from .segment import Segment

#: Words of a pool's first segment (with their control blocks they fill a page), and of its largest.
_FIRST_CAPACITY = 16
_LARGEST_CAPACITY = 4096


class _Batch:
    """A pool's segment in use, and the indices not yet handed out."""

    __slots__ = ("capacity", "free", "pid", "segment")

    def __init__(self, segment: Segment | None, capacity: int) -> None:
        self.segment = segment
        self.capacity = capacity
        self.pid = os.getpid()
        self.free = list(range(capacity - 1, -1, -1)) if segment is not None else []


#: Of two threads that need a segment one makes it.
_growing = ProcessLock()


class Pool:
    """Where the values of one vocabulary, and one on_death, get their words, in this process.

    A word is never handed out twice, so a process that still looks at an old value never sees a new
    one's state.

    Args:
        text: the vocabulary's, for the segments' headers.
        on_death: what becomes of words whose owners die; None: nobody can own one.

    """

    __slots__ = ("__weakref__", "_batch", "_on_death", "_text")

    def __init__(self, text: bytes, on_death: Rules | None = None) -> None:
        self._text = text
        self._on_death = on_death
        self._batch = _Batch(None, _FIRST_CAPACITY // 2)

    def allocate(self) -> tuple[Segment, int]:
        """Return a segment and the index of a fresh word in it.

        Raises:
            OSError: a further segment was needed and there is no room.

        """
        pid = os.getpid()
        backend.expire()
        if backend.INHERITED_ONLY:
            weigh()  # the semaphore that the value gets besides
        while True:
            batch = self._batch
            if batch.pid == pid and batch.segment is not None:
                try:
                    # One step, so two threads never get the same.
                    return batch.segment, batch.free.pop()
                except IndexError:
                    pass
            _growing.call(self._grow, batch)

    def _grow(self, batch: _Batch) -> None:
        """Have a new batch in use, unless another thread has seen to that."""
        if self._batch is batch:
            doubled = min(batch.capacity * 2, _LARGEST_CAPACITY)
            capacity = doubled if batch.pid == os.getpid() else _FIRST_CAPACITY
            stride, kind = layout.SINGLE_STRIDE, layout.KIND_POOL
            segment = create(self._text, capacity, stride, kind, on_death=self._on_death)
            self._batch = _Batch(segment, capacity)
