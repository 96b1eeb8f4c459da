"""Processes that lock, write and unlock are killed at random, and nobody is the worse for it."""

from __future__ import annotations

import os
import random
import select
import time
from multiprocessing.sharedctypes import RawArray
from typing import TYPE_CHECKING, Any

import pytest

from helpers.by_value import CONTEXT
from helpers.crew import Bits, Status
from helpers.marks import needs_robust
from helpers.support import VERSIONS, soaked

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

pytestmark = [pytest.mark.only_on("native", "cffi"), needs_robust]

KILLS = soaked(50, 1000)

#: How long a killed process may delay any other.  A machine with two busy cores adds to it.
DEATH_DELAYS = 1.0
SCHEDULING = 4.0

#: Seconds in which nobody writes half as often as there are versions.
NO_HALF_ROUND = 0.02

#: Where the shared words that the lock guards are: who is inside, and a pair that is equal outside.
INSIDE, LEFT, RIGHT = range(3)


class Ring:
    """What the processes share, and what each of them does."""

    def __init__(self, workers: int) -> None:
        self.door = Status(Bits.IDLE)
        self.words: Any = RawArray("q", 3)
        self.steps: Any = RawArray("Q", workers)
        self.takeovers: Any = RawArray("Q", workers)
        self.readable, self._writable = os.pipe()

    def complain(self, *words: object) -> None:
        """Tell the test of a broken invariant; one write, so that no two mix."""
        os.write(self._writable, (" ".join(map(str, words)) + "\n").encode()[:512])

    def complaints(self) -> str:
        """Return what was broken so far."""
        if not select.select([self.readable], [], [], 0)[0]:
            return ""
        return os.read(self.readable, 65536).decode()

    def close(self) -> None:
        """Close the pipe of complaints."""
        os.close(self.readable)
        os.close(self._writable)

    def locks(self, slot: int) -> None:
        """Enter, check that nobody else is inside, change the pair, leave."""
        door, words, me = self.door, self.words, os.getpid()
        lock: Any = door.get_lock()
        while True:
            if not lock.acquire(timeout=DEATH_DELAYS + SCHEDULING):
                self.complain("hangs in acquire")
                continue
            if door.abandoned:
                self.takeovers[slot] += 1
                words[RIGHT] = words[LEFT]
            elif words[INSIDE] != 0 or words[LEFT] != words[RIGHT]:
                self.complain("entered beside", *words)
            words[INSIDE] = me
            words[LEFT] += 1
            door.set(Bits.LEFT)
            version = door.version
            with lock:
                words[RIGHT] += 1
            # A bare writer that got in would show here.
            if (door.load(), door.version) != (Bits.LEFT, version):
                self.complain("somebody wrote meanwhile")
            if words[INSIDE] != me or words[LEFT] != words[RIGHT]:
                self.complain("is not alone inside", *words)
            words[INSIDE] = 0
            lock.release()
            self.steps[slot] += 1

    def writes(self, slot: int) -> None:
        """Write without a lock."""
        door = self.door
        while True:
            door.set(Bits.RIGHT)
            door.exchange(Bits.HIGHEST)
            door.compare_and_set(Bits.HIGHEST, Bits.LOWEST)
            door.update(lambda _: Bits.RIGHT)
            self.steps[slot] += 1

    def reads(self, slot: int) -> None:
        """Read: each value is a member, and versions never go back.

        They come round, so nothing is said of two looks between which half a round may have been
        written.
        """
        door, before, looked = self.door, 0, 0.0
        while True:
            try:
                door.load()
            except ValueError as error:
                self.complain("read no member:", error)
            looks = time.monotonic()
            version = door.version
            back = (version - before) % VERSIONS > VERSIONS // 2
            if back and time.monotonic() - looked < NO_HALF_ROUND:
                self.complain("version went back from", before, "to", version)
            before, looked = version, looks
            self.steps[slot] += 1


def start(ring: Ring, role: Callable[[Ring, int], None], slot: int) -> BaseProcess:
    """Start a process that plays a role until it is killed."""
    process = CONTEXT.Process(target=role, args=(ring, slot), name=f"{role.__name__}-{slot}")
    process.start()
    return process


def everybody_goes_on(ring: Ring, workers: list[BaseProcess]) -> None:
    """Every process takes another step in time, or the test fails."""
    seen = list(ring.steps)
    deadline = time.monotonic() + DEATH_DELAYS + SCHEDULING
    waiting = set(range(len(workers)))
    while waiting:
        for slot in [slot for slot in waiting if ring.steps[slot] != seen[slot]]:
            waiting.discard(slot)
        names = [workers[slot].name for slot in waiting]
        assert time.monotonic() < deadline, f"hanging: {names}; {ring.complaints()}"
        time.sleep(0.0005)


@pytest.mark.slow
@pytest.mark.scaled
def test_random_kills_hang_and_break_nothing() -> None:
    """After each of 50 kills (soak: 1,000) all go on, alone inside, and read members only."""
    seed = int(os.environ.get("ATOMIC_INTENUM_SEED") or random.SystemRandom().randrange(2**32))
    print(f"ATOMIC_INTENUM_SEED={seed}")  # shown if the test fails
    chance = random.Random(seed)
    roles = [Ring.locks, Ring.locks, Ring.writes, Ring.reads]
    ring = Ring(len(roles))
    workers = [start(ring, role, slot) for slot, role in enumerate(roles)]
    try:
        for _ in range(KILLS):
            everybody_goes_on(ring, workers)
            assert ring.complaints() == ""
            # Lockers and bare writers die; a reader holds nothing that could be left behind.
            slot = chance.choice([0, 0, 1, 1, 2])
            time.sleep(chance.uniform(0, 0.004))  # the moment of the kill is what is random here
            workers[slot].kill()
            workers[slot].join()
            workers[slot] = start(ring, roles[slot], slot)
        everybody_goes_on(ring, workers)
        assert ring.complaints() == ""
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
        ring.close()
    # Or the kills all missed the lock, and nothing was tested.
    assert sum(ring.takeovers) >= KILLS // 10
    with ring.door.get_lock():
        ring.door.set(Bits.IDLE)
    assert ring.door.load() is Bits.IDLE
