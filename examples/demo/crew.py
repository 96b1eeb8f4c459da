"""The supervisor, the killer, and what they count."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from multiprocessing import resource_tracker
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from board import Job, State, make_boards
from files import SIZE, count, printable
from interrupt import held_back
from worker import RACES, REFUSED, SLEEPS, Common, play

from atomic_intenum import BACKEND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.process import BaseProcess

    from files import Listing
    from screen import Lines

#: More workers than that are played by so many processes, and have so many jobs each, as long as
#: the files are no more than so many bytes.
MANY, PROCESSES, JOBS, MOST_BYTES = 32, 8, 2, 512 << 20

#: Seconds from one wave of jobs to the next, and the part of them that a wave keeps everybody busy.
_WAVE, _BUSY = 1.0, 0.6

#: Seconds from a death to the new start; from one drawing to the next; for which a process may end.
_RESTART, _TICK, _ENDING = 0.6, 0.08, 5.0

#: Whether a process can be stopped, looked at and killed here.
CAN_KILL = hasattr(signal, "SIGSTOP")


class CrewError(Exception):
    """A process failed."""


class Look(NamedTuple):
    """What is to be seen at one moment; back: claims given back; events: when, and what."""

    elapsed: float
    seconds: float
    states: list[State]
    jobs: list[Job]
    kills: int
    back: int
    races: int
    events: list[tuple[float, str]]


class Outcome(NamedTuple):
    """What came of the work.

    Attributes:
        workers: how many.
        digests: of each job.
        kills: by the killer.
        others: deaths by kill -9 that are not the killer's.
        restarts: of processes.
        held: how often each job was claimed by a process as the killer killed it.
        versions: how often each job was written.
        lost: jobs that are not DONE.
        sleeps, races, refused: see worker.
        seconds: that it took.

    """

    workers: int
    digests: list[bytes]
    kills: int
    others: int
    restarts: int
    held: Counter[int]
    versions: list[int]
    lost: int
    sleeps: int
    races: int
    refused: int
    seconds: float


class Crew:
    """All processes, and the boards that they share.

    Args:
        listing: the files.
        workers: how many.
        seconds: about how long the work takes.
        seed: of the killer's choices.
        check: called every tenth of a second or sooner; raises to end it all.

    """

    def __init__(
        self, listing: Listing, workers: int, seconds: float, seed: int | None, check: Callable[[], None]
    ) -> None:
        files = len(listing.paths)
        total = files
        while total < JOBS * workers and (total // files + 1) * listing.size() <= MOST_BYTES:
            total += files
        self.total, self.seconds, self.check = total, seconds, check
        self.board, self.jobs = make_boards(workers, total)
        processes = workers if workers <= MANY else PROCESSES
        bounds = [workers * number // processes for number in range(processes + 1)]
        self.shares = [range(*pair) for pair in zip(bounds, bounds[1:], strict=False)]
        self.waves = max(round(seconds / _WAVE), 1)
        lasts = min(_BUSY * seconds * workers / total, _BUSY * seconds / self.waves)
        # Without a lock: who is killed while it holds one would keep it.
        digests, tallies = RawArray("B", SIZE * total), RawArray("q", 3 * processes)
        self.common = Common(
            self.board, self.jobs, listing.paths, digests, tallies, self.shares, lasts
        )
        self.processes: dict[int, BaseProcess] = {}
        self.restart_at: dict[int, float] = {}
        self.who = count(workers, "worker process").replace("processs", "processes")
        self.begun = time.monotonic()
        self.released = self.kills = self.back = self.others = self.restarts = 0
        self.held: Counter[int] = Counter()
        self.killed: dict[int, list[int]] = {}
        self.events: list[tuple[float, str]] = []
        self.random = random.Random(seed)
        self.pause = min(seconds / 5, 2.0)
        self.kill_at = self.pause * self.random.uniform(0.7, 1.0) if CAN_KILL else seconds

    def elapsed(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self.begun

    def name(self, number: int) -> str:
        """Return what a process is called."""
        share = self.shares[number]
        if len(share) == 1:
            return f"worker {share[0] + 1}"
        return f"process {number + 1} (workers {share[0] + 1:,} to {share[-1] + 1:,})"

    def tell(self, text: str) -> None:
        """Note what happened."""
        self.events.append((self.elapsed(), text))

    def run(self, screen: Lines) -> Outcome:
        """Have all jobs done, drawing meanwhile.

        Raises:
            CrewError: a process ended unexpectedly.

        """
        try:
            for number in range(len(self.shares)):
                self.start(number)
            with screen:
                while not self.is_done():
                    self.check()
                    self.release()
                    self.kill()
                    self.watch()
                    screen.show(self.look())
                self.jobs[-1] = Job.OVER  # wakes who sleeps for a job
                for process in self.processes.values():
                    process.join(_ENDING)
                screen.show(self.look())
        finally:
            for process in self.processes.values():
                process.kill()
                process.join()
        return self.outcome()

    def start(self, number: int) -> None:
        """Start a process."""
        self.check()
        process = multiprocessing.Process(target=play, args=(self.common, number), daemon=True)
        if sys.platform != "win32" and multiprocessing.get_start_method() != "fork":
            resource_tracker.ensure_running()  # as it starts, it lets SIGINT through
        with held_back():
            process.start()
        self.processes[number] = process

    def is_done(self) -> bool:
        """Return whether every job is done, and every worker is back after one kill at least."""
        counts = self.board.counts()
        return (
            self.jobs.count(Job.DONE) == self.total
            and not (self.restart_at or counts[State.DEAD] or counts[State.STARTING])
            and (self.kills > 0 or not CAN_KILL)
        )

    def release(self) -> None:
        """Have the next wave of jobs come, if it is time."""
        wave = min(int(self.elapsed() / (self.seconds / self.waves)) + 1, self.waves)
        for job in range(self.released, self.total * wave // self.waves):
            self.jobs[job] = Job.PENDING
        self.released = self.total * wave // self.waves

    def kill(self) -> None:
        """Kill a process that is at work, if it is time."""
        late = self.elapsed() - self.kill_at
        if late < 0 or (self.kills and self.elapsed() > self.seconds * 0.9):
            return
        states = self.board.snapshot()
        alive = [n for n in self.processes if n not in self.restart_at and n not in self.killed]
        busy = [n for n in alive if State.HASHING in states[self.shares[n].start : self.shares[n].stop]]
        if not busy and late < _RESTART:
            return
        number = self.random.choice(busy or alive)
        pid = self.processes[number].pid
        assert pid is not None
        with self.locks():
            # Stopped, it can neither claim nor commit, and what it holds is what it dies with.
            os.kill(pid, signal.SIGSTOP)
            held, again = self.claims(pid), None
            while again != held:
                time.sleep(0.01)
                held, again = self.claims(pid), held
            os.kill(pid, signal.SIGKILL)
            self.processes[number].join(_ENDING)
        self.kills += 1
        self.killed[number] = held
        self.held.update(held)
        self.tell(f"kill -9 {self.name(number)}, which {self.in_words(held)}")
        self.kill_at = self.elapsed() + self.pause * self.random.uniform(0.7, 1.3)

    def claims(self, pid: int) -> list[int]:
        """Return the jobs that a process has claimed."""
        return [job for job, owner in enumerate(self.jobs.owners()) if owner == pid]

    @contextlib.contextmanager
    def locks(self) -> Iterator[None]:
        """Keep the victim from holding a lock, where the lock would go with it."""
        if BACKEND == "lock":
            with self.board.at(0).get_lock(), self.jobs.at(0).get_lock():
                yield
        else:
            yield

    def in_words(self, held: list[int]) -> str:
        """Return what a process held."""
        if len(held) == 1:
            path = self.common.paths[held[0] % len(self.common.paths)]
            return f"had claimed {printable(Path(path).name)}"
        return f"had claimed {count(len(held), 'file')}"

    def watch(self) -> None:
        """Sleep until a worker is DEAD or it is time to draw, and see to who died."""
        if self.restart_at:
            time.sleep(_TICK)
        else:
            with contextlib.suppress(TimeoutError):
                self.board.wait_any(State.DEAD, timeout=_TICK)
        for number, process in self.processes.items():
            if number not in self.restart_at and process.exitcode is not None:
                self.bury(number, process.exitcode)
        for number, due in list(self.restart_at.items()):
            if time.monotonic() >= due:
                del self.restart_at[number]
                for worker in self.shares[number]:
                    self.board[worker] = State.STARTING
                self.start(number)
                self.restarts += 1
                self.tell(f"{self.name(number)} is started again")

    def bury(self, number: int, exitcode: int) -> None:
        """See to a process that has died."""
        if exitcode != -signal.SIGKILL:
            message = f"{self.name(number)} ended unexpectedly, exit code {exitcode}"
            raise CrewError(message)
        self.board.recover()
        self.jobs.recover()
        held = self.killed.pop(number, None)
        self.others += held is None
        self.back += len(held or ())
        if held is None:
            self.tell(f"{self.name(number)} is DEAD, and this demo's killer did not do it")
        else:
            claims = "nothing to give back" if not held else f"{count(len(held), 'claim')} given back"
            self.tell(f"{self.name(number)} is DEAD: {claims}")
        self.restart_at[number] = time.monotonic() + _RESTART

    def look(self) -> Look:
        """Return what is to be seen."""
        races = sum(self.common.tallies[RACES::3])
        jobs = self.jobs.snapshot()[:-1]
        states = self.board.snapshot()
        return Look(
            self.elapsed(), self.seconds, states, jobs, self.kills, self.back, races, self.events
        )

    def outcome(self) -> Outcome:
        """Return what came of it all."""
        room, tallies = bytes(self.common.digests), list(self.common.tallies)
        return Outcome(
            len(self.board),
            [room[job * SIZE : (job + 1) * SIZE] for job in range(self.total)],
            self.kills,
            self.others,
            self.restarts,
            self.held,
            [self.jobs.at(job).version for job in range(self.total)],
            self.total - self.jobs.count(Job.DONE),
            sum(tallies[SLEEPS::3]),
            sum(tallies[RACES::3]),
            sum(tallies[REFUSED::3]),
            self.elapsed(),
        )
