"""An array's waits in an event loop: any word, all words, changes, and claims in their order."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumArray
from helpers.boards import SHAPES, Wide
from helpers.crew import Bits, Status, child
from helpers.inside import aio
from helpers.loops import forks_beside_the_thread, run, steps, until_waiting, waited_for

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

IDLE, LEFT, RIGHT = Bits.IDLE, Bits.LEFT, Bits.RIGHT

by_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


@by_shape
def test_any_and_all(shape: dict[str, Any]) -> None:
    """wait_any() returns the lowest index of what it waits for; wait_all() waits for all."""
    array = Wide(9000, IDLE, **shape)

    async def main() -> None:
        assert await array.aio.wait_any(IDLE, LEFT) == 0
        await array.aio.wait_all("IDLE")
        assert waited_for() == 0
        found = asyncio.create_task(array.aio.wait_any(LEFT, "RIGHT"))
        every = asyncio.create_task(array.aio.wait_all(LEFT))
        await until_waiting()
        array[8999] = RIGHT
        assert await found == 8999
        for index in range(9000):
            array[index] = LEFT
        await every

    run(main())


@by_shape
def test_changes(shape: dict[str, Any]) -> None:
    """Changes are all words, and then those that differ from the last look."""
    array = Wide(5, IDLE, **shape)

    async def main() -> None:
        changes = array.aio.changes()
        assert await anext(changes) == dict.fromkeys(range(5), IDLE)
        array[3] = LEFT
        assert await anext(changes) == {3: LEFT}
        following = asyncio.ensure_future(anext(changes))
        await until_waiting()
        array[1] = IDLE  # no change
        await asyncio.sleep(0.01)
        assert not following.done()
        array.at(4).set(RIGHT)
        assert await following == {4: RIGHT}

    run(main())


def fill_when_told(pipe: Connection, array: Wide) -> None:
    """Make the words LEFT whose indices are sent, until None comes."""
    for index in iter(pipe.recv, None):
        array[index] = LEFT


@forks_beside_the_thread
def test_claims_in_the_order_of_coming() -> None:
    """Who waits first claims first, whoever makes the words free, and each word goes to one."""
    array = Wide(100, IDLE)
    order: list[tuple[int, int]] = []

    async def claim(number: int) -> None:
        order.append((number, await array.aio.claim(LEFT, "RIGHT")))

    async def main() -> None:
        tasks = [asyncio.create_task(claim(number)) for number in range(40)]
        await until_waiting()
        for index in range(40):
            peer.tell(99 - index)
        await asyncio.gather(*tasks)
        assert [number for number, _ in order] == [*range(40)]
        assert sorted(index for _, index in order) == [*range(60, 100)]
        assert array.count(RIGHT) == 40

    with child(fill_when_told, array) as peer:
        run(main())
        peer.tell(None)


def test_who_comes_late_waits_behind() -> None:
    """A claim that comes while others wait does not overtake them, though a word is free."""
    array = Wide(3, IDLE)

    async def main() -> None:
        first = asyncio.create_task(array.aio.claim(LEFT, RIGHT))
        await until_waiting()
        array[1] = LEFT
        late = asyncio.create_task(array.aio.claim(LEFT, RIGHT))
        assert await first == 1
        assert not late.done()
        array[2] = LEFT
        assert await late == 2

    run(main())


def test_a_free_word_is_claimed_at_once() -> None:
    """A claim that finds a word returns without a step of the loop."""
    array = Wide(3, LEFT)

    async def main() -> None:
        asyncio.get_running_loop().call_soon(array.fill, IDLE)
        assert sorted([await array.aio.claim(LEFT, RIGHT) for _ in range(3)]) == [0, 1, 2]
        assert array.count(RIGHT) == 3

    run(main())


@pytest.mark.parametrize("woken", [False, True])
def test_a_cancelled_claim_has_claimed_nothing(woken: bool) -> None:
    """Who is cancelled, in the turn of its wake-up too, claims nothing; the next one does."""
    array = Wide(4, IDLE)

    async def main() -> None:
        tasks = [asyncio.create_task(array.aio.claim(LEFT, RIGHT)) for _ in range(3)]
        await until_waiting()
        await steps(3)
        if woken:
            [spot] = vars_of_desk()
            array[2] = LEFT
            assert [queue.give() for queue in spot.queues.values()] == [1]
        tasks[0].cancel()
        array[2] = LEFT
        assert await tasks[1] == 2
        assert array.count(RIGHT) == 1
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        tasks[2].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[2]
        assert array.snapshot() == [IDLE, IDLE, RIGHT, IDLE]

    run(main())


def vars_of_desk() -> list[Any]:
    """Return what is waited for in the running loop."""
    return list(aio()._known_desk().spots.values())


def test_claims_of_several_states() -> None:
    """Who waits for one state does not stand in the way of who waits for another."""
    array = Wide(4, IDLE)

    async def main() -> None:
        left = asyncio.create_task(array.aio.claim(LEFT, IDLE))
        right = asyncio.create_task(array.aio.claim(RIGHT, IDLE))
        await until_waiting()
        array[3] = RIGHT
        assert await right == 3
        array[0] = LEFT
        assert await left == 0

    run(main())


@pytest.mark.only_on("native", "cffi")
def test_a_claim_does_not_wait_for_a_locks_holder() -> None:
    """While somebody holds the lock of the one word to claim, the loop goes on."""
    array = Wide(2, IDLE)

    def hold(pipe: Connection) -> None:
        word = array.at(1)
        with word.get_lock():
            word.set(LEFT)
            pipe.send("held")
            pipe.recv()

    async def main() -> None:
        claim = asyncio.create_task(array.aio.claim(LEFT, RIGHT))
        for _ in range(20):
            await asyncio.sleep(0.002)
        assert not claim.done()
        peer.tell()
        assert await claim == 1

    with child(hold) as peer:
        assert peer.says() == "held"
        run(main())


@pytest.mark.parametrize("wait", ["wait_any", "wait_all", "claim"])
def test_refuses_what_is_no_member(wait: str) -> None:
    """A wrong member is refused at the call, and nothing is waited for."""
    array = Wide(2, IDLE)

    async def main() -> None:
        with pytest.raises(KeyError, match="NOWHERE"):
            await getattr(array.aio, wait)("NOWHERE", LEFT)
        with pytest.raises(TypeError):
            await getattr(array.aio, wait)(3, LEFT)
        assert waited_for() == 0

    run(main())


@pytest.mark.only_on("native", "cffi")
def test_claims_a_word_whose_locks_holder_was_killed() -> None:
    """The lock of a dead process keeps nobody from a claim, nor does one of the thread itself."""
    array = Wide(2, LEFT)

    def hold(pipe: Connection) -> None:
        array.at(0).get_lock().acquire()
        pipe.send("held")
        pipe.recv()

    async def main() -> None:
        with array.at(1).get_lock():
            assert sorted([await array.aio.claim(LEFT, RIGHT) for _ in range(2)]) == [0, 1]

    with child(hold) as peer:
        assert peer.says() == "held"
        peer.kill()
        run(main())


def test_the_order_is_of_states_and_not_of_spellings() -> None:
    """Who gives a name and who gives a member wait in one line."""
    array = Wide(3, IDLE)
    order: list[int] = []

    async def claim(number: int, old: Any) -> None:
        await array.aio.claim(old, RIGHT)
        order.append(number)

    async def main() -> None:
        names = [LEFT, "LEFT", str(b"LEFT", "ascii")] * 2
        tasks = [asyncio.create_task(claim(*each)) for each in enumerate(names)]
        await until_waiting()
        for index in (0, 1, 2, 0, 1, 2):
            before = len(order)
            array[index] = LEFT
            while len(order) == before:
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        assert order == [*range(6)]

    run(main())


def test_a_subclass_may_have_a_claim_of_its_own() -> None:
    """What a subclass makes of claim() and count() is not what aio claims by."""

    class Own(IntEnumArray[Bits]):
        def claim(self, *_: Any) -> Any:  # type: ignore[override]
            raise NotImplementedError

        def count(self, *_: Any) -> Any:
            raise NotImplementedError

    array = Own(2, IDLE)

    async def main() -> None:
        claim = asyncio.create_task(array.aio.claim(LEFT, RIGHT))
        await until_waiting()
        array[1] = LEFT
        assert await claim == 1

    run(main())


@pytest.mark.only_on("lock")
def test_a_claim_does_not_wait_for_the_arrays_lock() -> None:
    """While another process writes inside the array's lock, the loop goes on."""
    array = Wide(2, IDLE)

    def hold(pipe: Connection) -> None:
        with array.at(1).get_lock():
            array[1] = LEFT
            pipe.send("held")
            pipe.recv()

    async def main() -> None:
        claim = asyncio.create_task(array.aio.claim(LEFT, RIGHT))
        await asyncio.sleep(0.05)
        assert not claim.done()
        peer.tell()
        assert await claim == 1

    with child(hold) as peer:
        assert peer.says() == "held"
        run(main())


@pytest.mark.parametrize("of", ["value", "array"])
def test_nobody_can_watch(of: str) -> None:
    """If there is no further thread to be had, those who wait get the OSError, and none hangs."""
    value, array = Status(IDLE), Wide(2, IDLE)

    async def main() -> None:
        wait = value.aio.wait_for(LEFT) if of == "value" else array.aio.claim(LEFT, IDLE)
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(wait)]
        if of == "array":
            tasks.append(asyncio.ensure_future(array.aio.claim(LEFT, IDLE)))
            tasks.append(asyncio.ensure_future(array.aio.wait_all(LEFT)))
        await until_waiting()
        await steps()
        desk = aio()._known_desk()
        real, desk._backend = desk._backend, Refusing(desk._backend)
        value.set(RIGHT)
        array[0] = RIGHT
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, OSError)
        desk._backend = real

    run(main())


class Refusing:
    """A backend's desk that can watch nothing more."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._desk, name)

    def watch(self, *_: object) -> int:
        raise OSError(errno.EAGAIN, "no thread")

    watch_on = watch


class Silent(Refusing):
    """A backend's desk that tells of nothing, and does something as it begins to watch."""

    def __init__(self, desk: Any, begins: Any = None) -> None:
        super().__init__(desk)
        self._begins = begins

    def watch(self, of: Any) -> int:  # type: ignore[override]
        if self._begins is not None:
            self._begins()
        slot: int = self._desk.watch(of)
        return slot

    def watch_on(self, *args: Any) -> None:  # type: ignore[override]
        self._desk.watch_on(*args)

    def take(self) -> list[int]:
        return []


def test_a_turn_is_passed_on() -> None:
    """Who is cancelled with its turn in hand gives it to the next, though nobody writes."""
    array = Wide(3, IDLE)

    async def main() -> None:
        tasks = [asyncio.create_task(array.aio.claim(LEFT, RIGHT)) for _ in range(2)]
        await until_waiting()
        await steps(3)
        desk = aio()._known_desk()
        desk._backend = Silent(desk._backend)
        array[2] = LEFT
        [spot] = vars_of_desk()
        assert [queue.give() for queue in spot.queues.values()] == [True]
        tasks[0].cancel()
        assert await tasks[1] == 2

    run(main())


def test_what_comes_before_it_is_watched() -> None:
    """What becomes so between a wait's look and its being watched ends the wait, untold."""
    value, array = Status(IDLE), Wide(3, IDLE)

    async def main() -> None:
        first = asyncio.create_task(Status(IDLE).aio.wait_for(LEFT))  # for the desk
        await until_waiting()
        desk = aio()._known_desk()
        real = desk._backend
        desk._backend = Silent(real, lambda: value.set(LEFT))
        assert await value.aio.wait_for(LEFT) is LEFT
        desk._backend = Silent(real, lambda: array.fill(LEFT))
        await array.aio.wait_all(LEFT)
        array.fill(IDLE)
        assert await array.aio.claim(LEFT, RIGHT) in range(3)
        first.cancel()
        await steps(3)

    run(main())
