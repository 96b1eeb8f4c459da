"""Typed IntEnum values shared between processes: read wait-free, changed lock-free.

from enum import IntEnum
from atomic_intenum import IntEnumValue

class Status(IntEnum):
    IDLE = 1
    BUSY = 2

status = IntEnumValue[Status](Status.IDLE)
status.compare_and_set(Status.IDLE, Status.BUSY)
"""

from __future__ import annotations

from .array import IntEnumArray
from .backends import backend as _backend
from .value import IntEnumValue

__all__ = ["BACKEND", "IntEnumArray", "IntEnumValue", "__version__"]

__version__ = "0.1.0"

#: Which backend is in use: ``native``, ``cffi`` or ``lock``.
BACKEND: str = _backend.NAME
