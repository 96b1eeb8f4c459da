"""An array in a cycle that the garbage collector takes apart."""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumArray
from helpers.support import IDLE, WorkerStatusEnum, collect, own_segments, run_script

if TYPE_CHECKING:
    from pathlib import Path


class Board(IntEnumArray[WorkerStatusEnum]):
    """One that takes attributes."""


def test_collected() -> None:
    """An array that refers to itself, by an attribute and by a view of its values, is collected."""
    board: Any = Board(3, IDLE)
    board.itself = board
    if board._atomic_guard is None and sys.version_info >= (3, 12):
        board.view = memoryview(board)
    gone = weakref.ref(board)
    del board
    collect()
    assert gone() is None


def test_dropped_ones_give_their_memory_back() -> None:
    """Arrays that are made and dropped, one after the other, do not pile up in shared memory."""
    collect()
    Board(3, IDLE)  # what others left goes with it
    before = len(own_segments())
    for _ in range(8):
        Board(3, IDLE)
        collect()
    assert len(own_segments()) <= before + 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is mapped")
def test_garbage_does_not_pile_up(tmp_path: Path) -> None:
    """Nobody has to collect: what is dropped goes long before a process may map no more."""
    done = run_script(
        """
        from helpers.boards import Board
        from helpers.support import IDLE, WorkerStatus

        mapped = []
        for number in range(6000):
            Board(3, IDLE), WorkerStatus(IDLE)
            if number % 500 == 499:
                with open("/proc/self/maps") as maps:
                    mapped.append(len(maps.readlines()))
        print(max(mapped) < 8000, mapped)
        """,
        folder=tmp_path,
    )
    assert (done.stdout[:4], done.stderr) == ("True", ""), done.stdout


@pytest.mark.slow
@pytest.mark.only_on("native")
@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python has no __release_buffer__")
def test_in_use_while_it_is_cleared(tmp_path: Path) -> None:
    """A thread that got an array while the collector clears it goes on with it, whole."""
    done = run_script(
        """
        import gc, threading
        from atomic_intenum import IntEnumArray
        from helpers.support import IDLE, WorkerStatusEnum

        class Board(IntEnumArray[WorkerStatusEnum]):
            pass

        class Exporter(tuple):  # a tuple is not cleared: it finds its array to the end
            __slots__ = ()
            def __buffer__(self, flags):
                return memoryview(b"exported")
            def __release_buffer__(self, view):
                user = threading.Thread(target=use, args=(self[0],))
                user.start()
                users.append(user)
                inside.wait()

        def use(board):
            for n in range(400):
                counted.add(board.count(IDLE))
                if n == 10:
                    inside.set()

        users, counted, inside = [], set(), threading.Event()
        gc.disable()
        board = Board(200_000, IDLE)
        board.view = memoryview(Exporter((board,)))
        del board
        gc.collect()
        (user,) = users
        user.join()
        print(counted)
        """,
        folder=tmp_path,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("{200000}\n", "", 0)
