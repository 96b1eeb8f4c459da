"""Many owners: a table that is full, rows that are used again, and what a dead one left in them."""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING, Any

import pytest

from helpers.crew import PATIENCE, child
from helpers.marks import needs_life_locks
from helpers.names import own_name
from helpers.owners import (
    DEAD,
    DONE,
    FIRST_ROW_BYTE,
    LEASES,
    PENDING,
    ROWS,
    RUNNING,
    Job,
    Jobs,
    board,
    fellow,
    hold_job,
    leased,
    own_and_stay,
    row_of,
    table_of,
)
from helpers.support import collect, run_script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

pytestmark = [pytest.mark.only_on("native", "cffi"), needs_life_locks]  # the lock path has no table

fcntl: Any = pytest.importorskip("fcntl")

FULL = "1023 live processes"


def lock_of(row: int) -> bytes:
    """Return the life lock of a row, as the kernel takes it."""
    return struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, FIRST_ROW_BYTE + row, 1, 0)


def is_taken(value: Any, row: int) -> bool:
    """Tell whether a live process has that row of a segment's table."""
    with open(table_of(value), "r+b") as file:  # noqa: PTH123
        answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, lock_of(row))
    return bool(struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK)


@contextlib.contextmanager
def rows_taken(value: Any, *free: int) -> Iterator[None]:
    """Have all rows of a segment's table taken, as by live processes, but for some."""
    with open(table_of(value), "r+b") as file:  # noqa: PTH123
        for row in range(1, ROWS + 1):
            if row not in free:
                with contextlib.suppress(BlockingIOError):  # truly somebody's
                    fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock_of(row))
        yield


def assign(jobs: Jobs) -> None:
    """Assign to a word."""
    jobs[1] = RUNNING


#: Each write that would lease a word, of an array whose word 1 is PENDING and all others DONE.
LEASING: dict[str, Callable[[Jobs], object]] = {
    "set": lambda jobs: jobs.at(1).set(RUNNING),
    "exchange": lambda jobs: jobs.at(1).exchange(RUNNING),
    "compare_and_set": lambda jobs: jobs.at(1).compare_and_set(PENDING, RUNNING),
    "update": lambda jobs: jobs.at(1).update(lambda _: RUNNING),
    "assign": assign,
    "exchange(i)": lambda jobs: jobs.exchange(1, RUNNING),
    "compare_and_set(i)": lambda jobs: jobs.compare_and_set(1, PENDING, RUNNING),
    "claim": lambda jobs: jobs.claim(PENDING, RUNNING),
    "claim, waiting": lambda jobs: jobs.claim(PENDING, RUNNING, timeout=PATIENCE),
    "fill": lambda jobs: jobs.fill(RUNNING),
    "own": lambda jobs: jobs.at(1).own(),
}

by_leasing = pytest.mark.parametrize("write", LEASING.values(), ids=LEASING)


# -- a full table


@by_leasing
def test_one_too_many(write: Callable[[Jobs], object]) -> None:
    """Who would be owner 1,024 of a segment gets a RuntimeError, and nothing is written."""
    jobs = board()
    with rows_taken(jobs):
        versions = [jobs.at(index).version for index in range(3)]
        for _ in range(2):
            with pytest.raises(RuntimeError, match=FULL):
                write(jobs)
            assert jobs.snapshot() == [DONE, PENDING, DONE]
            assert [jobs.at(index).version for index in range(3)] == versions
            assert jobs.owners() == [None] * 3
    write(jobs)
    assert jobs.owner(1) == os.getpid()


def test_mismatch_needs_no_row() -> None:
    """What finds no word that it could write says so, full table or not."""
    jobs = board()
    with rows_taken(jobs):
        assert jobs.at(1).compare_and_set(DEAD, RUNNING) is False
        assert jobs.compare_and_set(1, DONE, RUNNING) is False
        assert jobs.claim(DEAD, RUNNING) is None
        assert jobs.claim(DEAD, RUNNING, timeout=0.01) is None
        assert jobs.at(1).update(lambda member: member) is PENDING


def test_writes_that_lease_nothing_need_no_row() -> None:
    """Members that on_death does not map are written beside a full table, and disown() passes."""
    jobs = board()
    with rows_taken(jobs):
        jobs[1] = DEAD
        assert jobs.claim(DEAD, PENDING) == 1
        assert jobs.at(1).exchange(DONE) is PENDING
        jobs.fill(PENDING)
        jobs.at(1).disown()
        assert jobs.recover() == []
        assert jobs.owners() == [None] * 3
    workers = Jobs(3, PENDING, on_death=DEAD)
    with rows_taken(workers):
        workers.fill(RUNNING)
        with pytest.raises(RuntimeError, match=FULL):
            workers.at(0).own()


def test_owner_of_a_row_goes_on() -> None:
    """Who has a row uses it, however full the table is by now."""
    jobs = board()
    jobs[1] = RUNNING
    with rows_taken(jobs):
        jobs.fill(RUNNING)
        jobs.at(0).own()
        assert jobs.owners() == [os.getpid()] * 3


@pytest.mark.parametrize("row", [1, 2, 500, ROWS])
def test_last_row(row: int) -> None:
    """The one row that nobody has is found, wherever it is."""
    jobs = board()
    with rows_taken(jobs, row):
        assert jobs.claim(PENDING, RUNNING) == 1
        assert row_of(jobs.at(1)) == row
        assert jobs.owner(1) == os.getpid()


MANY = """
import os, signal, sys
from helpers.owners import LEASES, PENDING, ROWS, RUNNING, Jobs
from helpers.support import fork

jobs = Jobs(ROWS + 2, PENDING, on_death=LEASES)
ready, tell = os.pipe()
until, end = os.pipe()

def lease(index):
    os.close(end)  # the parent's alone: its end is theirs
    jobs[index] = RUNNING
    os.write(tell, b".")
    os.read(until, 1)

def told(count):
    while count:
        count -= len(os.read(ready, count))

def kill(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

pids = [fork(lambda: lease(index)) for index in range(ROWS)]
told(ROWS)
assert jobs.owners() == [*pids, None, None]
for write in (lambda: jobs.exchange(ROWS, RUNNING), jobs.at(ROWS).own):
    try:
        write()
    except RuntimeError as error:
        print(error)
assert jobs.owners() == [*pids, None, None]
assert jobs.snapshot()[ROWS:] == [PENDING] * 2

kill(pids[700])
jobs[ROWS] = RUNNING  # by the row that is free now
me = os.getpid()
assert jobs.owners() == [*pids[:700], None, *pids[701:], me, None]
assert jobs[700] is PENDING

kill(*pids[:700], *pids[701:])
assert jobs.count(RUNNING) == ROWS
again = fork(lambda: lease(ROWS + 1))
told(1)
assert jobs.count(RUNNING) == ROWS  # but for the one whose row it took
given = jobs.recover()
assert len(given) == ROWS - 2, len(given)
assert jobs.owners() == [None] * ROWS + [me, again]
kill(again)
assert jobs.recover() == [ROWS + 1]
"""


@pytest.mark.slow
def test_as_many_processes_as_there_are_rows(tmp_path: Path) -> None:
    """1,023 processes own words of one segment; what they leave is used again, and nothing else."""
    done = run_script(MANY, folder=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert len(done.stdout.splitlines()) == 2
    assert done.stdout.count(FULL) == 2


# -- rows that are used again


def kill_a_lessee(jobs: Jobs) -> int:
    """Have a process lease word 1, and kill it; return its row."""
    with child(own_and_stay, lambda: jobs.claim(PENDING, RUNNING)) as owner:
        owner.says()
        owner.kill()
    return row_of(jobs.at(1))


def test_new_owner_of_a_row_owns_nothing_of_the_dead_ones() -> None:
    """Who gets a dead process's row gives back all that names it, before he owns anything."""
    jobs = Jobs(4, PENDING, on_death=LEASES)
    with fellow(jobs=jobs) as dead:
        dead.ask("(jobs.claim(PENDING, RUNNING), jobs.claim(PENDING, RUNNING), jobs.at(2).own())")
        row = row_of(jobs.at(0))
        dead.kill()
    version = jobs.at(1).version
    with rows_taken(jobs, row):
        jobs[3] = RUNNING
        assert row_of(jobs.at(3)) == row
        assert jobs.snapshot() == [PENDING] * 3 + [RUNNING]
        assert jobs.owners() == [None] * 3 + [os.getpid()]
        assert jobs.at(1).version == version + 1
        assert jobs.recover() == []


def test_row_of_a_locked_word_is_left() -> None:
    """A dead process's row is not taken while somebody holds the lock of a word that names it."""
    jobs = board()
    row = kill_a_lessee(jobs)
    with rows_taken(jobs, row):
        with child(hold_job, jobs.at(1)) as holder:
            holder.says()
            with pytest.raises(RuntimeError, match=FULL):
                jobs.at(0).own()
            assert (jobs[1], jobs.owner(0)) == (RUNNING, None)
            holder.tell()
        jobs.at(0).own()
        assert row_of(jobs.at(0)) == row
        assert (jobs[1], jobs.owner(1)) == (PENDING, None)


def test_rows_are_used_one_after_the_other() -> None:
    """A row that a dead process had is used again as late as can be."""
    jobs = board()
    rows = []
    for _ in range(5):
        rows.append(kill_a_lessee(jobs))
        assert jobs.recover() == [1]
    assert len(set(rows)) == 5


def test_rows_come_round() -> None:
    """The row after the last one is the first."""
    jobs = board()
    rows = []
    for free in (ROWS, 1, 2):
        with rows_taken(jobs, free):
            rows.append(kill_a_lessee(jobs))
        assert jobs.recover() == [1]
    assert rows == [ROWS, 1, 2]
    assert kill_a_lessee(jobs) == 3
    assert jobs.recover() == [1]


def test_row_is_given_up_with_the_last_object(request: pytest.FixtureRequest) -> None:
    """A process that uses a segment no more, and owns nothing there, leaves its row to others."""
    with own_name(request.node.nodeid) as name:
        status = leased(segment_name=name)

        def lease_and_drop(pipe: Connection) -> None:
            nonlocal status
            del status
            collect()
            for member in (DONE, RUNNING):
                attached = Job.attach(name)
                attached.set(RUNNING)
                pipe.send(row_of(attached))
                attached.set(member)
                del attached
                collect()
                pipe.send("dropped")
                pipe.recv()

        with child(lease_and_drop) as peer:
            for owns in (False, True):
                row = peer.says()
                assert peer.says() == "dropped"
                assert is_taken(status, row) is owns
                assert status.owner == (peer.pid if owns else None)
                peer.tell()
        assert status.recover() or status.load() is PENDING
        status.unlink()
