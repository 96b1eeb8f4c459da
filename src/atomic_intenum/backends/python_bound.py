"""What the values and arrays in Python have in common, whichever backend gives their words.

They are bound once, by one of the threads that try, and never again; closing replaces the words.
csrc/native/bound.h and wait.h have the same in C.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, Protocol, TypeVar

from ..process import ProcessLock
from ..timeouts import deadline_of

if TYPE_CHECKING:
    from enum import IntEnum

    from ..given_lock import Guard
    from ..vocabulary import Vocabulary


#: Seconds from a wait's start to its next look for dead owners, and between those that follow:
#: csrc/owner.h's AIE_ASK_AGAIN and AIE_NOTICE.
_ASK_AGAIN, _NOTICE = 0.05, 0.2


class Goal(NamedTuple):
    """What is waited for: a value among ``numbers``; with ``leave``, one that is not."""

    numbers: frozenset[int]
    leave: bool

    def met(self, number: int) -> bool:
        """Tell whether a value meets it."""
        return (number in self.numbers) != self.leave


#: Without it, threads that slice one memoryview at once break it (CPython's issue 155606).
HAS_GIL = "free-threading" not in sys.version  # by the build: an import may switch it on and off

if TYPE_CHECKING or HAS_GIL:
    Lookup = dict
else:

    class Lookup(dict):
        """A dict whose get() takes no lock: 3.13's does, and a fork's child finds it taken."""

        def get(self, key):
            return self[key] if key in self else None  # noqa: SIM401


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
        self.members = Lookup((number, member) for member, _, number in entries)
        self.names = Lookup((number, name) for _, name, number in entries)
        # By id: the table keeps the members alive, so no other object can have a member's.
        self.numbers = Lookup((id(member), number) for member, _, number in entries)

    def member_of(self, number: int) -> Any:
        """Return the member of that number; ValueError if none."""
        member = self.members.get(number)
        return self.vocabulary.refuse_number(number) if member is None else member


class Watch(Protocol):
    """One wait: for a word, for one of many words, or for all of them."""

    def look(self) -> int | None:
        """Return what was waited for, or None."""

    def is_own(self) -> bool:
        """Return True if this thread holds the lock that would be needed to end the wait."""

    def sleep(self, deadline: float, first: bool) -> int | None:  # noqa: FBT001
        """Wait until a write, 250 ms or the deadline (monotonic seconds), and look.

        May return for no reason.  ``first``: it may spin before it sleeps.
        """


W = TypeVar("W")


class Binding(Generic[W]):
    """What a value or an array is bound to.

    Attributes:
        mapping: the backend's; ``owned``: it has owners.
        place: the index of a value's word, or where an array's words are.
        words: the value's word, or the array's words; closing it replaces them.
        calls_from_value: the class overrides it, so a name is asked of it.
        locks: the first is what get_lock() returns: appending is one step, so of two threads one
            comes first.

    """

    __slots__ = (
        "calls_from_value",
        "guard",
        "locks",
        "mapping",
        "place",
        "segment",
        "table",
        "words",
    )

    def __init__(
        self,
        table: Table,
        mapping: Any,
        segment: Any,
        place: Any,
        words: W,
        guard: Guard | None,
        calls_from_value: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        self.table = table
        self.mapping = mapping
        self.segment = segment
        self.place = place
        self.words = words
        self.guard = guard
        self.calls_from_value = calls_from_value
        self.locks: list[Any] = []


class Closed:
    """What a closed object has for words, so that no other need ask whether it is closed."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __getattr__(self, name: str) -> Any:
        raise self.error()

    def error(self) -> ValueError:
        """Return what using a closed object raises."""
        return ValueError(f"this {self._what} is closed, or its __init__ never ran")


_binding = ProcessLock()


class Bound:
    """A value or an array that is bound once."""

    # One slot: a subclass's attributes are its own.  Unset until _atomic_bind().
    __slots__ = ("__weakref__", "_atomic_binding")

    _atomic_binding: Binding[Any]
    _atomic_closed: Closed
    #: What is said where only the thread that waits could end the wait.
    _atomic_own_wait: str

    if TYPE_CHECKING:  # what IntEnumValue and IntEnumArray add

        def _atomic_number(self, value: object) -> int: ...
        def _atomic_timed_out(self, name: str, members: Any, timeout: Any) -> NoReturn: ...

    def _atomic_bind_once(self, binding: Binding[Any]) -> None:
        _binding.call(self._atomic_bind_alone, binding)

    def _atomic_bind_alone(self, binding: Binding[Any]) -> None:
        if self._atomic_vocabulary is not None:
            message = f"this {self._atomic_closed._what} was initialised before"
            raise RuntimeError(message)
        self._atomic_binding = binding

    def _atomic_open(self) -> Binding[Any]:
        try:
            binding = self._atomic_binding
        except AttributeError:
            raise self._atomic_closed.error() from None
        if binding.words is self._atomic_closed:
            raise self._atomic_closed.error()
        return binding

    def _atomic_close(self) -> None:
        with contextlib.suppress(AttributeError):  # it never was open
            self._atomic_binding.words = self._atomic_closed

    @property
    def _atomic_guard(self) -> Guard | None:
        binding: Binding[Any] | None = getattr(self, "_atomic_binding", None)
        return None if binding is None else binding.guard

    @property
    def _atomic_vocabulary(self) -> Vocabulary | None:
        binding: Binding[Any] | None = getattr(self, "_atomic_binding", None)
        return None if binding is None else binding.table.vocabulary

    @property
    def _atomic_segment(self) -> Any:
        return self._atomic_open().segment

    def _atomic_value(self, member: object) -> int:
        """Return the number of a member or name."""
        number: int | None = self._atomic_open().table.numbers.get(id(member))
        return self._atomic_number(member) if number is None else number

    def _atomic_watch(self, goal: Goal, every: bool) -> Watch:  # noqa: FBT001
        """Begin a wait for the word, or for one or ``every`` one of the words."""
        raise NotImplementedError

    def _atomic_wait(
        self,
        name: str,
        members: tuple[Any, ...],
        timeout: float | None,
        *,
        leave: bool = False,
        every: bool = False,
    ) -> int:
        """Wait for members; return what was found.  ``name`` is the method's."""
        deadline = deadline_of(timeout)
        found = self._atomic_wait_until(self._atomic_begin(members, leave, every), deadline)
        if found is None:
            self._atomic_timed_out(name, members, timeout)
        return found

    def _atomic_begin(self, members: tuple[Any, ...], leave: bool, every: bool) -> Watch:  # noqa: FBT001
        goal = Goal(frozenset(self._atomic_value(member) for member in members), leave)
        return self._atomic_watch(goal, every)

    def _atomic_wait_until(
        self, watch: Watch, deadline: float, *, later: bool = False
    ) -> int | None:
        """Look, sleep and look again; return what was found, or None.

        ``later``: it does not matter whether this thread holds the lock.
        """
        binding = self._atomic_open()
        notice = math.inf  # when to look for dead owners
        if binding.mapping.owned:
            notice = time.monotonic() + _ASK_AGAIN
            binding.words.notice(binding.guard)
        found = watch.look()
        if found is None and not later and watch.is_own():
            raise RuntimeError(self._atomic_own_wait)
        first = True
        while found is None:
            late = time.monotonic() >= deadline
            # After the clock: what came in time counts.
            found = watch.look() if late else watch.sleep(min(deadline, notice), first)
            self._atomic_open()  # it may have been closed meanwhile
            first = False
            if late:
                break
            if found is None and time.monotonic() >= notice:
                binding.words.notice(binding.guard)
                notice = time.monotonic() + _NOTICE
        return found

    def __getstate__(self) -> Any:
        """Return a subclass's attributes, without what the object is bound to."""
        state = super().__getstate__()
        if isinstance(state, tuple):
            attributes, slots = state
            slots = {name: content for name, content in slots.items() if name != "_atomic_binding"}
            return (attributes, slots) if slots else attributes
        return state


def document(cls: type[Any], name: str, text: str) -> None:
    """Give an operation the docstring of its declaration."""
    getattr(cls, name).__doc__ = text


def prepare_class(cls: type[Any]) -> None:
    """Do nothing: methods in Python are as fast inherited."""
