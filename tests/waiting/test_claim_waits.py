"""claim() with a timeout: sleeping until a word can be had, clause by clause of the contract."""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import signal
import time
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from helpers.boards import ATOMIC, SHAPES, Board, event_of, until_watched
from helpers.crew import PATIENCE, Task, child, exit_of, hold
from helpers.support import CALCULATING, IDLE, UNAVAILABLE, JobEnum, until
from helpers.waits import LOOK_AGAIN, PROMPT, SLACK, quickest

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from helpers.support import WorkerStatus

by_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def claim(board: Board, timeout: Any = PATIENCE) -> int | None:
    """Claim an IDLE word."""
    return board.claim(IDLE, CALCULATING, timeout=timeout)


def assign(board: Board) -> None:
    """Assign to word 2."""
    board[2] = IDLE


#: Each way to make word 2 IDLE.
WRITES: dict[str, Callable[[Board], object]] = {
    "assign": assign,
    "exchange": lambda board: board.exchange(2, IDLE),
    "compare_and_set": lambda board: board.compare_and_set(2, UNAVAILABLE, IDLE),
    "at set": lambda board: board.at(2).set(IDLE),
    "at update": lambda board: board.at(2).update(lambda _: IDLE),
}


# -- one that is there already, and none


@by_shape
@pytest.mark.parametrize("timeout", [None, 0, 0.0, 5, Fraction(1, 2), True, 1e300, float("inf")])
def test_one_is_there(timeout: Any, shape: dict[str, Any]) -> None:
    """A word that can be had is had at once, whatever the timeout, and nobody is announced."""
    board = Board(5, UNAVAILABLE, **shape)
    board[3] = IDLE
    event = event_of(board)
    assert claim(board, timeout) == 3
    assert board.snapshot() == [UNAVAILABLE] * 3 + [CALCULATING, UNAVAILABLE]
    assert event_of(board) == (event if ATOMIC else event + 1)


def test_none_at_once() -> None:
    """A timeout of 0 is one look, which is what a claim without one does: None, and no watcher."""
    board = Board(3, UNAVAILABLE)
    event = event_of(board)
    before = time.monotonic()
    for _ in range(100):
        assert board.claim(IDLE, CALCULATING) is None
        assert claim(board, 0) is None
        assert claim(board, -0.0) is None
    assert time.monotonic() - before < SLACK
    assert event_of(board) == event


@pytest.mark.parametrize("timeout", [0.001, LOOK_AGAIN + 0.1, Fraction(1, 50)])
def test_none_after_the_time(timeout: Any) -> None:
    """None comes when the time is over, never early, and late by a bound that is honest."""
    board = Board(3, UNAVAILABLE)
    wanted = int(timeout * 10**9)

    def attempt() -> float:
        before = time.monotonic_ns()
        assert claim(board, timeout) is None
        late = time.monotonic_ns() - before - wanted
        # The lock path adds the timeout to a float of the clock, which may round down.
        assert late >= (0 if ATOMIC else -1000)
        assert late < SLACK * 1e9
        return late / 1e9

    assert quickest(attempt) < PROMPT
    assert board.snapshot() == [UNAVAILABLE] * 3


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (-1, ValueError),
        (-1e-9, ValueError),
        (float("-inf"), ValueError),
        (float("nan"), ValueError),
        ("1", TypeError),
        ([1], TypeError),
        (1j, TypeError),
    ],
)
def test_wrong_timeouts(timeout: Any, error: type[Exception]) -> None:
    """A negative timeout or NaN is a ValueError, what is no number a TypeError; none is claimed."""
    for member in (IDLE, UNAVAILABLE):
        board = Board(3, member)
        with pytest.raises(error):
            claim(board, timeout)
        assert board.count(member) == 3


def test_wrong_arguments() -> None:
    """The timeout goes by its name alone, and members are checked before anybody sleeps."""
    claim_it: Any = Board(3, UNAVAILABLE).claim
    arguments: tuple[Any, ...]
    for arguments in ((IDLE, CALCULATING, 1), (IDLE,), (), (IDLE, 2), (2, IDLE)):
        with pytest.raises(TypeError):
            claim_it(*arguments, timeout=PATIENCE) if len(arguments) < 3 else claim_it(*arguments)
    with pytest.raises(TypeError):
        claim_it(IDLE, JobEnum.DONE, timeout=PATIENCE)
    with pytest.raises(TypeError):
        claim_it(IDLE, CALCULATING, patience=1)
    for names in (("NOTHING", "IDLE"), ("IDLE", "NOTHING")):
        with pytest.raises(KeyError):
            claim_it(*names, timeout=PATIENCE)
    board = Board(3, IDLE)
    assert board.claim(old="IDLE", new="CALCULATING", timeout=PATIENCE) == 0


# -- what ends it


@by_shape
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_sleeps_until_one_comes(write: Callable[[Board], object], shape: dict[str, Any]) -> None:
    """Every kind of write that makes a word so wakes a claim, which takes that word."""
    board = Board(5, UNAVAILABLE, **shape)

    def attempt() -> float:
        board.fill(UNAVAILABLE)
        sleeper = Task(lambda: (claim(board, None), time.monotonic()))
        until_watched(board)
        write(board)
        written = time.monotonic()
        index, woken = sleeper.result()
        assert index == 2
        assert board.snapshot() == [UNAVAILABLE] * 2 + [CALCULATING] + [UNAVAILABLE] * 2
        return float(woken - written)

    assert quickest(attempt) < PROMPT


def claim_and_tell(pipe: Connection, board: Board) -> None:
    """Claim, asleep, until it is word 0; then tell all that were had."""
    pipe.send("ready")
    pipe.send(claim_until_first(board))


def claim_until_first(board: Board) -> list[int | None]:
    """Claim, asleep, until it is word 0, and return all that were had."""
    had: list[int | None] = []
    while not had or had[-1]:
        had.append(claim(board))
    return had


def test_each_is_claimed_once() -> None:
    """Of claimers that sleep, in processes and threads, each word that comes is one's."""
    board = Board(200, UNAVAILABLE)
    with child(claim_and_tell, board) as first, child(claim_and_tell, board) as second:
        assert first.says() == second.says() == "ready"
        here = Task(lambda: claim_until_first(board))
        for index in range(1, 200):
            board[index] = IDLE
        for _ in range(3):
            until(lambda: board.count(IDLE) == 0, "claiming")
            board[0] = IDLE
        had = [*here.result(), *first.says(), *second.says()]
    assert Counter(had) == Counter([0, 0, *range(200)])


def test_woken_by_no_other_state() -> None:
    """Writes of other states, and locks taken and given back, do not end a claim."""
    board = Board(3, UNAVAILABLE)
    sleeper = Task(lambda: claim(board))
    for member in (CALCULATING, UNAVAILABLE):
        until_watched(board)
        with board.at(1).get_lock():
            pass
        board[1] = member
    until_watched(board)
    assert sleeper.is_running(0.01)
    board[1] = IDLE
    assert sleeper.result() == 1


def test_word_that_another_takes() -> None:
    """A claim that is woken and finds nothing left sleeps on, for the time that is left."""
    board = Board(3, UNAVAILABLE)
    sleeper = Task(lambda: claim(board, 0.5))
    for _ in range(20):
        board[1] = IDLE
        if not board.compare_and_set(1, IDLE, UNAVAILABLE):
            break  # the claim was faster
    outcome = sleeper.result()
    assert outcome in (None, 1)
    assert board.counts()[CALCULATING] == (outcome == 1)


def hold_for_a_while(pipe: Connection, value: WorkerStatus) -> None:
    """Hold the value's lock: say so, and let go when told, but not for ever."""
    with value.get_lock():
        pipe.send("held")
        pipe.poll(2 * SLACK)


@pytest.mark.only_on("native", "cffi")  # on the lock path a write waits for the lock of all words
@pytest.mark.slow
def test_locked_word_is_waited_for_no_longer() -> None:
    """A word that can be had but for its lock is waited for until the time is over."""
    board = Board(3, UNAVAILABLE)
    board[1] = IDLE
    with child(hold_for_a_while, board.at(1)) as holder:
        assert holder.says() == "held"
        before = time.monotonic()
        outcome = claim(board, 0.2)
        taken = time.monotonic() - before
        holder.tell()
    assert outcome is None
    assert 0.2 <= taken < SLACK


@pytest.mark.only_on("native")
@pytest.mark.slow
def test_other_threads_go_on() -> None:
    """A claim that waits for a locked word keeps no other thread of its process from running."""
    board = Board(3, UNAVAILABLE)
    board[1] = IDLE
    ticks: list[float] = []
    with child(hold_for_a_while, board.at(1)) as holder:
        assert holder.says() == "held"
        claimer = Task(lambda: claim(board, 0.2))
        began = time.monotonic()
        while not ticks or ticks[-1] < began + 1:
            ticks.append(time.monotonic())
            time.sleep(0.001)
        holder.tell()
    claimer.result()
    assert max(after - before for before, after in itertools.pairwise(ticks)) < 1


@pytest.mark.only_on("native", "cffi")
def test_locked_word_is_waited_for() -> None:
    """A word that can be had but for its lock is had when that is free, or another one before."""
    board = Board(3, UNAVAILABLE)
    board[1] = IDLE
    with child(hold, board.at(1)) as holder:
        holder.says()
        sleeper = Task(lambda: claim(board, None))
        assert sleeper.is_running()
        board[2] = IDLE
        assert sleeper.result() == 2
        sleeper = Task(lambda: claim(board, None))
        assert sleeper.is_running()
        holder.tell()
        assert sleeper.result() == 1


def test_holder_of_all_locks() -> None:
    """A claim that would sleep in a thread that holds the locks of all words is a RuntimeError."""
    board = Board(2, UNAVAILABLE)
    with board.at(0).get_lock(), board.at(1).get_lock():
        for timeout in (0.01, None):
            with pytest.raises(RuntimeError, match="lock"):
                claim(board, timeout)
        assert claim(board, 0) is None
        board[1] = IDLE
        assert claim(board, None) == 1
        board[1] = UNAVAILABLE
    with board.at(0).get_lock():
        sleeper = Task(lambda: claim(board, 0.3))  # by another thread
        assert sleeper.result() is None
    if ATOMIC:  # one lock an array there
        with board.at(0).get_lock():
            assert claim(board, 0.05) is None


def claim_till_signalled(pipe: Connection, board: Board) -> None:
    """Claim for ever, and tell when Ctrl-C came through."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # some shells ignore it
    pipe.send("ready")
    try:
        claim(board, None)
    except KeyboardInterrupt:
        pipe.send(time.monotonic())


def test_ctrl_c_ends_it() -> None:
    """KeyboardInterrupt comes through at once, and nothing is claimed."""
    board = Board(3, UNAVAILABLE)

    def attempt() -> float:
        with child(claim_till_signalled, board) as sleeper:
            sleeper.says()
            until_watched(board, sleeper)
            sent = time.monotonic()
            os.kill(sleeper.pid, signal.SIGINT)
            return float(sleeper.says() - sent)

    assert quickest(attempt) < PROMPT
    assert board.count(UNAVAILABLE) == 3


def test_signal_that_ends_nothing() -> None:
    """A handler that returns lets a claim go on for the time that is left."""
    board = Board(3, UNAVAILABLE)
    calls: list[int] = []

    def sleep() -> bool:
        signal.signal(signal.SIGUSR1, lambda *_: calls.append(1))

        def signal_often() -> None:
            for _ in range(50):
                os.kill(os.getpid(), signal.SIGUSR1)

        Task(signal_often)
        began = time.monotonic()
        return claim(board, 0.3) is None and time.monotonic() - began >= 0.29 and bool(calls)

    assert exit_of(sleep) == 0


def test_closing_ends_it() -> None:
    """Closing the array under a claim that sleeps is a ValueError there, 250 ms later at most."""
    board = Board(3, UNAVAILABLE)
    twin = copy.copy(board)

    def ends() -> float:
        with pytest.raises(ValueError, match="closed"):
            claim(board)
        return time.monotonic()

    sleeper = Task(ends)
    until_watched(board)
    before = time.monotonic()
    board.close()
    twin[1] = IDLE
    assert sleeper.result() - before < LOOK_AGAIN + SLACK
    assert twin[1] is IDLE
    for timeout in (0, 1, None):
        with pytest.raises(ValueError, match="closed"):
            claim(board, timeout)


class Closing:
    """A timeout that closes an array as it is looked at."""

    def __init__(self, board: Board) -> None:
        self.board = board

    def __float__(self) -> float:
        self.board.close()
        return 1.0


def test_closed_by_its_timeout() -> None:
    """An array that the timeout of a claim closes is closed, and nothing of it claimed."""
    board = Board(3, IDLE)
    twin = copy.copy(board)
    with pytest.raises(ValueError, match="closed"):
        claim(board, Closing(board))
    assert twin.count(IDLE) == 3


def test_killed_claimer_leaves_nothing() -> None:
    """A claimer that is killed asleep takes nothing, and keeps nobody from being woken."""
    board = Board(3, UNAVAILABLE)
    with contextlib.ExitStack() as stack:
        sleepers = [stack.enter_context(child(claim_and_tell, board)) for _ in range(2)]
        for sleeper in sleepers:
            sleeper.says()
            until_watched(board, sleeper)
        sleepers[0].kill()
        board[0] = IDLE
        assert sleepers[1].says() == [0]
    assert board.count(UNAVAILABLE) == 2
