"""Segments: one mapped in this process, created or attached, by name.

A segment is mapped once per process and stays mapped while anything uses it.  csrc/layout.h says
what is in it, csrc/life.h when its name goes.  Nothing here knows of enums.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import struct
import sys
import time
import weakref
from typing import TYPE_CHECKING

from .. import layout
from ..backends import backend
from ..errors import class_name
from . import owner as owner  # noqa: PLC0414 - the end is seen to from here on
from . import refused

if TYPE_CHECKING:
    from ..backends.contract import Mapping

#: With the prefix of named segments 30 characters, and a slash, which is what macOS allows.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,22}")
NAMED, NAMELESS = "intenum.", "intenum-"

#: Who answers for a name that is attached: region.h's aie_answer.
_NOBODY_HERE, _WITH_OTHERS, _AS_IT_IS_MAPPED = 0, 1, 2

#: Seconds that a segment is given whose creator is at it.
_HALF_MADE = 1.0

_pressure = getattr(sys.modules.get("__pypy__"), "add_memory_pressure", None)

#: What is mapped here, by name and nonce; what has no name by its nonce alone.
_by_name: weakref.WeakValueDictionary[tuple[str, int], Segment] = weakref.WeakValueDictionary()


def weigh(size: int = 0) -> None:
    """Have PyPy collect garbage the sooner for a mapping of so many bytes, or for a semaphore.

    It sees neither.  A process has 65,530 of them, and many end slowly: 32 KiB more for each.
    """
    if _pressure is not None:
        _pressure(size + 32768)


class Segment:
    """One segment, mapped in this process.

    Attributes:
        name: of the shared memory; empty on the lock-based path.
        header: as it was when the segment was attached; never read again.
        vocabulary: the text that it carries.
        on_death: what it says of words whose owners die, as layout.Rules; None: nobody can own one.
        mapping: the backend's.

    """

    __slots__ = ("__weakref__", "header", "mapping", "name", "on_death", "vocabulary")

    def __init__(self, name: str, mapping: Mapping, *, leases: bool = True) -> None:
        weigh(mapping.size)
        self.name = name
        self.mapping = mapping
        self.header, self.vocabulary, self.on_death = _read_header(shown(name), mapping)
        rules = self.on_death
        if rules is not None:
            if not leases and rules.always is None:
                rules = layout.Rules((), None)
            mapping.set_owners(
                self.word_offset(0),
                self.header.word_stride,
                self.header.control_offset,
                self.header.capacity,
                self.header.owners_offset,
                rules.packed,
                rules.always is not None,
            )

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
        code = self.mapping.unlink()
        if code:
            message = f"the name {shown(self.name)!r} cannot be removed: {os.strerror(code)}"
            raise OSError(code, message)

    def reference(self) -> tuple[str | Mapping, int]:
        """Return what a pickle carries: name and nonce.  The segment lingers from now on."""
        self.mapping.pickled()
        return self.name or self.mapping, self.header.nonce


def shown(name: str) -> str:
    """Return the name that a user knows."""
    return name.removeprefix(NAMED)


def _read_header(name: str, mapping: Mapping) -> tuple[layout.Header, bytes, layout.Rules | None]:
    """Check a segment's header against the real size of the mapping, from one copy of it.

    Returns:
        It, the vocabulary's text, and what becomes of words whose owners die.

    Raises:
        ValueError: it is no segment of ours, or not one that this build can use.

    """

    def refuse(reason: str) -> ValueError:
        return ValueError(f"shared memory {name!r} cannot be attached: {reason}")

    with mapping.view() as view:
        size = len(view)
        fixed = bytes(view[: layout.HEADER_SIZE])
        if int.from_bytes(fixed[:8], sys.byteorder) != layout.MAGIC:
            raise refuse("it is not a segment of atomic-intenum")
        header = layout.Header(*layout.HEADER.unpack_from(fixed, layout.HEADER_OFFSET))
        if header.layout_version != layout.LAYOUT_VERSION:
            raise refuse(
                f"its layout is version {header.layout_version}, "
                f"this is version {layout.LAYOUT_VERSION}"
            )
        if header.protocol != layout.PROTOCOL:
            raise refuse(f"its protocol is {header.protocol}, this is {layout.PROTOCOL}")
        if (header.mutex_size, header.libc, header.control_stride) != backend.ABI:
            raise refuse("its locks are of another C library")
        if not header.fits(size):
            raise refuse("its header does not fit its size")
        text_end = header.vocabulary_offset + header.vocabulary_size
        vocabulary = bytes(view[header.vocabulary_offset : text_end])
        if not header.owners_offset:
            return header, vocabulary, None
        rules = bytes(view[text_end : text_end + header.on_death_size])
        try:
            return header, vocabulary, layout.read_rules(rules)
        except (ValueError, TypeError, struct.error, RecursionError):
            raise refuse("its on_death cannot be read") from None


def create(
    text: bytes,
    capacity: int,
    word_stride: int,
    kind: int,
    *,
    name: str | None = None,
    first: int = 0,
    exist_ok: bool = False,
    on_death: layout.Rules | None = None,
) -> Segment:
    """Create a segment.

    Args:
        text: the vocabulary, for whoever attaches.
        capacity: number of words.
        word_stride: bytes from one word to the next.
        kind: one of layout's.
        name: None makes a random one.
        first: value of each word when the segment becomes visible to others.
        exist_ok: attach to what a live process has created under that name, and answer for the
            name with it; whether that is what was wanted is the caller's to check.
        on_death: what becomes of words whose owners die; None: nobody can own one.

    Raises:
        ValueError: the name is not one that every system takes.
        FileExistsError: somebody answers for the name, or what has it is not ours.
        OSError: there is no room (ENOSPC), or no more of something; nothing is left behind.

    """
    if name is not None:
        check_name(name)
    rules = b"" if on_death is None else on_death.text
    header_size = layout.align(layout.HEADER_SIZE + len(text) + len(rules))
    control_offset = layout.align(header_size + capacity * word_stride)
    size = owners_offset = control_offset + capacity * backend.ABI[2]
    if on_death is None:
        owners_offset = 0
    else:
        size += layout.OWNERS_SIZE
    if size > sys.maxsize:
        raise OSError(
            errno.ENOSPC, f"{capacity} words would take {size} bytes: more than any memory"
        )
    header = layout.Header(
        layout_version=layout.LAYOUT_VERSION,
        kind=kind,
        creator_pid=0,  # the core fills in who that is
        vocabulary_size=len(text),
        creator_start=0,
        pid_namespace=0,
        nonce=secrets.randbits(64),
        vocabulary_offset=layout.HEADER_SIZE,
        protocol=layout.PROTOCOL,
        fingerprint=layout.fingerprint_of(text),
        capacity=capacity,
        control_offset=control_offset,
        header_size=header_size,
        word_stride=word_stride,
        control_stride=backend.ABI[2],
        mutex_size=backend.ABI[0],
        libc=backend.ABI[1],
        on_death_size=len(rules),
        owners_offset=owners_offset,
    )
    fixed = layout.MAGIC.to_bytes(8, sys.byteorder) + layout.HEADER.pack(*header)
    head = fixed.ljust(layout.HEADER_SIZE, b"\0") + text + rules
    if backend.INHERITED_ONLY:
        from . import inherited  # noqa: PLC0415 - nobody else needs multiprocessing.heap

        return _known(Segment("", inherited.create(header, head, size, first)))
    if name is not None:
        return _named(NAMED + name, head, size, first, exist_ok=exist_ok)
    while True:
        memory = NAMELESS + secrets.token_hex(6)
        outcome = backend.create(memory, head, size, first, True)  # noqa: FBT003
        if outcome != (errno.EEXIST, ""):  # else somebody has it already
            return _made(memory, outcome, size)


def _named(memory: str, head: bytes, size: int, first: int, *, exist_ok: bool) -> Segment:
    """Create a segment with a name, or attach to a live process's."""
    deadline = time.monotonic() + _HALF_MADE
    while True:
        outcome = backend.create(memory, head, size, first, False)  # noqa: FBT003
        if exist_ok and isinstance(outcome, tuple) and outcome[0] == errno.EEXIST:
            outcome = backend.attach(memory, _WITH_OTHERS)
            again = (errno.ENOENT, errno.ESTALE, errno.EAGAIN)  # it has gone, or is half made
            if isinstance(outcome, tuple) and outcome[0] in again and time.monotonic() < deadline:
                time.sleep(0.001)
                continue
        return _made(memory, outcome, size)


def _made(memory: str, outcome: Mapping | tuple[int, str], size: int) -> Segment:
    """Return the segment that was made, or raise why there is none."""
    if not isinstance(outcome, tuple):
        return _known(Segment(memory, outcome))
    code, why = outcome
    if code in (errno.EEXIST, errno.EAGAIN, errno.ESTALE):
        raise refused.taken(memory, shown(memory))
    if code in (errno.ENOSPC, errno.ENOMEM):
        raise refused.no_room(size, code)
    raise refused.unopened(code, why, shown(memory), pickled=False)


def check_name(name: object) -> str:
    """Return a segment name that is allowed.

    Raises:
        TypeError: it is no str.
        ValueError: it is not 1 to 22 ASCII letters, digits, ``.``, ``_`` and ``-``; or it is ``.``
            or ``..``.

    """
    if not isinstance(name, str):
        message = f"a segment name is a str, not {class_name(type(name))}"
        raise TypeError(message)
    if not _NAME.fullmatch(name) or name in (".", ".."):
        message = f"a segment name is 1 to 22 ASCII letters, digits, '.', '_' and '-', not {name!r}"
        raise ValueError(message)
    return name


def attach(name: str, deadline: float = 0.0, *, leases: bool = True) -> Segment:
    """Attach a named segment; never removes another's.

    Args:
        name: as it was created.
        deadline: until when to wait for it to be there, in seconds of the monotonic clock.
        leases: this process answers for what it writes, as on_death says.  False: it must not wait,
            nor ask who owns a word, since it does not know what becomes of one.

    Raises:
        FileNotFoundError: there is none of that name (any more).
        PermissionError: another user owns it, or may write it.
        ValueError, OSError: it cannot be used here.

    """
    return _open(NAMED + check_name(name), _NOBODY_HERE, deadline, leases=leases)


def unpickled(place: str | Mapping, nonce: int) -> Segment:
    """Return the segment that a pickle means.

    Args:
        place: its name; or, where it has none, its memory.
        nonce: tells it from a later one of that name.

    Raises:
        FileNotFoundError: it is gone.
        ValueError: another segment has taken its name.

    """
    name = place if isinstance(place, str) else ""
    segment = _by_name.get((name, nonce))
    if segment is not None:
        return segment
    if not isinstance(place, str):
        return _known(Segment("", place))
    nameless = place.startswith(NAMELESS)
    segment = _open(place, _AS_IT_IS_MAPPED if nameless else _NOBODY_HERE, pickled=True)
    if segment.header.nonce != nonce:
        message = f"shared memory {shown(place)!r} is another one than was pickled"
        raise ValueError(message)
    return segment


def _known(segment: Segment) -> Segment:
    """Return a segment, or the one that another thread has got meanwhile."""
    return _by_name.setdefault((segment.name, segment.header.nonce), segment)


def _open(
    name: str, answer: int, deadline: float = 0.0, *, pickled: bool = False, leases: bool = True
) -> Segment:
    """Open and check a segment; one that is half made, or being removed, gets a second."""
    began = time.monotonic()
    while True:
        outcome = backend.attach(name, answer)
        if not isinstance(outcome, tuple):
            return _known(Segment(name, outcome, leases=leases))
        code, why = outcome
        now = time.monotonic()
        until = deadline if code == errno.ENOENT else max(began + _HALF_MADE, deadline)
        if now >= until or code not in (errno.ENOENT, errno.ESTALE, errno.EAGAIN):
            raise refused.unopened(code, why, shown(name), pickled=pickled)
        time.sleep(min(0.001 + (now - began) / 100, 0.01, until - now))
