"""The contract's Value and Table in Python, over a word that a backend gives.

A backend's Value derives from :class:`Value` here and says in ``_atomic_word`` how its state words
are read and written.  The meaning of each method is the contract's; csrc/native/value_methods.h
has the same in C.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Protocol

from ..given_lock import guarded
from .python_bound import Binding, Bound, Closed, Goal

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..given_lock import Guard
    from .contract import Mapping
    from .python_bound import Table, Watch


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

    def notice(self, guard: Guard | None) -> None:
        """If the word's owner has died, give it back; of a segment with owners."""

    def first(self, number: int) -> None:
        """Give a fresh word its first value, version 0."""

    def exchange(self, desired: int) -> int:
        """Write ``desired`` and return the value before; inside the guard, where there is one."""

    def compare_and_set(self, expected: int, desired: int) -> bool:
        """Write ``desired`` if the value is ``expected``; inside the guard, where there is one."""


class _ValueWatcher:
    """A wait for one word."""

    def __init__(self, binding: Binding[Word], goal: Goal) -> None:
        self._binding = binding
        self._goal = goal

    def look(self) -> int | None:
        number = self._binding.words.number()
        return number if self._goal.met(number) else None

    def is_own(self) -> bool:
        guard = self._binding.guard
        return self._binding.words.held_here() if guard is None else guard.held_here()

    def sleep(self, deadline: float, first: bool) -> int | None:  # noqa: FBT001
        self._binding.words.sleep(self._goal, deadline, first)
        return self.look()


class Value(Bound):
    """The contract's Value."""

    __slots__ = ()

    _atomic_closed = Closed("value")
    _atomic_own_wait = "waiting while holding the value's lock: nobody could change the value"

    if TYPE_CHECKING:  # what IntEnumValue adds
        _atomic_binding: Binding[Word]

        def _atomic_open(self) -> Binding[Word]: ...
        def _atomic_operand(self, other: object, equality: bool, /) -> int: ...  # noqa: FBT001
        def _atomic_make_lock(self) -> Any: ...
        def from_value(self, value: int) -> str: ...

    #: The backend's Word, made from a mapping and the offsets of word and control block.
    _atomic_word: Callable[[Any, int, int], Any]

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
        self._atomic_bind_once(
            Binding(table, mapping, segment, index, word, guard, calls_from_value)
        )

    def _atomic_keep_lock(self, lock: Any, /) -> Any:
        binding = self._atomic_open()
        if not binding.locks:
            binding.locks.append(lock)
        return binding.locks[0]

    def get_lock(self) -> Any:
        locks = self._atomic_open().locks
        return locks[0] if locks else self._atomic_make_lock()

    @property
    def _atomic_index(self) -> int:
        return int(self._atomic_open().place)

    # The methods below are written out, at the price of repetition: for CPython each call of a
    # helper would cost as much as all the rest of load() here.

    def load(self) -> Any:
        try:
            binding = self._atomic_binding
        except AttributeError:
            raise _unbound(self) from None
        number = binding.words.number()
        member = binding.table.members.get(number)
        return binding.table.vocabulary.refuse_number(number) if member is None else member

    def set(self, value: Any) -> None:
        try:
            binding = self._atomic_binding
        except AttributeError:
            raise _unbound(self) from None
        if (number := binding.table.numbers.get(id(value))) is None:
            number = self._atomic_number(value)
        if binding.guard is None:
            binding.words.exchange(number)
        else:
            guarded(binding.guard, lambda: binding.words.exchange(number))

    def exchange(self, value: Any) -> Any:
        try:
            binding = self._atomic_binding
        except AttributeError:
            raise _unbound(self) from None
        if (number := binding.table.numbers.get(id(value))) is None:
            number = self._atomic_number(value)
        if binding.guard is None:
            before = binding.words.exchange(number)
        else:
            before = guarded(binding.guard, lambda: binding.words.exchange(number))
        member = binding.table.members.get(before)
        return binding.table.vocabulary.refuse_number(before) if member is None else member

    def compare_and_set(self, old: Any, new: Any) -> bool:
        try:
            binding = self._atomic_binding
        except AttributeError:
            raise _unbound(self) from None
        numbers = binding.table.numbers
        if (expected := numbers.get(id(old))) is None:
            expected = self._atomic_number(old)
        if (desired := numbers.get(id(new))) is None:
            desired = self._atomic_number(new)
        guard = binding.guard
        if guard is None:
            return binding.words.compare_and_set(expected, desired)
        if binding.words.number() != expected:
            return False  # a mismatch needs no lock
        return guarded(guard, lambda: binding.words.compare_and_set(expected, desired))

    def wait_for(self, member: Any, /, *members: Any, timeout: float | None = None) -> Any:
        number = self._atomic_wait("wait_for", (member, *members), timeout)
        return self._atomic_open().table.member_of(number)

    def wait_while(self, member: Any, /, *members: Any, timeout: float | None = None) -> Any:
        number = self._atomic_wait("wait_while", (member, *members), timeout, leave=True)
        return self._atomic_open().table.member_of(number)

    def _atomic_look(self, later: bool, leave: bool, /, *members: Any) -> Any:  # noqa: FBT001
        watch = self._atomic_begin(members, leave, False)  # noqa: FBT003
        number = self._atomic_wait_until(watch, 0.0, later=later)
        return None if number is None else self._atomic_open().table.member_of(number)

    def _atomic_watch(self, goal: Goal, every: bool) -> Watch:  # noqa: ARG002, FBT001
        return _ValueWatcher(self._atomic_open(), goal)

    @property
    def value(self) -> int:
        try:
            binding = self._atomic_binding
        except AttributeError:
            raise _unbound(self) from None
        return binding.words.number()

    @value.setter
    def value(self, value: Any) -> None:
        self.set(value)

    @property
    def name(self) -> str:
        try:
            binding = self._atomic_binding
        except AttributeError:
            raise _unbound(self) from None
        number = binding.words.number()
        if binding.calls_from_value:
            return self.from_value(number)
        name = binding.table.names.get(number)
        return binding.table.vocabulary.refuse_number(number) if name is None else name

    @property
    def version(self) -> int:
        return self._atomic_open().words.version()

    def _atomic_compare(self, other: object, compare: Callable[[int, int], bool]) -> bool:
        try:
            binding = self._atomic_binding
        except AttributeError:
            raise _unbound(self) from None
        if (right := binding.table.numbers.get(id(other))) is None:
            enum = self._atomic_open().table.enum_type
            if isinstance(other, int):
                right = int.__add__(other, 0)  # not what its class has for an __int__
            elif isinstance(other, Value) and other._atomic_open().table.enum_type is enum:
                right = other._atomic_binding.words.number()
            else:
                right = self._atomic_operand(other, compare in (operator.eq, operator.ne))
        return compare(binding.words.number(), right)

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
        return hash((binding.table.enum_type, binding.words.number()))


def _unbound(value: object) -> Exception:
    if isinstance(value, Value):
        return value._atomic_closed.error()
    return TypeError(f"expected an IntEnumValue, not {type(value).__name__}")
