"""What IntEnumValue and IntEnumArray have in common as objects in shared memory.

How one is found by name, how it ends, how it is copied, and whether it may be pickled.
"""

from __future__ import annotations

import copy
from multiprocessing import context
from typing import TYPE_CHECKING, Any

from .backends import backend
from .errors import class_name
from .memory.segment import attach, check_name

if TYPE_CHECKING:
    from typing import Self

    from .memory.segment import Segment
    from .vocabulary import Vocabulary


class Shared:
    """An object in a shared-memory segment."""

    __slots__ = ()

    @property
    def segment_name(self) -> str:
        """The name of the shared-memory segment that this is in; ValueError once closed."""
        return self._atomic_segment.name

    def close(self) -> None:
        """Mark this object closed in this process: using it raises ValueError from now on.

        Not affected are other objects on the same memory, values of an array's at() and views of
        its buffer among them, and other processes.  Closing twice is allowed.
        """
        self._atomic_close()

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
        return self.__reduce_ex__(2)  # type: ignore[return-value]

    if TYPE_CHECKING:  # of the backend's class, and of the one that is derived from both

        @property
        def _atomic_segment(self) -> Segment: ...
        def _atomic_close(self) -> None: ...
        def _atomic_twin(self) -> Self: ...


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


def require_named(cls: type[Any]) -> None:
    """Raise RuntimeError where values reach other processes by inheritance only."""
    if backend.INHERITED_ONLY:
        message = (
            f"{class_name(cls)} cannot be shared by name on the lock-based path: its lock reaches "
            f"other processes by inheritance only"
        )
        raise RuntimeError(message)


def require_inheriting(cls: type[Any]) -> None:
    """Raise RuntimeError where values are pickled as a process starts, and this is no such time."""
    if backend.INHERITED_ONLY and context.get_spawning_popen() is None:
        message = (
            f"{class_name(cls)} on the lock-based path is shared by inheritance only: pass it to a "
            f"Process as it starts (semaphores cannot be sent later)"
        )
        raise RuntimeError(message)


def attach_by_name(
    cls: type[Any], vocabulary: Vocabulary | None, name: str, generic: str
) -> tuple[Segment, Vocabulary]:
    """Return a segment of that name, for a class that must be bound to an enum, and that.

    Args:
        cls: that attaches.
        vocabulary: of the class.
        name: of the segment, unchecked.
        generic: the name of the class to subscript, for the error.

    """
    require_named(cls)
    if vocabulary is None:
        message = f"{class_name(cls)} is bound to no enum: attach by {generic}[YourEnum]"
        raise TypeError(message)
    return attach(check_name(name)), vocabulary


def require_vocabulary(segment: Segment, vocabulary: Vocabulary) -> None:
    """Raise TypeError if a segment holds another enum, or this one with other members."""
    if segment.vocabulary != vocabulary.text:
        held = segment.vocabulary.decode("ascii", errors="replace")
        message = (
            f"shared memory {segment.name!r} holds values of another enum than "
            f"{class_name(vocabulary.enum)} is here: {held}"
        )
        raise TypeError(message)
