"""changes() of an array: all words, and then those that differ."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from helpers.boards import SHAPES, Wide, event_of, until_watched, write_number
from helpers.crew import PATIENCE, Bits, Task, child
from helpers.support import make_enum
from helpers.waits import LOOK_AGAIN, PROMPT, SLACK, quickest

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

IDLE, LEFT, RIGHT = Bits.IDLE, Bits.LEFT, Bits.RIGHT

by_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)

Many: Any = make_enum("Many", {f"M{i}": i - 20 for i in range(60)}, module=__name__)


@by_shape
@pytest.mark.parametrize("size", [1, 5, 8192, 9000])
def test_begins_with_all_words(size: int, shape: dict[str, Any]) -> None:
    """The first is every word of that moment, by index, without a wait."""
    array = Wide(size, LEFT, **shape)
    changes = array.changes(timeout=0)
    array[size - 1] = RIGHT  # before the first is asked for
    first = next(changes)
    assert first == dict(enumerate([LEFT] * (size - 1) + [RIGHT]))
    assert list(first) == [*range(size)]
    assert {type(index) for index in first} == {int}
    assert set(map(type, first.values())) == {Bits}


@by_shape
def test_yields_what_differs(shape: dict[str, Any]) -> None:
    """Each further one has the words that differ from the last look, and those alone."""
    array = Wide(9, IDLE, **shape)
    changes = array.changes(timeout=0)
    next(changes)
    array[3] = LEFT
    assert next(changes) == {3: LEFT}
    array[8] = RIGHT
    array.at(0).set(Bits.HIGHEST)
    assert next(changes) == {0: Bits.HIGHEST, 8: RIGHT}
    array.fill(Bits.LOWEST)
    assert next(changes) == dict.fromkeys(range(9), Bits.LOWEST)
    with pytest.raises(TimeoutError):
        next(changes)


def test_what_comes_and_goes_is_missed() -> None:
    """A word that is what it was again, or was written the same, is no change; versions tell."""
    array = Wide(3, IDLE)
    changes = array.changes(timeout=0)
    next(changes)
    array[1] = LEFT
    array[1] = IDLE
    array[2] = IDLE
    with pytest.raises(TimeoutError):
        next(changes)
    changes = array.changes(timeout=0)
    next(changes)
    array[1] = LEFT
    array[1] = RIGHT
    assert next(changes) == {1: RIGHT}


def test_ends_with_its_timeout() -> None:
    """A wait in vain is a TimeoutError that says what the words are, and ends the iteration."""
    array = Wide(3, IDLE)
    array[1] = LEFT
    changes = array.changes(timeout=0.01)
    next(changes)
    with pytest.raises(TimeoutError, match=r"^changes\(\): still 2 IDLE, 1 LEFT after 0.01 s$"):
        next(changes)
    with pytest.raises(StopIteration):
        next(changes)


def test_timeout_bounds_each_wait() -> None:
    """The timeout begins anew with each wait, and not while nobody asks."""
    array = Wide(3, IDLE)
    changes = array.changes(timeout=0.2)
    next(changes)
    for member in (LEFT, RIGHT, LEFT):
        began = time.monotonic()
        waiter = Task(lambda: next(changes))
        until_watched(array)
        array[0] = member
        assert waiter.result() == {0: member}
        assert time.monotonic() - began < SLACK
        assert not waiter.is_running(0.25)


@pytest.mark.parametrize("timeout", [-1, -1e-9, float("-inf"), float("nan")])
def test_wrong_timeouts(timeout: float) -> None:
    """A negative timeout or NaN is a ValueError where changes() is called."""
    with pytest.raises(ValueError, match=r"negative|NaN"):
        Wide(3, IDLE).changes(timeout)


def test_wakes_by_each_change() -> None:
    """Whoever follows sleeps until the next change, and hears of it at once."""
    array = Wide(1000, IDLE)
    changes = array.changes(timeout=PATIENCE)
    next(changes)
    members = iter([LEFT, RIGHT] * 10)

    def attempt() -> float:
        follower = Task(lambda: (next(changes), time.monotonic()))
        until_watched(array)
        member = next(members)
        array[777] = member
        written = time.monotonic()
        change, woken = follower.result()
        assert change == {777: member}
        return float(woken - written)

    assert quickest(attempt) < PROMPT


def follow_and_tell(pipe: Connection, array: Wide) -> None:
    """Follow the changes until word 0 is RIGHT, and tell each."""
    for change in array.changes(timeout=PATIENCE):
        pipe.send(change)
        if change.get(0) is RIGHT:
            return


def test_follows_another_process() -> None:
    """A process that follows has each word as it is in the end, however fast they were written."""
    array = Wide(50, IDLE)
    with child(follow_and_tell, array) as follower:
        seen = follower.says()
        for turn in range(20):
            for index in range(1, 50):
                array[index] = LEFT if turn % 2 else Bits.HIGHEST
        array[7] = Bits.LOWEST
        array[0] = RIGHT
        while seen[0] is not RIGHT:
            change = follower.says()
            assert all(seen[index] is not member for index, member in change.items())
            seen |= change
    assert seen == dict(enumerate(array))


def test_several_follow_alone() -> None:
    """Each iterator has a place of its own."""
    array = Wide(3, IDLE)
    first, second = array.changes(0), array.changes(0)
    next(first)
    array[0] = LEFT
    assert next(second) == {0: LEFT, 1: IDLE, 2: IDLE}
    assert next(first) == {0: LEFT}
    array[1] = LEFT
    assert next(second) == next(first) == {1: LEFT}


def test_no_watcher_is_left() -> None:
    """What is dropped between two changes leaves the array as it was: nobody is announced."""
    array = Wide(3, IDLE)
    event = event_of(array)
    changes = array.changes(0)
    next(changes)
    array[0] = LEFT
    after = event_of(array)
    assert after in (event, event + 1)
    next(changes)
    del changes
    assert event_of(array) == after


def test_closing_ends_it() -> None:
    """Closing the array is a ValueError in who follows, also in who sleeps."""
    array = Wide(3, IDLE)
    idle, changes = array.changes(0), array.changes(PATIENCE)
    next(idle)
    next(changes)

    def ends() -> float:
        with pytest.raises(ValueError, match="closed"):
            next(changes)
        return time.monotonic()

    follower = Task(ends)
    until_watched(array)
    before = time.monotonic()
    array.close()
    assert follower.result() - before < LOOK_AGAIN + SLACK
    for closed in (idle, array.changes):
        with pytest.raises(ValueError, match="closed"):
            next(closed() if callable(closed) else closed)


def test_holder_of_all_locks() -> None:
    """A thread that holds the locks of all words would wait for ever: RuntimeError."""
    array = Wide(2, IDLE)
    changes = array.changes(PATIENCE)
    next(changes)
    with array.at(0).get_lock(), array.at(1).get_lock():
        array[1] = LEFT
        assert next(changes) == {1: LEFT}
        with pytest.raises(RuntimeError, match="lock"):
            next(changes)


def test_foreign_number() -> None:
    """A word that holds no member's number is a ValueError that names it."""
    array = Wide(3, IDLE)
    changes = array.changes(0)
    next(changes)
    write_number(array, 1, 77)
    with pytest.raises(ValueError, match="77"):
        next(changes)
    with pytest.raises(ValueError, match="77"):
        next(array.changes(0))


def follow_till_signalled(pipe: Connection, array: Wide) -> None:
    """Follow for ever, and tell when Ctrl-C came through."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    changes = array.changes()
    next(changes)
    pipe.send("ready")
    try:
        next(changes)
    except KeyboardInterrupt:
        pipe.send(time.monotonic())


def test_ctrl_c_ends_it() -> None:
    """KeyboardInterrupt comes through at once."""
    array = Wide(3, IDLE)

    def attempt() -> float:
        with child(follow_till_signalled, array) as follower:
            follower.says()
            until_watched(array, follower)
            sent = time.monotonic()
            os.kill(follower.pid, signal.SIGINT)
            return float(follower.says() - sent)

    assert quickest(attempt) < PROMPT
