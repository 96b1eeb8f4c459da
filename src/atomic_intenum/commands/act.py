"""The commands that wait, write, or remove: wait, set and clean."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import sys
import time
from typing import TYPE_CHECKING

from ..backends import backend
from ..memory.reading import HALF_MADE
from ..observe import SegmentInfo, segment, segments
from .look import about_user, as_json
from .opening import found, members_of, opened
from .output import Cell, ProblemError, complain, document, line, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


#: Seconds after which a wait looks whether anybody answers for the segment still.
_LOOK_AGAIN = 1.0


def wait(args: argparse.Namespace) -> int:
    """Wait until it is so: 0; or the time is over: 1."""
    deadline = None if args.timeout is None else time.monotonic() + args.timeout
    info = found(args.name, deadline or 0, answered=True)
    call, members = _call_of(args, info)
    of = opened(info, args.index)
    while True:
        _refuse_unanswered(info)
        left = math.inf if deadline is None else max(deadline - time.monotonic(), 0)
        try:
            came = getattr(of, call)(*members, timeout=min(left, _LOOK_AGAIN))
            break
        except TimeoutError as error:
            if left > _LOOK_AGAIN:
                continue
            if args.json:
                document(name=info.name, met=False, member=None, index=args.index)
            else:
                state = str(error).partition(": ")[2].rpartition(" after ")[0]
                complain(f"{info.name}: {state} after {args.timeout:g} s")
            return 1
    is_value = call in ("wait_for", "wait_while")
    member, index = (came._name_, args.index) if is_value else (None, came)
    if args.json:
        document(name=info.name, met=True, member=member, index=index)
    elif is_value:
        line(f"{info.name}: {member}")
    else:
        which = "every word is" if index is None else f"word {index} is"
        line(f"{info.name}: {which} {'one of ' * (len(members) > 1)}{', '.join(members)}")
    return 0


def _call_of(args: argparse.Namespace, info: SegmentInfo) -> tuple[str, list[str]]:
    """Return the method that waits so, and the members that it takes."""
    members = members_of(info, args.members)
    others = [name for name in info.members if name not in members]
    whole = info.kind == "array" and args.index is None
    if args.any and not whole:
        message = f"{info.name}: --any is for an array"
        raise ProblemError(message)
    if args.leave and not others:
        message = f"{info.name}: it is always one of all members"
        raise ProblemError(message)
    if not whole:
        return "wait_while" if args.leave else "wait_for", members
    # An array has no call for the contrary: a word that is none of these is one of the others.
    return "wait_any" if args.any else "wait_all", others if args.leave else members


def _refuse_unanswered(info: SegmentInfo) -> None:
    """Raise ProblemError if nobody answers for a segment, or it has lost its name."""
    now = None
    with contextlib.suppress(FileNotFoundError):
        now = segment(info.name, words=False)
    message = f"{info.name}: it was removed, and who makes another makes another value"
    if now is not None and now.nonce == info.nonce:
        if now.answered is not False:
            return
        pid = "" if info.creator is None else f" {info.creator.pid}"
        message = f"{info.name}: its creator{pid} has ended, and nobody else answers for it"
    raise ProblemError(message)


def set_(args: argparse.Namespace) -> int:
    """Write a member: 0; or, where it is not the one that it has to be: 1."""
    info = found(args.name)
    members_of(info, [args.member] if args.old is None else [args.member, args.old])
    if info.kind == "array" and args.index is None:
        message = f"{info.name}: it is an array: --index tells which word"
        raise ProblemError(message)
    value = opened(info, args.index, leases=False)
    before, done = args.old, True
    if args.old is not None:
        done = value.compare_and_set(args.old, args.member)
    else:
        try:
            before = value.exchange(args.member)._name_
        except ValueError:
            if value.value != info.members[args.member]:
                raise
            before = None  # it was no member's; it is by now
    if not done:
        before = info.name_of(value.value)
    member = args.member if done else before
    if args.json:
        document(name=info.name, index=args.index, done=done, member=member, before=before)
    elif done:
        line(f"{info.name}: {before or 'no member'} -> {member}")
    else:
        now = f"it is {member}, " if member != args.old else "it was "  # by now it is, again
        complain(f"{info.name}: {now}not {args.old}")
    return 0 if done else 1


# ------------------------------------------------------------------ clean


def clean(args: argparse.Namespace) -> int:
    """Remove what nobody answers for: 0, also if there is none; 1: nobody said yes."""
    if backend.INHERITED_ONLY:
        message = "clean takes the compiled core, and the lock-based path is in use"
        raise ProblemError(message)
    gone = [info for info in segments() if _is_gone(info)]
    if not args.json:
        if gone:
            headings = ("NAME", "KIND", "ENUM", ">BYTES", "USER", "CREATOR")
            table(headings, [_row(info) for info in gone], {"CREATOR": 16, "ENUM": 8})
        else:
            line("nothing to clean")
    if gone and not args.yes and not _agreed(args, len(gone)):
        if args.json:
            document(removed=[], left=[as_json(info) for info in gone])
        return 1
    reasons = [_remove(info) for info in gone]
    removed = [info for info, reason in zip(gone, reasons, strict=True) if not reason]
    left = [(info, reason) for info, reason in zip(gone, reasons, strict=True) if reason]
    if args.json:
        kept = [as_json(info) for info, _ in left]
        document(removed=[as_json(info) for info in removed], left=kept)
    elif removed:
        line(f"removed: {', '.join(info.name for info in removed)}")
    for info, reason in left:
        complain(f"atomic-intenum clean: {info.name}: {reason}")
    return 2 if left else 0


def _is_gone(info: SegmentInfo) -> bool:
    """Tell whether it is a segment that nobody answers for, and that this user may remove."""
    is_segment = info.creator is not None or info.problem == HALF_MADE
    return is_segment and info.answered is False and os.geteuid() in (0, info.user)


def _row(info: SegmentInfo) -> list[Cell]:
    creator = "" if info.creator is None else str(info.creator)
    size, user = f"{info.bytes:,}", about_user(info.user).removeprefix("user ")
    return [Cell(each) for each in (info.name, info.kind, info.enum, size, user, creator)]


def _agreed(args: argparse.Namespace, count: int) -> bool:
    """Ask on a terminal; elsewhere say how to agree."""
    if args.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        if not args.json:
            line("--yes removes them")
        return False
    try:
        return input(f"remove {count}? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _remove(info: SegmentInfo) -> str:
    """Remove a segment, unless somebody answers for it by now; empty, or why it is there still."""
    try:
        with _as_user(info.user):
            code = backend.clean(info.memory)
    except OSError:
        code = errno.EPERM
    if code == errno.EBUSY:
        return "somebody answers for it again"
    if code in (errno.EPERM, errno.EACCES):
        return f"run this as {about_user(info.user)}, who owns it"
    return os.strerror(code) if code else ""


@contextlib.contextmanager
def _as_user(user: int) -> Iterator[None]:
    """As root, act as that user meanwhile: nothing of the segment is trusted for it."""
    if os.geteuid() != 0 or user == 0:
        yield
        return
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
