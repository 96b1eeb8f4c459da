"""Which loops it works in: uvloop's, debug mode, eager tasks, other threads and interpreters."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import BACKEND
from helpers import subinterpreters
from helpers.boards import Wide
from helpers.crew import PATIENCE, Bits, Status, Task, child
from helpers.loops import (
    descriptors,
    forks_beside_the_thread,
    steps,
    until_descriptors,
    until_nobody_watches,
    until_waiting,
    until_watched,
    waited_for,
)
from helpers.support import collect, environment, run_script

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from multiprocessing.connection import Connection
    from pathlib import Path

IDLE, LEFT, RIGHT = Bits.IDLE, Bits.LEFT, Bits.RIGHT

#: Loops other than the usual one.
LOOPS = ["asyncio", "debug", "eager", "uvloop"]


def make_loop(kind: str) -> asyncio.AbstractEventLoop:
    """Make a loop of such a kind; skip where it cannot be had."""
    if kind == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed")
        loop: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
        return loop
    loop = asyncio.new_event_loop()
    if kind == "debug":
        loop.set_debug(True)
    if kind == "eager":
        factory: Any = getattr(asyncio, "eager_task_factory", None)
        if factory is None:
            loop.close()
            pytest.skip("eager tasks came with 3.12")
        loop.set_task_factory(factory)
    return loop


by_loop = pytest.mark.parametrize("kind", LOOPS)


def run_in(kind: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a program in a loop of such a kind, which then closes; nothing is left waiting."""

    async def whole() -> None:
        async with asyncio.timeout(PATIENCE):
            await main()
        assert waited_for() == 0

    with asyncio.Runner(loop_factory=lambda: make_loop(kind)) as runner:
        runner.run(whole())


def write_when_told(pipe: Connection, value: Status, array: Wide, jobs: Wide) -> None:
    """Write each member that is sent to the value and to all words, until None."""
    for member in iter(pipe.recv, None):
        value.set(member)
        array.fill(member)
        jobs[-1] = member


# -- kinds of loops


@forks_beside_the_thread
@by_loop
def test_waits(kind: str) -> None:
    """Waits of each kind are woken by another process."""
    value, array, jobs = Status(IDLE), Wide(5, IDLE), Wide(5, IDLE)

    async def main() -> None:
        old = IDLE
        for member in (LEFT, RIGHT) * 5:
            waits = asyncio.gather(
                value.aio.wait_for(member),
                value.aio.wait_while(old),
                array.aio.wait_all(member),
                jobs.aio.claim(member, IDLE),
            )
            any_word = asyncio.ensure_future(array.aio.wait_any(member))
            await until_waiting(3)
            peer.tell(member)
            assert [*await waits] == [member, member, None, 4]
            assert await any_word in range(5)
            assert waited_for() == 0
            old = member

    with child(write_when_told, value, array, jobs) as peer:
        run_in(kind, main)
        peer.tell(None)


@by_loop
def test_changes(kind: str) -> None:
    """changes() yields what is written, and a loop may leave it."""
    value, array = Status(IDLE), Wide(3, IDLE)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        members = [LEFT, RIGHT, LEFT]
        async for member in value.aio.changes():
            if not members:
                assert member is LEFT
                break
            loop.call_later(0.001, value.set, members.pop(0))
        async for change in array.aio.changes():
            if change == {2: RIGHT}:
                break
            assert change == dict.fromkeys(range(3), IDLE)
            loop.call_later(0.001, array.exchange, 2, RIGHT)

    run_in(kind, main)


@by_loop
def test_cancelled(kind: str) -> None:
    """Waits that are cancelled, before and behind their first step, end and leave nothing."""
    value, array = Status(IDLE), Wide(3, IDLE)

    async def main() -> None:
        for count in (0, 1, 5):
            tasks: list[asyncio.Future[Any]] = [
                asyncio.ensure_future(wait)
                for wait in (
                    value.aio.wait_for(LEFT),
                    value.aio.wait_while(IDLE),
                    array.aio.wait_any(LEFT),
                    array.aio.wait_all(LEFT),
                    array.aio.claim(LEFT, RIGHT),
                )
            ]
            await steps(count)
            for task in tasks:
                task.cancel()
            _, left = await asyncio.wait(tasks, timeout=PATIENCE)
            assert not left
            assert all(task.cancelled() for task in tasks)
            assert waited_for() == 0
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(value.aio.wait_for(LEFT), 0.01)

    run_in(kind, main)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@by_loop
def test_loops_come_and_go(kind: str) -> None:
    """Loops one after another leave no descriptor, though waits are in them as they close."""
    value, array = Status(IDLE), Wide(3, IDLE)

    def once() -> None:
        loop = make_loop(kind)
        value.set(IDLE)
        tasks: list[asyncio.Task[Any]] = [
            loop.create_task(value.aio.wait_for(RIGHT)),
            loop.create_task(array.aio.claim(LEFT, RIGHT)),
        ]
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        met = loop.create_task(value.aio.wait_for(LEFT))
        loop.run_until_complete(until_waiting(2))
        value.set(LEFT)
        assert loop.run_until_complete(met) is LEFT
        assert not any(task.done() for task in tasks)
        loop.close()

    once()
    collect()
    before = descriptors()
    for _ in range(20):
        once()
        until_descriptors(before)


@by_loop
def test_loops_that_are_run_leave_nothing(kind: str) -> None:
    """A runner cancels what is left waiting, and then neither descriptor nor thread is left."""
    value = Status(IDLE)

    async def main() -> None:
        tasks.append(asyncio.ensure_future(value.aio.wait_for(LEFT)))
        await until_waiting()

    tasks: list[asyncio.Future[Any]] = []
    before = None
    for _ in range(10):
        with asyncio.Runner(loop_factory=lambda: make_loop(kind)) as runner:
            runner.run(main())
        assert tasks.pop().cancelled()
        collect()
        before = descriptors() if before is None else before
        until_descriptors(before)
    until_nobody_watches()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_an_eager_task_ends_at_once() -> None:
    """What is so already ends an eager task in its creation; else it waits as any other."""
    value = Status(LEFT)

    async def main() -> None:
        at_once = asyncio.ensure_future(value.aio.wait_for(LEFT))
        assert at_once.done()
        assert at_once.result() is LEFT
        later = asyncio.ensure_future(value.aio.wait_for(RIGHT))
        assert not later.done()
        assert waited_for() == 1
        value.set(RIGHT)
        assert await later is RIGHT

    run_in("eager", main)


def test_debug_mode_of_the_environment(tmp_path: Path) -> None:
    """PYTHONASYNCIODEBUG finds nothing to complain of: no slow step, no call of a wrong thread."""
    source = """
        import asyncio, threading
        from helpers.boards import Wide
        from helpers.crew import Bits, Status
        from helpers.loops import until_waiting
        value, array, doomed = Status(Bits.IDLE), Wide(3, Bits.IDLE), Status(Bits.IDLE)
        async def main():
            assert asyncio.get_running_loop().get_debug()
            waits = [asyncio.ensure_future(wait) for wait in (
                value.aio.wait_for(Bits.LEFT), array.aio.claim(Bits.LEFT, Bits.IDLE),
                doomed.aio.wait_for(Bits.LEFT))]
            await until_waiting(3)
            def write():
                value.set(Bits.LEFT)
                array[2] = Bits.LEFT
                doomed.close()
            thread = threading.Thread(target=write)
            thread.start()
            member, index, error = await asyncio.gather(*waits, return_exceptions=True)
            thread.join()
            print(member.name, index, type(error).__name__)
        asyncio.run(main())
    """
    done = run_script(source, folder=tmp_path, env=environment(PYTHONASYNCIODEBUG="1"))
    assert (done.returncode, done.stdout) == (0, "LEFT 2 ValueError\n")
    complaints = [line for line in done.stderr.splitlines() if "took" not in line]
    assert complaints == []


# -- threads


def test_a_loop_of_another_thread() -> None:
    """A loop in a thread other than the main one is woken by the main one, and closes there."""
    value, array = Status(IDLE), Wide(3, IDLE)
    waits = threading.Event()

    async def main() -> None:
        claim = asyncio.ensure_future(array.aio.claim(LEFT, RIGHT))
        wait = asyncio.ensure_future(value.aio.wait_for(LEFT))
        await until_waiting(2)
        waits.set()
        assert await wait is LEFT
        assert await claim == 1

    task = Task(lambda: run_in("asyncio", main))
    assert waits.wait(PATIENCE)
    value.set(LEFT)
    array[1] = LEFT
    task.result()


def test_loops_of_many_threads() -> None:
    """Loops of several threads each get their own wake-ups of one value, and one claim each."""
    value, array = Status(IDLE), Wide(8, IDLE)
    ready = threading.Barrier(9)
    claimed: list[int] = []

    async def main() -> None:
        wait = asyncio.ensure_future(value.aio.wait_for(RIGHT))
        claim = asyncio.ensure_future(array.aio.claim(LEFT, RIGHT))
        await until_waiting(2)
        await asyncio.get_running_loop().run_in_executor(None, ready.wait, PATIENCE)
        assert await wait is RIGHT
        claimed.append(await claim)

    tasks = [Task(lambda: run_in("asyncio", main)) for _ in range(8)]
    ready.wait(PATIENCE)
    until_watched()
    value.set(RIGHT)
    for index in range(8):
        array[index] = LEFT
    for task in tasks:
        task.result()
    assert sorted(claimed) == [*range(8)]


@by_loop
def test_a_loop_moves_from_thread_to_thread(kind: str) -> None:
    """A loop that is run in one thread and then in another keeps its waits."""
    value, array = Status(IDLE), Wide(3, IDLE)
    loop = make_loop(kind)

    async def begin() -> tuple[asyncio.Future[Any], asyncio.Future[Any]]:
        wait = asyncio.ensure_future(value.aio.wait_for(LEFT))
        claim = asyncio.ensure_future(array.aio.claim(LEFT, RIGHT))
        await until_waiting(2)
        return wait, claim

    async def go_on(which: asyncio.Future[Any]) -> Any:
        async with asyncio.timeout(PATIENCE):
            return await which

    try:
        wait, claim = Task(lambda: loop.run_until_complete(begin())).result()
        value.set(LEFT)  # nobody runs the loop now
        assert loop.run_until_complete(go_on(wait)) is LEFT
        array[2] = LEFT
        assert Task(lambda: loop.run_until_complete(go_on(claim))).result() == 2
        loop.run_until_complete(steps())
        assert loop.run_until_complete(_count()) == 0
    finally:
        loop.close()


async def _count() -> int:
    return waited_for()


def test_a_loop_ends_in_another_thread_than_it_was_made_in() -> None:
    """A loop that is dropped in another thread than it ran in leaves no descriptor."""
    value = Status(IDLE)

    async def main() -> None:
        wait = asyncio.ensure_future(value.aio.wait_for(LEFT))
        await until_waiting()
        value.set(LEFT)
        await wait
        value.set(IDLE)

    def once() -> None:
        loop = make_loop("asyncio")
        Task(lambda: loop.run_until_complete(main())).result()
        loop.close()
        gc.collect()

    once()
    collect()
    before = descriptors()
    for _ in range(10):
        once()
    until_descriptors(before)


# -- several interpreters

SUBINTERPRETER = """
import enum, sys
from helpers import subinterpreters as sub
SOURCE = '''
import asyncio, enum, threading
from atomic_intenum import IntEnumArray, IntEnumValue
Status = enum.IntEnum("MARK", ["IDLE", "BUSY", "DONE"], module="here")
async def main():
    value, array = IntEnumValue[Status](Status.IDLE), IntEnumArray[Status](3, Status.IDLE)
    wait = asyncio.ensure_future(value.aio.wait_for(Status.DONE))
    claim = asyncio.ensure_future(array.aio.claim(Status.DONE, Status.BUSY))
    for _ in range(10):
        await asyncio.sleep(0)
    value.set(Status.DONE)
    array[1] = Status.DONE
    async with asyncio.timeout(10):
        assert await wait is Status.DONE
        assert await claim == 1
for _ in range(2):
    asyncio.run(main())
print("awaited", flush=True)
'''.replace("MARK", f"Sub{sys.argv[2]}")
others = [sub.create(sys.argv[1]) for _ in range(2)]
for other in others:
    sub.run(other, SOURCE)
exec(SOURCE)
for other in others:
    sub.run(other, SOURCE)
    sub.destroy(other)
exec(SOURCE)
"""


@pytest.mark.slow
@pytest.mark.only_on("native", "lock")
@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="3.11's asyncio itself serves one interpreter alone"
)
@pytest.mark.parametrize("interpreter", subinterpreters.KINDS)
def test_loops_of_several_interpreters(interpreter: str, tmp_path: Path) -> None:
    """Each of several interpreters awaits in its own loops, and others go on when it ends."""
    try:
        subinterpreters.module()
    except ImportError:
        pytest.skip("this interpreter makes no others")
    done = run_script(SUBINTERPRETER, interpreter, str(os.getpid()), folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "awaited\n" * 6, BACKEND
