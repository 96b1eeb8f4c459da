"""Claimers that die with what they claimed: each job is done once, by one that lives."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

import atomic_intenum
from helpers.claimers import share_out
from helpers.owners import PENDING, RUNNING, Jobs
from helpers.support import soaked

pytestmark = pytest.mark.slow

JOBS, CLAIMERS = soaked(2_000, 10_000), soaked(6, 8)
#: Fewer where the core is the one that native has soaked, or where there is none and it takes long.
RUNS = soaked(1, 200 if atomic_intenum.BACKEND == "native" else 40)

#: Where the machine is busy a run is over before many were killed: then there are more.
MORE = 10


def seeds(runs: int) -> list[int]:
    """Return a seed for each run, and print the first: ATOMIC_INTENUM_SEED repeats it."""
    seed = int(os.environ.get("ATOMIC_INTENUM_SEED") or random.SystemRandom().randrange(2**32))
    print(f"ATOMIC_INTENUM_SEED={seed}")  # shown if the test fails
    return [seed, *(random.Random(seed + run).randrange(2**32) for run in range(1, runs))]


@pytest.mark.scaled
def test_claimers_that_are_killed() -> None:
    """Six claimers, one killed each 20 ms, do 2,000 jobs once each (soak: 8, 10,000, often)."""
    killed = 0
    for run, seed in enumerate(seeds(RUNS + MORE)):
        if run >= RUNS and killed > 5:
            break
        killed += share_out(JOBS, CLAIMERS, seed, kills=True)[0]
    assert killed > 5


@pytest.mark.scaled
def test_claimers_that_are_stopped() -> None:
    """A claimer that is stopped for a while keeps what it claimed: nothing is given back."""
    stopped = 0
    for run, seed in enumerate(seeds(soaked(1, 20) + MORE)):
        if run >= soaked(1, 20) and stopped > 5:
            break
        stopped += share_out(soaked(1_000, 10_000), CLAIMERS, seed, stops=True)[1]
    assert stopped > 5


@pytest.mark.scaled
def test_claimers_that_are_killed_and_stopped() -> None:
    """Of claimers that are killed and stopped, only those that are dead lose what they claimed."""
    killed = stopped = 0
    for run, seed in enumerate(seeds(soaked(1, 20) + MORE)):
        if run >= soaked(1, 20) and min(killed, stopped) > 5:
            break
        kills, stops = share_out(soaked(1_000, 10_000), CLAIMERS, seed, kills=True, stops=True)
        killed, stopped = killed + kills, stopped + stops
    assert killed > 5
    assert stopped > 5


class Hasty(Jobs):
    """Gives back what live processes have, as a table of owners without life locks might."""

    def claim(self, old: Any, new: Any, *, timeout: float | None = 0.0) -> int | None:
        """Claim; and now and then give back a word that is RUNNING."""
        running = [index for index, member in enumerate(self) if member is RUNNING]
        if running and random.random() < 0.1:
            self.compare_and_set(random.choice(running), RUNNING, PENDING)
        return super().claim(old, new, timeout=timeout)


@pytest.mark.parametrize("seed", range(3))
def test_theft_from_the_living_is_found(seed: int) -> None:
    """The check above fails where a live claimer's job is given back."""
    with pytest.raises(AssertionError, match=r"beside|another claimer|was taken"):
        share_out(300, 4, seed, kind=Hasty)
