"""The commands that wait, write, or remove: wait, set and clean."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING, Any

from ..backends import backend
from ..memory.reading import HALF_MADE
from ..observe import SegmentInfo, segments
from .look import about_user, as_json
from .opening import found, members_of, opened
from .output import Cell, ProblemError, complain, document, line, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


def wait(args: argparse.Namespace) -> int:
    """Wait until it is so: 0; or the time is over: 1."""
    info = found(args.name, args.timeout)
    members = members_of(info, args.members)
    of: Any = opened(info, args.index)
    whole = info.kind == "array" and args.index is None
    if args.any and not whole:
        message = f"{info.name}: --any is for an array"
        raise ProblemError(message)
    if not whole:
        call = of.wait_while if args.leave else of.wait_for
    else:
        call = of.wait_any if args.any else of.wait_all
        if args.leave:
            members = [name for name in info.members if name not in members]
    if not members:
        message = f"{info.name}: it is always one of all members"
        raise ProblemError(message)
    try:
        came = call(*members, timeout=args.timeout)
    except TimeoutError as error:
        if args.json:
            document(name=info.name, met=False, member=None, index=args.index)
        else:
            complain(f"{info.name}: {error}")
        return 1
    index = args.index
    if whole:
        index = came if args.any else None
        text = f"word {came} is" if args.any else "every word is"
        text += f" one of {', '.join(members)}" if len(members) > 1 else f" {members[0]}"
    else:
        text = came._name_
    if args.json:
        member = None if whole else came._name_
        document(name=info.name, met=True, member=member, index=index)
    else:
        line(f"{info.name}: {text}")
    return 0


def set_(args: argparse.Namespace) -> int:
    """Write a member: 0; or, where it is not the one that it has to be: 1."""
    info = found(args.name)
    members_of(info, [args.member] if args.old is None else [args.member, args.old])
    if info.kind == "array" and args.index is None:
        message = f"{info.name}: it is an array of {info.size:,}: --index tells which word"
        raise ProblemError(message)
    value = opened(info, args.index, leases=False)
    done = True
    before: str | None = args.old
    if args.old is not None:
        done = value.compare_and_set(args.old, args.member)
    else:
        before = None
        with contextlib.suppress(ValueError):  # it was no member's; it is by now
            before = value.exchange(args.member).name
    if not done:
        now = info.name_of(value.value)
        if args.json:
            document(name=info.name, index=args.index, done=False, member=now)
        else:
            complain(f"{info.name}: it is {now}, not {args.old}")
        return 1
    if args.json:
        document(name=info.name, index=args.index, done=True, member=args.member, before=before)
    else:
        line(f"{info.name}: {before or 'no member'} -> {args.member}")
    return 0


# ------------------------------------------------------------------ clean


def clean(args: argparse.Namespace) -> int:
    """Remove what nobody answers for: 0, also if there is none; 1: nobody said yes."""
    if backend.INHERITED_ONLY:
        message = "clean takes the compiled core, and the lock-based path is in use"
        raise ProblemError(message)
    gone = [info for info in segments() if _is_gone(info)]
    if not args.json and not gone:
        line("nothing to clean: somebody answers for each segment")
    if not args.json and gone:
        headings = ("NAME", "KIND", "ENUM", ">BYTES", "USER", "CREATOR")
        table(headings, [_row(info) for info in gone])
    if gone and not args.yes and not _agreed(args, len(gone)):
        if args.json:
            document(removed=[], left=[as_json(info) for info in gone])
        return 1
    left = [(info, reason) for info in gone if (reason := _remove(info))]
    kept = [info for info, _ in left]
    removed = [info for info in gone if info not in kept]
    if args.json:
        document(removed=[as_json(each) for each in removed], left=[as_json(each) for each in kept])
    elif removed:
        line(f"removed: {', '.join(info.name for info in removed)}")
    for info, reason in left:
        complain(f"atomic-intenum clean: {info.name}: {reason}")
    return 2 if left else 0


def _is_gone(info: SegmentInfo) -> bool:
    """Tell whether it is a segment that nobody answers for."""
    return not info.answered and (info.creator is not None or info.problem == HALF_MADE)


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
    return input(f"remove {count}? [y/N] ").strip().lower() in ("y", "yes")


def _remove(info: SegmentInfo) -> str:
    """Remove a segment, unless somebody answers for it by now; empty, or why it is there still."""
    with _as_user(info.user):
        code = backend.clean(info.memory)
    if code == errno.EBUSY:
        return "somebody answers for it again"
    if code == errno.EPERM:
        return f"only {about_user(info.user)} or root may remove it"
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
