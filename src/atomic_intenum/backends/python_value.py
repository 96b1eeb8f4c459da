"""The contract's Value and Table in Python, over a word that a backend gives.

A backend's Value derives from :class:`Value` here and says in ``_atomic_word`` how its state words
are read and written.  The meaning of each method is the contract's; csrc/native.c has the same in
C.
"""

from __future__ import annotations

import contextlib
import operator
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..given_lock import guarded
from ..process import ProcessLock
from ..timeouts import deadline_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from enum import IntEnum

    from ..given_lock import Guard
    from ..vocabulary import Vocabulary
    from .contract import Mapping

VALUE_MASK = 0xFFFF_FFFF
VERSION_SHIFT = 34
_WORD_MASK = (1 << 64) - 1
_SIGN = 1 << 31


def value_of(word: int) -> int:
    """Return the signed 32-bit value of a state word."""
    return ((word & VALUE_MASK) ^ _SIGN) - _SIGN


def successor(word: int, number: int) -> int:
    """Return the word that a write of ``number`` leaves: one version more."""
    return (((word >> VERSION_SHIFT) + 1) << VERSION_SHIFT) & _WORD_MASK | (number & VALUE_MASK)


class Goal(NamedTuple):
    """What is waited for: a value among ``numbers``; with ``leave``, one that is not."""

    numbers: frozenset[int]
    leave: bool

    def met(self, number: int) -> bool:
        """Tell whether a value meets it."""
        return (number in self.numbers) != self.leave


class Word(Protocol):
    """One state word."""

    def number(self) -> int:
        """Return the value: one atomic load."""

    def version(self) -> int:
        """Return the version: one atomic load."""

    def held_here(self) -> bool:
        """Tell whether this thread holds the value's own lock."""

    def sleep(self, goal: Goal, deadline: float, first: bool) -> None:  # noqa: FBT001
        """Wait until a change, but no longer than 250 ms or the deadline (monotonic seconds).

        May return for no reason.  ``first``: it may spin before it sleeps.
        """

    def first(self, number: int) -> None:
        """Give a fresh word its first value, version 0."""

    def exchange(self, desired: int) -> int:
        """Write ``desired`` and return the value before; inside the guard, where there is one."""

    def compare_and_set(self, expected: int, desired: int) -> bool:
        """Write ``desired`` if the value is ``expected``; inside the guard, where there is one."""


class Table:
    """The members of one IntEnum: number to member and name, identity to number."""

    __slots__ = ("enum_type", "members", "names", "numbers", "vocabulary")

    def __init__(
        self,
        vocabulary: Vocabulary,
        enum_type: type[IntEnum],
        entries: tuple[tuple[IntEnum, str, int], ...],
    ) -> None:
        self.vocabulary = vocabulary
        self.enum_type = enum_type
        self.members = {number: member for member, _, number in entries}
        self.names = {number: name for _, name, number in entries}
        # By id: the table keeps the members alive, so no other object can have a member's.
        self.numbers = {id(member): number for member, _, number in entries}


class _ClosedWord:
    """What a closed value has for a word, so that no other value need ask whether it is closed."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        raise _closed()


class Binding:
    """What a value is bound to; closing it replaces the word."""

    __slots__ = (
        "calls_from_value",
        "guard",
        "index",
        "locks",
        "mapping",
        "segment",
        "table",
        "word",
    )

    def __init__(
        self,
        table: Table,
        mapping: Mapping,
        segment: Any,
        index: int,
        word: Word,
        guard: Guard | None,
        *,
        calls_from_value: bool,
    ) -> None:
        self.table = table
        self.mapping = mapping
        self.segment = segment
        self.index = index
        self.word = word
        self.guard = guard
        self.calls_from_value = calls_from_value
        #: The first counts: appending is one step, so of two threads one comes first.
        self.locks: list[Any] = []


def _closed() -> ValueError:
    return ValueError("this value is closed, or its __init__ never ran")


_CLOSED: Any = _ClosedWord()


class Watch(Protocol):
    """One wait: for a word, for one of many words, or for all of them."""

    def look(self) -> int | None:
        """Return what was waited for, or None; ValueError if the value or array was closed."""

    def is_own(self) -> bool:
        """Return True if this thread holds the lock that would be needed to end the wait."""

    def sleep(self, deadline: float, first: bool) -> int | None:  # noqa: FBT001
        """Wait until a write, 250 ms or the deadline (monotonic seconds), and look.

        May return for no reason.  ``first``: it may spin before it sleeps.
        """


class Watcher(Watch, Protocol):
    """A wait, and what is said where only this thread could end it."""

    own: str


def wait_until(watcher: Watcher, deadline: float, name: str, timeout: float | None) -> int:
    """Look, sleep and look again.

    Args:
        watcher: looks and sleeps.
        deadline: monotonic seconds.
        name: of the method, for the error.
        timeout: seconds as they were given, for the error.

    Raises:
        TimeoutError: the deadline passed.
        RuntimeError: only this thread could end the wait.

    """
    found = watcher.look()
    if found is None and watcher.is_own():
        raise RuntimeError(watcher.own)
    first = True
    while found is None:
        late = time.monotonic() >= deadline
        # After the clock: what came in time counts.
        found = watcher.look() if late else watcher.sleep(deadline, first)
        first = False
        if late and found is None:
            message = f"{name}() waited for {timeout} seconds in vain"
            raise TimeoutError(message)
    return found


class _ValueWatcher:
    """A wait for one word."""

    own = "waiting while holding the value's lock: nobody could change the value"

    def __init__(self, binding: Binding, goal: Goal) -> None:
        self._binding = binding
        self._goal = goal

    def look(self) -> int | None:
        number = self._binding.word.number()
        return number if self._goal.met(number) else None

    def is_own(self) -> bool:
        guard = self._binding.guard
        return self._binding.word.held_here() if guard is None else guard.held_here()

    def sleep(self, deadline: float, first: bool) -> int | None:  # noqa: FBT001
        self._binding.word.sleep(self._goal, deadline, first)
        return self.look()


def document(cls: type[Any], name: str, text: str) -> None:
    """Give an operation the docstring of its declaration."""
    getattr(cls, name).__doc__ = text


_binding = ProcessLock()


def bind_once(shared: Any, binding: object, what: str) -> None:
    """Bind a value or an array for good; of two threads that try, one does.

    Raises:
        RuntimeError: it is bound.

    """
    _binding.call(_bind_alone, shared, binding, what)


def _bind_alone(shared: Any, binding: object, what: str) -> None:
    if shared._atomic_vocabulary is not None:
        message = f"this {what} was initialised before"
        raise RuntimeError(message)
    shared._atomic_binding = binding


class Value:
    """The contract's Value."""

    # One slot: a subclass's attributes are its own.  Unset until _atomic_bind().
    __slots__ = ("__weakref__", "_atomic_binding")

    _atomic_binding: Binding

    if TYPE_CHECKING:  # what IntEnumValue adds

        def _atomic_number(self, value: object) -> int: ...
        def _atomic_operand(self, other: object, equality: bool, /) -> int: ...  # noqa: FBT001
        def from_value(self, value: int) -> str: ...

    @staticmethod
    def _atomic_word(mapping: Any, word_offset: int, control_offset: int) -> Word:
        """Make a word; given by the backend."""
        raise NotImplementedError

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
    ) -> None:
        word = self._atomic_word(mapping, word_offset, control_offset)
        if first is not None:
            word.first(first)
        bind_once(
            self,
            Binding(table, mapping, segment, index, word, guard, calls_from_value=calls_from_value),
            "value",
        )

    def _atomic_open(self) -> Binding:
        try:
            binding = self._atomic_binding
        except AttributeError:
            raise _closed() from None
        if binding.word is _CLOSED:
            raise _closed()
        return binding

    def _atomic_close(self) -> None:
        with contextlib.suppress(AttributeError):  # it never was open
            self._atomic_binding.word = _CLOSED

    def _atomic_keep_lock(self, lock: Any, /) -> Any:
        binding = self._atomic_open()
        if not binding.locks:
            binding.locks.append(lock)
        return binding.locks[0]

    @property
    def _atomic_lock(self) -> Any:
        try:
            locks = self._atomic_binding.locks
        except AttributeError:
            return None
        return locks[0] if locks else None

    @property
    def _atomic_guard(self) -> Guard | None:
        try:
            return self._atomic_binding.guard
        except AttributeError:
            return None

    @property
    def _atomic_vocabulary(self) -> Vocabulary | None:
        try:
            return self._atomic_binding.table.vocabulary
        except AttributeError:
            return None

    @property
    def _atomic_segment(self) -> Any:
        return self._atomic_open().segment

    @property
    def _atomic_index(self) -> int:
        return self._atomic_open().index

    def __getstate__(self) -> Any:
        """Return a subclass's attributes, without what the value is bound to."""
        state = super().__getstate__()
        if isinstance(state, tuple):
            attributes, slots = state
            slots = {name: content for name, content in slots.items() if name != "_atomic_binding"}
            return (attributes, slots) if slots else attributes
        return state

    # The methods below are written out, at the price of repetition: for CPython each call of a
    # helper would cost as much as all the rest of load() here.

    def load(self) -> Any:
        try:
            binding = self._atomic_binding
        except AttributeError:
            raise _unbound(self) from None
        number = binding.word.number()
        member = binding.table.members.get(number)
        return binding.table.vocabulary.refuse_number(number) if member is None else member

    def set(self, value: Any) -> None:
        try:
            binding = self._atomic_binding
        except AttributeError:
            raise _unbound(self) from None
        number = binding.table.numbers.get(id(value))
        if number is None:
            number = self._atomic_number(value)
        if binding.guard is None:
            binding.word.exchange(number)
        else:
            guarded(binding.guard, _exchange, binding, number)

    def exchange(self, value: Any) -> Any:
        try:
            binding = self._atomic_binding
        except AttributeError:
            raise _unbound(self) from None
        number = binding.table.numbers.get(id(value))
        if number is None:
            number = self._atomic_number(value)
        if binding.guard is None:
            before = binding.word.exchange(number)
        else:
            before = guarded(binding.guard, _exchange, binding, number)
        member = binding.table.members.get(before)
        return binding.table.vocabulary.refuse_number(before) if member is None else member

    def compare_and_set(self, old: Any, new: Any) -> bool:
        try:
            binding = self._atomic_binding
        except AttributeError:
            raise _unbound(self) from None
        numbers = binding.table.numbers
        expected = numbers.get(id(old))
        if expected is None:
            expected = self._atomic_number(old)
        desired = numbers.get(id(new))
        if desired is None:
            desired = self._atomic_number(new)
        guard = binding.guard
        if guard is None:
            return binding.word.compare_and_set(expected, desired)
        if binding.word.number() != expected:
            return False  # it takes no lock to see that
        return guarded(guard, _compare_and_set, binding, expected, desired)

    def wait_for(self, member: Any, /, *members: Any, timeout: float | None = None) -> Any:
        return self._atomic_wait((member, *members), timeout, leave=False)

    def wait_while(self, member: Any, /, *members: Any, timeout: float | None = None) -> Any:
        return self._atomic_wait((member, *members), timeout, leave=True)

    def _atomic_wait(self, members: tuple[Any, ...], timeout: float | None, *, leave: bool) -> Any:
        deadline = deadline_of(timeout)
        binding = self._atomic_open()
        numbers = binding.table.numbers
        wanted = [(numbers.get(id(member)), member) for member in members]
        goal = Goal(frozenset(self._atomic_number(m) if n is None else n for n, m in wanted), leave)
        name = "wait_while" if leave else "wait_for"
        number = wait_until(_ValueWatcher(binding, goal), deadline, name, timeout)
        member = binding.table.members.get(number)
        return binding.table.vocabulary.refuse_number(number) if member is None else member

    @property
    def value(self) -> int:
        try:
            binding = self._atomic_binding
        except AttributeError:
            raise _unbound(self) from None
        return binding.word.number()

    @value.setter
    def value(self, value: Any) -> None:
        self.set(value)

    @property
    def name(self) -> str:
        try:
            binding = self._atomic_binding
        except AttributeError:
            raise _unbound(self) from None
        number = binding.word.number()
        if binding.calls_from_value:
            return self.from_value(number)
        name = binding.table.names.get(number)
        return binding.table.vocabulary.refuse_number(number) if name is None else name

    @property
    def version(self) -> int:
        return self._atomic_open().word.version()

    def _atomic_compare(self, other: object, compare: Callable[[int, int], bool]) -> bool:
        try:
            binding = self._atomic_binding
        except AttributeError:
            raise _unbound(self) from None
        right = binding.table.numbers.get(id(other))
        if right is None:
            enum = self._atomic_open().table.enum_type
            if isinstance(other, int):
                right = int.__index__(other)
            elif isinstance(other, Value) and other._atomic_open().table.enum_type is enum:
                right = other._atomic_binding.word.number()
            else:
                equality = compare is operator.eq or compare is operator.ne
                right = self._atomic_operand(other, equality)
        return compare(binding.word.number(), right)

    def __eq__(self, other: object) -> bool:
        return self._atomic_compare(other, operator.eq)

    def __ne__(self, other: object) -> bool:
        return self._atomic_compare(other, operator.ne)

    def __lt__(self, other: object) -> bool:
        return self._atomic_compare(other, operator.lt)

    def __le__(self, other: object) -> bool:
        return self._atomic_compare(other, operator.le)

    def __gt__(self, other: object) -> bool:
        return self._atomic_compare(other, operator.gt)

    def __ge__(self, other: object) -> bool:
        return self._atomic_compare(other, operator.ge)

    def __hash__(self) -> int:
        binding = self._atomic_open()
        return hash((binding.table.enum_type, binding.word.number()))


# The word is looked up inside of the guard: the value may have been closed while its lock was
# waited for.


def _exchange(binding: Binding, number: int) -> int:
    return binding.word.exchange(number)


def _compare_and_set(binding: Binding, expected: int, desired: int) -> bool:
    return binding.word.compare_and_set(expected, desired)


def _unbound(value: object) -> Exception:
    if isinstance(value, Value):
        return _closed()
    return TypeError(f"expected an IntEnumValue, not {type(value).__name__}")
