"""Histories of processes that take a status, give it back, and are killed with it."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import deque
from enum import IntEnum
from itertools import pairwise
from multiprocessing.sharedctypes import RawArray
from typing import Any, NamedTuple

import pytest

from atomic_intenum import BACKEND, IntEnumValue

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork"),
]

TAKERS, KILLS = 3, 60
#: Claims that one process logs at most: of all there are fewer than versions.
ROOM = 4000


class Key(IntEnum):
    """Who makes it TAKEN has it."""

    FREE = 0
    TAKEN = 1


class Status(IntEnumValue[Key]):
    """Two writes a claim: one to take it, which makes the version odd, one to free it."""


class Careless(Status):
    """Broken on purpose: now and then it takes what somebody has."""

    def compare_and_set(self, old: Any, new: Any) -> bool:
        if old is Key.FREE and random.random() < 0.01:
            self.set(new)
            return True
        return super().compare_and_set(old, new)


class Claim(NamedTuple):
    """One claim: the version that it made, and when it was certainly there."""

    version: int
    taker: int
    began: int
    ended: int
    freed: int  # began to free it; 0: it never did


class Taker:
    """A process that takes and frees; what it logs is in shared memory, and outlives it."""

    def __init__(self, number: int, status: Status) -> None:
        self.log: Any = RawArray("q", 4 * ROOM)
        #: How many numbers are in the log; whether it shall wait to be killed; and does so.
        self.state: Any = RawArray("q", 3)
        self.number = number
        self.killed = 0
        self.pid = os.fork()
        if self.pid == 0:
            signal.alarm(60)
            try:
                self.run(status)
            finally:
                os._exit(1)

    def run(self, status: Status) -> None:
        clock, log, state = time.monotonic_ns, self.log, self.state
        chance = random.Random(self.number)
        while state[0] < 4 * ROOM:
            began = clock()
            if not status.compare_and_set(Key.FREE, Key.TAKEN):
                status.recover()
                continue
            at = state[0]
            log[at : at + 3] = status.version, began, clock()
            state[0] = at + 3
            for _ in range(chance.randrange(200)):
                pass
            if state[1]:  # outside of a write
                self.wait_to_be_killed()
            log[at + 3] = clock()
            state[0] = at + 4
            if not status.compare_and_set(Key.TAKEN, Key.FREE):
                log[at + 3] = -1
                break
        self.wait_to_be_killed()

    def wait_to_be_killed(self) -> None:
        """Write no more."""
        self.state[2] = 1
        while True:
            signal.pause()

    def kill(self) -> None:
        """Kill it; on the lock-based path while it takes no lock, which would die with it."""
        self.state[1] = BACKEND == "lock"
        deadline = time.monotonic() + 20
        while self.state[1] and not self.state[2] and time.monotonic() < deadline:
            time.sleep(0)
        self.killed = time.monotonic_ns()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def claims(self) -> list[Claim]:
        """Return what it has logged, whole claims and perhaps one that it died with."""
        end = self.state[0]
        numbers = deque(self.log[:end])
        claims = []
        while numbers:
            version, began, ended = (numbers.popleft() for _ in range(3))
            freed = numbers.popleft() if numbers else 0
            claims.append(Claim(version, self.number, began, ended, freed))
        return claims


def run(cls: type[Status]) -> None:
    """Assert that one order explains who had the status, and when."""
    status = cls(Key.FREE, on_death={Key.TAKEN: Key.FREE})
    takers = [Taker(number, status) for number in range(TAKERS)]
    living = list(takers)
    chance = random.Random()
    try:
        for _ in range(KILLS):
            time.sleep(chance.random() / 100)
            victim = chance.randrange(TAKERS)
            living[victim].kill()
            takers.append(Taker(len(takers), status))
            living[victim] = takers[-1]
    finally:
        for taker in living:
            taker.kill()
    status.recover()
    check(takers, status)


def check(takers: list[Taker], status: Status) -> None:
    """Assert that the logs have one order."""
    claims = sorted(claim for taker in takers for claim in taker.claims())
    assert all(claim.freed >= 0 for claim in claims), "it was taken from who had it"
    assert all(claim.version % 2 for claim in claims), "it was taken while somebody had it"
    versions = [claim.version for claim in claims]
    assert len(set(versions)) == len(versions), "two had it at once"
    for before, after in pairwise(claims):
        killed = takers[before.taker].killed
        left = min(before.freed or killed, killed)
        assert left <= after.ended, "it was given to the next while the one before lived"
        assert before.began <= after.ended
    # Each that is missing was taken by one that was killed before it could log.
    missing = status.version // 2 - len(claims)
    assert 0 <= missing <= len(takers)
    assert status.load() is Key.FREE
    assert status.owner is None
    assert len(claims) > KILLS


def test_one_order_explains_who_had_it() -> None:
    """Whoever takes the status has it until it frees it or is killed, and nobody else meanwhile."""
    run(Status)


def test_a_taker_that_takes_more_is_found() -> None:
    """The check finds it where somebody now and then takes what another has."""
    with pytest.raises(AssertionError):
        run(Careless)
