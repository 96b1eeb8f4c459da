"""What the system says of a segment that cannot be had, as an error that tells what to do."""

from __future__ import annotations

import contextlib
import errno
import os

from .. import layout
from ..backends import backend


def no_room(size: int, code: int | None) -> OSError:
    """Return the error of a segment that there is no room for."""
    message = f"no room in shared memory for {size:,} bytes"
    with contextlib.suppress(OSError, AttributeError):  # no such folder, or no such call
        room = os.statvfs("/dev/shm")
        free, whole = (count * room.f_frsize for count in (room.f_bavail, room.f_blocks))
        message = f"no room in /dev/shm for {size:,} bytes: {free:,} of its {whole:,} are free"
        if code == errno.ENOMEM:
            message += ", but this process may map no more: see ulimit -v and vm.max_map_count"
    return OSError(errno.ENOSPC, message)


def taken(name: str, shown: str) -> FileExistsError:
    """Return the error of a name that somebody answers for, or that is a stranger's."""
    head = backend.peek(name)
    holder = f"{shown!r} is in use by something else than this package"
    if head:
        header = layout.Header(*layout.HEADER.unpack_from(head, layout.HEADER_OFFSET))
        holder = f"{shown!r} is in use by {_process(header)}"
    message = f"{holder}; choose another name, or attach to it"
    return FileExistsError(errno.EEXIST, message)


def _process(header: layout.Header) -> str:
    """Return what a message says of the creator: its pid, and the command, if known."""
    pid = header.creator_pid
    if pid == 0:
        return "a process that is creating or removing it"
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - no Path at import
    except OSError:
        namespace = header.pid_namespace
    if header.pid_namespace != namespace:
        return f"process {pid} of another PID namespace"
    if pid == os.getpid():
        return "this very process, which has created it before"
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - no Path at import
            command = file.read(200).replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        command = ""
    return f"process {pid} ({command})" if command else f"process {pid}"


def unopened(code: int, why: str, shown: str, *, pickled: bool) -> OSError | ValueError:
    """Return the error of a segment that cannot be attached.

    Args:
        code: the errno.
        why: empty where that says all.
        shown: the name.
        pickled: it is a pickled value's, not one that somebody asked for by name.

    """
    if code in (errno.ENOENT, errno.ESTALE):
        if pickled:
            message = (
                f"shared memory {shown!r} of a pickled value is gone: its creator ended or "
                f"dropped its last value; let the parent create, and keep a reference until it "
                f"arrived"
            )
        else:
            message = (
                f"no value or array is called {shown!r}: its creator has not started, or has ended"
            )
        return FileNotFoundError(errno.ENOENT, message)
    if code == errno.EACCES:
        reason = why or "it belongs to another user"
        message = f"shared memory {shown!r} is not safe to attach: {reason}"
        return PermissionError(code, message)
    if why:
        return ValueError(f"shared memory {shown!r} cannot be attached: {why}")
    return OSError(code, os.strerror(code), shown)
