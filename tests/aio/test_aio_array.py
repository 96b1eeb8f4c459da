"""An array's waits in an event loop: any word, all words, changes, and claims in their order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from helpers.boards import SHAPES, Wide
from helpers.crew import Bits, child
from helpers.loops import forks_beside_the_thread, run, steps, until_waiting, waited_for

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

IDLE, LEFT, RIGHT = Bits.IDLE, Bits.LEFT, Bits.RIGHT

by_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


@by_shape
def test_any_and_all(shape: dict[str, Any]) -> None:
    """wait_any() returns the lowest index of what it waits for; wait_all() waits for the last word."""
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
    """A claim that comes while others wait does not overtake them, though a word is free by then."""
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
def test_a_cancelled_claim_has_claimed_nothing(woken: bool) -> None:  # noqa: FBT001
    """Who is cancelled, in the very turn of its wake-up too, claims nothing, and the next one does."""
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
    from helpers.inside import aio  # noqa: PLC0415

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
    """While somebody holds the lock of the one word to claim the loop goes on; then it is claimed."""
    array = Wide(2, IDLE)

    def hold(pipe: Connection) -> None:
        word = array.at(1)
        with word.get_lock():
            word.set(LEFT)
            pipe.send("held")
            pipe.recv()

    async def main() -> None:
        claim = asyncio.create_task(array.aio.claim(LEFT, RIGHT))
        ticks = 0
        for _ in range(20):
            await asyncio.sleep(0.002)
            ticks += 1
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
