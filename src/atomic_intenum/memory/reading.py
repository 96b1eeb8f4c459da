"""Segments as somebody sees them who only looks: by pread, without a mapping.

Nobody notices it.  What is read is believed as far as it was checked: whoever wrote it may have
cut it short meanwhile, or may be no friend.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import re
import stat
import struct
import sys
from array import array
from typing import TYPE_CHECKING, NamedTuple

from .. import layout
from .segment import NAMED, NAMELESS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..layout import Header, Rules

#: What a segment is called in the folder of shared memory.
_OURS = re.compile(rf"{re.escape(NAMED)}[A-Za-z0-9._-]{{1,22}}|{re.escape(NAMELESS)}[0-9a-f]{{12}}")
_FOLDER = "/dev/shm"

#: The problem of a segment whose creator is at it, or was killed at it.
HALF_MADE = "it is half made"

#: The most that is read of a segment's text, in bytes, and of its words.
_LONGEST_TEXT = 1 << 20
_MOST_WORDS = 1 << 25

#: Words that are read at a time.
_BLOCK = 1 << 16

#: The largest control block that is read: one of macOS has 128 bytes.
_WIDEST_CONTROL = 256

#: struct flock, from Linux's fcntl.h.
_FLOCK = struct.Struct("hhqqi4x")

#: A word's upper half: layout.h has the bits.
_LOCKED = 1
_OWNER_SHIFT, _OWNER_MASK = 3, 1023 << 3


class UnreadableError(Exception):
    """Why a segment, or the rest of one, cannot be read."""


class Row(NamedTuple):
    """Who owns words: a row of the table of owners."""

    pid: int
    #: The low bits of the inode of its PID namespace.
    namespace: int
    #: Whether it lives; None: only its pid could tell.
    alive: bool | None


class Seen(NamedTuple):
    """What is known of a segment."""

    #: In shared memory.
    memory: str
    #: Its owner's, and the size and the time of its creation, in bytes and seconds of the epoch.
    user: int
    size: int
    created: float
    #: As far as that could be read.
    header: Header | None = None
    enum: str = ""
    members: dict[str, int] = {}  # noqa: RUF012 - nobody changes it
    rules: Rules | None = None
    #: Whether somebody answers for the name; None: no lock tells.
    answered: bool | None = None
    #: Each word's value.
    numbers: array[int] = array("i")
    #: By index: the rows of words that have an owner, and who holds a word's lock: pid, thread.
    owners: dict[int, int] = {}  # noqa: RUF012
    holders: dict[int, tuple[int, int]] = {}  # noqa: RUF012
    #: By their number.
    rows: dict[int, Row] = {}  # noqa: RUF012
    #: Why there is no more of it.
    problem: str = ""


def names() -> list[str]:
    """Return the names of all segments in shared memory, whoever owns them.

    Raises:
        OSError: this system does not list shared memory.

    """
    try:
        return list(filter(_OURS.fullmatch, os.listdir(_FOLDER)))  # noqa: PTH208 - no Path at import
    except FileNotFoundError:
        message = "this system does not list shared memory; names can be asked for one by one"
        raise OSError(errno.ENOSYS, message) from None


def memories_of(name: str) -> list[str]:
    """Return what a name that a user gives may be called in shared memory."""
    return [memory for memory in (NAMED + name, name) if _OURS.fullmatch(memory)]


def read(memory: str, *, words: bool = True) -> Seen:
    """Return what is known of a segment; what cannot be read is its problem.

    Args:
        memory: its name in shared memory.
        words: False: they are left out, and who owns them.

    Raises:
        FileNotFoundError: there is none of that name (any more).
        OSError: this system has no shared memory with names, as Windows.

    """
    try:
        import _posixshmem  # type: ignore[import-not-found] # noqa: PLC0415
    except ImportError:
        message = "this system has no shared memory with names"
        raise OSError(errno.ENOSYS, message) from None
    try:
        # Whatever stands there, it does not block.
        fd = _posixshmem.shm_open(f"/{memory}", os.O_RDONLY | os.O_NONBLOCK, mode=0)
    except FileNotFoundError:
        raise
    except OSError as error:
        # A folder lists even what one may not open.
        is_ = os.stat(f"{_FOLDER}/{memory}", follow_symlinks=False)  # noqa: PTH116
        reason = (
            "only its user and root may read it" if error.errno == errno.EACCES else error.strerror
        )
        return Seen(memory, is_.st_uid, is_.st_size, is_.st_mtime, problem=str(reason))
    try:
        is_ = os.fstat(fd)
        seen = Seen(memory, is_.st_uid, is_.st_size, is_.st_mtime)
        if sys.platform == "linux" and not stat.S_ISREG(is_.st_mode):  # elsewhere it is no file
            return seen._replace(problem="it is no shared memory")
        try:
            for seen in _look(fd, seen, words=words):  # noqa: B007, B020 - each knows more
                pass
        except UnreadableError as error:
            return seen._replace(problem=str(error))
        except MemoryError:
            return seen._replace(problem="it is too large to be read here")
        return seen
    finally:
        os.close(fd)


def _look(fd: int, seen: Seen, *, words: bool) -> Iterator[Seen]:
    """Yield what is known, each time with more; UnreadableError where that ends."""
    seen = seen._replace(answered=_has_lock(fd, 0))
    yield seen
    fixed = _bytes(fd, 0, min(seen.size, layout.HEADER_SIZE))
    magic = int.from_bytes(fixed[: layout.HEADER_OFFSET], sys.byteorder)
    if magic == layout.MAGIC_UNFINISHED or not any(fixed):
        raise UnreadableError(HALF_MADE)
    if magic != layout.MAGIC or len(fixed) < layout.HEADER_SIZE:
        raise UnreadableError("it is not a segment of atomic-intenum")
    header = layout.Header(*layout.HEADER.unpack_from(fixed, layout.HEADER_OFFSET))
    # Again: the creator stores the magic last, and may have been at it.
    seen = seen._replace(header=header, size=os.fstat(fd).st_size)
    yield seen
    if header.layout_version != layout.LAYOUT_VERSION:
        theirs, ours = header.layout_version, layout.LAYOUT_VERSION
        raise UnreadableError(f"its layout is version {theirs}, this reads version {ours}")
    # A sparse file may claim to be of any size, and takes no memory before it is read.
    strides = (layout.PACKED_STRIDE, layout.SINGLE_STRIDE)
    kinds = (layout.KIND_POOL, layout.KIND_VALUE, layout.KIND_ARRAY)
    sound = header.fits(seen.size) and header.word_stride in strides and header.kind in kinds
    if not sound or (header.kind == layout.KIND_VALUE and header.capacity != 1):
        raise UnreadableError("its header does not fit its size")
    if header.header_size > _LONGEST_TEXT or header.capacity > _MOST_WORDS:
        raise UnreadableError("it is too large to be read here")
    seen = _with_text(fd, seen, header)
    yield seen
    if words:
        seen = _with_words(fd, seen, header)
        rows = {row: _row(fd, header, row) for row in set(seen.owners.values())}
        yield seen._replace(rows=rows)


def _with_text(fd: int, seen: Seen, header: Header) -> Seen:
    """Return it with what its two texts say."""
    text = _bytes(fd, header.vocabulary_offset, header.vocabulary_size)
    try:
        said = json.loads(text)
        enum, members = said["enum"], said["members"]
    except (ValueError, TypeError, KeyError, RecursionError):
        enum, members = None, {}
    sound = type(enum) is str and type(members) is dict and members
    if not sound or not all(map(_is_member, members.items())) or not _is_text(enum):
        raise UnreadableError("its enum cannot be read")
    rules = None
    if header.on_death_size:
        begin = header.vocabulary_offset + header.vocabulary_size
        try:
            rules = layout.read_rules(_bytes(fd, begin, header.on_death_size))
        except (ValueError, TypeError, struct.error, RecursionError):
            raise UnreadableError("its on_death cannot be read") from None
    return seen._replace(enum=enum, members=members, rules=rules)


def _is_member(item: tuple[str, object]) -> bool:
    name, number = item
    return type(number) is int and -(2**31) <= number < 2**31 and _is_text(name)


def _is_text(text: str) -> bool:
    """Tell whether a text can be written anywhere: JSON has halves of letters, too."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _with_words(fd: int, seen: Seen, header: Header) -> Seen:
    """Return it with its words, one looked at after the other."""
    stride = header.word_stride // 4
    lower = 0 if sys.byteorder == "little" else 1
    interesting = _LOCKED | (_OWNER_MASK if header.owners_offset else 0)
    numbers = array("i")
    owners: dict[int, int] = {}
    holders: dict[int, tuple[int, int]] = {}
    for first in range(0, header.capacity, _BLOCK):
        count = min(_BLOCK, header.capacity - first)
        at = header.header_size + first * header.word_stride
        block = memoryview(_bytes(fd, at, (count - 1) * header.word_stride + 8))
        numbers.extend(block.cast("i")[lower::stride].tolist())
        uppers = block.cast("I")[1 - lower :: stride].tolist()
        locked = []
        for index, upper in enumerate(uppers, first):
            if upper & interesting:
                row = (upper & _OWNER_MASK) >> _OWNER_SHIFT
                if row and header.owners_offset:
                    owners[index] = row
                if upper & _LOCKED:
                    locked.append(index)
        holders.update(_holders(fd, header, locked))
    return seen._replace(numbers=numbers, owners=owners, holders=holders)


def _holders(fd: int, header: Header, locked: list[int]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield pid and thread of who holds the locks of these words, if somebody still does."""
    # Behind the mutex: two fields of 32 bits, and this one, at a multiple of 8.
    within = -(-(header.mutex_size + 8) // 8) * 8
    stride = header.control_stride
    if not locked or within + 8 > stride or stride > _WIDEST_CONTROL:
        return
    first, last = locked[0], locked[-1]
    controls = _bytes(fd, header.control_offset + first * stride, (last - first + 1) * stride)
    for index in locked:
        (holder,) = layout.WORD.unpack_from(controls, (index - first) * stride + within)
        if holder:
            yield index, (holder >> 32, holder & 0xFFFF_FFFF)


def _row(fd: int, header: Header, row: int) -> Row:
    (said,) = layout.WORD.unpack(_bytes(fd, header.owners_offset + 8 * row, 8))
    return Row(said & 0xFFFF_FFFF, said >> 32 & 0xFFFF, _has_lock(fd, 2 + row))


def _has_lock(fd: int, byte: int) -> bool | None:
    """Tell whether somebody has a read lock on that byte: life.h says what it means."""
    try:
        import fcntl  # noqa: PLC0415 - not on Windows

        wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        kind = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, wanted))[0]
    except (AttributeError, OSError):
        return None
    return bool(kind == fcntl.F_RDLCK)


def _bytes(fd: int, offset: int, count: int) -> bytes:
    """Return so many bytes; UnreadableError if they are not there."""
    try:
        content = os.pread(fd, count, offset)
    except OSError:  # macOS reads shared memory by mapping it only
        try:
            with mmap.mmap(fd, offset + count, prot=mmap.PROT_READ) as mapped:
                content = mapped[offset : offset + count]
        except (OSError, ValueError) as error:
            raise UnreadableError(f"it cannot be read: {error}") from None
    if len(content) < count:
        raise UnreadableError("it is shorter than its header says")
    return content
