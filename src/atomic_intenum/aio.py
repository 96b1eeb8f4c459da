"""The same waits, awaited: what ``aio`` of values and arrays is.

Each event loop has one desk, and the desk one spot for each value or array that somebody there
waits for.  The backend tells a desk what has moved; the desk looks whether that is what was waited
for, and wakes who waited: all of it in the loop's own thread, so nothing here has a lock.
csrc/watch.h has the thread that watches for all loops.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .backends import backend
from .process import after_fork_in_child
from .sharing import closing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from enum import IntEnum

__all__ = ["AsyncArray", "AsyncValue"]

T = TypeVar("T", bound="IntEnum")

#: Seconds until a word is claimed again whose lock somebody held, who may leave without a write;
#: each time in vain doubles them.
_LOCKED, _LOCKED_LONGEST = 0.002, 0.05

#: If so many have moved there may be more: other callbacks come first.
_TAKEN = 64


class AsyncValue(Generic[T]):
    """Waits for a value in an event loop: ``await status.aio.wait_for(Status.READY)``.

    There are no timeouts: ``asyncio.timeout()`` is for that.  Cancelling ends a wait at once.
    """

    __slots__ = ("_of",)

    def __init__(self, of: Any) -> None:
        self._of = of

    async def wait_for(self, member: T | str, /, *members: T | str) -> T:
        """Wait until the value is one of the members, and return which it is.

        Raises:
            TypeError, KeyError: it is neither a member nor a name.
            RuntimeError: this thread holds the value's lock: nobody could change the value.
            ValueError: the value is closed, or was while this waited; or it holds no member's
                number.
            OSError: there is no further thread to watch with, or no descriptor.

        """
        found: T = await _looks(self._of, False, member, *members)  # noqa: FBT003
        return found

    async def wait_while(self, member: T | str, /, *members: T | str) -> T:
        """Wait until the value is none of the members, and return what it is instead.

        Errors are those of wait_for().

        """
        found: T = await _looks(self._of, True, member, *members)  # noqa: FBT003
        return found

    async def changes(self) -> AsyncIterator[T]:
        """Yield the current member, and then each that differs from the last one yielded.

        A state that comes and goes between two looks is missed; ``version`` tells.  Errors are
        those of wait_for().

        """
        member: T = self._of.load()
        while True:
            yield member
            member = await self.wait_while(member)


class AsyncArray(Generic[T]):
    """Waits for an array's words in an event loop: ``await jobs.aio.claim(Job.NEW, Job.BUSY)``.

    There are no timeouts: ``asyncio.timeout()`` is for that.  Cancelling ends a wait at once.
    """

    __slots__ = ("_of",)

    def __init__(self, of: Any) -> None:
        self._of = of

    async def claim(self, old: T | str, new: T | str) -> int:
        """Find a word that is ``old``, make it ``new`` and return its index; wait for one.

        Who waits in one loop gets one in the order of coming.  A claim that is cancelled has
        claimed nothing.  Errors are those of the array's claim(), and OSError as for wait_any().

        """
        number: int = self._of._atomic_number(old)
        attempt = partial(self._of._atomic_claim_once, old, new)
        desk = _known_desk()
        if desk is None or not desk.is_claimed(self._of, number):
            index: int | None = attempt()
            if index is not None and index >= 0:
                return index
        while True:
            index = await _desk().claim(self._of, old, number, attempt)
            if index is not None:  # else its spot was lost
                return index

    async def wait_any(self, member: T | str, /, *members: T | str) -> int:
        """Wait until a word is one of the members, and return the lowest index of such a word.

        Raises:
            TypeError, KeyError: it is neither a member nor a name.
            RuntimeError: this thread holds the locks of all words: nobody could change one.
            ValueError: the array is closed, or was while this waited.
            OSError: there is no further thread to watch with, or no descriptor.

        """
        found: int = await _looks(self._of, False, member, *members)  # noqa: FBT003
        return found

    async def wait_all(self, member: T | str, /, *members: T | str) -> None:
        """Wait until every word is one of the members; each is looked at by itself.

        Errors are those of wait_any(); RuntimeError is for a thread that holds the lock of a word
        that keeps it from being so.

        """
        await _looks(self._of, True, member, *members)  # noqa: FBT003

    async def changes(self) -> AsyncIterator[dict[int, T]]:
        """Yield the members of all words by index, and then of those that changed, and so on.

        A word that changes and changes back between two looks is missed, and so is all but the
        last of several changes.  Errors are those of wait_any(); ValueError also if a word holds
        no member's number.

        """
        seen: Any = self._of._atomic_moved(None, None)
        yield self._of._atomic_differing(seen)
        while True:
            key = object()  # nobody else waits from the same state
            look = partial(self._of._atomic_moved, seen, 0.0)
            now: Any = await _until(self._of, key, look, look)
            changed: dict[int, T] = self._of._atomic_differing(now, seen)
            seen = now
            if changed:  # else it has changed back
                yield changed


def _looks(of: Any, *goal: Any) -> Any:
    """Return an awaitable of what ``_atomic_look`` finds."""
    first, later = (partial(of._atomic_look, asked, *goal) for asked in (False, True))
    return _until(of, tuple(map(id, goal)), first, later)


# ---------------------------------------------------------------- one loop


async def _until(of: Any, key: object, look: Callable[[], Any], later: Callable[[], Any]) -> Any:
    """Return what ``look`` finds, and ``later`` from then on, as soon as it finds something.

    Waits of one ``key`` have one ``later`` in common.
    """
    found = look()
    while found is None:
        found = await _desk().wait(of, key, later)
        if found is None:  # the look raised, or its spot was lost
            found = later()
    return found


class _Group:
    """Waits for the same."""

    __slots__ = ("futures", "look")

    def __init__(self, look: Callable[[], Any]) -> None:
        self.look = look
        self.futures: dict[asyncio.Future[Any], None] = {}

    def found(self, what: Any) -> None:
        for future in list(self.futures):
            if not future.done():
                future.set_result(what)


class _Queue:
    """Who waits to claim a word that is ``old``, in the order of coming: a future of each.

    A future that is done is a turn to try, of the first alone: it carries no claim, which a task
    that is cancelled meanwhile would lose.
    """

    __slots__ = ("_count", "locked", "waiting")

    def __init__(self, of: Any, old: Any) -> None:
        self._count = partial(backend.Array.count, of, old)
        self.waiting: dict[object, asyncio.Future[None]] = {}
        self.locked = False  # the last attempt found nothing but locks

    def give(self) -> bool:
        """Give the first a turn, if there is a word to claim; tell whether it is to be had."""
        try:
            count: int = self._count()
        except ValueError:  # it is closed: each of them finds out by itself
            count = 1
        if count > 0 and self.waiting:
            _wake(next(iter(self.waiting.values())))
        return count > 0 and not self.locked


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _Spot:
    """A value or an array that is waited for in one loop."""

    __slots__ = ("groups", "of", "queues", "slot")

    def __init__(self, of: Any, slot: int) -> None:
        self.of = of  # kept: the backend works on its memory
        self.slot = slot
        self.groups: dict[object, _Group] = {}
        self.queues: dict[int, _Queue] = {}

    def look(self) -> bool:
        """Wake who waited for what is so now; tell whether there was anybody."""
        content = False
        for key, group in list(self.groups.items()):
            try:
                found = group.look()
                if found is None:
                    continue
            except (RuntimeError, ValueError):  # each of them looks, and raises it
                found = None
            content = True
            group.found(found)  # before it is forgotten: a signal handler may raise
            self.groups.pop(key, None)
        given = [queue.give() for queue in self.queues.values()]
        return content or any(given)

    def wake_all(self) -> None:
        """Have everybody look."""
        for group in self.groups.values():
            group.found(None)
        for queue in self.queues.values():
            for future in queue.waiting.values():
                _wake(future)
        self.groups.clear()


class _Desk:
    """What one event loop waits for."""

    __slots__ = ("__weakref__", "_backend", "_nap", "_slots", "loop", "spots")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.spots: dict[int, _Spot] = {}  # by the id of what is waited for
        self._slots: dict[int, _Spot] = {}
        self._nap: asyncio.TimerHandle | None = None
        self._backend = backend.Desk()
        if self._backend.fileno() >= 0:
            # The loop alone keeps this desk from now on, besides those who wait.
            loop.add_reader(self._backend.fileno(), self._tell)

    # -- waiting

    async def wait(self, of: Any, key: object, look: Callable[[], Any]) -> Any:
        """Wait until ``look`` finds something, and return that; None: look yourself."""
        spot, fresh = self._spot(of)
        future: asyncio.Future[Any] = self.loop.create_future()
        group = spot.groups.setdefault(key, _Group(look))
        group.futures[future] = None
        try:
            found = look() if fresh else None  # what came before it was watched nobody tells
            return await future if found is None else found
        finally:
            group.futures.pop(future, None)
            if not group.futures and spot.groups.get(key) is group:
                del spot.groups[key]
            self._leave(spot)

    def is_claimed(self, of: Any, number: int) -> bool:
        """Tell whether somebody here waits for a word to claim, and is to get one first."""
        spot = self.spots.get(id(of))
        return spot is not None and number in spot.queues

    async def claim(
        self, of: Any, old: Any, number: int, attempt: Callable[[], int | None]
    ) -> int | None:
        """Wait for a turn, claim, and return the index; None: begin again."""
        spot, _ = self._spot(of)
        queue = spot.queues.setdefault(number, _Queue(of, old))
        place, turn = object(), self.loop.create_future()
        if not queue.waiting:
            turn.set_result(None)  # what came before it was watched nobody tells
        queue.waiting[place] = turn
        index: int | None = None
        pause = _LOCKED
        try:
            while self.spots.get(id(of)) is spot:
                await turn
                index = attempt()
                queue.locked = index == -1
                if index is not None and index >= 0:
                    return index
                queue.waiting[place] = turn = self.loop.create_future()
                if queue.locked:
                    self.loop.call_later(pause, _wake, turn)
                    pause = min(pause * 2, _LOCKED_LONGEST)
            return None
        finally:
            del queue.waiting[place]
            if not self.loop.is_closed():
                queue.give()  # the next one, whether there was one to claim or not
            if not queue.waiting and spot.queues.get(number) is queue:
                del spot.queues[number]
            self._leave(spot)

    # -- what is watched

    def _spot(self, of: Any) -> tuple[_Spot, bool]:
        """Return where it is waited for, and whether that was so far not watched."""
        spot = self.spots.get(id(of))
        if spot is not None:
            return spot, False
        spot = _Spot(of, self._backend.watch(of))
        self.spots[id(of)] = self._slots[spot.slot] = spot
        self._take_naps()
        return spot, True

    def _leave(self, spot: _Spot) -> None:
        """Stop watching, if nobody waits there any more."""
        if not (spot.groups or spot.queues):
            self._drop(spot)

    def _drop(self, spot: _Spot) -> None:
        if self.spots.get(id(spot.of)) is spot:
            del self.spots[id(spot.of)]
            self._slots.pop(spot.slot, None)
            self._backend.unwatch(spot.slot)

    def _tell(self) -> None:
        """Look at what has moved; of the loop's reader."""
        again = True  # also if a signal handler raises, wherever
        try:
            moved = self._backend.take()
            for slot in moved:
                self._look(slot)
            again = len(moved) >= _TAKEN
        finally:
            if again and not self.loop.is_closed():
                self.loop.call_soon(self._tell)

    def _look(self, slot: int) -> None:
        spot = self._slots.get(slot)
        if spot is None:  # a signal handler raised as it came, or went
            self._backend.unwatch(slot)
            return
        content = spot.look()
        if not (spot.groups or spot.queues):
            self._drop(spot)
            return
        try:
            self._backend.watch_on(slot, content)
        except OSError:  # each of them tries by itself, and raises it
            self._drop(spot)
            spot.wake_all()

    def closed(self, of: Any) -> None:
        """Have who waits for it find that it is closed."""
        spot = self.spots.get(id(of))
        if spot is not None:
            spot.wake_all()
            self._leave(spot)

    def _take_naps(self) -> None:
        """Where nobody tells: look again and again, as long as something is waited for."""
        if self._backend.fileno() < 0 and self._nap is None and self.spots:
            self._nap = self.loop.call_later(self._backend.nap(), self._napped)

    def _napped(self) -> None:
        self._nap = None
        try:
            self._tell()
        finally:
            self._take_naps()


#: The desks of the loops of this process, by the loops' ids.
_desks: dict[int, weakref.ref[_Desk]] = {}
after_fork_in_child(_desks.clear)


def _known_desk() -> _Desk | None:
    """Return the running loop's desk, if it has one."""
    loop = asyncio.get_running_loop()
    known = _desks.get(id(loop))
    desk = None if known is None else known()
    return desk if desk is not None and desk.loop is loop else None


def _desk() -> _Desk:
    """Return the running loop's desk."""
    desk = _known_desk()
    if desk is None:
        desk = _Desk(asyncio.get_running_loop())
        key = id(desk.loop)

        def forget(reference: weakref.ref[_Desk]) -> None:
            if _desks.get(key) is reference:
                del _desks[key]

        _desks[key] = weakref.ref(desk, forget)
    return desk


def _tell_closed(of: Any) -> None:
    """Something is closed: have each loop where it is waited for know."""
    for known in list(_desks.values()):
        desk = known()
        if desk is not None and id(of) in desk.spots:
            with contextlib.suppress(RuntimeError):  # the loop is closed too
                desk.loop.call_soon_threadsafe(desk.closed, of)


closing.append(_tell_closed)
