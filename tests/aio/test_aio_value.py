"""A value's waits in an event loop: what they return, what they refuse, and that they go on."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest

import atomic_intenum
from atomic_intenum import IntEnumValue
from helpers.crew import PATIENCE, Bits, Status, child
from helpers.inside import backend
from helpers.loops import forks_beside_the_thread, run, steps, until_waiting, waited_for
from helpers.marks import unnamed
from helpers.support import collect_unless_counted, make_enum, write_word

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

IDLE, LEFT, RIGHT = Bits.IDLE, Bits.LEFT, Bits.RIGHT


def test_what_is_so_needs_no_wait() -> None:
    """What is met at once is returned at once: without a step of the loop, thread or descriptor."""
    value = Status(LEFT)

    async def main() -> None:
        asyncio.get_running_loop().call_soon(value.set, RIGHT)
        assert await value.aio.wait_for(LEFT) is LEFT
        assert await value.aio.wait_for("RIGHT", LEFT) is LEFT
        assert await value.aio.wait_while(RIGHT) is LEFT
        assert waited_for() == 0
        assert value == LEFT  # the loop has not gone on

    run(main())


@unnamed
def test_clock_that_ticks_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that a tick of a coarse clock falls into is not taken for one that costs as much."""
    desk: Any = backend.Desk()
    ticks = itertools.count()
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: next(ticks) / 64)
        desk.watch(Status(IDLE))
        desk.take()
        assert desk.nap() < 1 / 64


@unnamed
def test_look_that_is_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that others hold up for a second is not taken for one that works as long."""
    desk: Any = backend.Desk()
    held_up = itertools.count()
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: float(next(held_up)))
        desk.watch(Status(IDLE))
        desk.take()
    assert desk.nap() < 1


def change_when_told(pipe: Connection, value: Status) -> None:
    """Set the value to each member that is sent, until None comes."""
    for member in iter(pipe.recv, None):
        value.set(member)


@forks_beside_the_thread
def test_is_woken_by_another_process() -> None:
    """What another process writes ends the wait, and the wait returns that member."""
    value = Status(IDLE)

    async def main() -> None:
        for member in itertools.islice(itertools.cycle([LEFT, RIGHT]), 20):
            wait = asyncio.create_task(value.aio.wait_for(member))
            await until_waiting()
            peer.tell(member)
            assert await wait is member

    with child(change_when_told, value) as peer:
        run(main())
        peer.tell(None)


def test_a_false_member_is_found() -> None:
    """A member of value 0 is returned as any other, at once and after a wait."""
    value = Status(LEFT)

    async def main() -> None:
        wait = asyncio.create_task(value.aio.wait_for(IDLE))
        await until_waiting()
        value.set(IDLE)
        assert await wait is IDLE
        assert await value.aio.wait_while(LEFT) is IDLE

    run(main())


def test_many_waits_of_one_value() -> None:
    """Of several waits for one value each ends when its own goal is met, and once."""
    value = Status(IDLE)
    ended: list[tuple[str, Bits]] = []

    async def wait(name: str, awaited: Any) -> None:
        ended.append((name, await awaited))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(wait(f"left {number}", value.aio.wait_for(LEFT)))
                group.create_task(wait(f"right {number}", value.aio.wait_for("RIGHT")))
            group.create_task(wait("other", value.aio.wait_while(IDLE, LEFT)))
            await until_waiting()
            value.set(LEFT)
            while len(ended) < 3:
                await asyncio.sleep(0)
            await steps()
            assert sorted(ended) == [(f"left {number}", LEFT) for number in range(3)]
            value.set(RIGHT)
        assert len(ended) == 7
        assert {member for _, member in ended[3:]} == {RIGHT}

    run(main())


def test_changes() -> None:
    """Changes are the member of now, and then each that differs from the last."""
    value = Status(IDLE)

    async def main() -> None:
        changes = value.aio.changes()
        assert await anext(changes) is IDLE
        value.set(LEFT)
        value.set(RIGHT)
        assert await anext(changes) is RIGHT
        following = asyncio.ensure_future(anext(changes))
        await until_waiting()
        value.set(RIGHT)  # no change
        await asyncio.sleep(0.01)
        assert not following.done()
        value.set(LEFT)
        assert await following is LEFT
        assert waited_for() == 0

    run(main())


def test_refuses_what_is_no_member() -> None:
    """A wrong member is refused as wait_for() refuses it, and nothing is waited for."""
    value = Status(IDLE)
    other: Any = make_enum("Other", {"LEFT": 0x55555555}, module=__name__)

    async def main() -> None:
        with pytest.raises(KeyError, match="NOWHERE"):
            await value.aio.wait_for("NOWHERE")
        for wrong in (other.LEFT, 0x55555555, None):
            with pytest.raises(TypeError):
                await value.aio.wait_while(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await value.aio.wait_for()  # type: ignore[call-arg]
        assert waited_for() == 0

    run(main())


@pytest.mark.only_on("native", "cffi")
def test_refuses_who_holds_the_lock() -> None:
    """A wait in the thread that holds the value's lock is refused: nobody could end it."""
    value = Status(IDLE)

    async def main() -> None:
        with value.get_lock():
            with pytest.raises(RuntimeError, match="holding"):
                await value.aio.wait_for(LEFT)
            assert await value.aio.wait_for(IDLE) is IDLE

    run(main())


def test_a_number_that_is_no_members() -> None:
    """A word that holds no member's number ends wait_while() with its ValueError."""
    value = Status(IDLE)

    async def main() -> None:
        wait = asyncio.create_task(value.aio.wait_while(IDLE))
        await until_waiting()
        write_word(value, 77, version=9)
        with pytest.raises(ValueError, match="77"):
            await wait

    run(main())


def test_each_class_has_it() -> None:
    """Unbound and subscripted values have aio, and values of an array's at()."""
    plain = IntEnumValue(LEFT)
    bound = IntEnumValue[Bits]("LEFT")
    at = atomic_intenum.IntEnumArray(3, LEFT).at(1)

    async def main() -> None:
        for value in (plain, bound, at):
            wait = asyncio.create_task(value.aio.wait_while(LEFT))
            await until_waiting()
            value.set(RIGHT)
            assert await wait is RIGHT

    run(main())


def test_other_words_of_a_pool_wake_nobody() -> None:
    """Writes to values that nobody waits for leave a loop asleep that waits for their neighbour."""
    value, *others = [Status(IDLE) for _ in range(30)]

    async def main() -> None:
        wait = asyncio.create_task(value.aio.wait_for(LEFT))
        await until_waiting()
        for other in others:
            other.set(LEFT)
        await asyncio.sleep(PATIENCE / 1000)
        assert not wait.done()
        value.set(LEFT)
        assert await wait is LEFT

    run(main())


def test_another_task_may_hold_the_lock() -> None:
    """Who waits is not refused since another task of the thread changes the value in its lock."""
    value = Status(IDLE)

    async def main() -> None:
        wait = asyncio.create_task(value.aio.wait_for(RIGHT))
        await until_waiting()
        with value.get_lock():
            value.set(LEFT)
            await asyncio.sleep(0.3)
            assert not wait.done()
            value.set(RIGHT)
        assert await wait is RIGHT

    run(main())


@pytest.mark.only_on("native", "cffi")
def test_the_name_is_free_behind_a_wait() -> None:
    """What was waited for lets go of its name with its last reference."""

    async def main() -> None:
        for _ in range(3):
            value = Status(IDLE, segment_name="aio-name")
            wait = asyncio.create_task(value.aio.wait_for(LEFT))
            await until_waiting()
            value.set(LEFT)
            assert await wait is LEFT
            del value, wait
            collect_unless_counted()

    run(main())
