"""The contract's Array in Python, over words that a backend gives.

A backend's Array derives from :class:`Array` here and says in ``_atomic_words`` how its words are
read and written.  csrc/native/array.h has the same in C.
"""

from __future__ import annotations

import itertools
import operator
import time
from array import array
from operator import methodcaller
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

from ..given_lock import guarded
from ..layout import VALUE_OFFSET
from ..timeouts import deadline_of
from .python_bound import Binding, Bound, Closed, Goal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..given_lock import Guard
    from .contract import Mapping
    from .python_bound import Table, Watch


#: Every word.
ALL = slice(None)

#: A deadline that is over.
_AT_ONCE = 1e-9

#: What any value meets.
ANYTHING = Goal(frozenset(), True)  # noqa: FBT003


class Place(NamedTuple):
    """Where an array's words are in its segment."""

    length: int
    word_offset: int
    word_stride: int
    control_offset: int


class Words(Protocol):
    """The words of an array.  The caller holds the guard's lock, if there is one, as it writes."""

    def number(self, index: int) -> int:
        """Return the value of a word: one atomic load."""

    def numbers(self, chosen: slice = ALL) -> list[int]:
        """Return the values of some words, each by one atomic load."""

    def count(self, number: int) -> int:
        """Return how many words have that value."""

    def counts(self, table: Table) -> dict[int, int]:
        """Return how many words have each value; a value that no word has may be missing."""

    def exchange(self, index: int, desired: int) -> int:
        """Write a word and return the value before."""

    def compare_and_set(self, index: int, expected: int, desired: int) -> bool:
        """Write a word if its value is the expected one."""

    def fill(self, start: int, desired: int) -> int:
        """Write words from ``start`` on, at least one; return the index of the next to write."""

    def find(self, number: int) -> int | None:
        """Return the index of a word that has the value; where there is a guard."""

    def claim(self, expected: int, desired: int, deadline: float, at_last: bool) -> int | None:  # noqa: FBT001
        """Write one word that has the expected value, and return its index.

        None: there is none; with ``at_last`` and without a guard, not even after what dead
        processes own was given back; or their locks are held, still at the deadline (0.0: for
        ever).
        """

    def watcher(self, goal: Goal, every: bool, guard: Guard | None) -> Watch:  # noqa: FBT001
        """Begin a wait."""

    def mover(self, before: bytes, guard: Guard | None) -> Watch:
        """Begin a wait until a word has another value than before: int32s."""

    def notice(self, guard: Guard | None) -> None:
        """Give back what dead processes own; of a segment with owners."""


class Array(Bound):
    """The contract's Array."""

    __slots__ = ()

    _atomic_closed = Closed("array")
    _atomic_own_wait = (
        "waiting while holding the lock of a word that is waited for: nobody could change it"
    )

    if TYPE_CHECKING:  # what IntEnumArray adds
        _atomic_binding: Binding[Words]

        def _atomic_open(self) -> Binding[Words]: ...

    #: The backend's Words, made from a mapping and a place.
    _atomic_words: Callable[[Any, Place], Any]

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
    ) -> None:
        place = Place(count, word_offset, word_stride, control_offset)
        words = self._atomic_words(mapping, place)
        self._atomic_bind_once(Binding(table, mapping, segment, place, words, guard))

    def _atomic_write(self, binding: Binding[Words], write: Callable[[Words], Any]) -> Any:
        """Write inside the guard, where there is one."""
        if binding.guard is None:
            return write(binding.words)
        # Asked inside once more: it may have been closed while the lock was waited for.
        return guarded(binding.guard, lambda: write(self._atomic_open().words))

    def _atomic_position(self, index: Any) -> int:
        """Return an index as it counts from 0."""
        try:
            position = operator.index(index)
        except TypeError:
            message = f"an index is an int or a slice, not {type(index).__name__}"
            raise TypeError(message) from None
        count: int = self._atomic_open().place.length
        if not -count <= position < count:
            message = f"index {position} is outside of an array of {count}"
            raise IndexError(message)
        return position % count

    # -- one word

    def __len__(self) -> int:
        place: Place = self._atomic_open().place
        return place.length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._atomic_members(index)
        position = self._atomic_position(index)
        binding = self._atomic_open()
        return binding.table.member_of(binding.words.number(position))

    def _atomic_members(self, chosen: slice) -> list[Any]:
        binding = self._atomic_open()
        members = binding.table.members
        numbers = binding.words.numbers(chosen)
        self._atomic_open()  # an index may have closed it
        try:
            return [members[number] for number in numbers]
        except KeyError as error:
            foreign = error.args[0]
        return binding.table.vocabulary.refuse_number(foreign)

    def __setitem__(self, index: Any, member: Any) -> None:
        if isinstance(index, slice):
            message = "a slice cannot be assigned: each word is written by itself"
            raise TypeError(message)
        position = self._atomic_position(index)
        number = self._atomic_value(member)
        self._atomic_write(self._atomic_open(), methodcaller("exchange", position, number))

    def __delitem__(self, index: Any) -> NoReturn:
        message = "the words of an array stay: none can be deleted"
        raise TypeError(message)

    def __iter__(self) -> Iterator[Any]:
        # Through __getitem__, because a subclass may override that.
        return map(operator.getitem, itertools.repeat(self), range(len(self)))

    def exchange(self, index: Any, member: Any) -> Any:
        position = self._atomic_position(index)
        number = self._atomic_value(member)
        binding = self._atomic_open()
        before = self._atomic_write(binding, methodcaller("exchange", position, number))
        return binding.table.member_of(before)

    def compare_and_set(self, index: Any, old: Any, new: Any) -> bool:
        position = self._atomic_position(index)
        expected, desired = self._atomic_value(old), self._atomic_value(new)
        binding = self._atomic_open()
        if binding.words.number(position) != expected:
            return False  # a mismatch needs no lock
        write = methodcaller("compare_and_set", position, expected, desired)
        done: bool = self._atomic_write(binding, write)
        return done

    # -- all of them

    def snapshot(self) -> list[Any]:
        return self._atomic_members(ALL)

    def count(self, member: Any, /) -> int:
        number = self._atomic_value(member)
        return self._atomic_open().words.count(number)

    def counts(self) -> dict[Any, int]:
        binding = self._atomic_open()
        counted = binding.words.counts(binding.table)
        for number, times in counted.items():
            if times and number not in binding.table.members:
                binding.table.vocabulary.refuse_number(number)
        try:
            return {m: counted.get(number, 0) for number, m in binding.table.members.items()}
        except TypeError:
            return binding.table.vocabulary.refuse_as_keys()

    def fill(self, member: Any, /) -> None:
        number = self._atomic_value(member)
        binding = self._atomic_open()
        position = 0
        while position < binding.place.length:
            position = self._atomic_write(binding, methodcaller("fill", position, number))

    def claim(self, old: Any, new: Any, *, timeout: float | None = 0.0) -> int | None:
        deadline = deadline_of(timeout)
        expected, desired = self._atomic_value(old), self._atomic_value(new)
        late = timeout == 0
        how = (expected, desired, 0.0 if late else deadline)
        index = self._atomic_claim(*how, at_last=True)
        while index is None and not late:
            watch = self._atomic_watch(Goal(frozenset([expected]), leave=False), every=False)
            self._atomic_wait_until(watch, deadline)
            late = time.monotonic() >= deadline
            index = self._atomic_claim(*how, at_last=late)
        return index

    def _atomic_claim(
        self, expected: int, desired: int, deadline: float, *, at_last: bool
    ) -> int | None:
        claim = methodcaller("claim", expected, desired, deadline, at_last)
        while True:
            binding = self._atomic_open()
            index: int | None = None
            # Where there is a lock, a mismatch needs none.
            if binding.guard is None or binding.words.find(expected) is not None:
                index = self._atomic_write(binding, claim)
            if index is not None or not at_last or binding.guard is None:
                return index
            mapping: Any = binding.mapping
            if not (mapping.owned and mapping.recover(0, binding.place.length, binding.guard)):
                return None

    def _atomic_claim_once(self, old: Any, new: Any, /) -> int | None:
        expected, desired = self._atomic_value(old), self._atomic_value(new)
        guard = self._atomic_open().guard

        def claim() -> int | None:
            return self._atomic_claim(expected, desired, _AT_ONCE, at_last=True)

        index = claim() if guard is None else guarded(guard, claim, or_else=-1)
        return -1 if index is None and self._atomic_open().words.count(expected) else index

    # -- waiting

    def wait_all(self, member: Any, /, *members: Any, timeout: float | None = None) -> None:
        self._atomic_wait("wait_all", (member, *members), timeout, every=True)

    def wait_any(self, member: Any, /, *members: Any, timeout: float | None = None) -> int:
        return self._atomic_wait("wait_any", (member, *members), timeout)

    def _atomic_look(self, later: bool, every: bool, /, *members: Any) -> int | None:  # noqa: FBT001
        watch = self._atomic_begin(members, False, every)  # noqa: FBT003
        found = self._atomic_wait_until(watch, 0.0, later=later)
        return found if found is None or not every else True

    def _atomic_watch(self, goal: Goal, every: bool) -> Watch:  # noqa: FBT001
        binding = self._atomic_open()
        return binding.words.watcher(goal, every, binding.guard)

    def _atomic_moved(self, before: bytes | None, timeout: float | None, /) -> bytes | None:
        binding = self._atomic_open()
        if before is not None:
            watch = binding.words.mover(before, binding.guard)
            if self._atomic_wait_until(watch, deadline_of(timeout)) is None:
                return None
        return array("i", self._atomic_open().words.numbers()).tobytes()

    # -- the values as a buffer

    def _atomic_bytes(self) -> tuple[memoryview, Place]:
        binding = self._atomic_open()
        place = binding.place
        end = place.word_offset + place.length * place.word_stride
        return binding.mapping.view().toreadonly()[place.word_offset : end], place

    def __buffer__(self, flags: int, /) -> memoryview:
        """Export the values: int32, read-only, as far apart as the words."""
        if flags & 1:  # inspect.BufferFlags.WRITABLE
            message = "the words of an array can only be read as a buffer"
            raise BufferError(message)
        content, place = self._atomic_bytes()
        return content.cast("i")[VALUE_OFFSET // 4 :: place.word_stride // 4]

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """What numpy.asarray() asks for where a class in Python cannot export a buffer."""
        content, place = self._atomic_bytes()
        return {
            "version": 3,
            "shape": (place.length,),
            "typestr": "=i4",
            "strides": (place.word_stride,),
            "data": content,
            "offset": VALUE_OFFSET,
        }
