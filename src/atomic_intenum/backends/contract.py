"""What every backend provides, and value, array and segment rely on.

A backend is a module with the attributes of :class:`Backend`.  Those over the compiled core share
one protocol on one layout; ``lock`` has the same layout and another protocol, so each refuses the
other's segments.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Generic, Protocol, SupportsIndex, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
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


class Value(Generic[T]):
    """The base class of IntEnumValue: one typed value on one state word.

    An instance works from ``_atomic_bind()`` on until ``_atomic_close()``; before and after, every
    operation raises ValueError.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def load(self) -> T:
            """Return the current member: one atomic load, wait-free, also while it is locked.

            Raises:
                ValueError: the value is closed, or its word holds no member's number.

            """

        def set(self, value: T | str) -> None:
            """Set to a member, or to the member of that name; may be overridden.

            Lock-free, unless somebody holds the value's lock: then it waits for that.

            Raises:
                TypeError: ``value`` is neither a member of EnumType nor a str.
                KeyError: no member has that name.
                ValueError: the value is closed.

            """

        def exchange(self, value: T | str) -> T:
            """Set to a member (or name) and return the previous member, in one step.

            Raises:
                TypeError, KeyError: as set().
                ValueError: the value is closed; or its word held no member's number, and then the
                    exchange has happened and the message has that number.

            """

        def compare_and_set(self, old: T | str, new: T | str) -> bool:
            """If the value is ``old``, make it ``new`` and return True, in one step; else False.

            Of all processes that try at once exactly one gets True.  False never waits.

            Raises:
                TypeError, KeyError, ValueError: as set(), for either argument.

            """

        def wait_for(
            self, member: T | str, /, *members: T | str, timeout: float | None = None
        ) -> T:
            """Sleep until the value is one of the members (or names), and return that member.

            Waits see states, not events: one that comes and goes between two looks is missed, and
            ``version`` tells.

            Args:
                member: what to wait for.
                members: or these.
                timeout: seconds; None waits for ever, 0 looks once.

            Raises:
                TimeoutError: it did not come in that time.
                RuntimeError: it is not there yet, and this thread holds the value's lock, so nobody
                    could change it (whatever the timeout).
                ValueError: the value is closed, or was while this waited (noticed within 250 ms);
                    or the timeout is negative or NaN.
                TypeError, KeyError: as set().

            """

        def wait_while(
            self, member: T | str, /, *members: T | str, timeout: float | None = None
        ) -> T:
            """Sleep until the value is none of the members (or names), and return what it is.

            Arguments and errors are those of wait_for().
            """

        @property
        def value(self) -> int:
            """The current member's value, a plain int; takes a member or a name, through set()."""

        @value.setter
        def value(self, value: T | str) -> None: ...

        @property
        def name(self) -> str:
            """The current member's name."""

        @property
        def version(self) -> int:
            """Writes so far, modulo 2**30."""

        def __eq__(self, other: object) -> bool: ...
        def __ne__(self, other: object) -> bool: ...
        def __hash__(self) -> int: ...
        def __lt__(self, other: object) -> bool: ...
        def __le__(self, other: object) -> bool: ...
        def __gt__(self, other: object) -> bool: ...
        def __ge__(self, other: object) -> bool: ...

        @property
        def _atomic_lock(self) -> Lock | RLock | None: ...
        @property
        def _atomic_guard(self) -> Guard | None: ...
        @property
        def _atomic_segment(self) -> Any: ...
        @property
        def _atomic_index(self) -> int: ...
        @property
        def _atomic_vocabulary(self) -> Vocabulary | None: ...

        def _atomic_bind(
            self,
            table: Table,
            mapping: Mapping,
            segment: Any,
            index: int,
            word_offset: int,
            control_offset: int,
            guard: Guard | None,
            calls_from_value: bool,  # noqa: FBT001
            first: int | None,
            /,
        ) -> None: ...
        def _atomic_close(self) -> None: ...
        def _atomic_keep_lock(self, lock: Lock | RLock, /) -> Lock | RLock:
            """Keep the lock, if none is kept, and return the one kept."""


class Array(Generic[T]):
    """The base class of IntEnumArray: many words of one segment.

    An instance works from ``_atomic_bind()``, which it takes once, until ``_atomic_close()``;
    before and after, every operation raises ValueError.  ``member`` is a member of EnumType or the
    name of one; anything else raises TypeError, an unknown name KeyError.  An index may be
    negative, and IndexError is raised past either end.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def __len__(self) -> int: ...

        @overload
        def __getitem__(self, index: SupportsIndex, /) -> T: ...
        @overload
        def __getitem__(self, index: slice, /) -> list[T]: ...
        def __getitem__(self, index: Any, /) -> Any: ...

        def __setitem__(self, index: SupportsIndex, member: T | str, /) -> None: ...

        def __iter__(self) -> Iterator[T]:
            """Iterate over the members, each loaded when it is reached."""

        def __buffer__(self, flags: int, /) -> memoryview:
            """Export the values: int32, read-only, without a copy (cffi and lock from 3.12 on)."""

        def exchange(self, index: SupportsIndex, member: T | str) -> T:
            """Set a word to a member (or name) and return its previous member, in one step."""

        def compare_and_set(self, index: SupportsIndex, old: T | str, new: T | str) -> bool:
            """If a word is ``old``, make it ``new`` and return True, in one step; else False.

            Of all processes that try at once exactly one gets True.  False never waits.
            """

        def claim(self, old: T | str, new: T | str) -> int | None:
            """Find a word that is ``old``, make it ``new``, and return its index.

            Nobody else gets that index: finding and making are one step.  Begins where this object
            found one last, passes over words that somebody holds the lock of while another matches,
            and looks at every word before it returns None.

            Returns:
                The index, which may be 0; None if no word is ``old``.

            """

        def snapshot(self) -> list[T]:
            """Return the members of all words.

            Each is what its word truly was at some time of the call; they need not all have been
            so at one instant.

            Raises:
                ValueError: a word holds no member's number; or the array is closed.

            """

        def count(self, member: T | str, /) -> int:
            """Return how many words are this member; each is looked at once, as in snapshot()."""

        def counts(self) -> dict[T, int]:
            """Return how many words are each member, for every member in the enum's order.

            Each word is looked at once, as in snapshot(), so the counts add up to the length.

            Raises:
                ValueError: a word holds no member's number; or the array is closed.

            """

        def fill(self, member: T | str, /) -> None:
            """Set every word to a member, one after the other; waits for locks that are held."""

        def wait_all(
            self, member: T | str, /, *members: T | str, timeout: float | None = None
        ) -> None:
            """Sleep until every word is one of the members (or names).

            Each word was so when it was looked at, one after the other.

            Args:
                member: what to wait for.
                members: or these.
                timeout: seconds; None waits for ever, 0 looks once.

            Raises:
                TimeoutError: it did not come in that time.
                RuntimeError: it is not so yet, and this thread holds the lock of a word that keeps
                    it from being so.
                ValueError: the array is closed, or was while this waited (noticed within 250 ms);
                    or the timeout is negative or NaN.

            """

        def wait_any(
            self, member: T | str, /, *members: T | str, timeout: float | None = None
        ) -> int:
            """Sleep until a word is one of the members (or names).

            Returns:
                The lowest index of such a word, which may be 0.

            Arguments and errors are those of wait_all(); RuntimeError is for a thread that holds
            the locks of all words.

            """

        @property
        def _atomic_segment(self) -> Any: ...
        @property
        def _atomic_vocabulary(self) -> Vocabulary | None: ...
        @property
        def _atomic_guard(self) -> Guard | None: ...
        def _atomic_bind(
            self,
            table: Table,
            mapping: Mapping,
            segment: Any,
            count: int,
            word_offset: int,
            word_stride: int,
            control_offset: int,
            guard: Guard | None,
            /,
        ) -> None: ...
        def _atomic_close(self) -> None: ...


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
    #: offset.
    Lock: Callable[[Any, int, int], Any]

    def own_guard(self) -> Guard | None:
        """Return what each write of a new value enters where no lock was given; None: nothing."""

    def is_mapped(self, device: int, inode: int) -> bool:
        """Tell whether any interpreter of this process has that shared memory mapped."""

    def prepare_class(self, cls: type[Any], base: type[Any]) -> None:
        """Make a subclass of ``base`` (IntEnumValue) fast, if the backend knows how."""


def overriders(cls: type[Any], base: type[Any], name: str) -> Sequence[type[Any]]:
    """Return the classes before ``base`` in the MRO of ``cls`` that define ``name`` themselves."""
    mro = cls.__mro__
    return [klass for klass in mro[: mro.index(base)] if name in vars(klass)]
