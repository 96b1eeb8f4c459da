"""Jobs that claimers share out while some of them are killed or stopped, and what holds then.

A claimer makes a PENDING job RUNNING, works on it, and makes it DONE.  on_death says that a dead
claimer's job is PENDING again.  So:

- each job is DONE in the end, and its last claimer alone made it so: what was committed once is
  committed once;
- no two claimers that live work on one job;
- a job is given back after a death alone: a word's version counts two writes for each claimer that
  died with it, beside the two of the one that was through with it.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import time
from collections import Counter
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.by_value import CONTEXT
from helpers.owners import ATOMIC, DONE, LEASES, PENDING, RUNNING, Jobs
from helpers.support import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.process import BaseProcess

#: Seconds that a job takes at most, and that all of them may take, for each thousand.
WORK, PATIENCE = 0.008, 30.0

#: What /proc/PID/stat says of a process that has begun to end.
PF_EXITING = 0x4


def is_alive(pid: int) -> bool:
    """Tell whether a process has not begun to end."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0] not in "ZX" and not int(fields[6]) & PF_EXITING


class Yard:
    """The jobs, and what their claimers tell.

    Args:
        jobs: how many.
        claimers: how many work at a time.
        seed: of what happens by chance.
        kind: of the array.

    """

    def __init__(self, jobs: int, claimers: int, seed: int, kind: type[Jobs] = Jobs) -> None:
        self.jobs = kind(jobs, PENDING, on_death=LEASES)
        self.chance = random.Random(seed)
        self.inside: Any = RawArray("i", jobs)
        self.commits: Any = RawArray("i", jobs)
        self.dies: Any = RawArray("b", claimers)
        self.readable, self._writable = os.pipe()
        self.kills = self.stops = 0
        self.claimers = [self._start(slot) for slot in range(claimers)]

    def _start(self, slot: int) -> BaseProcess:
        seed = self.chance.randrange(2**32)
        process = CONTEXT.Process(target=self._claim, args=(slot, seed), name=f"claimer-{slot}")
        process.start()
        return process

    # -- what claimers do

    def _complain(self, *words: object) -> None:
        os.write(self._writable, (" ".join(map(str, words)) + "\n").encode()[:512])

    def _claim(self, slot: int, seed: int) -> None:
        me, chance = os.getpid(), random.Random(seed)
        while True:
            self._die_if_told(slot)
            index = self.jobs.claim(PENDING, RUNNING, timeout=0.5)
            if index is None:
                if self.jobs.count(DONE) == len(self.jobs):
                    return
                continue
            before = self.inside[index]
            if before != me and before and is_alive(before):
                self._complain(index, "was claimed beside", before)
            self.inside[index] = me
            self._die_if_told(slot)
            if chance.random() < 0.8:
                time.sleep(chance.uniform(0, WORK))
            self._die_if_told(slot)
            if self.inside[index] != me:
                self._complain(index, "has another claimer", self.inside[index])
            self.inside[index] = 0
            if not self.jobs.compare_and_set(index, RUNNING, DONE):
                self._complain(index, "was taken from", me)
            self.commits[index] += 1

    def _die_if_told(self, slot: int) -> None:
        """Die outside of a write: on the lock path a lock dies with its holder."""
        if self.dies[slot]:
            os.kill(os.getpid(), signal.SIGKILL)

    # -- what happens to them

    def kill_one(self) -> None:
        """Kill -9 one of them at whatever it does, and have another in its place."""
        slot = self.chance.randrange(len(self.claimers))
        victim = self.claimers[slot]
        if ATOMIC:
            victim.kill()
        elif victim.is_alive():
            self.dies[slot] = True
        victim.join(PATIENCE)
        self.kills += victim.exitcode == -signal.SIGKILL
        self.dies[slot] = False
        self.claimers[slot] = self._start(slot)

    def stop_one(self) -> None:
        """Stop one of them at whatever it does, for a while that others work in."""
        victim = self.chance.choice(self.claimers)
        assert victim.pid is not None
        with contextlib.suppress(ProcessLookupError):  # all is done, and it has ended
            os.kill(victim.pid, signal.SIGSTOP)
            time.sleep(self.chance.choice([0.001, 0.01, 0.06]))
            os.kill(victim.pid, signal.SIGCONT)
            self.stops += 1

    def check_complaints(self) -> None:
        """Check that no claimer complained."""
        if select.select([self.readable], [], [], 0)[0]:
            raise AssertionError(os.read(self.readable, 65536).decode())

    def check(self) -> None:
        """Check what must hold when all is done, and all have ended by themselves."""
        for claimer in self.claimers:
            claimer.join(PATIENCE)
            assert claimer.exitcode == 0, (claimer.name, claimer.exitcode)
        self.check_complaints()
        assert self.jobs.count(DONE) == len(self.jobs)
        assert set(self.jobs.owners()) == {None}
        assert self.jobs.recover() == []
        # One killed between its last write and its note has noted nothing.
        committed = Counter(self.commits)
        assert set(committed) <= {0, 1}, committed
        assert committed[0] <= self.kills, (committed, self.kills)
        versions = [self.jobs.at(index).version for index in range(len(self.jobs))]
        assert {version % 2 for version in versions} == {0}
        given_back = sum((version - 2) % VERSIONS // 2 for version in versions)
        assert given_back <= self.kills, (given_back, self.kills)

    def close(self) -> None:
        """End them all."""
        for claimer in self.claimers:
            claimer.kill()
            claimer.join()
        os.close(self.readable)
        os.close(self._writable)


@contextlib.contextmanager
def yard(jobs: int, claimers: int, seed: int, kind: type[Jobs] = Jobs) -> Iterator[Yard]:
    """Have claimers at work until the end of the block, or of all jobs."""
    made = Yard(jobs, claimers, seed, kind)
    try:
        yield made
    finally:
        made.close()


def share_out(
    jobs: int,
    claimers: int,
    seed: int,
    *,
    kills: bool = False,
    stops: bool = False,
    pause: float = 0.02,
    kind: type[Jobs] = Jobs,
) -> tuple[int, int]:
    """Have claimers share the jobs out, and one killed or stopped each so often.

    Returns:
        How many were killed, and how many stopped.

    """
    deadline = time.monotonic() + PATIENCE * (1 + jobs / 1000)
    with yard(jobs, claimers, seed, kind) as made:
        while made.jobs.count(DONE) < jobs:
            made.check_complaints()
            assert time.monotonic() < deadline, f"hanging: {made.jobs!r}"
            time.sleep(pause)  # between two deaths, not for anything to happen
            if kills:
                made.kill_one()
            if stops:
                made.stop_one()
        made.check()
        return made.kills, made.stops
