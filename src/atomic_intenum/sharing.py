"""What IntEnumValue and IntEnumArray have in common as objects in shared memory.

How one is found by name, how it ends, how it is copied, and whether it may be pickled.
"""

from __future__ import annotations

import copy
import weakref
from multiprocessing import context
from typing import TYPE_CHECKING, Any, ClassVar

from .backends import backend
from .errors import class_name
from .given_lock import Guard
from .layout import KIND_ARRAY, KIND_POOL, KIND_VALUE
from .memory.segment import attach, create, shown, unpickled
from .timeouts import deadline_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from enum import IntEnum
    from typing import Self

    from .backends.contract import Bound as _Bound
    from .memory.segment import Segment
    from .vocabulary import Vocabulary
else:
    _Bound = object

_KINDS = {
    KIND_POOL: "values without a name",
    KIND_VALUE: "one value with a name",
    KIND_ARRAY: "an array",
}


#: What each child that was started finds by names that go with this process's objects: its locks,
#: and on Windows its memory. Kept until somebody has seen that the child has ended.
_given: weakref.WeakKeyDictionary[Any, list[object]] = weakref.WeakKeyDictionary()

#: Who is told of each object that is closed: aio, once somebody has awaited something.
closing: list[Callable[[Shared], None]] = []


class Shared(_Bound):
    """An object in a shared-memory segment."""

    __slots__ = ()

    #: One of layout's: what attach() expects of a segment.
    _atomic_kind: ClassVar[int]

    @property
    def segment_name(self) -> str:
        """The name of the shared-memory segment that this is in.

        Raises:
            ValueError: it is closed.
            RuntimeError: on the lock-based path, whose memory has no name.

        """
        name: str = self._atomic_segment.name
        if not name:
            require_named(type(self))
        return shown(name)

    @classmethod
    def attach(cls, segment_name: str, *, timeout: float | None = 0.0) -> Self:
        """Return what another process created under this name; an array has the segment's size.

        Attaching never removes the segment: its creator does, when it drops what it created or
        ends.  ``__init__`` does not run.

        Args:
            segment_name: as it was created.
            timeout: seconds to wait for it to be there; None waits for ever.

        Raises:
            FileNotFoundError: there is no segment of that name, after that time.
            PermissionError: another user owns it, or may write it.
            TypeError: it holds another enum; or this class is bound to none.
            ValueError: it holds an array where a value is wanted, or the other way round; or it is
                none that this version can use; or the timeout is negative or NaN.
            RuntimeError: on the lock-based path.

        """
        require_named(cls)
        vocabulary = cls._atomic_class_vocabulary
        if vocabulary is None:
            generic = cls._atomic_root.__name__
            message = f"{class_name(cls)} is bound to no enum: attach by {generic}[YourEnum]"
            raise TypeError(message)
        segment = attach(segment_name, deadline_of(timeout))
        require_vocabulary(segment, vocabulary)
        require_kind(segment, cls._atomic_kind)
        return cls._atomic_on(vocabulary, segment, 0, None)

    def close(self) -> None:
        """Mark this object closed in this process: using it raises ValueError from now on.

        Not affected are other objects on the same memory, values of an array's at() and views of
        its buffer among them, and other processes.  Closing twice is allowed.
        """
        self._atomic_close()
        for tell in closing:
            tell(self)

    def unlink(self) -> None:
        """Remove the name of the segment now: nobody can attach or unpickle from here on.

        Who has it mapped keeps it.  Only for an array, and for a value that was created with
        ``segment_name``, in any process; doing it twice is allowed.

        Raises:
            ValueError: it is closed, or a value that shares its segment with others.

        """
        segment = self._atomic_segment
        if segment.header.kind != self._atomic_kind:
            message = (
                "this value has no segment of its own: it was created without segment_name, or is "
                "part of an array"
            )
            raise ValueError(message)
        segment.unlink()

    def __copy__(self) -> Self:
        """Return another object for the same shared memory, with the same attributes."""
        twin = self._atomic_twin()
        _set_state(twin, self.__getstate__())
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return another object for the same shared memory; the attributes are copied deeply."""
        twin = self._atomic_twin()
        memo[id(self)] = twin
        _set_state(twin, copy.deepcopy(self.__getstate__(), memo))
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a reference: see __reduce_ex__."""
        return self.__reduce_ex__(2)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Pickle a reference: what is unpickled is the same shared value, or array.

        Raises:
            RuntimeError: on the lock-based path, outside of starting a process; and whatever a
                lock that was given as ``lock=`` raises.
            ValueError: it is closed.

        """
        segment, index, guard = self._atomic_segment, self._atomic_index, self._atomic_guard
        vocabulary = self._atomic_vocabulary_here()
        if backend.INHERITED_ONLY:
            starting = context.get_spawning_popen()
            if starting is None:
                message = (
                    f"{class_name(type(self))} on the lock-based path is shared by inheritance "
                    f"only: pass it to a Process as it starts (semaphores cannot be sent later)"
                )
                raise RuntimeError(message)
            for child in [child for ref in _given.keyrefs() if (child := ref()) is not None]:
                if child.returncode is not None:
                    _given.pop(child, None)
            _given.setdefault(starting, []).append((segment, guard))
        lock, own = (None, False) if guard is None else (guard.lock, guard.own)
        place = (*segment.reference(), index)
        arguments = (*path_of(type(self)), vocabulary.enum, place, lock, own)
        state = self.__getstate__()
        return (_rebuild, arguments) if state is None else (_rebuild, arguments, state)

    def _atomic_vocabulary_here(self) -> Vocabulary:
        _ = self._atomic_segment  # ValueError, if closed or never initialised
        vocabulary = self._atomic_vocabulary
        assert vocabulary is not None
        return vocabulary

    def _atomic_twin(self) -> Self:
        segment, vocabulary = self._atomic_segment, self._atomic_vocabulary_here()
        return self._atomic_on(vocabulary, segment, self._atomic_index, self._atomic_guard)

    if TYPE_CHECKING:  # of the backend's class, and of the one that is derived from both
        _atomic_class_vocabulary: ClassVar[Vocabulary | None]
        _atomic_root: ClassVar[type[Any]]

        @property
        def _atomic_index(self) -> int: ...
        @classmethod
        def _atomic_vocabulary_of(cls, enum: type[IntEnum]) -> Vocabulary: ...
        @classmethod
        def _atomic_on(
            cls, vocabulary: Vocabulary, segment: Segment, index: int, guard: Guard | None
        ) -> Self:
            """Return an object of the class on a segment; ``__init__`` does not run."""


def _rebuild(
    cls: type[Any],
    subscripts: list[type[IntEnum]],
    enum: type[IntEnum],
    place: tuple[Any, int, int],
    lock: Any,
    own: bool,  # noqa: FBT001
) -> Any:
    """Unpickle: attach the segment and bind an instance; __init__ does not run."""
    for parameter in subscripts:
        cls = cls[parameter]
    where, nonce, index = place
    segment = unpickled(where, nonce).checked(index)
    vocabulary = cls._atomic_vocabulary_of(enum)
    require_vocabulary(segment, vocabulary)
    guard = None if lock is None else Guard(lock, own=own)
    return cls._atomic_on(vocabulary, segment, index, guard)


def path_of(cls: type[Any]) -> tuple[type[Any], list[type[IntEnum]]]:
    """Return how to find a class again: one that can be imported, and what to subscript it by."""
    subscripts: list[type[IntEnum]] = []
    while cls._atomic_subscripted:
        subscripts.insert(0, cls.EnumType)
        cls = cls.__bases__[0]
    return cls, subscripts


def _set_state(value: object, state: Any) -> None:
    """Set attributes as unpickling does."""
    if hasattr(value, "__setstate__"):
        if state is not None:
            value.__setstate__(state)
        return
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    if attributes:
        vars(value).update(attributes)
    for name, content in (slots or {}).items():
        setattr(value, name, content)


def check_naming(cls: type[Any], segment_name: str | None, *, exist_ok: bool) -> None:
    """Raise TypeError or RuntimeError if a constructor's arguments do not go together."""
    if segment_name is not None:
        require_named(cls)
    elif exist_ok:
        message = "exist_ok= goes with segment_name=: without a name nothing can exist already"
        raise TypeError(message)


def require_named(cls: type[Any]) -> None:
    """Raise RuntimeError where values reach other processes by inheritance only."""
    if backend.INHERITED_ONLY:
        message = (
            f"{class_name(cls)} cannot be shared by name on the lock-based path: its lock reaches "
            f"other processes by inheritance only"
        )
        raise RuntimeError(message)


def create_own(
    vocabulary: Vocabulary, size: int, stride: int, kind: int, *, exist_ok: bool, **more: Any
) -> Segment:
    """Create the segment of one value or array by memory.segment.create(); check what exists."""
    segment = create(vocabulary.text, size, stride, kind, exist_ok=exist_ok, **more)
    if exist_ok:
        require_vocabulary(segment, vocabulary)
        require_kind(segment, kind, size)
        if segment.on_death != more["on_death"]:
            message = f"shared memory {shown(segment.name)!r} was created with another on_death="
            raise ValueError(message)
    return segment


def require_vocabulary(segment: Segment, vocabulary: Vocabulary) -> None:
    """Raise TypeError if a segment holds another enum, or this one with other members."""
    if segment.vocabulary != vocabulary.text:
        message = (
            f"shared memory {shown(segment.name)!r} holds values of another enum than "
            f"{class_name(vocabulary.enum)} is here; there: {_shortened(segment.vocabulary)}; "
            f"here: {_shortened(vocabulary.text)}"
        )
        raise TypeError(message)
    rules = segment.on_death
    if rules is not None and not all(map(vocabulary.has, rules.numbers)):
        message = f"the on_death of shared memory {shown(segment.name)!r} has what is no member"
        raise ValueError(message)


def require_kind(segment: Segment, kind: int, size: int | None = None) -> None:
    """Raise ValueError if a segment holds something else, or not so many words."""
    header = segment.header
    held, wanted = _KINDS.get(header.kind, "?"), _KINDS[kind]
    if header.kind == kind:
        if size in (None, header.capacity):
            return
        held, wanted = f"{header.capacity} words", str(size)
    message = f"shared memory {shown(segment.name)!r} holds {held}, not {wanted}"
    raise ValueError(message)


def _shortened(text: bytes) -> str:
    """Return a vocabulary's text for a message: an enum may have thousands of members."""
    shown = text.decode("ascii", errors="replace")
    return shown if len(shown) <= 200 else f"{shown[:200]}... ({len(shown):,} characters)"
