"""The supervisor and the killer, and what they count."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawArray
from pathlib import Path

from board import Job, State, make_boards
from files import MOST_BYTES, SIZE, Listing, count, printable
from interrupt import held_back
from screen import Lines, Look
from worker import RACES, Common, play

from atomic_intenum import BACKEND

#: More workers than that are played by so many processes.
MANY, PROCESSES = 32, 8

#: Seconds from one wave of jobs to the next, about, and the part of it that keeps all workers busy.
_WAVE, _BUSY = 1.0, 0.6

#: Seconds from a death to the new start; from one drawing to the next; for which a process may end.
_RESTART, _TICK, _ENDING = 0.6, 0.08, 5.0

#: Whether a process can be stopped and killed here.
CAN_KILL = hasattr(signal, "SIGSTOP")


class CrewError(Exception):
    """A process failed."""


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
        self,
        listing: Listing,
        workers: int,
        seconds: float,
        seed: int | None,
        check: Callable[[], None],
    ) -> None:
        self.paths, self.seconds, self.check = list(listing.files), seconds, check
        processes = workers if workers <= MANY else PROCESSES
        # Of many workers each has two jobs to do, unless that takes too long.
        times = min(-(-2 * workers // len(self.paths)), 2 * MOST_BYTES // max(listing.size, 1))
        self.total = len(self.paths) * (max(times, 1) if workers > MANY else 1)
        self.board, self.jobs = make_boards(workers, self.total)
        self.waves = max(round(seconds / _WAVE), 1)
        self.common = Common(
            self.board,
            self.jobs,
            self.paths,
            RawArray("B", SIZE * self.total),
            RawArray("q", 3 * processes),
            [
                range(workers * n // processes, workers * (n + 1) // processes)
                for n in range(processes)
            ],
            _BUSY * seconds * min(workers / self.total, 1 / self.waves),
        )
        played = "each a process" if workers <= MANY else f"played by {processes} processes"
        tree = printable(Path(listing.tree).name or listing.tree)
        files = f"{count(len(self.paths), 'file')} of {tree}"
        self.title = f"{count(workers, 'worker')}, {played}, hash the {files}"
        self.processes: dict[int, BaseProcess] = {}
        self.restart_at: dict[int, float] = {}
        self.killed: dict[int, int] = {}  # claims of those who were killed and are not missed yet
        self.released = self.kills = self.others = self.restarts = self.back = 0
        self.held: Counter[int] = Counter()  # how often a job's worker was killed
        self.events: list[str] = []
        self.random = random.Random(seed)
        self.pause = min(seconds / 5, 2.0)
        self.kill_at = self.pause
        self.begun = time.monotonic()

    def elapsed(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self.begun

    def run(self, screen: Lines) -> None:
        """Have all jobs done, and draw meanwhile; CrewError: a process ended unexpectedly."""
        try:
            for number in range(len(self.common.shares)):
                self._start(number)
            while not self._is_done():
                self.check()
                self._release()
                if CAN_KILL:
                    self._kill()
                self._supervise()
                screen.show(self._look())
            self.jobs[-1] = Job.OVER  # wakes who sleeps for a job
            for process in self.processes.values():
                process.join(_ENDING)
            screen.show(self._look())
        finally:
            screen.close()
            for process in self.processes.values():
                process.kill()
                process.join()
        self.seconds = self.elapsed()

    def _is_done(self) -> bool:
        counts = self.board.counts()
        return (
            self.jobs.count(Job.DONE) == self.total
            and not (self.restart_at or counts[State.DEAD] or counts[State.STARTING])
            and (self.kills > 0 or not CAN_KILL)
        )

    def _start(self, number: int) -> None:
        self.check()
        process = multiprocessing.Process(target=play, args=(self.common, number), daemon=True)
        if multiprocessing.get_start_method() in ("spawn", "forkserver") and os.name == "posix":
            resource_tracker.ensure_running()  # as it starts, it lets SIGINT through
        with held_back():
            process.start()
        self.processes[number] = process

    def _release(self) -> None:
        """Have the next wave of jobs come, if it is time."""
        wave = min(int(self.elapsed() / self.seconds * self.waves) + 1, self.waves)
        for job in range(self.released, self.total * wave // self.waves):
            self.jobs[job] = Job.PENDING
            self.released += 1

    def _kill(self) -> None:
        """Kill a process that is at work, if it is time."""
        if self.elapsed() < self.kill_at or (self.kills and self.elapsed() > self.seconds * 0.9):
            return
        states = self.board.snapshot()
        alive = [n for n in self.processes if n not in self.restart_at and n not in self.killed]
        shares = self.common.shares
        busy = [n for n in alive if State.HASHING in states[shares[n].start : shares[n].stop]]
        if self.jobs.count(Job.DONE) == self.total:
            busy = alive
        if not busy:
            return
        number = self.random.choice(busy)
        pid = self.processes[number].pid or 0
        with contextlib.ExitStack() as locks:
            if BACKEND == "lock":
                # Its locks die with who holds them: while this process does, the victim does not.
                locks.enter_context(self.board.at(0).get_lock())
                locks.enter_context(self.jobs.at(0).get_lock())
            # A stopped process neither claims nor commits: what it holds now is what it dies with.
            os.kill(pid, signal.SIGSTOP)
            held = None
            while held != (held := self._claims_of(pid)):
                time.sleep(0.01)
            os.kill(pid, signal.SIGKILL)
            self.processes[number].join(_ENDING)
        self.kills += 1
        self.killed[number] = len(held)
        self.held.update(held)
        what = count(len(held), "file")
        if len(held) == 1:
            what = printable(Path(self.paths[held[0] % len(self.paths)]).name)
        self._tell(f"kill -9 {self._name(number)}, which had claimed {what}")
        self.kill_at = self.elapsed() + self.pause * self.random.uniform(0.7, 1.3)

    def _claims_of(self, pid: int) -> list[int]:
        return [job for job, owner in enumerate(self.jobs.owners()) if owner == pid]

    def _supervise(self) -> None:
        """Sleep until a worker is DEAD or it is time to draw, and see to who died."""
        if self.restart_at:
            time.sleep(_TICK)
        else:
            with contextlib.suppress(TimeoutError):
                self.board.wait_any(State.DEAD, timeout=_TICK)
        for number, process in self.processes.items():
            if number not in self.restart_at and (code := process.exitcode) is not None:
                if code != -signal.SIGKILL:
                    raise CrewError(f"{self._name(number)} ended unexpectedly, exit code {code}")
                self.board.recover()
                self.jobs.recover()
                self.others += number not in self.killed
                held = self.killed.pop(number, 0)
                self.back += held
                self._tell(f"{self._name(number)} is DEAD, {count(held, 'claim')} given back")
                self.restart_at[number] = self.elapsed() + _RESTART
        for number, due in list(self.restart_at.items()):
            if self.elapsed() >= due:
                del self.restart_at[number]
                for worker in self.common.shares[number]:
                    self.board[worker] = State.STARTING
                self._start(number)
                self.restarts += 1
                self._tell(f"{self._name(number)} is started again")

    def _name(self, number: int) -> str:
        share = self.common.shares[number]
        name = f"worker {share[0] + 1:,}"
        return name if len(share) == 1 else f"{name} to {share[-1] + 1:,}"

    def _tell(self, text: str) -> None:
        self.events.append(f"{self.elapsed():4.1f} s   {text}")

    def _look(self) -> Look:
        jobs = self.jobs.snapshot()[:-1]
        totals = (
            f"{jobs.count(Job.DONE):,} of {self.total:,} hashed, {self.kills} killed, "
            f"{self.back:,} claims given back, {sum(self.common.tallies[RACES::3])} races lost"
        )
        return Look(self.title, self.elapsed(), self.board.snapshot(), jobs, totals, self.events)
