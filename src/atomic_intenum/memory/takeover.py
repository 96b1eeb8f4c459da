"""What a process that has ended left under a name that is wanted again."""

from __future__ import annotations

import errno
import math
import os
import sys
import time
from typing import TYPE_CHECKING

from .. import layout
from ..backends import backend
from ..process import creating
from . import owner, posix

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that a segment without a magic is given, by who wants to attach it or take its name.
HALF_MADE = 1.0

#: Seconds that a dead creator's resource tracker is given to remove what that left, before somebody
#: else does it and takes the name: a tracker that came later would remove the new one.
_TRACKER_GRACE = 0.5


class Wanted:
    """A name that is wanted, and taken: it gets free if its creator is gone.

    Args:
        name: that is wanted.

    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = time.monotonic()
        #: The segment, by its nonce, whose creator was found gone, and when it was first.
        self._abandoned: tuple[int, float] | None = None
        #: Who has the name, for an error.
        self.holder = f"{name!r} is in use"

    def is_free(self) -> bool:
        """Remove the shared memory of that name if it is ours and its creator is gone.

        Returns:
            Whether creating is worth another try; there is a nap in it, if it is.

        """
        try:
            # The lock comes first, then those who look: as where a name is removed.
            until = creating.call(posix.examine, self._name, layout.HEADER_SIZE, self._judge)
        except OSError as error:
            if not posix.is_about(error, self._name) or error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            # It is gone; or another user's, or no shared memory at all.
            if isinstance(error, FileNotFoundError):
                return True
            self.holder = f"{self._name!r} is in use by what cannot be opened ({error.strerror})"
            return False
        if until is None:
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.005)
        return True

    def _judge(self, content: bytes, remove: Callable[[], None]) -> float | None:
        """Return until when, in monotonic seconds, to wait for the name; None if it is gone."""
        magic, header = _parse(content)
        if header is None:  # not ours, or its creator is at it
            self.holder = f"{self._name!r} is in use by something else than this package"
            return -math.inf if content and magic else self._began + HALF_MADE
        if _is_kept(self._name, header):
            self.holder = f"{self._name!r} is in use by {_shown(header.creator_pid)}"
            return -math.inf
        now = time.monotonic()
        if self._abandoned is None or self._abandoned[0] != header.nonce:
            self._abandoned = header.nonce, now
        if now - self._abandoned[1] <= _TRACKER_GRACE:
            return math.inf
        remove()
        return None


def _shown(pid: int) -> str:
    """Return what a message says of a process: its pid, and its command where the system tells."""
    if pid == os.getpid():
        return "this very process, which has created it before"
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - no Path at import
            command = file.read(200).replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        command = ""
    return f"process {pid} ({command})" if command else f"process {pid}"


def _is_kept(name: str, header: layout.Header) -> bool:
    """Tell whether the program that created a segment still runs."""
    if (header.creator_pid, header.creator_start) == owner.identity()[:2]:
        # Made by this program, maybe by another interpreter of it; or by one that ran in this
        # process before an exec, and then nobody has it mapped.
        if owner.of(name) is not None:
            return True
        inode = posix.inode_of(name)
        return inode is not None and backend.is_mapped(*inode)
    return posix.is_running(header.creator_pid, header.creator_start)


def _parse(content: bytes) -> tuple[int, layout.Header | None]:
    """Return the magic, and the header if it is one of ours: complete, or all but the magic."""
    if len(content) < layout.HEADER_SIZE:
        return -1, None
    magic = int.from_bytes(content[:8], sys.byteorder)
    header = layout.Header(*layout.HEADER.unpack_from(content, layout.HEADER_OFFSET))
    ours = (
        magic in (0, layout.MAGIC)
        and header.creator_pid > 0  # or it is being written
        and header.layout_version == layout.LAYOUT_VERSION
        and header.pid_namespace == owner.identity()[2]
    )
    return magic, header if ours else None
