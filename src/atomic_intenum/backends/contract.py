"""What every backend provides, and value, array and segment rely on.

A backend is a module with the attributes of :class:`Backend`.  Those over the compiled core share
one protocol on one layout; ``lock`` has the same layout and another protocol, so each refuses the
other's segments.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.synchronize import Lock, RLock

    from ..given_lock import Guard
    from ..vocabulary import Vocabulary

T = TypeVar("T", bound=IntEnum)

#: Protocol ids, as the segment's header has them.
PROTOCOL_ATOMIC = 1
PROTOCOL_LOCK = 2


class Mapping(Protocol):
    """One mapped segment.

    It stays mapped until nothing can touch it: no object, no call in flight, no lock held by a
    thread of this process.  There is no close().
    """

    @property
    def size(self) -> int:
        """Bytes mapped."""

    def prepare(self, offset: int, count: int, /) -> None:
        """Initialise ``count`` control blocks at ``offset``."""

    def publish(self) -> None:
        """Store the magic, with release: the segment is complete from here on."""

    def published(self) -> int:
        """Return the magic that the segment holds, loaded with acquire."""

    def view(self) -> memoryview:
        """Return the segment's bytes, writable, for who holds the mapping meanwhile."""


class Table(Protocol):
    """The members of one IntEnum in the form that the backend's Value looks them up in."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary that the table was made for."""


class Bound:
    """What Value and Array have in common: bound once, until they are closed.

    An instance works from ``_atomic_bind()``, which it takes once, until ``_atomic_close()``;
    before and after, every operation raises ValueError.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def _atomic_guard(self) -> Guard | None: ...
        @property
        def _atomic_segment(self) -> Any:
            """What it was bound to; opaque to a backend."""

        @property
        def _atomic_vocabulary(self) -> Vocabulary | None: ...
        def _atomic_close(self) -> None: ...


class Value(Bound):
    """The base class of IntEnumValue: one typed value on one state word.

    Its public operations are those that value.py declares and documents.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def _atomic_lock(self) -> Lock | RLock | None: ...
        @property
        def _atomic_index(self) -> int: ...
        def _atomic_bind(self, *place: Any) -> None:
            """Bind to a word, for good.

            Args:
                place: table, mapping, segment, index, offsets of word and control block, guard,
                    whether the class overrides from_value(), and the first value or None.

            """

        def _atomic_keep_lock(self, lock: Lock | RLock, /) -> Lock | RLock:
            """Keep the lock, if none is kept, and return the one kept."""


class Array(Bound):
    """The base class of IntEnumArray: many words of one segment.

    Its public operations are those that array.py declares and documents.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def _atomic_bind(self, *place: Any) -> None:
            """Bind to words, for good.

            Args:
                place: table, mapping, segment, count, offset and stride of the words, offset of the
                    control blocks, and guard.

            """


class Backend(Protocol):
    """A backend: what ``backends.backend`` is."""

    #: ``native``, ``cffi`` or ``lock``: what BACKEND says.
    NAME: str
    #: PROTOCOL_ATOMIC or PROTOCOL_LOCK.
    PROTOCOL: int
    #: sizeof(pthread_mutex_t), libc id and bytes of a control block, as the header has them; a
    #: segment of others is refused.
    ABI: tuple[int, int, int]
    #: Values reach other processes by inheritance only.
    INHERITED_ONLY: bool

    Value: type[Any]
    Array: type[Any]

    def Mapping(self, fd: int, size: int) -> Mapping:  # noqa: N802 - a class, in each backend
        """Map ``size`` bytes of the shared memory behind ``fd``, which may then be closed."""

    def Table(  # noqa: N802 - a class, in each backend
        self,
        vocabulary: Vocabulary,
        enum_type: type[IntEnum],
        entries: tuple[tuple[IntEnum, str, int], ...],
    ) -> Table:
        """Make the table of an IntEnum from (member, name, number), without aliases."""

    #: The semlock of a value's own lock, made from a mapping, the word's and the control block's
    #: offset: what multiprocessing calls so, ``abandoned``, and ``acquire_quietly()``, which is for
    #: a write and leaves the report of a death for others.
    Lock: Callable[[Any, int, int], Any]

    def own_guard(self) -> Guard | None:
        """Return what each write of a new value enters where no lock was given; None: nothing."""

    def is_mapped(self, device: int, inode: int) -> bool:
        """Tell whether any interpreter of this process has that shared memory mapped."""

    def document(self, cls: type[Any], name: str, text: str) -> None:
        """Give an operation of Value or Array the docstring that help() shows."""

    def prepare_class(self, cls: type[Any], base: type[Any]) -> None:
        """Make a subclass of ``base`` (IntEnumValue) fast, if the backend knows how."""


def overriders(cls: type[Any], base: type[Any], name: str) -> Sequence[type[Any]]:
    """Return the classes before ``base`` in the MRO of ``cls`` that define ``name`` themselves."""
    mro = cls.__mro__
    return [klass for klass in mro[: mro.index(base)] if name in vars(klass)]
