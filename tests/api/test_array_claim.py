"""claim(): finding a word, making it one's own, and nobody else's."""

from __future__ import annotations

import contextlib
import copy
import os
import random
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from helpers.boards import ATOMIC, SHAPES, Board
from helpers.crew import PATIENCE, Task, child, hold
from helpers.support import CALCULATING, IDLE, UNAVAILABLE, give_way, soaked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from helpers.crew import Peer

by_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)

#: Words that the processes share out.
MANY = 10_000


# -- alone


@by_shape
def test_each_once_in_order(shape: dict[str, Any]) -> None:
    """One claimer alone gets each index once, from 0 up, and then None."""
    array = Board(50, IDLE, **shape)
    assert [array.claim(IDLE, CALCULATING) for _ in range(50)] == [*range(50)]
    assert array.snapshot() == [CALCULATING] * 50
    assert array.claim(IDLE, CALCULATING) is None
    assert array.claim("IDLE", "CALCULATING") is None
    assert array.claim(old="CALCULATING", new="CALCULATING") is not None
    assert array.at(7).version in (1, 2)


def test_index_0_is_an_index() -> None:
    """The first word is claimed as index 0, which is an int."""
    array = Board(1, IDLE)
    index = array.claim(IDLE, CALCULATING)
    assert index == 0
    assert type(index) is int
    assert array.claim(IDLE, CALCULATING) is None


def test_claims_what_it_is_told() -> None:
    """Words that are another member are left as they are."""
    array = Board(9, UNAVAILABLE)
    for index in (2, 5, 8):
        array[index] = IDLE
    assert {array.claim(IDLE, CALCULATING) for _ in range(3)} == {2, 5, 8}
    assert array.claim(IDLE, CALCULATING) is None
    assert array.counts() == {UNAVAILABLE: 6, IDLE: 0, CALCULATING: 3}


@pytest.mark.parametrize("size", [20, 3000, 9000])
def test_starts_where_it_last_found_one(size: int) -> None:
    """A claim begins at the word that this object found last, and goes around."""
    array = Board(size, UNAVAILABLE)
    array[size - 3] = IDLE
    assert array.claim(IDLE, CALCULATING) == size - 3
    array[1] = array[size - 1] = IDLE
    assert array.claim(IDLE, CALCULATING) == size - 1
    assert array.claim(IDLE, CALCULATING) == 1
    array[0] = array[2] = IDLE
    assert array.claim(IDLE, CALCULATING) == 2
    assert array.claim(IDLE, CALCULATING) == 0
    array[0] = IDLE
    assert copy.copy(array).claim(IDLE, UNAVAILABLE) == 0  # each object has its own place
    array[0] = IDLE
    assert array.claim(IDLE, CALCULATING) == 0


@pytest.mark.parametrize("size", [1, 2, 1023, 1024, 1025, 8191, 8192, 8200])
def test_visits_every_word(size: int) -> None:
    """Wherever it starts, a claim finds the one word that matches, and None if there is none."""
    chance = random.Random(size)
    array = Board(size, UNAVAILABLE)
    places = {0, size - 1, size // 2, *(chance.randrange(size) for _ in range(20))}
    for place in sorted(places, key=lambda _: chance.random()):
        array[place] = IDLE
        assert array.claim(IDLE, UNAVAILABLE) == place
        assert array.claim(IDLE, UNAVAILABLE) is None


# -- locked words


def test_own_lock_is_no_hindrance() -> None:
    """Who holds a word's lock claims it."""
    array = Board(2, UNAVAILABLE)
    array[1] = IDLE
    with array.at(1).get_lock():
        assert array.claim(IDLE, CALCULATING) == 1


@pytest.mark.only_on("native", "cffi")
@by_shape
@pytest.mark.parametrize("size", [4, 9000])
def test_passes_over_locked_words(size: int, shape: dict[str, Any]) -> None:
    """A word that somebody holds the lock of is passed over while another matches."""
    array = Board(size, UNAVAILABLE, **shape)
    array[0] = array[1] = array[3] = IDLE
    with child(hold, array.at(0)) as first, child(hold, array.at(1)) as second:
        first.says()
        second.says()
        assert array.claim(IDLE, CALCULATING) == 3
        claimer = Task(lambda: array.claim(IDLE, CALCULATING))
        assert claimer.is_running()  # only locked ones match
        array[2] = IDLE
        assert claimer.result() == 2
        claimer = Task(lambda: array.claim(IDLE, CALCULATING))
        assert claimer.is_running()
        second.tell()
        assert claimer.result() == 1
        first.tell()
    assert array.claim(IDLE, CALCULATING) == 0


def test_waits_for_a_locked_one() -> None:
    """If the only word that matches is locked, a claim waits for it, and looks again."""
    for outcome in (0, None):
        array = Board(3, UNAVAILABLE)
        array[0] = IDLE
        lock = array.at(0).get_lock()
        with lock:
            claimer = Task(lambda a=array: a.claim(IDLE, CALCULATING))  # type: ignore[misc]
            assert claimer.is_running()
            if outcome is None:
                array[0] = UNAVAILABLE
                if ATOMIC:
                    assert claimer.result() is None  # it takes no lock to see that
        assert claimer.result() == outcome


@pytest.mark.only_on("native", "cffi")
def test_takes_the_lock_that_it_can_have() -> None:
    """Of locked words that match, one whose lock is this thread's, or a dead one's, is claimed."""
    array = Board(4, UNAVAILABLE)
    array[0] = array[2] = IDLE
    with child(hold, array.at(0)) as other:
        other.says()
        with array.at(2).get_lock():
            assert array.claim(IDLE, CALCULATING) == 2
        array[3] = IDLE
        with child(hold, array.at(3)) as dies:
            dies.says()
            dies.kill()
        assert Task(lambda: array.claim(IDLE, CALCULATING)).result() == 3
        other.tell()


def test_nothing_to_claim_takes_no_lock() -> None:
    """A claim that finds no word does not wait for the locks of others."""
    array = Board(3, UNAVAILABLE)
    with child(hold, array.at(1)) as holder:
        holder.says()
        assert array.claim(IDLE, CALCULATING) is None
        holder.tell()
    held, done = threading.Event(), threading.Event()

    def hold_here() -> None:
        with array.at(1).get_lock():
            held.set()
            done.wait(PATIENCE)

    holder_here = Task(hold_here)
    assert held.wait(PATIENCE)
    try:
        assert array.claim(IDLE, CALCULATING) is None
        assert not done.is_set()
    finally:
        done.set()
        holder_here.result()
    assert array.claim(IDLE, CALCULATING) is None


def claim_with_handler(pipe: Connection, array: Board) -> None:
    """Claim with a handler of SIGUSR1 that raises, and tell how that ended."""

    def handle(*_: object) -> None:
        raise ZeroDivisionError

    signal.signal(signal.SIGUSR1, handle)
    pipe.send("ready")
    try:
        outcome: object = array.claim(IDLE, CALCULATING)
    except ZeroDivisionError as error:
        outcome = type(error)
    pipe.send(outcome)


def test_signal_ends_a_claim() -> None:
    """What a signal handler raises ends a claim that waits for a lock; nothing is claimed."""
    array = Board(3, UNAVAILABLE)
    array[1] = IDLE
    with array.at(1).get_lock(), child(claim_with_handler, array) as claimer:
        claimer.says()
        assert claimer.is_silent()
        os.kill(claimer.pid, signal.SIGUSR1)
        assert claimer.says() is ZeroDivisionError
    assert array[1] is IDLE


@pytest.mark.only_on("native")
def test_closing_ends_a_claim() -> None:
    """Closing the array under a claim that waits for a lock is a ValueError there."""
    array = Board(3, IDLE)
    twin = copy.copy(array)
    array.fill(UNAVAILABLE)
    array[1] = IDLE
    with array.at(1).get_lock():
        claimer = Task(lambda: array.claim(IDLE, CALCULATING))
        assert claimer.is_running()
        array.close()
        with pytest.raises(ValueError, match="closed"):
            claimer.result()
    assert twin[1] is IDLE


# -- many at once


def claim_until_none(pipe: Connection, array: Board, path: str) -> None:
    """Claim until None, noting each index in a file before the next."""
    pipe.send("ready")
    pipe.recv()
    with open(path, "ab", buffering=0) as file:  # noqa: PTH123
        while (index := array.claim(IDLE, CALCULATING)) is not None:
            # Eight bytes each, so that none lies across two pages: there a kill would tear it.
            file.write(b"%7d\n" % index)
    pipe.send("none")


def indices(folder: Path) -> list[int]:
    """Return what all claimers noted."""
    return [int(text) for path in folder.glob("claimed-*") for text in path.read_text().split()]


@contextlib.contextmanager
def claimers(count: int, array: Board, folder: Path) -> Iterator[list[Peer]]:
    """Run that many claimers, started together."""
    with contextlib.ExitStack() as stack:
        peers = []
        for _ in range(count):
            path = folder / f"claimed-{len(list(folder.iterdir()))}"
            path.touch()
            peers.append(stack.enter_context(child(claim_until_none, array, str(path))))
        for peer in peers:
            assert peer.says() == "ready"
        for peer in peers:
            peer.tell()
        yield peers


def share_out(array: Board, folder: Path) -> None:
    """Let four processes claim until None; each index must be somebody's, once."""
    with claimers(4, array, folder) as peers:
        assert [peer.says() for peer in peers] == ["none"] * 4
    assert sorted(indices(folder)) == [*range(len(array))]
    assert array.count(CALCULATING) == len(array)


@pytest.mark.slow
@by_shape
def test_processes_share_out_all(shape: dict[str, Any], tmp_path: Path) -> None:
    """Four processes that claim until None take each of 10,000 indices exactly once."""
    share_out(Board(MANY, IDLE, **shape), tmp_path)


@pytest.mark.slow
@pytest.mark.only_on("native", "cffi")
@pytest.mark.scaled
@by_shape
def test_claimers_are_killed(shape: dict[str, Any], tmp_path: Path) -> None:
    """Claimers that are killed meanwhile lose an index at most; none is given twice."""
    for number in range(soaked(4, 200)):
        folder = tmp_path / str(number)
        folder.mkdir()
        array = Board(MANY, IDLE, **shape)
        kills = 0
        for victims in (4, 4, 3):
            enough = min(array.count(CALCULATING) + random.randrange(MANY // 5), MANY)
            with claimers(4, array, folder) as peers:
                while array.count(CALCULATING) < enough:
                    pass
                for peer in random.sample(peers, victims):
                    peer.kill()
                    kills += 1
        found = indices(folder)
        twice = [index for index, times in Counter(found).items() if times > 1]
        assert not twice
        assert MANY - kills <= len(found) <= MANY
        assert array.count(CALCULATING) == MANY


class Careless(Board):
    """Claims by looking and then writing, which is two steps."""

    start = 0

    def claim(self, old: Any, new: Any, *, timeout: float | None = 0.0) -> int | None:  # noqa: ARG002
        """Find a word that is old; make it new a moment later."""
        for index in range(self.start, len(self)):
            if self[index] is old:
                give_way()
                self[index] = new
                self.start = index
                return index
        return None


@pytest.mark.slow
def test_a_claim_in_two_steps_is_found(tmp_path: Path) -> None:
    """The check above fails for a claim that looks and then writes."""
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            share_out(Careless(MANY // 10, IDLE), folder)
        except AssertionError:
            return
    pytest.fail("20 times each index was given once")


@pytest.mark.slow
def test_threads_share_out_all() -> None:
    """Threads that claim through one object take each index once."""
    for size in (500, 9000):
        array = Board(size, IDLE)
        barrier = threading.Barrier(4)

        def claim_all(array: Board = array, barrier: threading.Barrier = barrier) -> list[int]:
            barrier.wait(PATIENCE)
            return [*iter(lambda: array.claim(IDLE, CALCULATING), None)]

        tasks = [Task(claim_all) for _ in range(4)]
        found = [index for task in tasks for index in task.result()]
        assert sorted(found) == [*range(size)]


def test_claims_go_around() -> None:
    """Processes that take words and give them back never hold one at once, and none is lost."""
    array, owners = Board(5, IDLE), Board(5, IDLE)

    def work(pipe: Connection) -> None:
        done = 0
        while done < 500:
            index = array.claim(IDLE, CALCULATING)
            if index is not None:
                assert owners.compare_and_set(index, IDLE, CALCULATING)
                assert owners.compare_and_set(index, CALCULATING, IDLE)
                array[index] = IDLE
                done += 1
        pipe.send("done")

    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(child(work)) for _ in range(4)]
        assert [peer.says() for peer in peers] == ["done"] * 4
    assert array.count(IDLE) == owners.count(IDLE) == 5
    assert sum(owners.at(index).version for index in range(5)) == 4 * 500 * 2
