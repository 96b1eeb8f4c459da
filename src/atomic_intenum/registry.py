"""What this process keeps for each IntEnum: its vocabulary, the backend's table and the pool."""

from __future__ import annotations

import copyreg
import weakref
from enum import IntEnum
from typing import TYPE_CHECKING

from .backends import backend
from .memory.pool import Pool
from .process import ProcessLock
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from .layout import Rules

# cloudpickle pickles a class of __main__ by value, with all that the class refers to.
copyreg.pickle(Vocabulary, lambda vocabulary: (vocabulary_of, (vocabulary.enum,)))

_lock = ProcessLock()
#: Weak on both sides: a vocabulary refers to its enum, and lives as long as something uses it.
_known: weakref.WeakKeyDictionary[type[IntEnum], weakref.ref[Vocabulary]] = (
    weakref.WeakKeyDictionary()
)


def vocabulary_of(enum: type[IntEnum]) -> Vocabulary:
    """Return the vocabulary of an IntEnum: always the same one while anything uses it."""
    return _look_up(enum) or _lock.call(_look_up_or_make, enum)


def pool_of(vocabulary: Vocabulary, on_death: Rules | None) -> Pool:
    """Return the pool of values that have this on_death."""
    pools: dict[Rules | None, Pool] = vocabulary.pools
    if on_death not in pools:  # no get(): python_bound.Lookup says why
        # One step: of two threads that make one, both get the same.
        pools.setdefault(on_death, Pool(vocabulary.text, on_death))
    return pools[on_death]


def _look_up(enum: type[IntEnum]) -> Vocabulary | None:
    return _known[enum]() if enum in _known else None


def _look_up_or_make(enum: type[IntEnum]) -> Vocabulary:
    vocabulary = _look_up(enum)
    if vocabulary is None:
        vocabulary = Vocabulary(enum)
        vocabulary.table = backend.Table(vocabulary, enum, vocabulary.entries)
        _known[enum] = weakref.ref(vocabulary)
    return vocabulary
