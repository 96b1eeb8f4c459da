"""The compiled core of csrc/, through CPython types."""

from __future__ import annotations

import atexit
from types import GetSetDescriptorType, MethodDescriptorType
from typing import Any

from .. import _native
from .._native import (
    Array,
    Desk,
    Lock,
    Table,
    Value,
    attach,
    clean,
    create,
    document,
    end,
    expire,
    peek,
)
from ..process import ProcessLock
from .contract import overriders

__all__ = [
    "Array",
    "Desk",
    "Lock",
    "Table",
    "Value",
    "attach",
    "clean",
    "create",
    "document",
    "end",
    "expire",
    "peek",
]

NAME = "native"
ABI = (_native.MUTEX_SIZE, _native.LIBC, _native.CONTROL_SIZE)
INHERITED_ONLY = False

# Daemon threads may be inside the core while the interpreter takes its objects apart.
atexit.register(_native.stop_unmapping)


def own_guard() -> None:
    """Return nothing: writes take no lock."""


#: What each class gets descriptors of its own for.
_HOT_NAMES = {
    Value: ("load", "set", "exchange", "compare_and_set", "value", "name", "version", "get_lock"),
    Lock: ("acquire", "release"),
}

#: Around the classes' descriptors: two threads may derive from the same class at once.
_preparing = ProcessLock()


def _is_planted(cls: type[Any], descriptor: object) -> bool:
    return (
        isinstance(descriptor, (MethodDescriptorType, GetSetDescriptorType))
        and descriptor.__objclass__ is cls
    )


def prepare_class(cls: type[Any]) -> None:
    """Give ``cls`` descriptors of its own for the hot methods and attributes.

    CPython's specialised method calls need the descriptor's own type to be the instance's exact
    type, which an inherited one never is: load() costs 20 ns inherited and 13 ns so.

    What the class or any base overrides is skipped.  And where the MRO has an override behind a
    descriptor that an earlier class was given, that one is taken away again: in plain Python the
    earlier class would define nothing and the override would answer.
    """
    _preparing.call(_prepare, cls)


def _prepare(cls: type[Any]) -> None:
    base = Value if issubclass(cls, Value) else Lock
    for name in _HOT_NAMES[base]:
        definers = overriders(cls, base, name)
        own = [klass for klass in definers if not _is_planted(klass, vars(klass)[name])]
        if own:
            for klass in definers[: definers.index(own[-1])]:
                if klass not in own:
                    type.__delattr__(klass, name)
        else:
            type.__setattr__(cls, name, _native.descriptor(cls, name))
