"""Writers that are killed about their writes, while a loop waits for each state that they leave.

A storm of them: each is told to make one write, and killed -9 a moment later, which is sought where
about half of them have written.  So many die between the write and the wake-up that belongs to it.
csrc's own tests kill at each exact point; here it is the loop that must not miss what was left.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from multiprocessing.sharedctypes import RawArray
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import BACKEND, IntEnumArray, IntEnumValue
from helpers.crew import PATIENCE, child
from helpers.loops import forks_beside_the_thread, waited_for
from helpers.support import fork, make_enum, soaked, until
from helpers.waits import LOOK_AGAIN, PROMPT, SLACK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from multiprocessing.connection import Connection

#: A writer that is killed on the lock path takes the lock with it.
pytestmark = [forks_beside_the_thread, pytest.mark.only_on("native", "cffi"), pytest.mark.scaled]

#: How many states are left one after another.
#: Fewer where the core is the one that native has soaked.
STATES = soaked(80, 5000 if BACKEND == "native" else 1000)

Number: Any = make_enum("Number", {f"N{n}": n for n in range(STATES + 1)}, module=__name__)
MEMBERS: list[Any] = list(Number)

WORDS = 20


def written(word: Any, state: int, moment: float) -> float | None:
    """Have a writer write a state, and kill it so many seconds after it was told to.

    Returns:
        When the state was first seen; None: it died before it wrote.

    """
    ready, tell, version = os.pipe(), os.pipe(), word.version

    def write() -> None:
        member = MEMBERS[state]
        os.write(ready[1], b"r")
        os.read(tell[0], 1)
        word.set(member)
        signal.pause()

    pid = fork(write)
    try:
        os.read(ready[0], 1)
        os.write(tell[1], b"t")
        until_moment = time.monotonic() + moment
        while time.monotonic() < until_moment:
            pass
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for end in (*ready, *tell):
            os.close(end)
    return time.monotonic() if word.version != version else None


def storm(pipe: Connection, words: list[Any], seen: Any, woken: Any) -> None:
    """Leave one state after another, each as soon as the loop has woken up for the last one."""
    chance, moment, deaths = random.Random(11), 50e-6, 0
    for state in range(1, STATES + 1):
        until(lambda last=state - 1: woken[last], f"the wake-up for {state - 1}")  # type: ignore[misc]
        word = words[state % len(words)]
        while (when := written(word, state, moment * chance.uniform(0.5, 1.5))) is None:
            deaths += 1
            moment = min(moment * 1.2, 0.01)
        moment = max(moment / 1.2, 1e-6)
        seen[state] = when
    pipe.send(deaths)


def check(words: list[Any], wait: Callable[[int], Awaitable[object]]) -> None:
    """Check that each state that a dead writer left is seen in time, by a wait of a loop."""
    seen: Any = RawArray("d", STATES + 1)
    woken: Any = RawArray("d", STATES + 1)

    async def main() -> None:
        woken[0] = time.monotonic()
        for state in range(1, STATES + 1):
            await wait(state)
            woken[state] = time.monotonic()
        assert waited_for() == 0

    with child(storm, words, seen, woken) as writers:
        asyncio.run(main())
        deaths = writers.says(PATIENCE)
    late = sorted(after - before for before, after in zip(seen[1:], woken[1:], strict=True))
    slow = sum(seconds > PROMPT for seconds in late)
    print(f"{deaths} died before they wrote; {slow} of {STATES} slow, the last {late[-1]:.3f} s")
    assert late[-1] < LOOK_AGAIN + SLACK, late[-5:]
    assert late[STATES // 2] < PROMPT, late


VALUE_WAITS: dict[str, Callable[[Any, int], Awaitable[Any]]] = {
    "wait_for": lambda value, state: value.aio.wait_for(MEMBERS[state]),
    "wait_while": lambda value, state: value.aio.wait_while(MEMBERS[state - 1]),
}


@pytest.mark.parametrize("wait", VALUE_WAITS.values(), ids=VALUE_WAITS)
def test_no_state_of_a_value_is_missed(wait: Callable[[Any, int], Awaitable[Any]]) -> None:
    """What a killed writer left in a value ends a wait for it within 250 ms, and mostly at once."""
    value: Any = IntEnumValue(MEMBERS[0])

    async def once(state: int) -> None:
        assert await wait(value, state) is MEMBERS[state]

    check([value], once)


def test_changes_of_a_value_miss_none() -> None:
    """changes() yields each state that a killed writer left, within 250 ms."""
    value: Any = IntEnumValue(MEMBERS[0])
    changes = value.aio.changes()

    async def once(state: int) -> None:
        while told[-1:] != [MEMBERS[state]]:
            told.append(await anext(changes))

    told: list[Any] = []
    check([value], once)
    assert told == sorted(told)
    assert told[-STATES:] == MEMBERS[1:]


@pytest.mark.parametrize("padded", [False, True])
def test_no_state_of_an_array_is_missed(padded: bool) -> None:
    """What a killed writer left in any word of an array ends a wait for it within 250 ms."""
    array: Any = IntEnumArray(WORDS, MEMBERS[0], padded=padded)

    async def once(state: int) -> None:
        assert await array.aio.wait_any(MEMBERS[state]) == state % WORDS

    check([array.at(index) for index in range(WORDS)], once)


def test_changes_of_an_array_miss_none() -> None:
    """changes() of an array tells each state that a killed writer left, within 250 ms."""
    array: Any = IntEnumArray(WORDS, MEMBERS[0])
    told: dict[int, Any] = {}

    async def once(state: int) -> None:
        while told.get(state % WORDS) is not MEMBERS[state]:
            told.update(await anext(changes))

    changes = array.aio.changes()
    check([array.at(index) for index in range(WORDS)], once)


def test_no_job_of_a_dead_writer_stays_unclaimed() -> None:
    """The word that a killed writer made free is claimed within 250 ms."""
    array: Any = IntEnumArray(WORDS, MEMBERS[0])

    async def once(state: int) -> None:
        assert await array.aio.claim(MEMBERS[state], MEMBERS[0]) == state % WORDS

    check([array.at(index) for index in range(WORDS)], once)


def test_waits_for_states_to_come_sleep_on() -> None:
    """Of many waits for one value each ends by its own state, which a killed writer left."""
    value: Any = IntEnumValue(MEMBERS[0])
    tasks: dict[int, asyncio.Task[Any]] = {}

    async def once(state: int) -> None:
        for number in range(state, min(state + 50, STATES + 1)):
            if number not in tasks:
                tasks[number] = asyncio.ensure_future(value.aio.wait_for(MEMBERS[number]))
        assert await tasks.pop(state) is MEMBERS[state]
        assert not any(task.done() for task in tasks.values())

    check([value], once)
