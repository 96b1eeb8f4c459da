"""How a wait in an event loop ends: cancelled, by a timeout, by close(), with its loop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from helpers.boards import Wide
from helpers.crew import PATIENCE, Bits, Status, Task
from helpers.loops import (
    WATCHED,
    descriptors,
    forks_beside_the_thread,
    run,
    steps,
    until_descriptors,
    until_nobody_watches,
    until_waiting,
    until_watched,
    waited_for,
    watchers,
)
from helpers.support import (
    COUNTS_REFERENCES,
    collect,
    environment,
    fork,
    run_script,
    soaked,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

IDLE, LEFT, RIGHT = Bits.IDLE, Bits.LEFT, Bits.RIGHT

watched = pytest.mark.skipif(not WATCHED, reason="no thread: the loop takes naps")

#: A wait for LEFT of each kind, and how it is met.
WAITS: dict[str, tuple[Callable[[Any, Any], Awaitable[Any]], bool]] = {
    "wait_for": (lambda value, _: value.aio.wait_for(LEFT), False),
    "wait_while": (lambda value, _: value.aio.wait_while(IDLE), False),
    "value's changes": (lambda value, _: _second(value.aio.changes()), False),
    "wait_any": (lambda _, array: array.aio.wait_any(LEFT), True),
    "wait_all": (lambda _, array: array.aio.wait_all(LEFT), True),
    "claim": (lambda _, array: array.aio.claim(LEFT, IDLE), True),
    "array's changes": (lambda _, array: _second(array.aio.changes()), True),
}

by_wait = pytest.mark.parametrize(("wait", "of_array"), WAITS.values(), ids=WAITS)


async def _second(changes: Any) -> Any:
    await anext(changes)
    return await anext(changes)


@by_wait
def test_cancelled(wait: Any, of_array: bool) -> None:  # noqa: ARG001
    """A cancelled wait ends in the loop's next steps, and nothing is left of it."""
    value, array = Status(IDLE), Wide(3, IDLE)

    async def main() -> None:
        tasks = [asyncio.ensure_future(wait(value, array)) for _ in range(5)]
        await until_waiting()
        await steps()
        for task in tasks:
            task.cancel()
        await steps()
        assert all(task.cancelled() for task in tasks)
        assert waited_for() == 0

    run(main())


@by_wait
def test_timeout(wait: Any, of_array: bool) -> None:  # noqa: ARG001
    """asyncio.timeout() ends a wait with TimeoutError, and nothing is left of it."""
    value, array = Status(IDLE), Wide(3, IDLE)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await wait(value, array)
        assert waited_for() == 0

    run(main())


@by_wait
@pytest.mark.parametrize("elsewhere", [False, True])
def test_closed(wait: Any, of_array: bool, elsewhere: bool) -> None:
    """close(), in the loop or in another thread, ends the waits of that object with ValueError."""
    value, array = Status(IDLE), Wide(3, IDLE)

    async def main() -> None:
        tasks = [asyncio.ensure_future(wait(value, array)) for _ in range(3)]
        await until_waiting()
        await steps()
        close = (array if of_array else value).close
        if elsewhere:
            await asyncio.to_thread(close)
        else:
            close()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, ValueError)
            assert "closed" in str(outcome)

    run(main())


def test_another_object_is_not_closed() -> None:
    """A copy of a value is waited for on, when the value is closed."""
    value = Status(IDLE)
    twin = value.__copy__()

    async def main() -> None:
        wait = asyncio.create_task(twin.aio.wait_for(LEFT))
        await until_waiting()
        value.close()
        await steps()
        twin.set(LEFT)
        assert await wait is LEFT

    run(main())


@pytest.mark.scaled
def test_cancelled_waits_leave_nothing() -> None:
    """However many waits were cancelled, memory, descriptors and threads are as before."""
    values = [Status(IDLE) for _ in range(10)]
    array = Wide(10, IDLE)

    async def some(count: int) -> None:
        for _ in range(count):
            tasks: list[asyncio.Future[Any]]
            tasks = [asyncio.ensure_future(value.aio.wait_for(LEFT)) for value in values]
            tasks += [asyncio.ensure_future(array.aio.claim(LEFT, RIGHT)) for _ in range(10)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert waited_for() == 0

    async def main() -> None:
        await some(50)
        gc.collect()
        before = descriptors(), resident()
        await some(soaked(250, 5000))
        gc.collect()
        until_descriptors(before[0])
        assert resident() - before[1] < 1 << (20 if COUNTS_REFERENCES else 25)
        assert watchers() <= WATCHED  # it ends when nobody has waited for a while

    run(main())


def resident() -> int:
    """Return the bytes of memory that this process has."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@watched
def test_one_thread_and_for_a_second() -> None:
    """One thread watches for all loops, ends a second after the last wait, and comes again."""
    value = Status(IDLE)
    barrier = threading.Barrier(3)

    async def main() -> None:
        wait = asyncio.create_task(value.aio.wait_for(LEFT))
        await until_waiting()
        await asyncio.to_thread(barrier.wait, PATIENCE)
        until_watched()
        await asyncio.to_thread(barrier.wait, PATIENCE)
        assert await wait is LEFT

    until_nobody_watches()
    for _ in range(2):
        value.set(IDLE)
        tasks = [Task(lambda: run(main())) for _ in range(2)]
        barrier.wait(PATIENCE)
        barrier.wait(PATIENCE)
        value.set(LEFT)
        for task in tasks:
            task.result()
        ended = time.monotonic()
        assert watchers() == 1
        until_nobody_watches()
        assert time.monotonic() - ended > 0.5


def test_one_loop_after_the_other() -> None:
    """Loops that come and go leave no descriptor, also where waits were in them as they closed."""
    value = Status(IDLE)

    async def main() -> None:
        value.set(IDLE)
        wait = asyncio.create_task(value.aio.wait_for(LEFT))
        left = asyncio.create_task(value.aio.wait_for(RIGHT))  # run() cancels it
        await until_waiting()
        value.set(LEFT)
        assert await wait is LEFT
        assert not left.done()

    asyncio.run(main())
    collect()
    before = descriptors()
    for _ in range(20):
        asyncio.run(main())
    until_descriptors(before)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("closes", [False, True])
def test_a_loop_dies_with_waits_in_it(closes: bool) -> None:
    """A loop that is dropped with waits in it, closed or not, takes all of it with it."""
    value, array = Status(IDLE), Wide(3, IDLE)

    def die() -> None:
        loop = asyncio.new_event_loop()
        tasks = [
            loop.create_task(value.aio.wait_for(LEFT)),
            loop.create_task(array.aio.claim(LEFT, RIGHT)),
            loop.create_task(array.aio.wait_any(LEFT)),
        ]
        loop.run_until_complete(until_waiting(2))
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        if closes:
            loop.close()

    die()
    collect()
    before = descriptors()
    for _ in range(5):
        die()
        value.set(RIGHT)
        array[0] = RIGHT
        until_descriptors(before)
    if WATCHED:
        until_nobody_watches()


def test_two_loops_in_turns() -> None:
    """Two loops that one thread runs in turns each get their own wake-ups."""
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    value = Status(IDLE)
    tasks = [loop.create_task(value.aio.wait_for(LEFT)) for loop in (first, second)]
    for loop in (first, second):
        loop.run_until_complete(until_waiting())
    value.set(LEFT)
    for loop, task in zip((first, second), tasks, strict=True):
        assert loop.run_until_complete(task) is LEFT
        loop.close()


@forks_beside_the_thread
def test_fork() -> None:
    """A child of fork has loops and a thread of its own, and its parent's waits go on."""
    value, answer = Status(IDLE), Status(IDLE)

    async def inside() -> None:
        wait = asyncio.create_task(value.aio.wait_for(LEFT))
        await until_waiting()
        answer.set(LEFT)
        assert await wait is LEFT

    async def main() -> None:
        wait = asyncio.create_task(value.aio.wait_for(LEFT))
        await until_waiting()
        pid = fork(lambda: Task(lambda: asyncio.run(inside())).result())
        assert await answer.aio.wait_for(LEFT) is LEFT
        value.set(LEFT)
        assert await wait is LEFT
        assert await asyncio.to_thread(wait_for, pid) == 0

    run(main())


def test_ends_with_its_program(tmp_path: Path) -> None:
    """A program that returns while something is waited for ends, with nothing on stderr."""
    source = """
        import asyncio
        from helpers.crew import Bits, Status
        value = Status(Bits.IDLE)
        async def main():
            task = asyncio.create_task(value.aio.wait_for(Bits.LEFT))
            await asyncio.sleep(0.02)
        asyncio.run(main())
    """
    done = run_script(source, folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_ends_by_ctrl_c() -> None:
    """Ctrl-C ends a program that waits, as it ends any other of asyncio's."""
    source = """
import asyncio, signal
from helpers.crew import Bits, Status
from helpers.loops import until_waiting
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
async def main():
    value = Status(Bits.IDLE)
    task = asyncio.create_task(value.aio.wait_for(Bits.LEFT))
    await until_waiting()
    print("waits", flush=True)
    await task
asyncio.run(main())
"""
    program = subprocess.Popen(
        [sys.executable, "-c", source],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "waits\n"
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=20)
    finally:
        program.kill()
        program.wait()
    assert program.returncode == -signal.SIGINT
    assert errors.splitlines()[-1] == "KeyboardInterrupt"


def test_a_signal_handler_raises_in_the_reader() -> None:
    """An exception of a signal handler, wherever it comes, loses no wake-up."""
    values = [Status(IDLE) for _ in range(50)]

    class Interrupt(Exception):  # noqa: N818
        pass

    def handler(*_: object) -> None:
        raise Interrupt

    before = signal.signal(signal.SIGUSR1, handler)
    loop = asyncio.new_event_loop()
    try:
        tasks = [loop.create_task(value.aio.wait_for(LEFT)) for value in values]
        loop.run_until_complete(until_waiting(50))
        spots = loop.run_until_complete(_spots())
        raised: list[object] = []
        loop.set_exception_handler(lambda _, context: raised.append(context["exception"]))

        class Groups(dict[Any, Any]):
            def items(self) -> Any:
                if len(raised) < 3:
                    os.kill(os.getpid(), signal.SIGUSR1)
                return super().items()

        spots[20].groups = Groups(spots[20].groups)
        for value in values:
            value.set(LEFT)
        loop.run_until_complete(asyncio.wait(tasks))
        assert [type(error) for error in raised] == [Interrupt] * 3
        assert [task.result() for task in tasks] == [LEFT] * 50
    finally:
        signal.signal(signal.SIGUSR1, before)
        loop.close()


async def _spots() -> list[Any]:
    from helpers.inside import aio

    return list(aio()._known_desk().spots.values())


def test_without_a_wait_there_is_no_asyncio(tmp_path: Path) -> None:
    """Neither the package nor a value imports asyncio, and no thread is started."""
    source = """
        import sys
        from helpers.crew import Bits, Status
        Status(Bits.IDLE).wait_for(Bits.IDLE)
        print("asyncio" in sys.modules)
    """
    done = run_script(source, folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
