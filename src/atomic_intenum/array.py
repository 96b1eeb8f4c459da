"""IntEnumArray: many typed statuses side by side in one segment."""

# Operations has declarations, whose bodies are the backend's.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

import operator
import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Generic, NoReturn, SupportsIndex, TypeVar, overload

from .backends import backend, document
from .errors import class_name, show
from .given_lock import Guard
from .layout import KIND_ARRAY, PACKED_STRIDE, SINGLE_STRIDE
from .on_death import rules_of
from .sharing import Shared, check_naming, create_own
from .timeouts import deadline_of, timed_out
from .typed import Typed, vocabulary_of_member
from .value import IntEnumValue
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

    from .aio import AsyncArray
    from .backends import contract
    from .memory.segment import Segment

__all__ = ["IntEnumArray"]

T = TypeVar("T", bound=IntEnum)
V = TypeVar("V", bound=IntEnumValue[Any])


class Operations(Generic[T]):
    """What the backend's Array does; its docstrings here are what ``help()`` shows of it.

    ``member`` is a member of EnumType or the name of one; anything else raises TypeError, an
    unknown name KeyError.  An index may be negative, and IndexError is raised past either end.
    """

    __slots__ = ()

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

    def claim(self, old: T | str, new: T | str, *, timeout: float | None = 0.0) -> int | None:
        """Find a word that is ``old``, make it ``new``, and return its index.

        Nobody else gets that index: finding and making are one step.  Begins where this object
        found one last, passes over words that somebody holds the lock of while another matches,
        and looks at every word before it returns None.  Where ``on_death`` is given, it gives back
        what dead processes own before it sleeps, and before it returns None.

        Args:
            old: what the word is.
            new: what it becomes.
            timeout: seconds to sleep until a word is ``old``; None sleeps for ever, 0 looks once.
                While somebody holds the locks of all words that are, it waits for those: so long,
                with 0 for ever, and on the lock-based path for ever.

        Returns:
            The index, which may be 0; None if no word is ``old``, still after that time.

        Raises:
            RuntimeError: it would sleep, and this thread holds the locks of all words; or as set()
                of a value.
            ValueError: the array is closed, or was while this slept (noticed within 250 ms); or
                the timeout is negative or NaN.
            TypeError, KeyError: as set() of a value.

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

    def wait_all(self, member: T | str, /, *members: T | str, timeout: float | None = None) -> None:
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

    def wait_any(self, member: T | str, /, *members: T | str, timeout: float | None = None) -> int:
        """Sleep until a word is one of the members (or names).

        Returns:
            The lowest index of such a word, which may be 0.

        Arguments and errors are those of wait_all(); RuntimeError is for a thread that holds
        the locks of all words.

        """


if TYPE_CHECKING:
    # Registered below, at run time: deriving costs a metaclass.
    class _Base(Operations[T], contract.Array, Sequence[T]):
        __slots__ = ()

else:
    document(backend.Array, Operations)

    class _Base(backend.Array, Generic[T]):
        __slots__ = ()


class IntEnumArray(Typed, Shared, _Base[T]):
    """Many values of an IntEnum in one segment, shared between processes.

    Derive a class for an enum (``class Board(IntEnumArray[WorkerStatusEnum])``), or subscript
    (``IntEnumArray[WorkerStatusEnum](100, WorkerStatusEnum.IDLE)``).  Without a parameter each
    instance takes its first member's enum.

    Args:
        size: how many; 1 or more.  Each takes 72 bytes of shared memory, 128 with ``padded``; on
            macOS, whose mutexes are larger, 136 and 192.
        initial: the member that all of them are at first, or its name.
        segment_name: as IntEnumValue's: the name for attach().
        padded: one word to a cache line, for words that many processes write all the time, each its
            own: side by side they would slow each other down.
        on_death: as IntEnumValue's: what becomes of a word when its owner dies.  It takes 8 KiB
            more, and one descriptor in each process.
        exist_ok: as IntEnumValue's: attach to an array that a live process has created so, and keep
            its values.

    Raises:
        TypeError: ``size`` is no int, ``initial`` neither a member of EnumType nor a str,
            ``segment_name`` no str, or ``on_death`` neither a mapping nor a member; or
            ``exist_ok`` is given without a name, or what exists holds another enum.
        ValueError: ``size`` is less than 1, the segment name is not allowed, or what exists is no
            array of that size, or has another ``on_death``.
        KeyError: no member has that name.
        FileExistsError: a live process has that name, or what has it is not of this package.
        OSError: there is no room for that much shared memory (ENOSPC).
        RuntimeError: ``segment_name`` on the lock-based path; or ``__init__`` ran before.

    """

    __slots__ = ()

    _atomic_kind = KIND_ARRAY
    _atomic_index = 0  # what is pickled of a value's place

    def __init__(
        self,
        size: SupportsIndex,
        initial: T | str,
        *,
        segment_name: str | None = None,
        padded: bool = False,
        on_death: Mapping[T | str, T | str] | T | str | None = None,
        exist_ok: bool = False,
    ) -> None:
        if self._atomic_vocabulary is not None:
            message = "this array was initialised before"
            raise RuntimeError(message)
        check_naming(type(self), segment_name, exist_ok=exist_ok)
        vocabulary = self._atomic_class_vocabulary
        count = _check_size(type(self), size, initial)
        if vocabulary is None:
            vocabulary = vocabulary_of_member(type(self), initial)
        segment = create_own(
            vocabulary,
            count,
            SINGLE_STRIDE if padded else PACKED_STRIDE,
            KIND_ARRAY,
            name=segment_name,
            first=vocabulary.number_to_write(initial),
            exist_ok=exist_ok,
            on_death=rules_of(vocabulary, on_death, vocabulary.number_to_write),
        )
        _bind(self, vocabulary, segment, backend.own_guard())

    @overload
    def at(self, index: SupportsIndex) -> IntEnumValue[T]: ...
    @overload
    def at(self, index: SupportsIndex, cls: type[V]) -> V: ...
    def at(self, index: SupportsIndex, cls: type[Any] | None = None) -> Any:
        """Return one word as a value: with its lock, to wait for, to be sent elsewhere.

        The value keeps the segment alive, also when the array is gone or closed.  Its ``__init__``
        does not run.

        Args:
            index: of the word; negative ones count from the end.
            cls: the class of the value, of the same enum; None: IntEnumValue[EnumType].

        Raises:
            IndexError: there is no such word.
            TypeError: ``cls`` is no subclass of IntEnumValue, or one for another enum.
            ValueError: the array is closed.

        """
        segment, vocabulary = self._atomic_segment, self._atomic_vocabulary_here()
        position = self._atomic_position_of(index)
        given: Any = cls
        if cls is None:
            cls = IntEnumValue[vocabulary.enum]  # type: ignore[name-defined]
        elif not (isinstance(given, type) and issubclass(given, IntEnumValue)):
            message = f"{show(cls)} is no subclass of IntEnumValue"
            raise TypeError(message)
        theirs = cls._atomic_class_vocabulary
        if theirs is None:
            fits = issubclass(vocabulary.enum, cls.EnumType)
        else:
            fits = theirs.enum is vocabulary.enum
        if not fits:
            wanted, given = class_name(vocabulary.enum), class_name(cls.EnumType)
            message = f"{class_name(cls)} holds {given}, the words of this array {wanted}"
            raise TypeError(message)
        return cls._atomic_on(vocabulary, segment, position, self._atomic_guard)

    def _atomic_position_of(self, index: SupportsIndex) -> int:
        count: int = self._atomic_segment.header.capacity
        position = operator.index(index)
        if not -count <= position < count:
            message = f"index {position} is outside of an array of {count}"
            raise IndexError(message)
        return position % count

    # -- owners

    def owner(self, index: SupportsIndex) -> int | None:
        """Return the pid of the process that answers for a word: IntEnumValue's ``owner``.

        Raises:
            IndexError: there is no such word.
            ValueError: the array is closed.

        """
        position = self._atomic_position_of(index)
        return self._atomic_owners(position, 1)[0]

    def owners(self) -> list[int | None]:
        """Return the pids of the processes that answer for the words, in their order.

        None is for a word that nobody answers for.  What dead processes owned is given back first.

        Raises:
            ValueError: the array is closed.

        """
        return self._atomic_owners(0, len(self))

    def recover(self) -> list[int]:
        """Give back, now, what dead processes own, and return the indices of those words.

        Each becomes what ``on_death`` says of it.  A word that somebody holds the lock of is left.

        Raises:
            ValueError: the array is closed.

        """
        segment = self._atomic_segment
        if segment.on_death is None:
            return []
        count = segment.header.capacity
        given: list[int] = segment.mapping.recover(0, count, self._atomic_guard)
        return given

    def _atomic_owners(self, first: int, count: int) -> list[int | None]:
        segment = self._atomic_segment
        if segment.on_death is None:
            return [None] * count
        pids: list[int | None] = segment.mapping.owners(first, count, self._atomic_guard)
        return pids

    # -- waiting for anything

    def changes(self, timeout: float | None = None) -> Iterator[dict[int, T]]:
        """Yield the members of all words by index, and then of those that changed, again and again.

        A word that changes and changes back between two looks is missed, and so is all but the last
        of several changes.

        Args:
            timeout: seconds that each wait may take; None waits for ever.

        Raises:
            TimeoutError: nothing changed in that time.
            RuntimeError: this thread holds the locks of all words.
            ValueError: the array is closed, or was while this waited (noticed within 250 ms); a
                word holds no member's number; or the timeout is negative or NaN.

        """
        deadline_of(timeout)  # here, and not at the first wait: a wrong one is the caller's mistake
        return self._atomic_changes(timeout)

    def _atomic_changes(self, timeout: float | None) -> Iterator[dict[int, T]]:
        seen: Any = self._atomic_moved(None, None)
        yield self._atomic_differing(seen)
        while True:
            now: Any = self._atomic_moved(seen, timeout)
            if now is None:
                self._atomic_timed_out("changes", (), timeout)
            changed = self._atomic_differing(now, seen)
            seen = now
            if changed:  # else it has changed back
                yield changed

    def _atomic_differing(self, now: bytes, seen: bytes | None = None) -> dict[int, T]:
        """Return the members by index of words that differ from what was seen; None: of all."""
        member_of: Any = self._atomic_vocabulary_here().member_of
        numbers = memoryview(now).cast("i")
        if seen is None:
            return dict(enumerate(map(member_of, numbers)))
        pairs = zip(numbers, memoryview(seen).cast("i"), strict=True)
        return {
            index: member_of(number)
            for index, (number, before) in enumerate(pairs)
            if number != before
        }

    @property
    def aio(self) -> AsyncArray[T]:
        """Waits in an event loop, as ``await jobs.aio.claim(...)``; wait_any, wait_all, changes."""
        from .aio import AsyncArray  # noqa: PLC0415 - asyncio takes longer than all of this package

        return AsyncArray(self)

    # -- as a sequence; len(), items and iteration are the backend's

    def __contains__(self, value: object) -> bool:
        """Tell whether a word is this member, or of this value or name; each is looked at once.

        Raises:
            KeyError: it is a str, and no member has that name.

        """
        items = list(self)
        if value in items or not isinstance(value, str):
            return value in items
        vocabulary = self._atomic_vocabulary_here()
        return vocabulary.member_of(vocabulary.number_of(value)) in items

    def __reversed__(self) -> Iterator[T]:
        """Iterate from the last word to the first; each is loaded when it is reached."""
        return map(self.__getitem__, reversed(range(len(self))))

    def index(self, member: T | str, start: int = 0, stop: int = sys.maxsize) -> int:
        """Return the first index of a word that is this member; each is looked at once.

        Args:
            member: or its name.
            start: where to begin, as list.index() takes it.
            stop: where to end, likewise.

        Raises:
            ValueError: no word is; or the array is closed, or a word holds no member's number.
            TypeError, KeyError: ``member`` is neither a member nor a name.

        """
        vocabulary = self._atomic_vocabulary_here()
        wanted = vocabulary.member_of(vocabulary.number_to_write(member))
        try:
            return self.snapshot().index(wanted, start, stop)  # type: ignore[arg-type]
        except ValueError:
            message = f"no word of the array is {wanted!r} there"
            raise ValueError(message) from None

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        """Return a numpy array of the values: int32, and the words themselves, unless ``copy``.

        numpy takes the buffer.  This is for pandas, which asks for this name.
        """
        import numpy as np  # noqa: PLC0415 - for who has it

        words = np.asarray(self)  # not from here: from the buffer
        return np.array(words, dtype=dtype) if copy else np.asarray(words, dtype=dtype)

    def __repr__(self) -> str:
        name = type(self).__qualname__
        try:
            return f"<{name} of {len(self)} {self.EnumType.__name__}: {self._atomic_counted()}>"
        except ValueError:
            return f"<{name}, closed>"

    # -- what the backend's Array and this class ask of each other

    def _atomic_number(self, value: object) -> int:
        """Return what to write for anything that is not a member by identity."""
        return self._atomic_vocabulary_here().number_to_write(value)

    def _atomic_timed_out(self, name: str, members: tuple[Any, ...], timeout: Any) -> NoReturn:
        raise timed_out(name, members, self._atomic_counted(), timeout)

    def _atomic_counted(self) -> str:
        """Return how many words are what, for people."""
        try:
            counts = self.counts().items()
        except (TypeError, ValueError):  # members that are no keys, words that are no members
            return "not to be counted"
        return ", ".join(f"{count} {member._name_}" for member, count in counts if count)

    @classmethod
    def _atomic_on(
        cls,
        vocabulary: Vocabulary,
        segment: Segment,
        index: int,  # noqa: ARG003
        guard: Guard | None,
    ) -> Self:
        array = object.__new__(cls)
        _bind(array, vocabulary, segment, guard)
        return array


def _check_size(cls: type[Any], size: object, initial: object) -> int:
    """Return an array's size; TypeError also if it and the first member changed places."""
    wanted = f"{cls.__name__}(size, initial): size must be an int of 1 or more"
    message = f"{wanted}, not {show(size)} of {class_name(type(size))}"
    try:
        count = operator.index(size)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(message) from None
    enum = cls.EnumType
    if len(enum) and isinstance(size, enum) and not isinstance(initial, (enum, str)):
        raise TypeError(message)
    if count < 1:
        raise ValueError(message)
    return count


def _bind(
    array: IntEnumArray[Any], vocabulary: Vocabulary, segment: Segment, guard: Guard | None
) -> None:
    array._atomic_bind(
        vocabulary.table,
        segment.mapping,
        segment,
        segment.header.capacity,
        segment.word_offset(0),
        segment.header.word_stride,
        segment.control_offset(0),
        guard,
    )


Sequence.register(IntEnumArray)
