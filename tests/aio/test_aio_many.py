"""Thousands of waits in one loop, and writers that are killed among what they write.

Four processes write what a round's waits wait for, each its own share of the words.  One that is
killed is replaced, and its successor goes through its whole share again.  So in each round:

- a wait returns what it waited for, and that is so when it returns;
- each index is claimed by exactly one claim;
- nobody is left whose goal is met: all goals are, in the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from enum import IntEnum
from multiprocessing.sharedctypes import RawArray
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import BACKEND, IntEnumArray, IntEnumValue
from helpers.by_value import CONTEXT
from helpers.crew import PATIENCE
from helpers.inside import aio
from helpers.loops import descriptors, forks_beside_the_thread, run, until_watched, waited_for
from helpers.marks import needs_many_locks
from helpers.owners import ATOMIC
from helpers.support import soaked

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from multiprocessing.process import BaseProcess

pytestmark = forks_beside_the_thread

#: How many values, each with nine waits; ten arrays, each with as many of either kind of wait.
VALUES, WAITS_OF_ARRAY = 1000, 50
ARRAYS = 10
#: Fewer where the core is the one that native has soaked.
ROUNDS = soaked(4, 1000 if BACKEND == "native" else 200)
WRITERS = 4
#: Seconds.  Writers that are killed again and again begin again and again: on a full machine it
#: takes long, and so it does on an emulated one.
ROUND_TAKES = 5 * PATIENCE

#: What part of a core a process may take while all it waits for is still: generous.
IDLE_SHARE = 0.2


class State(IntEnum):
    RED = 1
    GREEN = 2
    BLUE = 3
    NOISE = 4
    NEVER = 5
    EMPTY = 6
    FREE = 7
    TAKEN = 8


#: The goals of three rounds that follow each other, so that none is met by what is left of old.
GOALS = [State.RED, State.GREEN, State.BLUE]

Value = IntEnumValue[State]
Array = IntEnumArray[State]


class Crowd:
    """The words, their writers, and the waits of one round after another."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.go = Value(State.NEVER)
        self.values = [Value(GOALS[-1]) for _ in range(VALUES)]
        #: The first half of an array's words is to be claimed, the second one to become a goal.
        self.arrays = [Array(2 * WAITS_OF_ARRAY, State.EMPTY) for _ in range(ARRAYS)]
        self.dies: Any = RawArray("b", WRITERS)
        self.kills = 0
        self.writers: list[BaseProcess] = []

    def start(self) -> None:
        """Have writers write whatever the rounds ask for."""
        self.writers = [self._start(slot) for slot in range(WRITERS)]

    def _start(self, slot: int) -> BaseProcess:
        seed = self.chance.randrange(2**32)
        process = CONTEXT.Process(target=self._write, args=(slot, seed), name=f"writer-{slot}")
        process.start()
        return process

    # -- what writers do

    def _write(self, slot: int, seed: int) -> None:
        chance, goal = random.Random(seed), State.NEVER
        while True:
            self._die_if_told(slot)
            with contextlib.suppress(TimeoutError):
                goal = self.go.wait_while(goal, timeout=0.02)
                words = self._share(slot)
                chance.shuffle(words)
                for write, index in words:
                    self._die_if_told(slot)
                    write(index, goal)

    def _share(self, slot: int) -> list[tuple[Callable[[int, State], None], int]]:
        words = range(slot, ARRAYS * WAITS_OF_ARRAY, WRITERS)
        return [
            *((self._write_value, index) for index in range(slot, VALUES, WRITERS)),
            *((self._free_word, index) for index in words),
            *((self._write_word, index) for index in words),
        ]

    def _write_value(self, index: int, goal: State) -> None:
        value = self.values[index]
        if value.load() is not goal:  # else a predecessor was here, and waits rely on it
            value.set(State.NOISE)
            value.set(goal)

    def _free_word(self, index: int, _: State) -> None:
        array = self.arrays[index % ARRAYS]
        array.compare_and_set(index // ARRAYS, State.EMPTY, State.FREE)

    def _write_word(self, index: int, goal: State) -> None:
        self.arrays[index % ARRAYS][WAITS_OF_ARRAY + index // ARRAYS] = goal

    def _die_if_told(self, slot: int) -> None:
        """Die outside of a write: on the lock path a lock dies with its holder."""
        if self.dies[slot]:
            os.kill(os.getpid(), signal.SIGKILL)

    # -- what happens to them

    def kill_one(self) -> None:
        """Kill -9 one of them at whatever it does, and have another in its place."""
        slot = self.chance.randrange(WRITERS)
        victim = self.writers[slot]
        if ATOMIC:
            victim.kill()
        else:
            self.dies[slot] = True
        victim.join(PATIENCE)
        assert victim.exitcode == -signal.SIGKILL, victim
        self.dies[slot] = False
        self.kills += 1
        self.writers[slot] = self._start(slot)

    def close(self) -> None:
        """End them all."""
        for writer in self.writers:
            writer.kill()
            writer.join()

    # -- what the loop does

    def waits_of_value(self, value: Any, old: State, goal: State) -> list[Coroutine[Any, Any, Any]]:
        """Return nine waits that the goal ends, and what each of them is checked by."""

        async def leaves(*members: State) -> None:
            assert await value.aio.wait_while(*members) not in members

        async def becomes(*members: State) -> None:
            assert await value.aio.wait_for(*members) is goal
            assert value.load() is goal

        async def leaves_for_goal() -> None:
            assert await value.aio.wait_while(old, State.NOISE) is goal

        return [
            *(becomes(goal) for _ in range(3)),
            *(becomes(State.NEVER, goal) for _ in range(2)),
            *(leaves_for_goal() for _ in range(2)),
            *(leaves(old) for _ in range(2)),
        ]

    def waits_of_array(self, array: Any, goal: State) -> list[Coroutine[Any, Any, int | None]]:
        """Return the claims and the waits for any word, of which claims alone return something."""

        async def any_word() -> None:
            index = await array.aio.wait_any(goal)
            assert index >= WAITS_OF_ARRAY
            assert array[index] is goal

        return [
            *(array.aio.claim(State.FREE, State.TAKEN) for _ in range(WAITS_OF_ARRAY)),
            *(any_word() for _ in range(WAITS_OF_ARRAY)),
        ]

    def begin(self, old: State, goal: State) -> list[asyncio.Task[Any]]:
        """Begin the waits, and let none of them run yet."""
        for array in self.arrays:
            for index in range(WAITS_OF_ARRAY):
                array[index] = State.EMPTY
        waits = [wait for array in self.arrays for wait in self.waits_of_array(array, goal)]
        for value in self.values:
            waits += self.waits_of_value(value, old, goal)
        self.chance.shuffle(waits)
        return [asyncio.ensure_future(wait) for wait in waits]

    async def until_all_wait(self) -> None:
        """Let the loop run until every word is waited for."""
        while waited_for() < VALUES + ARRAYS:
            await asyncio.sleep(0)
        until_watched()

    async def end(self, tasks: list[asyncio.Task[Any]], old: State, goal: State) -> None:
        """Wait until all goals are met, and check what came of it."""
        _, left = await asyncio.wait(tasks, timeout=ROUND_TAKES)
        met = [value for value in self.values if value.load() is goal]
        assert not left, f"{len(left)} are left; {len(met)} of {VALUES} values are {goal.name}"
        claimed = sorted(index for task in tasks if (index := task.result()) is not None)
        assert claimed == sorted([*range(WAITS_OF_ARRAY)] * ARRAYS), (old, goal)
        for array in self.arrays:
            assert array.snapshot()[:WAITS_OF_ARRAY] == [State.TAKEN] * WAITS_OF_ARRAY
        assert waited_for() == 0


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    """Make one, and end its writers with the test."""
    made = Crowd(seed=7)
    try:
        yield made
    finally:
        made.close()


async def kill_now_and_then(crowd: Crowd) -> None:
    """Kill writers at random moments, until cancelled."""
    while True:
        crowd.kill_one()
        await asyncio.sleep(crowd.chance.uniform(0, 0.02))


@needs_many_locks
@pytest.mark.scaled
@pytest.mark.timeout(3600 if ROUNDS > 4 else 300)
@pytest.mark.parametrize("kills", [False, True], ids=["writers live", "writers die"])
def test_all_are_woken_rightly(crowd: Crowd, kills: bool) -> None:
    """Each of many waits gets what it waits for, whoever is killed; and one thread serves all."""

    async def main() -> None:
        old = GOALS[-1]
        for number in range(ROUNDS):
            goal = GOALS[number % 3]
            tasks = crowd.begin(old, goal)
            if number % 2 == 0:  # else the waits begin while their goals are met
                await crowd.until_all_wait()
            crowd.go.set(goal)
            killer = asyncio.create_task(kill_now_and_then(crowd)) if kills else None
            await crowd.end(tasks, old, goal)
            if killer is not None:
                killer.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await killer
            old = goal

    crowd.start()
    asyncio.run(main())
    assert (crowd.kills > 0) == kills
    print(ROUNDS, "rounds", crowd.kills, "kills")  # shown with -rP


@pytest.mark.only_on("native", "cffi")
@pytest.mark.slow
def test_waits_cost_nothing_while_nothing_happens(crowd: Crowd) -> None:
    """A process with thousands of waits takes next to no CPU while nobody writes."""

    async def main() -> None:
        before = descriptors()
        tasks = crowd.begin(GOALS[-1], GOALS[0])
        await crowd.until_all_wait()
        assert descriptors() - before <= 2
        await asyncio.sleep(0.3)  # what the beginning of the waits has cost
        cpu, began = sum(os.times()[:2]), time.monotonic()
        await asyncio.sleep(1)
        share = (sum(os.times()[:2]) - cpu) / (time.monotonic() - began)
        print(len(tasks), "waits take", share, "of a core")  # shown with -rP
        assert share < IDLE_SHARE
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(main())


@pytest.mark.only_on("native", "cffi")
def test_other_writes_disturb_no_wait(crowd: Crowd) -> None:
    """Writes that meet nobody's goal end no wait of many, and each then ends by its own."""

    async def main() -> None:
        tasks = [asyncio.ensure_future(value.aio.wait_for(State.RED)) for value in crowd.values]
        while waited_for() < VALUES:
            await asyncio.sleep(0)
        for member in (State.NOISE, State.GREEN) * 10:
            for value in crowd.values:
                value.set(member)
            await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        for value, task in zip(crowd.values, tasks, strict=True):
            value.set(State.RED)
            assert await task is State.RED

    run(main())


@needs_many_locks
def test_the_desk_is_empty_behind_many(crowd: Crowd) -> None:
    """Whoever of many is cancelled amid a round leaves the others their wake-ups, and no trace."""

    async def main() -> None:
        tasks = crowd.begin(GOALS[-1], GOALS[0])
        await crowd.until_all_wait()
        victims = crowd.chance.sample(tasks, len(tasks) // 3)
        crowd.go.set(GOALS[0])
        for victim in victims:
            victim.cancel()
        await asyncio.wait(tasks, timeout=PATIENCE)
        assert all(task.done() for task in tasks)
        outcomes = [task.result() for task in tasks if not task.cancelled()]
        claimed = [index for index in outcomes if index is not None]
        taken = sum(array.count(State.TAKEN) for array in crowd.arrays)
        assert len(claimed) == taken  # a cancelled claim has claimed nothing
        desk = aio()._known_desk()
        assert not desk.spots
        assert not desk._slots

    crowd.start()
    run(main())
