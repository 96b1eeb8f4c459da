"""An array is a collections.abc.Sequence, to match, numpy and pandas too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from helpers.boards import Board
from helpers.support import CALCULATING, IDLE, UNAVAILABLE, JobEnum, WorkerStatus


@pytest.fixture
def board() -> Board:
    """An array of three: IDLE, CALCULATING, IDLE."""
    made = Board(3, IDLE)
    made[1] = CALCULATING
    return made


def test_is_a_sequence(board: Board) -> None:
    """Arrays and their classes count as sequences."""
    assert isinstance(board, Sequence)
    assert issubclass(Board, Sequence)


def test_contains(board: Board) -> None:
    """``in`` finds what a list of the members would, and names; an unknown name is a KeyError."""
    for found in (IDLE, "CALCULATING", 2):
        assert found in board
    for missing in (UNAVAILABLE, "UNAVAILABLE", 17, None, JobEnum.PENDING, object()):
        assert missing not in board
    with pytest.raises(KeyError, match="SLEEPING"):
        assert "SLEEPING" in board  # type: ignore[comparison-overlap]


def test_index(board: Board) -> None:
    """index() finds the first word that is a member, between bounds as a list's."""
    assert board.index(CALCULATING) == board.index("CALCULATING") == 1
    assert board.index(IDLE, 1) == 2
    assert board.index(IDLE, -3, 1) == 0
    with pytest.raises(ValueError, match="UNAVAILABLE"):
        board.index(UNAVAILABLE)
    with pytest.raises(ValueError, match="CALCULATING"):
        board.index("CALCULATING", 2)
    with pytest.raises(KeyError):
        board.index("SLEEPING")
    with pytest.raises(TypeError):
        board.index(2)  # type: ignore[arg-type]


def test_reversed(board: Board) -> None:
    """reversed() loads each word when it comes to it."""
    seen = reversed(board)
    assert next(seen) is IDLE
    board[1] = UNAVAILABLE
    assert list(seen) == [UNAVAILABLE, IDLE]


def test_match(board: Board) -> None:
    """A match statement takes an array apart."""
    found: Any = board
    match found:
        case [first, *others]:
            assert (first, others) == (IDLE, [CALCULATING, IDLE])
        case _:
            pytest.fail("no sequence")


def test_numpy_integers_compare_on_either_side() -> None:
    """A value equals a numpy integer on its right and on its left, and has an order with it."""
    np = pytest.importorskip("numpy")
    status = WorkerStatus(IDLE)
    two, three = np.int32(2), np.int64(3)
    assert (status == two, two == status, status != three, status < three, three > status) == (
        True,
        True,
        True,
        True,
        True,
    )
    assert not status == three  # noqa: SIM201
    with pytest.raises(TypeError, match="cannot compare"):
        assert status == np.asarray([2, 3])
    with pytest.raises(TypeError, match="cannot compare"):
        assert status == 2.0


def test_pandas_keeps_the_integers(board: Board) -> None:
    """A Series of an array is of int32, as numpy's array is."""
    np = pytest.importorskip("numpy")
    pandas = pytest.importorskip("pandas")
    series = pandas.Series(board)
    assert series.dtype == np.int32
    assert series.tolist() == [2, 3, 2]


def test_array_of_numpy(board: Board) -> None:
    """What numpy makes by __array__ is the words, or a copy, of the type that was asked for."""
    np = pytest.importorskip("numpy")
    words, copied = board.__array__(), board.__array__(copy=True)
    board[0] = CALCULATING
    assert (words.tolist(), copied.tolist()) == ([3, 3, 2], [2, 3, 2])
    assert board.__array__(np.float64).dtype == np.float64
