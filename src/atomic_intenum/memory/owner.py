"""What this process created in shared memory, and its end.

Its creator removes a name: when nothing of the segment is left in the creating process, or at exit.
Garbage collection may run a value's deallocation anywhere, inside this module too.  So deallocation
takes no lock: the death of a segment is queued (a weak reference's callback appends to a deque),
and the next allocation drains the queue.
"""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from collections import deque
from multiprocessing import util
from typing import Any, TypeVar

from ..errors import is_of_system
from ..process import after_fork_in_child, creating
from . import posix

_Entry = TypeVar("_Entry")

#: Seconds that a segment outlives its last value here if one was ever pickled: the pickle may be on
#: its way.
_LINGER = 60.0

#: The references to segments whose last use here has ended.
_dead: deque[_Reference] = deque()


class _Reference(weakref.ref[Any]):
    """The reference that tells of the end of a segment that this process created.

    Its callback is C's own, so that no signal handler can raise in it: the end would be lost.
    """

    __slots__ = ("owned",)

    owned: Owned


class Owned:
    """A segment that this process created and will remove."""

    __slots__ = ("created", "nonce", "pickled", "segment")

    def __init__(self, created: posix.Created, nonce: int) -> None:
        self.created = created
        self.nonce = nonce
        self.pickled = False
        self.segment: _Reference | None = None

    def refer_to(self, segment: Any) -> None:
        """Keep track of a segment's life, to remove it afterwards."""
        reference = _Reference(segment, _dead.append)
        reference.owned = self
        self.segment = reference
        segment._owned = self

    def in_use(self) -> bool:
        """Tell whether anything here uses it."""
        return self.segment is not None and self.segment() is not None


# -- the state of this process; a fork's child starts anew

_owned: dict[str, Owned] = {}
#: What is being created; or where a handler raised once more, while that was undone.
_unfinished: set[Owned] = set()
_lingering: deque[tuple[float, Owned]] = deque()
_finalizer: Any = None
_identity: tuple[int, int, int] | None = None
_pid = os.getpid()
_exited = False


def forget_parent() -> None:
    """Start anew in a fork's child: share what exists, own nothing, allocate from new segments."""
    global _owned, _unfinished, _finalizer, _identity, _pid, _exited
    if _pid == os.getpid():
        return
    _pid = os.getpid()
    _exited = False
    _owned = {}
    _unfinished = set()
    _dead.clear()
    _lingering.clear()
    _finalizer = None
    _identity = None


# Asked at each allocation too: a hook of somebody else's may run before this one, and allocate.
after_fork_in_child(forget_parent)


def identity() -> tuple[int, int, int]:
    """Return pid, start time and PID namespace of this process; 0 is what a system has not."""
    global _identity
    if _identity is None:
        pid, posix_system = os.getpid(), os.name == "posix"
        started = posix.start_time(pid) if posix_system else 0
        _identity = (pid, started, posix.pid_namespace() if posix_system else 0)
    return _identity


def _ensure_finalizer() -> None:
    """See to it that what this process creates is removed at its exit.

    Asked at each creation: multiprocessing clears its finalizers in a child that it forked.  At
    -100 it has joined its children, who may still be starting and looking for their segments; an
    atexit function would run before that.
    """
    global _finalizer
    if _finalizer is None or not _finalizer.still_active():
        _finalizer = util.Finalize(None, remove_all, exitpriority=-100)


def remove_all() -> None:
    """At exit: remove whatever this process created, mapped as it stays."""
    global _exited
    _exited = True
    failed: BaseException | None = None
    for _ in range(3):  # again what a signal handler has ended by raising
        try:
            for owned in creating.call(_everything):
                try:
                    creating.call(unlink, owned)
                except BaseException as error:  # noqa: BLE001 - all the others go first
                    failed = failed or error
        except BaseException as error:  # noqa: BLE001
            failed = failed or error
    if failed is not None:
        raise failed


def _everything() -> list[Owned]:
    return [*reversed(_owned.values()), *_unfinished]


def of(name: str) -> Owned | None:
    """Return what this process created under that name, if it has not removed it."""
    return _owned.get(name)


def begins(owned: Owned) -> None:
    """Note that a segment is about to be created: it is removed at exit, however far that comes."""
    _ensure_finalizer()
    _unfinished.add(owned)


def owns(owned: Owned) -> None:
    """Note that a segment was created."""
    _owned[owned.created.name] = owned


def finish(owned: Owned) -> None:
    """Note that nothing is left to be done for a segment's creation."""
    _unfinished.discard(owned)
    if _exited:
        remove(owned)  # nobody will come to do it later


def regains(owned: Owned, segment: Any) -> None:
    """Note that a segment which was dropped here has come back: in a pickle, say."""
    owned.refer_to(segment)
    for entry in list(_lingering):
        if entry[1] is owned:
            _discard(_lingering, entry)


def remove(owned: Owned) -> None:
    """Remove the name of a segment that this process created, if it still is that one's."""
    creating.call(_unlink_owned, owned)


def _unlink_owned(owned: Owned) -> None:
    if _owned.get(owned.created.name) is owned:
        unlink(owned)


def unlink(owned: Owned) -> None:
    """Remove what there is of a segment, complete or not, and forget it."""
    owned.created.unlink()
    _forget(owned)


def _forget(owned: Owned) -> None:
    """Forget what was removed; after it, since a signal handler may raise while it is removed."""
    _unfinished.discard(owned)
    owned.segment = None  # or the two would be a cycle of garbage
    if _owned.get(owned.created.name) is owned:
        del _owned[owned.created.name]


def drain(forget: str | None = None) -> None:
    """Remove the segments that died; those that were pickled a minute later.

    Args:
        forget: this name is wanted again, so it goes at once.

    """
    if os.getpid() != _pid:
        forget_parent()
    if forget is not None or _dead or _lingering:
        creating.call(_drain_alone, forget)  # two threads may drain at once


def _drain_alone(forget: str | None) -> None:
    now = time.monotonic()
    # Taken from its queue when all is done: a signal handler may raise meanwhile.
    while _dead:
        try:
            reference = _dead[0]
        except IndexError:
            break
        owned = reference.owned
        if owned.in_use():
            _discard(_dead, reference)  # it came back
        elif owned.pickled and owned.created.name != forget:
            _lingering.append((now + _LINGER, owned))
            _discard(_dead, reference)
        else:
            _remove_from(_dead, reference, owned)
    for entry in list(_lingering):
        until, owned = entry
        if until <= now or owned.created.name == forget:
            _remove_from(_lingering, entry, owned)
        elif forget is None:
            break  # those after it came later


def _remove_from(queue: deque[_Entry], entry: _Entry, owned: Owned) -> None:
    """Remove what is queued.  An error is told once: it would come again each time."""
    try:
        remove(owned)
    except OSError as error:
        if is_of_system(error):
            _discard(queue, entry)
        raise
    _discard(queue, entry)


def _discard(queue: deque[_Entry], entry: _Entry) -> None:
    with contextlib.suppress(ValueError):  # a signal handler that allocates drains too
        queue.remove(entry)
