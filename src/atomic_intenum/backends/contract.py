"""What every backend provides, and value, array and segment rely on.

A backend is a module with the attributes of :class:`Backend`.  Those over the compiled core share
one protocol on one layout, and meet on a word; ``lock`` has memory without a name.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing import synchronize
    from typing import Self

    from ..given_lock import Guard
    from ..vocabulary import Vocabulary


class Mapping(Protocol):
    """One mapped segment.

    It stays mapped until nothing can touch it: no object, no call in flight, no lock held by a
    thread of this process.  There is no close().
    """

    @property
    def size(self) -> int:
        """Bytes mapped."""

    @property
    def elsewhere(self) -> bool:
        """Whether it was made in another PID namespace than this process is in."""

    def pickled(self) -> None:
        """Note that a pickle of it may be on its way: it outlives its last user for a minute."""

    def unlink(self) -> int:
        """Remove the name, if it still is this memory's.  0, or an errno."""

    def view(self) -> memoryview:
        """Return the segment's bytes, writable; the caller keeps the mapping meanwhile."""

    # Of a segment with on_death: csrc/owner.h.  `guard` is what a write enters on the lock path.

    def set_owners(
        self,
        words: int,
        stride: int,
        controls: int,
        count: int,
        owners: int,
        rules: bytes,
        always: bool,  # noqa: FBT001
        /,
    ) -> None:
        """Say where its words and owners are, in bytes, and what its on_death is.

        That is layout.Rules, packed; ``always``: there is one, whatever the word is.
        """

    def own(self, index: int, ends: bool, guard: Guard | None, /) -> int:  # noqa: FBT001
        """Have this process own a word, or nobody (``ends``).  0, or the pid of who owns it."""

    def owners(self, first: int, count: int, guard: Guard | None, /) -> list[int | None]:
        """Give back what dead processes own, and return the pids of the words' owners."""

    def recover(self, first: int, count: int, guard: Guard | None, /) -> list[int]:
        """Give back what dead processes own, and return the indices of those words."""


if TYPE_CHECKING:  # at run time each backend has its own

    class Bound:
        """What Value and Array have in common: bound once, until they are closed.

        An instance works from ``_atomic_bind()``, which it takes once, until ``_atomic_close()``;
        before and after, every operation raises ValueError.
        """

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

        @property
        def _atomic_index(self) -> int: ...
        def _atomic_bind(self, *place: Any) -> None:
            """Bind to a word, for good.

            By table, mapping, segment, index, offsets of word and control block, guard, whether
            the class overrides from_value(), and the first value or None.
            """

        def _atomic_look(self, later: bool, leave: bool, /, *members: Any) -> Any:  # noqa: FBT001
            """Return what wait_for() or (``leave``) wait_while() would return at once, or None.

            ``later``: it is asked again, and does not matter whether this thread holds the lock.
            """

        def _atomic_keep_lock(self, lock: Any, /) -> synchronize.Lock | synchronize.RLock:
            """Keep the lock, if none is kept, and return the one kept."""

    class Lock:
        """A value's own lock, robust and re-entrant, with what multiprocessing asks of a semlock.

        Made from a mapping and the offsets of word and control block; not on the lock path.
        """

        def __new__(cls, mapping: Mapping, word_offset: int, control_offset: int) -> Self: ...
        @property
        def abandoned(self) -> bool:
            """Whether the last acquisition here took over from a holder that died."""

        def acquire(self, block: bool = True, timeout: float | None = None) -> bool: ...  # noqa: FBT001, FBT002
        def acquire_quietly(self) -> bool:
            """Acquire for a write: the report of a death stays for an explicit acquire."""

        def release(self) -> None: ...
        def __enter__(self) -> bool: ...
        def __exit__(self, *args: object) -> None: ...
        def _count(self) -> int: ...
        def _is_mine(self) -> bool: ...

    class Array(Bound):
        """The base class of IntEnumArray: many words of one segment.

        Its public operations are those that array.py declares and documents.
        """

        def _atomic_bind(self, *place: Any) -> None:
            """Bind to words, for good.

            By table, mapping, segment, count, offset and stride of the words, offset of the control
            blocks, and guard.
            """

        def _atomic_look(self, later: bool, every: bool, /, *members: Any) -> int | None:  # noqa: FBT001
            """Return what wait_any() would at once, or None; ``every``: True for wait_all()."""

        def _atomic_claim_once(self, old: Any, new: Any, /) -> int | None:
            """Claim without waiting for a lock: the index; -1: all that match are locked; None."""

        def _atomic_moved(self, before: bytes | None, timeout: float | None, /) -> bytes | None:
            """Return the values, int32, once one is another than before; None after the timeout."""


class Desk(Protocol):
    """What one event loop has watched for it: values and arrays, each by a slot.

    It is told of what moves, looks at it, and watches it on.
    """

    def fileno(self) -> int:
        """Return what becomes readable when something has moved; -1: nothing does: take naps."""

    def nap(self) -> float:
        """Return the seconds until the next look, where there is no descriptor."""

    def watch(self, of: Value | Array, /) -> int:
        """Watch it, and return its slot; the caller keeps it, and looks again after this.

        Raises:
            ValueError: it is closed.
            OSError: there is no thread to be had that watches.

        """

    def watch_on(self, slot: int, content: bool, /) -> None:  # noqa: FBT001
        """Go on watching what has moved and was looked at.

        ``content``: somebody had waited for what came; else it is looked at a little later.
        OSError as of watch().
        """

    def unwatch(self, slot: int, /) -> None:
        """Watch it no more, if it is; the slot may be another's from here on."""

    def take(self) -> list[int]:
        """Return slots of what has moved, again until it is watched on, or no more."""


class Backend(Protocol):
    """A backend: what ``backends.backend`` is."""

    #: ``native``, ``cffi`` or ``lock``: what BACKEND says.
    NAME: str
    #: sizeof(pthread_mutex_t), libc id and bytes of a control block, as the header has them; a
    #: segment of others is refused.
    ABI: tuple[int, int, int]
    #: Values reach other processes by inheritance only.
    INHERITED_ONLY: bool

    Value: type[Any]
    Array: type[Any]
    Lock: type[Any]

    def create(
        self,
        name: str,
        head: bytes,
        size: int,
        first: int,
        nameless: bool,  # noqa: FBT001
        /,
    ) -> Mapping | tuple[int, str]:
        """Create a segment, whole or not at all, and answer for its name.  Not on the lock path.

        Args:
            name: of the shared memory.
            head: header, with magic, pid, start and namespace left out, and vocabulary.
            size: bytes.
            first: value of each word.
            nameless: children of fork answer for the name as well.

        Returns:
            Its mapping; or the errno and why there is none.  EEXIST: somebody answers for the
            name, or what has it is not ours; EAGAIN: somebody is removing what has it.

        """

    def attach(self, name: str, answer: int, /) -> Mapping | tuple[int, str]:
        """Attach a segment.  Not on the lock path.

        Args:
            name: of the shared memory.
            answer: region.h's aie_answer: whether to answer for the name as well.

        Returns:
            Its mapping; or the errno and why there is none.  EAGAIN: it is not complete; ESTALE: it
            is being removed, or nobody else answers for it.

        """

    def peek(self, name: str, /) -> bytes:
        """Return the first bytes of this user's segment of that name; empty if there is none."""

    def clean(self, name: str, /) -> int:
        """Remove the name of a segment of this user, if nobody answers for it.

        0, or an errno: EBUSY if somebody does, EAGAIN if somebody else is removing it, EPERM if it
        is none.  Not on the lock path.
        """

    def expire(self) -> None:
        """Let go of segments whose last user has gone a minute ago."""

    def end(self) -> None:
        """Stop answering for every name, at the end of the process."""

    def Table(  # noqa: N802 - a class, in each backend
        self,
        vocabulary: Vocabulary,
        enum_type: type[IntEnum],
        entries: tuple[tuple[IntEnum, str, int], ...],
    ) -> Any:
        """Make what Value and Array look members up in, from (member, name, number), no aliases."""

    def Desk(self) -> Desk:  # noqa: N802 - a class, in each backend
        """Make an event loop's desk.  OSError: there are no more descriptors."""

    def own_guard(self) -> Guard | None:
        """Return what each write of a new value enters where no lock was given; None: nothing."""

    def document(self, cls: type[Any], name: str, text: str) -> None:
        """Give an operation of Value or Array the docstring that help() shows."""

    def prepare_class(self, cls: type[Any]) -> None:
        """Make a subclass of Value or Lock fast, if the backend knows how."""


def overriders(cls: type[Any], base: type[Any], name: str) -> Sequence[type[Any]]:
    """Return the classes before ``base`` in the MRO of ``cls`` that define ``name`` themselves."""
    mro = cls.__mro__
    return [klass for klass in mro[: mro.index(base)] if name in vars(klass)]
