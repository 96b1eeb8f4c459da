"""What the tests know of the package's inside: no other of their modules imports private names.

Who renames a module of the package changes this file alone.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import weakref
from typing import TYPE_CHECKING, Any

import atomic_intenum
from atomic_intenum import array, layout, process, value
from atomic_intenum.backends import backend, contract
from atomic_intenum.given_lock import Guard, guarded
from atomic_intenum.layout import Header
from atomic_intenum.memory import segment
from atomic_intenum.process import ProcessLock
from atomic_intenum.registry import vocabulary_of
from atomic_intenum.vocabulary import Vocabulary, is_int_enum

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "BINDINGS",
    "Guard",
    "Header",
    "ProcessLock",
    "Vocabulary",
    "array",
    "as_elsewhere",
    "backend",
    "built_with",
    "cffi_binding",
    "cffi_library",
    "cffi_mapping",
    "contract",
    "guarded",
    "is_built",
    "is_int_enum",
    "layout",
    "may_live",
    "native_binding",
    "process",
    "segment",
    "set_spin",
    "value",
    "vocabulary_of",
]

#: The compiled module of each backend that has one.
BINDINGS = {"native": "atomic_intenum._native", "cffi": "atomic_intenum._cffi"}


@contextlib.contextmanager
def as_elsewhere() -> Iterator[None]:
    """Know no segment of this process meanwhile, as another process that attaches one.

    What is known otherwise is known again behind it: of a segment that is forgotten for good, the
    next who attaches it would be taken for the owner.
    """
    known = segment._by_name
    segment._by_name = weakref.WeakValueDictionary()
    try:
        yield
    finally:
        segment._by_name = known


def is_built(name: str) -> bool:
    """Tell whether a backend's compiled module was built."""
    return importlib.util.find_spec(BINDINGS[name]) is not None


def native_binding() -> Any:
    """Return the compiled module of native; ImportError where it was not built."""
    return importlib.import_module(BINDINGS["native"])


def cffi_library() -> Any:
    """Return the compiled module of cffi; ImportError where it was not built."""
    return importlib.import_module(BINDINGS["cffi"])


def cffi_binding() -> Any:
    """Return the backend cffi."""
    return importlib.import_module("atomic_intenum.backends.cffi")


def cffi_mapping() -> Any:
    """Return what maps memory for the backend cffi."""
    return importlib.import_module("atomic_intenum.backends.cffi_mapping")


def built_with(name: str) -> bool:
    """Tell whether the core in use was built with ROBUST, or FUTEX; False on the lock path."""
    core: Any = backend
    if atomic_intenum.BACKEND == "native":
        return bool(getattr(core._native, name))
    if atomic_intenum.BACKEND == "cffi":
        return bool(getattr(core.lib, f"AIE_{name}"))
    return False


def set_spin(microseconds: float) -> None:
    """Set how long a wait looks before it sleeps, in this process and those it forks."""
    core: Any = backend
    if atomic_intenum.BACKEND == "native":
        core._native.set_spin(microseconds)
    elif atomic_intenum.BACKEND == "cffi":
        core.lib.aie_cffi_set_spin(int(microseconds * 1000))


def aio() -> Any:
    """Return the module behind ``aio``, which nothing imports before it is used."""
    return importlib.import_module(f"{atomic_intenum.__name__}.aio")


def opening() -> Any:
    """Return the module by which commands attach."""
    return importlib.import_module(f"{atomic_intenum.__name__}.commands.opening")


def may_live(pid: int) -> bool:
    """Ask on the lock-based path whether a pid may be an owner's, where no lock tells."""
    from atomic_intenum.backends import lock_owners

    inside: Any = lock_owners
    return bool(inside._may_live(inside._namespace() << inside._NAMESPACE_SHIFT | pid))
