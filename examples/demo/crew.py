"""The supervisor and the killer, and what they count."""

import contextlib
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

from board import Common, Job, State
from files import MOST_BYTES, count, list_files, printable
from hasher import play
from interrupt import POSIX, check
from screen import Look, Screen

#: More workers than that are played by so many processes, and have two jobs each, about.
MANY, PROCESSES = 32, 8
#: Seconds from one wave of jobs to the next, about, and the part of it that keeps all workers busy.
_WAVE, _BUSY = 1.0, 0.6
#: Seconds from a death to the new start; from one drawing to the next; for which a process may end.
_RESTART, _TICK, _ENDING = 0.6, 0.08, 5.0


class Crew:
    """All processes: the supervisor has the jobs done, and the killer disturbs."""

    def __init__(self, tree: str | None, workers: int, seconds: float, seed: int | None) -> None:
        root, paths, size = list_files(tree)
        self.who, processes, times = count(workers, "worker"), workers, 1
        if workers > MANY:
            processes = PROCESSES
            times = min(-(-2 * workers // len(paths)), 2 * MOST_BYTES // max(size, 1)) or 1
            self.who += f" in {PROCESSES} processes"
        what = f"{count(len(paths), 'file')} of {printable(Path(root).name or root)}"
        self.title = f"{self.who} hash the {what}{f', {times} times' if times > 1 else ''}"
        self.common = Common(paths, times, workers, processes)
        self.board, self.jobs, self.total = self.common.board, self.common.jobs, self.common.total
        self.seconds, self.waves = seconds, max(round(seconds / _WAVE), 1)
        self.common.lasts = _BUSY * seconds * min(workers / self.total, 1 / self.waves)
        self.processes: list[multiprocessing.Process] = []
        self.due: dict[int, float] = {}  # when a dead process is started again
        self.killed: dict[int | None, int] = {}  # claims of killed processes, by their pids
        self.held: Counter[int] = Counter()  # how often a job's process was killed
        self.kills = self.others = self.back = self.released = 0
        self.events: list[str] = []
        self.random = random.Random(seed)
        self.pause = self.kill_at = min(seconds / 5, 2.0)
        self.begun, self.began = time.monotonic(), time.time()

    def run(self, screen: Screen) -> None:
        """Have all jobs done, and draw meanwhile; ChildProcessError: a process failed."""
        try:
            for number in range(len(self.common.shares)):
                self.processes.append(self._start(number))
                screen.show(self._look())
            while not self._is_done():
                self._release()
                with contextlib.suppress(ProcessLookupError):  # somebody else has killed it
                    self._kill()
                self._supervise()
                screen.show(self._look())
            self.jobs[-1] = Job.OVER  # wakes who sleeps for a job
            for process in self.processes:
                process.join(_ENDING)
        finally:
            screen.close()
            for process in self.processes:
                process.kill()
                process.join()
        self.seconds = self._elapsed()

    def _elapsed(self) -> float:
        return time.monotonic() - self.begun

    def _is_done(self) -> bool:
        check()
        absent = self.board.count(State.DEAD) + self.board.count(State.STARTING) + len(self.due)
        killed = self.kills > 0 or not POSIX
        return killed and not absent and self.jobs.count(Job.DONE) == self.total

    def _start(self, number: int) -> multiprocessing.Process:
        check()
        process = multiprocessing.Process(target=play, args=(self.common, number), daemon=True)
        process.start()
        return process

    def _release(self) -> None:
        """Have the next wave of jobs come, if it is time."""
        wave = min(int(self._elapsed() / self.seconds * self.waves) + 1, self.waves)
        while self.released < self.total * wave // self.waves:
            self.jobs[self.released] = Job.PENDING
            self.released += 1

    def _kill(self) -> None:
        """Kill a process that is at work, if it is time."""
        done = self.jobs.count(Job.DONE) == self.total
        late = self.kills > 0 and (done or self._elapsed() > self.seconds)
        if not POSIX or late or self._elapsed() < self.kill_at:
            return
        at_work = State.WAITING if done else State.HASHING
        busy = [worker for worker, state in enumerate(self.board.snapshot()) if state is at_work]
        pid = self.board.owner(self.random.choice(busy)) if busy else None
        if pid is None:
            return
        process = next(process for process in self.processes if process.pid == pid)
        # On the lock path a board has one lock, and it would die with who holds it.
        with self.board.at(0).get_lock(), self.jobs.at(0).get_lock():
            # A stopped process neither claims nor commits: what it holds now is what it dies with.
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.02)
            held = [job for job, owner in enumerate(self.jobs.owners()) if owner == pid]
            os.kill(pid, signal.SIGKILL)
            process.join(_ENDING)
        self.kills += 1
        self.killed[pid] = len(held)
        self.held.update(held)
        paths = [self.common.paths[job % len(self.common.paths)] for job in held]
        what = printable(Path(*paths).name) if len(paths) == 1 else count(len(paths), "file")
        self._tell(self.processes.index(process), f"killed by kill -9, having claimed {what}")
        self.kill_at = self._elapsed() + self.pause * self.random.uniform(0.7, 1.3)

    def _supervise(self) -> None:
        """Sleep until a worker is DEAD or it is time to draw, and see to who died."""
        if self.due:
            time.sleep(_TICK)
        else:
            with contextlib.suppress(TimeoutError):
                self.board.wait_any(State.DEAD, timeout=_TICK)
        for number, process in enumerate(self.processes):
            if process.exitcode not in (None, -9):
                raise ChildProcessError(f"process {number + 1}: exit code {process.exitcode}")
            if process.exitcode and number not in self.due:
                self.board.recover()
                self.jobs.recover()
                self.others += process.pid not in self.killed
                held = self.killed.pop(process.pid, 0)
                self.back += held
                self._tell(number, f"seen to be DEAD, {count(held, 'claim')} given back")
                self.due[number] = self._elapsed() + _RESTART
            elif process.exitcode and self._elapsed() >= self.due[number]:
                del self.due[number]
                for worker in self.common.shares[number]:
                    self.board[worker] = State.STARTING
                self.processes[number] = self._start(number)
                self._tell(number, "started again")

    def _tell(self, number: int, text: str) -> None:
        first, last = self.common.shares[number][0] + 1, self.common.shares[number][-1] + 1
        name = f"worker {first:,}" if first == last else f"workers {first:,} to {last:,}"
        self.events.append(f"{self._elapsed():4.1f} s   {name}: {text}")

    def _look(self) -> Look:
        jobs, races = self.jobs.snapshot()[:-1], sum(self.common.races)
        totals = f"{jobs.count(Job.DONE):,} of {self.total:,} done, {self.kills} killed, "
        totals += f"{count(self.back, 'claim')} given back, {count(races, 'race')} lost"
        return Look(self.title, self._elapsed(), self.board.snapshot(), jobs, totals, self.events)
