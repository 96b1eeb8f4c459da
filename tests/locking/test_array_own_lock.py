"""Claiming in an array, and waiting for one, by a thread that holds the lock of a word."""

from __future__ import annotations

import threading

import pytest

from atomic_intenum import IntEnumArray
from helpers.support import CALCULATING, DEADLINE, IDLE, UNAVAILABLE, WorkerStatusEnum


@pytest.mark.only_on("native", "cffi")
def test_claim_takes_the_word_whose_lock_it_holds() -> None:
    """A claim does not wait for somebody's lock where a word matches that it holds the lock of."""
    board = IntEnumArray[WorkerStatusEnum](4, UNAVAILABLE)
    board[1] = board[3] = IDLE
    held, claimed = threading.Event(), threading.Event()

    def hold() -> None:
        with board.at(1).get_lock():
            held.set()
            claimed.wait(DEADLINE)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(DEADLINE)
    with board.at(3).get_lock():
        index = board.claim(IDLE, CALCULATING)
    claimed.set()
    holder.join()
    assert index == 3
    assert board.snapshot() == [UNAVAILABLE, IDLE, UNAVAILABLE, CALCULATING]


def test_wait_all_for_a_word_that_only_this_thread_can_write() -> None:
    """A wait for all words ends in RuntimeError once only those of its thread's locks are left."""
    board = IntEnumArray[WorkerStatusEnum](3, UNAVAILABLE)
    started = threading.Event()

    def write() -> None:
        started.wait(DEADLINE)
        board[0] = IDLE
        board[1] = IDLE

    writer = threading.Thread(target=write)
    writer.start()
    with board.at(2).get_lock():
        started.set()
        with pytest.raises(RuntimeError, match="holding the lock"):
            board.wait_all(IDLE, timeout=DEADLINE)
    writer.join()
