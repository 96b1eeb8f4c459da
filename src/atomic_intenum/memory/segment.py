"""Segments: one mapped in this process, created or attached, by name.

A segment is mapped once per process and stays mapped while anything uses it.  csrc/layout.h says
what is in it.  Nothing here knows of enums.
"""

from __future__ import annotations

import errno
import re
import secrets
import sys
import time
import weakref
from typing import TYPE_CHECKING

from .. import layout
from ..backends import backend
from ..errors import type_name
from ..layout import Header
from ..process import creating
from . import owner, posix
from .takeover import HALF_MADE, Wanted

if TYPE_CHECKING:
    from ..backends.contract import Mapping
    from .owner import Owned
    from .posix import Inode

#: 30 characters and a slash are what macOS allows.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,30}")

#: What is mapped here, by name and nonce.
_by_name: weakref.WeakValueDictionary[tuple[str, int], Segment] = weakref.WeakValueDictionary()


class Segment:
    """One segment, mapped in this process.

    Attributes:
        name: of the shared memory.
        header: as it was when the segment was attached; never read again.
        vocabulary: the text that it carries.
        mapping: the backend's.
        inode: of the shared memory, where the system has that.

    """

    __slots__ = ("__weakref__", "_owned", "header", "inode", "mapping", "name", "vocabulary")

    def __init__(self, name: str, mapping: Mapping) -> None:
        self.name = name
        self.mapping = mapping
        self.header, self.vocabulary = _read_header(name, mapping)
        self.inode: Inode | None = None
        self._owned: Owned | None = None

    def word_offset(self, index: int) -> int:
        """Return where a state word is."""
        return self.header.header_size + index * self.header.word_stride

    def control_offset(self, index: int) -> int:
        """Return where a word's control block is."""
        return self.header.control_offset + index * self.header.control_stride

    def checked(self, index: int) -> Segment:
        """Return this segment, if it has such a word; ValueError if not."""
        if not 0 <= index < self.header.capacity:
            message = f"shared memory {self.name!r} has no word {index}"
            raise ValueError(message)
        return self

    def unlink(self) -> None:
        """Remove the name, if it still is this segment's; who has it mapped keeps it."""
        owned = self._owned
        if owned is not None and owner.of(self.name) is owned:
            owner.remove(owned)
        elif self.inode is not None:
            creating.call(posix.remove, self.name, self.inode)

    def reference(self) -> tuple[str, int]:
        """Return what a pickle carries: name and nonce.  The segment lingers from now on."""
        if self._owned is not None:
            self._owned.pickled = True
        return self.name, self.header.nonce


def _read_header(name: str, mapping: Mapping) -> tuple[Header, bytes]:
    """Check a segment's header against the real size of the mapping, from one copy of it.

    Raises:
        ValueError: it is no segment of ours, or not one that this build can use.
        OSError: its creator is in another PID namespace.

    """

    def refuse(reason: str) -> ValueError:
        return ValueError(f"shared memory {name!r} cannot be attached: {reason}")

    with mapping.view() as view:
        size = len(view)
        if size < layout.HEADER_SIZE:
            raise refuse(f"{size} bytes are too few for a segment")
        if mapping.published() != layout.MAGIC:
            raise refuse("it is not a segment of atomic-intenum")
        fixed = bytes(view[: layout.HEADER_SIZE])
        header = Header(*layout.HEADER.unpack_from(fixed, layout.HEADER_OFFSET))
        if header.layout_version != layout.LAYOUT_VERSION:
            raise refuse(
                f"its layout is version {header.layout_version}, "
                f"this is version {layout.LAYOUT_VERSION}"
            )
        if header.protocol != backend.PROTOCOL:
            raise refuse(
                f"its protocol is {header.protocol}, that of the {backend.NAME} backend is "
                f"{backend.PROTOCOL}: the lock-based path and the atomic core do not mix"
            )
        if (header.mutex_size, header.libc, header.control_stride) != backend.ABI:
            raise refuse("its locks are of another C library")
        words_end = header.header_size + header.capacity * header.word_stride
        controls_end = header.control_offset + header.capacity * header.control_stride
        sound = (
            header.capacity >= 1
            and header.word_stride >= 8
            and header.word_stride % 8 == 0
            and header.header_size % layout.LINE == 0
            and layout.HEADER_SIZE + header.vocabulary_size <= header.header_size
            and words_end <= header.control_offset
            and header.control_offset % layout.LINE == 0
            and controls_end <= size
        )
        if not sound:
            raise refuse("its header does not fit its size")
        text = bytes(view[layout.HEADER_SIZE : layout.HEADER_SIZE + header.vocabulary_size])
    _, _, namespace = owner.identity()
    if header.pid_namespace != namespace and header.pid_namespace and namespace:
        message = (
            f"shared memory {name!r} was created in another PID namespace: two processes of equal "
            f"pid could both own its locks"
        )
        raise OSError(message)
    return header, text


def create(
    text: bytes,
    fingerprint: int,
    capacity: int,
    word_stride: int,
    kind: int,
    *,
    name: str | None = None,
    first: int = 0,
) -> Segment:
    """Create a segment.

    Args:
        text: the vocabulary, for whoever attaches.
        fingerprint: of the vocabulary, 64 bits.
        capacity: number of words.
        word_stride: bytes from one word to the next.
        kind: one of layout's.
        name: None makes a random one.
        first: value of each word when the segment becomes visible to others.

    Raises:
        ValueError: the name is not one that every system takes.
        FileExistsError: there is shared memory of that name, and its creator runs, or it is not
            ours.
        OSError: there is no room (ENOSPC), or no more of something; nothing is left behind.

    """
    if name is not None:
        check_name(name)
    # Before anything is asked of the system: what died may hold the name, or the room.
    owner.drain(forget=name)
    header_size = layout.align(layout.HEADER_SIZE + len(text))
    control_offset = layout.align(header_size + capacity * word_stride)
    size = control_offset + capacity * backend.ABI[2]
    if size > sys.maxsize:
        raise OSError(
            errno.ENOSPC, f"{capacity} words would take {size} bytes: more than any memory"
        )
    pid, started, namespace = owner.identity()
    header = Header(
        layout_version=layout.LAYOUT_VERSION,
        header_size=header_size,
        protocol=backend.PROTOCOL,
        word_stride=word_stride,
        capacity=capacity,
        control_offset=control_offset,
        control_stride=backend.ABI[2],
        mutex_size=backend.ABI[0],
        libc=backend.ABI[1],
        vocabulary_size=len(text),
        fingerprint=fingerprint,
        nonce=secrets.randbits(64),
        creator_start=started,
        pid_namespace=namespace,
        creator_pid=pid,
        kind=kind,
    )
    wanted = None if name is None else Wanted(name)
    while True:
        owned = owner.Owned(posix.Created(name or _random_name()), header.nonce)
        try:
            return creating.call(_make, owned, size, header, text, first)
        except FileExistsError as error:
            if not posix.is_about(error, owned.created.name):
                raise
            # Outside of the lock: the naps may take a while, and forks wait for the lock.
            if wanted is not None and not wanted.is_free():
                message = f"{wanted.holder}; choose another name, or attach to it"
                raise FileExistsError(errno.EEXIST, message) from None


def _random_name() -> str:
    return "intenum-" + secrets.token_hex(6)  # 20 characters; macOS allows 30


def _make(owned: Owned, size: int, header: Header, text: bytes, first: int) -> Segment:
    """Create a segment's shared memory, and the segment in it."""
    name = owned.created.name
    owner.begins(owned)
    try:
        mapping = owned.created.make(size, backend.Mapping)
        with mapping.view() as view:
            fixed = layout.HEADER.pack(*header)
            view[layout.HEADER_OFFSET : layout.HEADER_OFFSET + len(fixed)] = fixed
            view[layout.HEADER_SIZE : layout.HEADER_SIZE + len(text)] = text
            if first:  # fresh memory is 0
                _fill_words(view, header, first)
        mapping.prepare(header.control_offset, header.capacity)
        mapping.publish()
        segment = Segment(name, mapping)
        segment.inode = owned.created.inode
        owned.refer_to(segment)
        _by_name[segment.name, segment.header.nonce] = segment
        owner.owns(owned)
    except BaseException:
        owner.unlink(owned)
        raise
    owner.finish(owned)
    return segment


def _fill_words(view: memoryview, header: Header, first: int) -> None:
    """Write a first value into each word, before anybody else knows the segment."""
    word = layout.WORD.pack(first & 0xFFFF_FFFF).ljust(header.word_stride, b"\0")
    begin = header.header_size
    end = begin + header.capacity * header.word_stride
    some = word * min(header.capacity, 4096)  # by the block: it may be many millions
    for offset in range(begin, end, len(some)):
        block = min(len(some), end - offset)
        view[offset : offset + block] = some[:block]


def check_name(name: object) -> str:
    """Return a segment name that is allowed.

    Raises:
        TypeError: it is no str.
        ValueError: it is not 1 to 30 ASCII letters, digits, ``.``, ``_`` and ``-``; or it is ``.``
            or ``..``.

    """
    if not isinstance(name, str):
        message = f"a segment name is a str, not {type_name(name)}"
        raise TypeError(message)
    if not _NAME.fullmatch(name) or name in (".", ".."):
        message = f"a segment name is 1 to 30 ASCII letters, digits, '.', '_' and '-', not {name!r}"
        raise ValueError(message)
    return name


def attach(name: str, nonce: int | None = None) -> Segment:
    """Attach a segment by name; never removes another's, nor tells the resource tracker.

    Args:
        name: of the shared memory.
        nonce: of the segment that a pickle means; None takes whatever has the name.

    Raises:
        FileNotFoundError: there is none of that name (any more).
        ValueError, OSError: it cannot be used here; or another segment has taken the name.

    """
    segment = None if nonce is None else _by_name.get((name, nonce))
    if segment is not None:
        return segment
    segment = _open(name, pickled=nonce is not None)
    if nonce is not None and segment.header.nonce != nonce:
        message = f"shared memory {name!r} is another one than was pickled"
        raise ValueError(message)
    return creating.call(_adopt, segment)


def _adopt(segment: Segment) -> Segment:
    """Return a segment, or the one that another thread has got meanwhile.

    This process owns it again if it created and dropped it, and got it back: in a pickle, say.
    """
    segment = _by_name.setdefault((segment.name, segment.header.nonce), segment)
    owned = owner.of(segment.name)
    if segment._owned is None and owned is not None and owned.nonce == segment.header.nonce:
        owner.regains(owned, segment)
    return segment


def _open(name: str, *, pickled: bool) -> Segment:
    """Open and check a segment; one that is half made gets a second."""
    deadline = time.monotonic() + HALF_MADE
    while True:
        try:
            mapping, inode = posix.open_and_map(name, backend.Mapping)
            if mapping.published() or time.monotonic() > deadline:
                segment = Segment(name, mapping)
                segment.inode = inode
                return segment
        except FileNotFoundError as error:
            if not posix.is_about(error, name):
                raise
            message = (
                f"no value or array is called {name!r}: its creator has not started, or has ended"
            )
            if pickled:
                message = (
                    f"shared memory {name!r} of a pickled value is gone: its creator ended or "
                    f"dropped its last value; let the parent create, and keep a reference until it "
                    f"arrived"
                )
            raise FileNotFoundError(errno.ENOENT, message) from None
        except posix.EmptyError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.001)
