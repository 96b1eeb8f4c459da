"""changes(): the states that follow."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from helpers.crew import PATIENCE, Bits, Status, Task
from helpers.support import (
    until,
    word_of,
)
from helpers.waits import SLACK

if TYPE_CHECKING:
    from collections.abc import Callable


def test_changes_begins_with_the_current_member() -> None:
    """The first is the member of that moment, without a wait, and reading goes on from there."""
    status = Status(Bits.LEFT)
    changes = status.changes(timeout=0)
    status.set(Bits.RIGHT)  # before the first is asked for
    assert next(changes) is Bits.RIGHT
    status.set(Bits.IDLE)
    assert next(changes) is Bits.IDLE
    with pytest.raises(TimeoutError):
        next(changes)


def test_changes_yields_what_differs_from_the_last() -> None:
    """Each member that differs from the last one yielded, and no write of the same one."""
    status = Status(Bits.LEFT)
    changes = status.changes(timeout=0)
    assert next(changes) is Bits.LEFT
    for member in (Bits.RIGHT, Bits.IDLE, Bits.RIGHT, Bits.LEFT, Bits.HIGHEST):
        status.set(member)
        status.set(member)
        assert next(changes) is member
    status.set(Bits.HIGHEST)
    with pytest.raises(TimeoutError):
        next(changes)
    # There and back between two looks: missed, and the version tells.
    changes = status.changes(timeout=0)
    assert next(changes) is Bits.HIGHEST
    version = status.version
    status.set(Bits.LEFT)
    status.set(Bits.HIGHEST)
    with pytest.raises(TimeoutError):
        next(changes)
    assert status.version == version + 2


def test_changes_waits() -> None:
    """A thread that follows the changes sees each in turn, if the writer lets it."""
    status = Status(Bits.IDLE)
    seen: list[Bits] = []

    def follow() -> None:
        for member in status.changes(timeout=PATIENCE):
            seen.append(member)
            if member is Bits.HIGHEST:
                return

    def saw(count: int) -> Callable[[], bool]:
        return lambda: len(seen) >= count

    follower = Task(follow)
    members = [Bits.IDLE, Bits.LEFT, Bits.RIGHT, Bits.LEFT, Bits.LOWEST, Bits.HIGHEST]
    for count, member in enumerate(members, 1):
        status.set(member)
        until(saw(count), "the change")
    follower.result()
    assert seen == members


@pytest.mark.slow
def test_changes_bounds_each_wait() -> None:
    """The timeout is each wait's, counted anew from each change; then it is a TimeoutError."""
    status = Status(Bits.LEFT)
    changes = status.changes(timeout=0.2)
    begin = time.monotonic()
    assert next(changes) is Bits.LEFT
    for member in (Bits.RIGHT, Bits.LEFT, Bits.RIGHT):
        writer = threading.Timer(0.1, status.set, (member,))
        writer.start()
        try:
            assert next(changes) is member
        finally:
            writer.join()
    assert time.monotonic() - begin >= 0.3
    last = time.monotonic()
    with pytest.raises(TimeoutError, match=r"^changes\(\): still [A-Z]+ after 0\.2 s$"):
        next(changes)
    assert 0.2 - 1e-6 <= time.monotonic() - last < 0.2 + SLACK
    assert next(changes, None) is None  # over


def test_changes_can_be_closed() -> None:
    """The iterator is a generator: it can be closed, and leaves nothing behind."""
    status = Status(Bits.LEFT)
    changes: Any = status.changes()
    assert next(changes) is Bits.LEFT
    changes.close()
    assert next(changes, None) is None
    assert word_of(status) == int(Bits.LEFT)


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (-1, ValueError),
        (-1e-9, ValueError),
        (float("-inf"), ValueError),
        (float("nan"), ValueError),
        ("1", TypeError),
        (object(), TypeError),
    ],
)
def test_changes_refuses_wrong_timeouts(timeout: Any, error: type[Exception]) -> None:
    """A wrong timeout is refused by the call itself, with what wait_while() raises."""
    status = Status(Bits.LEFT)
    with pytest.raises(error):
        status.wait_while(Bits.RIGHT, timeout=timeout)
    with pytest.raises(error):
        status.changes(timeout=timeout)
