"""The cffi backend's mapping of a segment, and how long it stays."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from .._cffi import ffi, lib  # type: ignore[import-not-found,import-untyped,unused-ignore]

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..given_lock import Guard

_RESULT: int = lib.AIE_CFFI_RESULT
_BUSY: int = _RESULT - lib.AIE_BUSY


def raise_result(result: int) -> NoReturn:
    raise RuntimeError(ffi.string(lib.aie_result_text(result)).decode())


#: At exit nothing is unmapped any more: daemon threads may still be inside the core.
_exiting: list[bool] = []
atexit.register(_exiting.append, True)  # noqa: FBT003

#: Counts who has an object.  PyPy does not, and calls __del__ only when nobody can use it.
_references: Callable[[object], int] = getattr(sys, "getrefcount", lambda _: 0)

_callbacks: list[Any] = getattr(gc, "callbacks", [])

#: Kept, or PyPy would forget it with an array that a finalizer uses, and then refuse the array.
_ARRAY = ffi.typeof("aie_array *")


class Use:
    """One user of a region, which goes with the last.  Whoever has an address in it keeps this.

    When CPython's collector takes a cycle of garbage apart, it first calls ``__del__`` of all that
    is in it, and some of them may use the memory still, or come to stay.  So if somebody has this
    besides, it waits; for the end of that collection, most often.
    """

    __slots__ = ("slot",)

    #: Those whose region cannot be dropped yet.
    waiting: list[Use] = []  # noqa: RUF012 - of all
    #: The counts that __del__ and sweep() see if nobody else has it: 3 and 2, or more by a tracer.
    alone: list[int] = []  # noqa: RUF012

    def __init__(self, slot: Any) -> None:
        #: Where C stores the region; None in the sample that measures the counts.
        self.slot = slot

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
        slot = getattr(self, "slot", None)
        if not (slot and slot[0]):  # the sample; or there is no region
            if not alone:
                alone.append(count)
        elif count > min(alone[0], 3):
            waiting.append(self)
            if type(self).collected not in callbacks:
                callbacks.append(type(self).collected)
        elif not exiting:
            drop(slot[0])

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
        """Drop the regions of those that nobody has any more: __del__ comes only once."""
        for _ in range(len(cls.waiting)):
            try:
                use = cls.waiting.pop(0)
            except IndexError:  # another thread sweeps too
                return
            count = references(use)
            if use.slot is None:
                cls.alone.append(count)
            elif count > min(cls.alone[1], 2):
                cls.waiting.append(use)
            elif not exiting:
                drop(use.slot[0])


# The sample for the two counts.
Use(None)
Use.waiting.append(Use(None))
Use.sweep()


def create(name: str, head: bytes, size: int, first: int, nameless: bool) -> Any:  # noqa: FBT001
    Use.sweep()
    use = Use(ffi.new("aie_region **"))
    how = (b"/" + name.encode(), head, len(head), size, first, nameless)
    error = lib.aie_cffi_create(use.slot, *how)
    if error in (errno.ENOSPC, errno.ENOMEM, errno.EMFILE):
        for _ in range(3):  # PyPy's finalizers let go of more
            gc.collect()  # what is gone makes room
        error = lib.aie_cffi_create(use.slot, *how)
    return (error, "") if error else Mapping(use)


def attach(name: str, answer: int) -> Any:
    use = Use(ffi.new("aie_region **"))
    why = ffi.new("char[]", lib.AIE_WHY_SIZE)
    error = lib.aie_cffi_attach(use.slot, b"/" + name.encode(), answer, why)
    return (error, ffi.string(why).decode()) if error else Mapping(use)


def peek(name: str) -> bytes:
    head = ffi.new("aie_header *")
    found = lib.aie_name_peek(b"/" + name.encode(), head)
    return ffi.buffer(head)[: lib.AIE_HEAD_SIZE] if found else b""


def clean(name: str) -> int:
    return int(lib.aie_name_clean(b"/" + name.encode()))


class Mapping:
    """One mapped segment; unmapped when the last object that uses it is gone."""

    # In a cycle of garbage they are cleared in this order, the use last.
    __slots__ = ("__weakref__", "region", "size", "use")

    def __init__(self, use: Use) -> None:
        self.use = use
        self.region = use.slot[0]
        self.size: int = self.region.size

    @property
    def elsewhere(self) -> bool:
        return bool(self.region.elsewhere)

    def at(self, kind: str, offset: int) -> Any:
        """Return the address of what is there: an ``aie_word``, say."""
        return ffi.cast(f"{kind} *", self.region.base + offset)

    def view(self) -> memoryview:
        kept = ffi.gc(self.at("char", 0), lambda _, use=self.use: None)  # noqa: ARG005 - keeps it
        return memoryview(ffi.buffer(kept, self.size))

    @property
    def owned(self) -> bool:
        return bool(self.region.owners)

    def set_owners(
        self,
        words: int,
        stride: int,
        controls: int,
        count: int,
        owners: int,
        rules: bytes,
        always: bool,  # noqa: FBT001
        /,
    ) -> None:
        kept = ffi.from_buffer("unsigned char[]", rules)
        pairs = len(rules) // 8
        plan = (words, stride, controls, count, owners, kept, pairs, always)
        error = lib.aie_region_has_owners(self.region, ffi.new("aie_owners_plan *", plan))
        if error:
            raise OSError(error, os.strerror(error))

    def own(self, index: int, ends: bool, guard: Guard | None, /) -> int:  # noqa: ARG002, FBT001
        wait = False
        while (pid := lib.aie_cffi_own(self.region, index, ends, wait)) == _BUSY:
            wait = True
        if pid < 0:
            raise_result(_RESULT - pid)
        return int(pid)

    def owners(self, first: int, count: int, guard: Guard | None, /) -> list[int | None]:  # noqa: ARG002
        pids = ffi.new("uint32_t[]", count)
        lib.aie_cffi_owners(self.region, first, count, pids)
        return [pid or None for pid in ffi.unpack(pids, count)]

    def recover(self, first: int, count: int, guard: Guard | None, /) -> list[int]:  # noqa: ARG002
        given = ffi.new("size_t[]", count)
        found = lib.aie_cffi_recover(self.region, first, count, given)
        return [first + index for index in ffi.unpack(given, found)] if found else []

    def pickled(self) -> None:
        lib.aie_region_pickled(self.region)

    def unlink(self) -> int:
        return int(lib.aie_region_unlink(self.region))
