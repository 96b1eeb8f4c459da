"""Values with owners, what the processes do that own them, and who notices their deaths.

Importable without pytest.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import atomic_intenum
from atomic_intenum import IntEnumArray, IntEnumValue
from helpers.crew import PATIENCE, Task, child
from helpers.support import SHM, fork, word_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from helpers.crew import Peer

ATOMIC = atomic_intenum.BACKEND != "lock"

#: Seconds in which a sleeper has noticed a death: 250 ms, and what a busy machine adds.
NOTICED = 2.0

#: How many rows a segment has, of which each is one process's, and where in a state word it is.
ROWS, ROW_SHIFT = 1023, 35

#: What a row's life lock locks of the segment's file.
FIRST_ROW_BYTE = 2


class Work(IntEnum):
    PENDING = 1
    RUNNING = 2
    DONE = 3
    DEAD = 4


class Job(IntEnumValue[Work]):
    """A value that may have an owner."""


class Jobs(IntEnumArray[Work]):
    """An array of such."""


PENDING, RUNNING, DONE, DEAD = Work.PENDING, Work.RUNNING, Work.DONE, Work.DEAD

#: Whoever writes RUNNING leases the word.
LEASES: Any = {RUNNING: PENDING}


def leased(**more: Any) -> Any:
    """Return a Job that is leased by who makes it RUNNING."""
    return Job(PENDING, on_death=LEASES, **more)


def board(on_death: Any = LEASES, **more: Any) -> Jobs:
    """Return an array of three words: the middle one is for the test, the others are DONE."""
    jobs = Jobs(3, DONE, on_death=on_death, **more)
    jobs[1] = PENDING
    return jobs


# -- what is in a word, and in the table; not on the lock path


def row_of(value: IntEnumValue[Any]) -> int:
    """Return the row of the table of owners that a word names; 0: none."""
    return word_of(value) >> ROW_SHIFT & ROWS


def table_of(value: Any) -> str:
    """Return the file of a value's or an array's segment."""
    return str(SHM / value._atomic_segment.name)


# -- how a process comes to own a word


class Role(NamedTuple):
    """A way to own a word.

    Attributes:
        on_death: of the array that the word is in.
        take: what the owner does with the array's word 1.
        alive: what the word is as long as the owner lives.
        dead: what it becomes.

    """

    on_death: Any
    take: Callable[[Jobs, Job], object]
    alive: Work
    dead: Work


def _own(jobs: Jobs, job: Job, member: Work) -> None:  # noqa: ARG001
    job.own()
    job.set(member)


ROLES = {
    "leased": Role(LEASES, lambda _, job: job.set(RUNNING), RUNNING, PENDING),
    "claimed": Role(LEASES, lambda jobs, _: jobs.claim(PENDING, RUNNING), RUNNING, PENDING),
    "owned": Role(DEAD, lambda jobs, job: _own(jobs, job, DONE), DONE, DEAD),
    "owned, mapped": Role(LEASES, lambda jobs, job: _own(jobs, job, RUNNING), RUNNING, PENDING),
    "owned, not mapped": Role(LEASES, lambda jobs, job: _own(jobs, job, DONE), DONE, DONE),
}


class Owned(NamedTuple):
    """A word that a process is to own: of an array, or a value's."""

    role: Role
    jobs: Jobs
    job: Job

    @property
    def state(self) -> tuple[Work, int]:
        """What is read of it."""
        return self.job.load(), self.job.version


def array_word(role: str) -> Owned:
    """Return a word of an array."""
    jobs = board(ROLES[role].on_death)
    return Owned(ROLES[role], jobs, jobs.at(1, Job))


def value_word(role: str) -> Owned:
    """Return a value's word; the array beside it is another one."""
    jobs = board(ROLES[role].on_death)
    return Owned(ROLES[role], jobs, Job(PENDING, on_death=ROLES[role].on_death))


# -- what children do, and how they die


def own_and_stay(pipe: Connection, take: Callable[[], object]) -> None:
    """Come to own something, say so, and end when told."""
    take()
    pipe.send(os.getpid())
    pipe.recv()


def kill_owner(owned: Owned) -> None:
    """Have a process own the word, and kill it; reads tell no death.

    This process does not ask who lives: its next wait does so at once.
    """
    with child(own_and_stay, lambda: owned.role.take(owned.jobs, owned.job)) as owner:
        assert owner.says() == owner.pid
        before = owned.state
        assert before[0] is owned.role.alive
        owner.kill()
    assert owned.state == before
    assert owned.jobs.snapshot()[1] is owned.jobs[1]


def check_given_back(owned: Owned, version: int) -> None:
    """Check that the word was given back since, by one write."""
    assert owned.state == (owned.role.dead, version + 1)
    assert owned.job.owner is None
    assert owned.job.recover() is False


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Make a pipe, and close what this process has of it at the end."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


@contextlib.contextmanager
def forked(body: Callable[[], object]) -> Iterator[int]:
    """Run the body in a child of plain os.fork, which ends with the block if it has not before.

    Nobody reaps it meanwhile.
    """
    pid = fork(body)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def hold_job(pipe: Connection, status: Job) -> None:
    """Hold the value's lock: say so, and let go when told."""
    with status.get_lock():
        pipe.send("held")
        pipe.recv()


def _obey(pipe: Connection, names: dict[str, Any]) -> None:
    names |= globals()
    while (line := pipe.recv()) is not None:
        try:
            answer = eval(line, names)
        except Exception as error:  # noqa: BLE001
            answer = f"{type(error).__name__}: {error}"
        pipe.send(answer)


class Fellow:
    """A forked process that does what it is told."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.pid = peer.pid

    def ask(self, line: str) -> Any:
        """Have it evaluate an expression, and return what came of it: an error as its text."""
        self.peer.tell(line)
        return self.peer.says()

    def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        self.peer.kill()


@contextlib.contextmanager
def fellow(**names: Any) -> Iterator[Fellow]:
    """Run one, that knows these names and those of this module."""
    with child(_obey, names) as peer:
        del names  # what the caller drops is gone
        yield Fellow(peer)
        if peer.process.is_alive():
            peer.tell(None)


def timed(function: Callable[[], object]) -> Task:
    """Call it in a thread, whose result is what it returned, and when."""
    return Task(lambda: (function(), time.monotonic()))


#: Each wait that ends when word 1 of a board, RUNNING, is PENDING again; and what it returns.
SLEEPS: dict[str, tuple[Callable[[Jobs], object], object]] = {
    "wait_for": (lambda jobs: jobs.at(1).wait_for(PENDING, timeout=PATIENCE), PENDING),
    "wait_while": (lambda jobs: jobs.at(1).wait_while(RUNNING, timeout=PATIENCE), PENDING),
    "wait_any": (lambda jobs: jobs.wait_any(PENDING, timeout=PATIENCE), 1),
    "wait_all": (lambda jobs: jobs.wait_all(PENDING, DONE, timeout=PATIENCE), None),
    "claim": (lambda jobs: jobs.claim(PENDING, DEAD, timeout=None), 1),
}
