"""Attaching to what a command names, without its program: a segment carries its enum."""

from __future__ import annotations

import contextlib
import os
import time
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from ..array import IntEnumArray
from ..backends import backend
from ..memory.reading import HALF_MADE
from ..memory.segment import attach
from ..observe import missing, segment
from ..sharing import require_vocabulary
from ..value import IntEnumValue
from .look import about_user, refuse_unreadable
from .output import ProblemError

if TYPE_CHECKING:
    from ..observe import SegmentInfo


class ReplacedError(ProblemError):
    """Another segment has the name than the one that was read."""


def found(name: str, deadline: float = 0.0, *, answered: bool = False) -> SegmentInfo:
    """Return the segment of that name, which can be attached; its words are not read.

    Args:
        name: of a value or an array.
        deadline: until when to wait for it to be there, in seconds of the monotonic clock.
        answered: one that nobody answers for is as good as none: another may take its name.

    Raises:
        FileNotFoundError: it is not there after that time.
        ProblemError: it cannot be read, has no name, or cannot be attached by this backend.

    """
    if backend.INHERITED_ONLY:
        message = "this takes the compiled core, and the lock-based path is in use"
        raise ProblemError(message)
    patience = max(deadline, time.monotonic() + 1)  # for who is at it
    while True:
        now, info = time.monotonic(), None
        with contextlib.suppress(FileNotFoundError):
            info = segment(name, words=False)
        half = info is not None and info.problem == HALF_MADE
        there = info is not None and not (answered and info.answered is False)
        if (there and not half) or now >= (patience if half else deadline):
            break
        time.sleep(0.01)
    if info is None:
        raise missing(name)
    refuse_unreadable(name, info)
    if not info.named:
        message = f"{name}: it has no name to attach by: only its own processes reach it"
        raise ProblemError(message)
    return info


def opened(info: SegmentInfo, index: int | None = None, *, leases: bool = True) -> Any:
    """Return the value or array that a segment is.

    Args:
        info: the segment.
        index: of the word of an array that is wanted, as a value; None: all of it.
        leases: False: what is written is nobody's, whatever on_death says.  The caller must not
            wait then: who waits gives back what the dead own, and this would not know as what.

    Raises:
        ProblemError: it is another one by now, or this user cannot become the one who owns it.
        OSError, ValueError, TypeError: as attach().

    """
    _become(info)
    mapped = attach(info.name, leases=leases)
    if mapped.header.nonce != info.nonce:
        message = f"{info.name}: another one has taken its place just now"
        raise ReplacedError(message)
    if index is not None and index >= mapped.header.capacity:
        message = f"{info.name}: there is no word {index}: it has {mapped.header.capacity:,}"
        raise ProblemError(message)
    make: Any = IntEnum
    enum = make(info.enum, info.members, module=info.name)
    whole = index is None and info.kind == "array"
    generic: Any = IntEnumArray if whole else IntEnumValue
    cls = generic[enum]
    require_vocabulary(mapped, cls._atomic_class_vocabulary)
    return cls._atomic_on(cls._atomic_class_vocabulary, mapped, index or 0, None)


def _become(info: SegmentInfo) -> None:
    """If this is root: be the user who owns the segment, for the rest of this process.

    Who attaches trusts that user's memory, and root should trust nobody's.
    """
    if os.geteuid() != 0 or info.user == 0:
        return
    import pwd  # noqa: PLC0415 - not on Windows

    try:
        group = pwd.getpwuid(info.user).pw_gid
    except KeyError:
        group = info.user  # of a container, perhaps
    try:
        os.setgroups([])
        os.setgid(group)
        os.setuid(info.user)
    except PermissionError:
        message = f"{info.name}: run this as {about_user(info.user)}, who owns it"
        raise ProblemError(message) from None


def members_of(info: SegmentInfo, names: list[str]) -> list[str]:
    """Return names of members; ProblemError if one is none."""
    for name in names:
        if name not in info.members:
            some = ", ".join([*info.members][:8])
            message = f"{info.name}: {info.enum} has no member {name!r}: it has {some}"
            raise ProblemError(message)
    return names
