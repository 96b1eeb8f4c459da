"""Shared-memory segments: create, attach, hand out words, and their lifetime.

A segment is mapped once per process and stays mapped while anything uses it.  Its creator removes
the name: when nothing of it is left in the creating process, or at exit.  csrc/layout.h says what
is in it.  Nothing here knows of enums.

Garbage collection may run a value's deallocation anywhere, inside this module too.  So deallocation
takes no lock: the death of a segment is queued (a weak reference's callback appends to a deque),
and the next allocation drains the queue.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import secrets
import sys
import time
import weakref
from collections import deque
from multiprocessing import util
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from . import layout, shm
from .backends import backend
from .errors import is_of_system, type_name
from .forking import after_fork_in_child
from .tracker import creating

if TYPE_CHECKING:
    from collections.abc import Callable

    from .backends.contract import Mapping

_Entry = TypeVar("_Entry")

#: Words of a pool's first segment (with their control blocks they fill a page), and of its largest.
_FIRST_CAPACITY = 16
_LARGEST_CAPACITY = 256

#: Seconds that a segment outlives its last value here if one was ever pickled: the pickle may be on
#: its way.
_LINGER = 60.0

#: Seconds that a segment without a magic is given, by who wants to attach it or take its name.
_HALF_MADE = 1.0

#: Seconds that a dead creator's resource tracker is given to remove what that left, before somebody
#: else does it and takes the name: a tracker that came later would remove the new one.
_TRACKER_GRACE = 0.5

#: 30 characters and a slash are what macOS allows.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,30}")


class Header(NamedTuple):
    """The fixed part of a segment's header, after the magic."""

    layout_version: int
    header_size: int
    protocol: int
    word_stride: int
    capacity: int
    control_offset: int
    control_stride: int
    mutex_size: int
    libc: int
    vocabulary_size: int
    fingerprint: int
    nonce: int
    creator_start: int
    pid_namespace: int
    creator_pid: int
    kind: int


#: The references to segments whose last use here has ended.
_dead: deque[_Reference] = deque()


class _Reference(weakref.ref["Segment"]):
    """The reference that tells of the end of a segment that this process created.

    Its callback is C's own, so that no signal handler can raise in it: the end would be lost.
    """

    __slots__ = ("owned",)

    owned: _Owned


class _Owned:
    """A segment that this process created and will remove."""

    __slots__ = ("created", "nonce", "pickled", "segment")

    def __init__(self, created: shm.Created, nonce: int) -> None:
        self.created = created
        self.nonce = nonce
        self.pickled = False
        self.segment: _Reference | None = None

    def refer_to(self, segment: Segment) -> None:
        """Keep track of a segment's life, to remove it afterwards."""
        reference = _Reference(segment, _dead.append)
        reference.owned = self
        self.segment = reference
        segment._owned = self

    def in_use(self) -> bool:
        """Tell whether anything here uses it."""
        return self.segment is not None and self.segment() is not None


# -- the state of this process; a fork's child starts anew

_owned: dict[str, _Owned] = {}
#: What is being created; or where a handler raised once more, while that was undone.
_unfinished: set[_Owned] = set()
_lingering: deque[tuple[float, _Owned]] = deque()
_finalizer: Any = None
_identity: tuple[int, int, int] | None = None
_pid = os.getpid()
_exited = False

#: What is mapped here, by name and nonce.
_by_name: weakref.WeakValueDictionary[tuple[str, int], Segment] = weakref.WeakValueDictionary()


def _forget_parent() -> None:
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
after_fork_in_child(_forget_parent)


def _own_identity() -> tuple[int, int, int]:
    """Return pid, start time and PID namespace of this process."""
    global _identity
    if _identity is None:
        pid = os.getpid()
        _identity = (pid, shm.start_time(pid), shm.pid_namespace())
    return _identity


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
        self.inode: shm.Inode | None = None
        self._owned: _Owned | None = None

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
        if owned is not None and _owned.get(self.name) is owned:
            _remove(owned)
        elif self.inode is not None:
            creating.call(shm.remove, self.name, self.inode)

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
    _, _, namespace = _own_identity()
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
    if os.getpid() != _pid:
        _forget_parent()
    if name is not None:
        check_name(name)
    # Before anything is asked of the system: what died may hold the name, or the room.
    if name is not None or _dead or _lingering:
        _drain(forget=name)
    header_size = layout.align(layout.HEADER_SIZE + len(text))
    control_offset = layout.align(header_size + capacity * word_stride)
    size = control_offset + capacity * backend.ABI[2]
    if size > sys.maxsize:
        raise OSError(
            errno.ENOSPC, f"{capacity} words would take {size} bytes: more than any memory"
        )
    pid, started, namespace = _own_identity()
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
    wanted = None if name is None else _Wanted(name)
    while True:
        owned = _Owned(shm.Created(name or _random_name()), header.nonce)
        try:
            return creating.call(_make, owned, size, header, text, first)
        except FileExistsError as error:
            if not shm.is_about(error, owned.created.name):
                raise
            # Outside of the lock: the naps may take a while, and forks wait for the lock.
            if wanted is not None and not wanted.is_free():
                message = (
                    f"there is shared memory {name!r} already: its creator runs, or nothing in it "
                    f"says who that was"
                )
                raise FileExistsError(errno.EEXIST, message) from None


def _random_name() -> str:
    return "intenum-" + secrets.token_hex(6)  # 20 characters; macOS allows 30


def _make(owned: _Owned, size: int, header: Header, text: bytes, first: int) -> Segment:
    """Create a segment's shared memory, and the segment in it."""
    name = owned.created.name
    _ensure_finalizer()
    _unfinished.add(owned)
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
        _owned[name] = owned
    except BaseException:
        owned.created.unlink()
        _forget(owned)
        raise
    _unfinished.discard(owned)
    if _exited:
        _remove(owned)  # nobody will come to do it later
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


class _Wanted:
    """A name that is wanted, and taken: it gets free if its creator is gone.

    Args:
        name: that is wanted.

    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = time.monotonic()
        #: The segment, by its nonce, whose creator was found gone, and when it was first.
        self._abandoned: tuple[int, float] | None = None

    def is_free(self) -> bool:
        """Remove the shared memory of that name if it is ours and its creator is gone.

        Returns:
            Whether creating is worth another try; there is a nap in it, if it is.

        """
        try:
            # The lock comes first, then those who look: as where a name is removed.
            until = creating.call(shm.examine, self._name, layout.HEADER_SIZE, self._judge)
        except OSError as error:
            if not shm.is_about(error, self._name) or error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            # It is gone; or another user's, or no shared memory at all.
            return isinstance(error, FileNotFoundError)
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
            return -math.inf if content and magic else self._began + _HALF_MADE
        if _is_kept(self._name, header):
            return -math.inf
        now = time.monotonic()
        if self._abandoned is None or self._abandoned[0] != header.nonce:
            self._abandoned = header.nonce, now
        if now - self._abandoned[1] <= _TRACKER_GRACE:
            return math.inf
        remove()
        return None


def _is_kept(name: str, header: Header) -> bool:
    """Tell whether the program that created a segment still runs."""
    if (header.creator_pid, header.creator_start) == _own_identity()[:2]:
        # Made by this program, maybe by another interpreter of it; or by one that ran in this
        # process before an exec, and then nobody has it mapped.
        if name in _owned:
            return True
        inode = shm.inode_of(name)
        return inode is not None and backend.is_mapped(*inode)
    return shm.is_running(header.creator_pid, header.creator_start)


def _parse(content: bytes) -> tuple[int, Header | None]:
    """Return the magic, and the header if it is one of ours: complete, or all but the magic."""
    if len(content) < layout.HEADER_SIZE:
        return -1, None
    magic = int.from_bytes(content[:8], sys.byteorder)
    header = Header(*layout.HEADER.unpack_from(content, layout.HEADER_OFFSET))
    ours = (
        magic in (0, layout.MAGIC)
        and header.creator_pid > 0  # or it is being written
        and header.layout_version == layout.LAYOUT_VERSION
        and header.pid_namespace == _own_identity()[2]
    )
    return magic, header if ours else None


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
    owned = _owned.get(segment.name)
    if segment._owned is None and owned is not None and owned.nonce == segment.header.nonce:
        owned.refer_to(segment)
        for entry in list(_lingering):
            if entry[1] is owned:
                _discard(_lingering, entry)
    return segment


def _open(name: str, *, pickled: bool) -> Segment:
    """Open and check a segment; one that is half made gets a second."""
    deadline = time.monotonic() + _HALF_MADE
    while True:
        try:
            mapping, inode = shm.open_and_map(name, backend.Mapping)
            if mapping.published() or time.monotonic() > deadline:
                segment = Segment(name, mapping)
                segment.inode = inode
                return segment
        except FileNotFoundError as error:
            if not shm.is_about(error, name):
                raise
            message = f"there is no shared memory {name!r}"
            if pickled:
                message = (
                    f"shared memory {name!r} of a pickled value is gone: its creator ended or "
                    f"dropped its last value; let the parent create, and keep a reference until it "
                    f"arrived"
                )
            raise FileNotFoundError(errno.ENOENT, message) from None
        except shm.EmptyError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.001)


def _ensure_finalizer() -> None:
    """See to it that what this process creates is removed at its exit.

    Asked at each creation: multiprocessing clears its finalizers in a child that it forked.  At
    -100 it has joined its children, who may still be starting and looking for their segments; an
    atexit function would run before that.
    """
    global _finalizer
    if _finalizer is None or not _finalizer.still_active():
        _finalizer = util.Finalize(None, _remove_all, exitpriority=-100)


def _remove_all() -> None:
    """At exit: remove whatever this process created, mapped as it stays."""
    global _exited
    _exited = True
    failed: BaseException | None = None
    for _ in range(3):  # again what a signal handler has ended by raising
        try:
            for owned in creating.call(_everything):
                try:
                    creating.call(_unlink, owned)
                except BaseException as error:  # noqa: BLE001 - all the others go first
                    failed = failed or error
        except BaseException as error:  # noqa: BLE001
            failed = failed or error
    if failed is not None:
        raise failed


def _everything() -> list[_Owned]:
    return [*reversed(_owned.values()), *_unfinished]


def _remove(owned: _Owned) -> None:
    creating.call(_unlink_owned, owned)


def _unlink_owned(owned: _Owned) -> None:
    if _owned.get(owned.created.name) is owned:
        _unlink(owned)


def _unlink(owned: _Owned) -> None:
    owned.created.unlink()
    _forget(owned)


def _forget(owned: _Owned) -> None:
    """Forget what was removed; after it, since a signal handler may raise while it is removed."""
    _unfinished.discard(owned)
    owned.segment = None  # or the two would be a cycle of garbage
    if _owned.get(owned.created.name) is owned:
        del _owned[owned.created.name]


def _drain(forget: str | None = None) -> None:
    """Remove the segments that died; those that were pickled a minute later.

    Args:
        forget: this name is wanted again, so it goes at once.

    """
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


def _remove_from(queue: deque[_Entry], entry: _Entry, owned: _Owned) -> None:
    """Remove what is queued.  An error is told once: it would come again each time."""
    try:
        _remove(owned)
    except OSError as error:
        if is_of_system(error):
            _discard(queue, entry)
        raise
    _discard(queue, entry)


def _discard(queue: deque[_Entry], entry: _Entry) -> None:
    with contextlib.suppress(ValueError):  # a signal handler that allocates drains too
        queue.remove(entry)


class _Batch:
    """A pool's segment in use, and the indices not yet handed out."""

    __slots__ = ("capacity", "free", "pid", "segment")

    def __init__(self, segment: Segment | None, capacity: int) -> None:
        self.segment = segment
        self.capacity = capacity
        self.pid = os.getpid()
        self.free = list(range(capacity - 1, -1, -1)) if segment is not None else []


class Pool:
    """Where the values of one vocabulary get their words, in this process.

    A word is never handed out twice, so a process that still looks at an old value never sees a new
    one's state.

    Args:
        text: the vocabulary's, for the segments' headers.
        fingerprint: of that text.

    """

    __slots__ = ("__weakref__", "_batch", "_fingerprint", "_text")

    def __init__(self, text: bytes, fingerprint: int) -> None:
        self._text = text
        self._fingerprint = fingerprint
        self._batch = _Batch(None, _FIRST_CAPACITY // 2)

    def allocate(self) -> tuple[Segment, int]:
        """Return a segment and the index of a fresh word in it.

        Raises:
            OSError: a further segment was needed and there is no room.

        """
        pid = os.getpid()
        if pid != _pid:
            _forget_parent()
        if _dead or _lingering:
            _drain()
        while True:
            batch = self._batch
            if batch.pid == pid and batch.segment is not None:
                try:
                    # One step, so two threads never get the same.
                    return batch.segment, batch.free.pop()
                except IndexError:
                    pass
            creating.call(self._replace, batch)

    def _replace(self, batch: _Batch) -> None:
        """Have a new batch in use, unless another thread has seen to that."""
        if self._batch is batch:
            self._batch = self._grow(batch)

    def _grow(self, batch: _Batch) -> _Batch:
        doubled = min(batch.capacity * 2, _LARGEST_CAPACITY)
        capacity = doubled if batch.pid == os.getpid() else _FIRST_CAPACITY
        segment = create(
            self._text, self._fingerprint, capacity, layout.SINGLE_STRIDE, layout.KIND_POOL
        )
        return _Batch(segment, capacity)
