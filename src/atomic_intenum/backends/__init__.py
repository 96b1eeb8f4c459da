"""Chooses the backend, once, at import.

``ATOMIC_INTENUM_BACKEND`` = native | cffi | lock forces one.  Without it: the compiled core, by
CPython types on CPython and by cffi elsewhere; and where there is none, the lock-based path.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .contract import Backend

__all__ = ["backend", "document"]

VARIABLE = "ATOMIC_INTENUM_BACKEND"
NAMES = ("native", "cffi", "lock")


def _load(name: str) -> Backend:
    compiled = f"{__package__.rpartition('.')[0]}._{name}"
    if name != "lock" and importlib.util.find_spec(compiled) is None:
        message = (
            f"{compiled} is not built. Install a C11 compiler and Python's headers, and install "
            f"again: pip install --force-reinstall --no-cache-dir atomic-intenum"
        )
        raise ImportError(message, name=compiled)
    module: Backend = importlib.import_module(f".{name}", __name__)
    return module


def _forced(name: str) -> Backend:
    if name not in NAMES:
        message = f"{VARIABLE} must be one of {', '.join(NAMES)}, not {name!r}"
        raise ValueError(message)
    try:
        return _load(name)
    except ImportError as error:
        message = f"{VARIABLE}={name}: this backend cannot be had here: {error}"
        if error.name == "_cffi_backend":
            message += " (pip install 'atomic-intenum[cffi]')"
        raise ImportError(message) from error


def _chosen() -> Backend:
    preferred = "native" if sys.implementation.name == "cpython" else "cffi"
    try:
        return _load(preferred)
    except ImportError as error:
        reason = str(error)
    if sys.implementation.name == "cpython" and sys.platform in ("linux", "darwin"):
        warnings.warn(
            f"atomic_intenum has no compiled core here ({reason}); using the lock-based path, "
            f"which is slower, shares by inheritance only and hangs on a killed lock holder. "
            f"{VARIABLE}=lock chooses it without this warning.",
            RuntimeWarning,
            stacklevel=2,
        )
    return _load("lock")


_name = os.environ.get(VARIABLE)
backend: Backend = _chosen() if _name is None else _forced(_name)


def document(cls: type[Any], operations: type[Any]) -> None:
    """Give the public operations of the backend's class the docstrings of their declarations."""
    for name, declared in vars(operations).items():
        if not name.startswith("_") and declared.__doc__:
            backend.document(cls, name, declared.__doc__)
