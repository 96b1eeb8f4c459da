"""The cffi backend's desk of an event loop."""

from __future__ import annotations

import os
from typing import Any

from .._cffi import ffi, lib  # type: ignore[import-not-found,import-untyped,unused-ignore]
from .python_row import Array


def _check(error: int) -> None:
    if error:
        raise OSError(error, os.strerror(error))


class Desk:
    """What one event loop has watched for it by the core's thread."""

    __slots__ = ("_desk",)

    def __init__(self) -> None:
        desk = ffi.new("aie_desk *")
        _check(lib.aie_desk_open(desk))
        #: None once it is closed: another finalizer of the same garbage may use it still.
        self._desk: Any = desk

    # At exit it may outlive the module's globals.
    def __del__(self, close: Any = lib.aie_desk_close) -> None:
        desk, self._desk = getattr(self, "_desk", None), None
        if desk is not None:
            close(desk)

    def fileno(self) -> int:
        return int(self._desk.ends[0])

    def watch(self, of: Any) -> int:
        place = of._atomic_open().words._place
        slot = ffi.new("uint32_t *")
        words = ffi.addressof(place, "words")
        whole = isinstance(of, Array)
        _check(lib.aie_desk_watch(self._desk, place.region, words, whole, slot))
        return int(slot[0])

    def watch_on(self, slot: int, content: bool) -> None:  # noqa: FBT001
        _check(lib.aie_desk_watch_on(self._desk, slot, content))

    def unwatch(self, slot: int) -> None:
        if self._desk is not None:
            lib.aie_desk_unwatch(self._desk, slot)

    def take(self) -> list[int]:
        slots = ffi.new("uint32_t[]", 64)
        count = lib.aie_desk_take(self._desk, slots, 64)
        return ffi.unpack(slots, count) if count else []
