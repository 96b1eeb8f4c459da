"""IntEnumValue: one typed status, shared between processes."""

# Operations has declarations, whose bodies are the backend's.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

import contextlib
import operator
import threading
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

from .backends import backend, document
from .given_lock import Guard, LockLike
from .layout import KIND_VALUE, SINGLE_STRIDE
from .on_death import owned, refuse_owned, rules_of
from .registry import pool_of
from .sharing import Shared, check_naming, create_own
from .timeouts import deadline_of, timed_out
from .typed import Typed, vocabulary_of_member
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.synchronize import Lock, RLock
    from typing import Self

    from .aio import AsyncValue
    from .backends import contract
    from .memory.segment import Segment

__all__ = ["IntEnumValue"]

T = TypeVar("T", bound=IntEnum)


class Operations(Generic[T]):
    """What the backend's Value does; its docstrings here are what ``help()`` shows of it."""

    __slots__ = ()

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
            RuntimeError: ``on_death`` maps the member, and this process cannot become an owner:
                1,023 processes own values of its segment already, or the system gives it no lock.

        """

    def exchange(self, value: T | str) -> T:
        """Set to a member (or name) and return the previous member, in one step.

        Raises:
            TypeError, KeyError, RuntimeError: as set().
            ValueError: the value is closed; or its word held no member's number, and then the
                exchange has happened and the message has that number.

        """

    def compare_and_set(self, old: T | str, new: T | str) -> bool:
        """If the value is ``old``, make it ``new`` and return True, in one step; else False.

        Of all processes that try at once exactly one gets True.  False never waits.

        Raises:
            TypeError, KeyError, ValueError, RuntimeError: as set(), for either argument.

        """

    def wait_for(self, member: T | str, /, *members: T | str, timeout: float | None = None) -> T:
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

    def wait_while(self, member: T | str, /, *members: T | str, timeout: float | None = None) -> T:
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
        """Writes so far, modulo 2**19."""

    def get_lock(self) -> Lock | RLock:
        """Return the value's lock: the same object each time.

        The one that was given as ``lock=``; else the value's own, which is re-entrant, keeps out
        every other writer while held (writers that take no lock included, readers not), and passes
        to the next who waits if its holder is killed.

        Raises:
            ValueError: the value is closed.
            RuntimeError: the value was created in another PID namespace.

        """

    def __eq__(self, other: object) -> bool: ...
    def __ne__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...
    def __lt__(self, other: object) -> bool: ...
    def __le__(self, other: object) -> bool: ...
    def __gt__(self, other: object) -> bool: ...
    def __ge__(self, other: object) -> bool: ...


if TYPE_CHECKING:

    class _Base(Operations[T], contract.Value):
        __slots__ = ()

else:
    document(backend.Value, Operations)

    class _Base(backend.Value, Generic[T]):
        __slots__ = ()


class IntEnumValue(Typed, Shared, _Base[T]):
    """A value of an IntEnum, shared between processes.

    Derive a class for an enum (``class WorkerStatus(IntEnumValue[WorkerStatusEnum])``), or
    subscript (``IntEnumValue[WorkerStatusEnum](WorkerStatusEnum.IDLE)``).  Without a parameter each
    instance takes its first member's enum.

    Args:
        value: the first member, or its name.
        lock: a lock to hold for each write, as multiprocessing.Value's: anything with acquire and
            release.  None: writes are lock-free, and get_lock() makes a lock when asked.
        segment_name: gives the value a shared-memory segment of its own under this name, for
            attach(): 1 to 22 ASCII letters, digits, ``.``, ``_``, ``-``.  What a process left under
            it which has ended is replaced.
        on_death: what becomes of the value when its owner dies: is killed, crashes or ends.  A
            mapping, ``{Job.RUNNING: Job.PENDING}``: whoever writes RUNNING leases the value, and if
            that process dies first it is PENDING again.  A member, ``Status.DEAD``: after own() the
            owner's death makes it DEAD, whatever it was.  Whoever attaches finds it in the segment.
        exist_ok: attach to what a live process has created under that name, and keep its value;
            create only if there is none.  The name goes with the last process that got it so.

    Raises:
        TypeError: ``value`` is neither a member of EnumType nor a str, ``lock`` is no lock,
            ``segment_name`` no str, or ``on_death`` neither a mapping nor a member; or ``lock`` is
            given beside one of these, or ``exist_ok`` without a name; or what exists holds another
            enum.
        KeyError: no member has that name.
        ValueError: the segment name is not allowed, the mapping is empty, or what exists is no
            value, or has another ``on_death``.
        FileExistsError: a live process has that name, or what has it is not of this package.
        OSError: there is no room for a further shared-memory segment (ENOSPC).
        RuntimeError: ``segment_name`` on the lock-based path.

    """

    __slots__ = ()

    _atomic_kind = KIND_VALUE

    def __init__(
        self,
        value: T | str,
        lock: LockLike | None = None,
        *,
        segment_name: str | None = None,
        on_death: Mapping[T | str, T | str] | T | str | None = None,
        exist_ok: bool = False,
    ) -> None:
        if self._atomic_vocabulary is not None:
            message = "this value was initialised before"
            raise RuntimeError(message)
        check_naming(type(self), segment_name, exist_ok=exist_ok)
        if segment_name is not None and lock is not None:
            message = (
                "lock= and segment_name= exclude each other: whoever attaches by name would not "
                "have that lock"
            )
            raise TypeError(message)
        if on_death is not None and lock is not None:
            message = (
                "lock= and on_death= exclude each other: who gives back what a dead process owns "
                "would have to wait for that lock, which may have died with it"
            )
            raise TypeError(message)
        vocabulary = self._atomic_class_vocabulary
        if vocabulary is None:
            vocabulary = vocabulary_of_member(type(self), value)
        first = vocabulary.number_of_member(value)
        rules = None
        if first is None or on_death is not None:
            outer, _initialising.now = _initialising.now, (self, vocabulary)
            try:
                first = self._atomic_number(value)
                rules = rules_of(vocabulary, on_death, self._atomic_number)
            finally:
                _initialising.now = outer
        guard = backend.own_guard() if lock is None else Guard(lock)
        if segment_name is None:
            segment, index = pool_of(vocabulary, rules).allocate()
            _bind(self, vocabulary, segment, index, guard, first)
        else:
            segment = create_own(
                vocabulary,
                1,
                SINGLE_STRIDE,
                KIND_VALUE,
                name=segment_name,
                first=first,
                exist_ok=exist_ok,
                on_death=rules,
            )
            _bind(self, vocabulary, segment, 0, guard, None)

    # -- reading and writing, beside what Operations declares

    def update(self, function: Callable[[T], T | str]) -> T:
        """Replace the member by ``function(member)``, again and again until nobody came between.

        Args:
            function: takes the current member and returns the next, or its name; may be called
                several times.

        Returns:
            The member that was set.

        Raises:
            TypeError: ``function`` returned neither a member nor a str.
            KeyError: it returned a name that no member has.
            ValueError: the value is closed, or holds what is no member's.

        """
        while True:
            old = self.load()
            new = function(old)
            if isinstance(new, str):
                number = self._atomic_number(new)
                new = cast("T", self._atomic_vocabulary_here().member_of(number))
            if self.compare_and_set(old, new):
                return new

    def changes(self, timeout: float | None = None) -> Iterator[T]:
        """Yield the current member, and then each that differs from the last one yielded.

        A state that comes and goes between two looks is missed; ``version`` tells.

        Args:
            timeout: seconds that each wait may take; None waits for ever.

        Raises:
            TimeoutError: nothing changed in that time.
            RuntimeError, ValueError: as wait_while().

        """
        deadline_of(timeout)  # here, and not at the first wait: a wrong one is the caller's mistake
        return self._atomic_changes(timeout)

    def _atomic_changes(self, timeout: float | None) -> Iterator[T]:
        member = self.load()
        while True:
            yield member
            try:
                member = self.wait_while(member, timeout=timeout)
            except TimeoutError:
                raise timed_out("changes", (), member._name_, timeout) from None

    @property
    def aio(self) -> AsyncValue[T]:
        """Waits in an event loop, as ``await status.aio.wait_for(...)``; wait_while, changes."""
        from .aio import AsyncValue  # noqa: PLC0415 - asyncio takes longer than all of this package

        return AsyncValue(self)

    def to_value(self, name: str) -> int:
        """Return the value of the member of that name; may be overridden.

        Raises:
            KeyError: no member has that name.
            ValueError: the value is closed.

        """
        return self._atomic_vocabulary_here().number_of(name)

    def from_value(self, value: int) -> str:
        """Return the name of the member of that value; may be overridden.

        Raises:
            ValueError: no member has that value, or this value is closed.

        """
        return self._atomic_vocabulary_here().member_of(value)._name_

    def __int__(self) -> int:
        return self.value

    def __index__(self) -> int:
        return self.value

    def __str__(self) -> str:
        return str(self.load())

    def __format__(self, format_spec: str) -> str:
        return format(self.load(), format_spec)

    def __repr__(self) -> str:
        name = type(self).__qualname__
        try:
            number = self.value
        except ValueError:
            return f"<{name}, closed>"
        try:
            return f"{name}({self.load()!r})"
        except ValueError:
            return f"{name}({number})"

    # -- its owner

    def own(self) -> None:
        """Have this process answer for the value until it ends: then it is what on_death says.

        Writes by anybody leave it so.  Doing it twice changes nothing; of several threads any may.
        ``version`` counts it.

        Raises:
            RuntimeError: another live process owns or leases it; it was created without
                ``on_death``; or this process cannot become an owner: see set().
            ValueError: the value is closed.

        """
        self._atomic_own(ends=False)

    def disown(self) -> None:
        """Have nobody answer for the value any more; it stays what it is.

        Raises:
            RuntimeError: another live process owns or leases it; or it was created without
                ``on_death``.
            ValueError: the value is closed.

        """
        self._atomic_own(ends=True)

    def _atomic_own(self, *, ends: bool) -> None:
        mapping = owned(self._atomic_segment, "value").mapping
        pid = mapping.own(self._atomic_index, ends, self._atomic_guard)
        if pid:
            refuse_owned(pid, "value")

    @property
    def owner(self) -> int | None:
        """The pid of the process that answers for the value; None if nobody does, or nobody alive.

        It is the pid that the process has in its own PID namespace.  What a dead process owned is
        given back first.

        Raises:
            ValueError: the value is closed.

        """
        segment = self._atomic_segment
        if segment.on_death is None:
            return None
        pid: int | None = segment.mapping.owners(self._atomic_index, 1, self._atomic_guard)[0]
        return pid

    def recover(self) -> bool:
        """If the owner has died, make the value, now, what on_death says; tell whether that was so.

        False also if somebody holds the value's lock: nobody writes meanwhile.

        Raises:
            ValueError: the value is closed.

        """
        segment = self._atomic_segment
        if segment.on_death is None:
            return False
        return bool(segment.mapping.recover(self._atomic_index, 1, self._atomic_guard))

    # -- the lock

    @property
    def lock(self) -> Lock | RLock:
        """The value's lock, as get_lock() returns it."""
        return self.get_lock()

    @property
    def abandoned(self) -> bool:
        """Whether the last acquisition of get_lock() took over from a holder that died.

        What the dead one was doing may be half done.  Always False where a death is not noticed:
        on the lock-based path, on a system without robust mutexes (macOS), and for a lock that was
        given as ``lock=``, unless that is another value's.

        Raises:
            ValueError: the value is closed.

        """
        return bool(getattr(self.get_lock(), "abandoned", False))

    # -- what the backend's Value and this class ask of each other

    def _atomic_make_lock(self) -> Lock | RLock:
        """Return what get_lock() returns from now on."""
        segment, guard = self._atomic_segment, self._atomic_guard
        lock: Any
        if guard is not None:
            lock = guard.lock
        else:
            # Here, since it imports multiprocessing's, which takes 3 ms.
            from .own_lock import ValueLock  # noqa: PLC0415

            lock = ValueLock(segment, self._atomic_index)
        return self._atomic_keep_lock(lock)

    def _atomic_vocabulary_here(self) -> Vocabulary:
        value, vocabulary = _initialising.now
        if value is self and vocabulary is not None:
            return vocabulary
        return super()._atomic_vocabulary_here()

    def _atomic_number(self, value: object) -> int:
        """Return what to write for anything that is not a member by identity."""
        vocabulary = self._atomic_vocabulary_here()
        if isinstance(value, str):
            return vocabulary.check_number(self.to_value(value))
        number = vocabulary.number_of_member(value)
        return vocabulary.refuse(value) if number is None else number

    def _atomic_timed_out(self, name: str, members: tuple[Any, ...], timeout: Any) -> NoReturn:
        number = self.value
        try:
            still = self._atomic_vocabulary_here().member_of(number)._name_
        except ValueError:  # a word that holds no member
            still = str(number)
        raise timed_out(name, members, still, timeout)

    def _atomic_operand(self, other: object, equality: bool, /) -> int:  # noqa: FBT001
        """Return what to compare with for anything but ints and values of the same enum."""
        vocabulary = self._atomic_vocabulary_here()
        if equality and isinstance(other, str):
            return int(self.to_value(other))
        if isinstance(other, IntEnumValue):
            theirs = other._atomic_vocabulary_here()
            return vocabulary.refuse_comparison(theirs.enum)
        with contextlib.suppress(TypeError):  # numpy's integers have an __index__, and its arrays
            return operator.index(other)  # type: ignore[arg-type]
        return vocabulary.refuse_comparison(type(other))

    @classmethod
    def _atomic_on(
        cls, vocabulary: Vocabulary, segment: Segment, index: int, guard: Guard | None
    ) -> Self:
        value = object.__new__(cls)
        _bind(value, vocabulary, segment, index, guard, None)
        return value


class _Initialising(threading.local):
    """Which value's __init__ is asking to_value() in this thread, and what its members are."""

    now: tuple[object, Vocabulary | None] = (None, None)


_initialising = _Initialising()


def _bind(
    value: IntEnumValue[Any],
    vocabulary: Vocabulary,
    segment: Segment,
    index: int,
    guard: Guard | None,
    first: int | None,
) -> None:
    value._atomic_bind(
        vocabulary.table,
        segment.mapping,
        segment,
        index,
        segment.word_offset(index),
        segment.control_offset(index),
        guard,
        type(value).from_value is not IntEnumValue.from_value,
        first,
    )
