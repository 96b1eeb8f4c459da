"""The cffi backend's mapping of a segment, and how long it stays."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from typing import TYPE_CHECKING, Any

from .._cffi import ffi, lib  # type: ignore[import-not-found,import-untyped,unused-ignore]

if TYPE_CHECKING:
    from collections.abc import Callable

#: At exit nothing is unmapped any more: daemon threads may still be inside the core.
_exiting: list[bool] = []
atexit.register(_exiting.append, True)  # noqa: FBT003

#: Counts who has an object.  PyPy does not, and calls __del__ only when nobody can use it.
_references: Callable[[object], int] = getattr(sys, "getrefcount", lambda _: 0)


_callbacks: list[Any] = getattr(gc, "callbacks", [])


class Use:
    """One user of a region, which goes with the last.  Whoever has an address in it keeps this.

    When CPython's collector takes a cycle of garbage apart, it first calls ``__del__`` of all that
    is in it, and some of them may use the memory still, or come to stay.  So if somebody has this
    besides, it waits; for the end of that collection, most often.
    """

    __slots__ = ("region",)

    #: Those that wait.
    waiting: list[Use] = []  # noqa: RUF012 - of all
    #: What __del__ and sweep() count when nobody else has it: 3 and 2 at most, but for a tracer.
    alone: list[int] = []  # noqa: RUF012

    def __init__(self, region: Any) -> None:
        self.region = region

    # All that it needs is bound here: at exit it may outlive the module's globals.
    def __del__(
        self,
        alone: list[int] = alone,
        waiting: list[Use] = waiting,
        exiting: list[bool] = _exiting,
        references: Any = _references,
        drop: Any = lib.aie_region_drop,
        callbacks: list[Any] = _callbacks,
    ) -> None:
        count = references(self)
        region = getattr(self, "region", None)
        if region is None:  # the one that tells; or a signal handler ended its __init__
            if not alone:
                alone.append(count)
        elif count > min(alone[0], 3):
            waiting.append(self)
            if type(self).collected not in callbacks:
                callbacks.append(type(self).collected)
        elif not exiting:
            drop(region)

    @classmethod
    def collected(cls, phase: str, _: object) -> None:
        """Sweep after a collection: most that waited for it can go then."""
        if phase == "stop":
            cls.sweep()

    @classmethod
    def sweep(
        cls,
        exiting: list[bool] = _exiting,
        references: Any = _references,
        drop: Any = lib.aie_region_drop,
    ) -> None:
        """Let go of those that nobody has any more; they are not asked again by themselves."""
        for _ in range(len(cls.waiting)):
            try:
                use = cls.waiting.pop(0)
            except IndexError:  # another thread sweeps too
                return
            count = references(use)
            if use.region is None:
                cls.alone.append(count)
            elif count > min(cls.alone[1], 2):
                cls.waiting.append(use)
            elif not exiting:
                drop(use.region)


# One of no region, for the two counts.
Use(None)
Use.waiting.append(Use(None))
Use.sweep()


class Mapping:
    """One mapped segment; unmapped when the last object that uses it is gone."""

    # In a cycle of garbage they are cleared in this order, the use last.
    __slots__ = ("__weakref__", "region", "size", "use")

    def __init__(self, fd: int, size: int) -> None:
        Use.sweep()
        region = lib.aie_region_map(fd, size)
        if region == ffi.NULL:
            raise OSError(ffi.errno, os.strerror(ffi.errno))
        self.use = Use(region)
        self.region = region
        self.size = size

    def view(self) -> memoryview:
        base = ffi.cast("char *", lib.aie_cffi_base(self.region))
        kept = ffi.gc(base, lambda _, use=self.use: None)  # noqa: ARG005 - keeps it
        return memoryview(ffi.buffer(kept, self.size))

    def prepare(self, offset: int, count: int, /) -> None:
        error = lib.aie_cffi_prepare(lib.aie_cffi_control(self.region, offset), count)
        if error:
            raise OSError(error, os.strerror(error))

    def publish(self) -> None:
        lib.aie_cffi_publish(self.region)

    def published(self) -> int:
        return int(lib.aie_cffi_published(self.region))
