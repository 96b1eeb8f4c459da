"""Names of values that were closed or dropped, and the same name once more."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from helpers.crew import child
from helpers.inside import as_elsewhere
from helpers.marks import named
from helpers.names import make, own_name, path_of
from helpers.support import (
    CALCULATING,
    IDLE,
    SHM,
    UNAVAILABLE,
    WorkerStatus,
    collect,
    collect_unless_counted,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection


pytestmark = pytest.mark.skipif(not SHM.is_dir(), reason="no folder lists shared memory")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A segment name of this test alone; nothing of that name may be left."""
    with own_name(request.node.nodeid) as chosen:
        yield chosen


@named
@pytest.mark.parametrize("state", ["created", "attached", "copied", "unlinked", "pickled"])
def test_close(state: str, name: str) -> None:
    """close() ends this object alone, in every state of the value; twice is once."""
    created = make(name)
    values: dict[str, Any] = {
        "created": lambda: created,
        "attached": lambda: WorkerStatus.attach(name),
        "copied": lambda: copy.copy(created),
        "unlinked": lambda: created,
        "pickled": lambda: pickle.loads(pickle.dumps(created)),
    }
    value = values[state]()
    if state == "unlinked":
        value.unlink()
    other = copy.copy(value)
    value.close()
    value.close()
    for use in (value.unlink, value.load, value.get_lock, lambda: value.segment_name):
        with pytest.raises(ValueError, match="closed"):
            use()
    other.set(CALCULATING)
    assert other == CALCULATING
    assert path_of(name).exists() == (state != "unlinked")


def test_close_without_init() -> None:
    """An instance whose __init__ never ran, or failed, is closed: every use says so."""
    value: WorkerStatus = WorkerStatus.__new__(WorkerStatus)
    value.close()
    for use in (value.unlink, value.load, lambda: value.segment_name):
        with pytest.raises(ValueError, match="closed"):
            use()


@named
def test_name_again_after_dropping(name: str) -> None:
    """A name is free in its process as soon as the value is dropped, closed or not, each time."""
    for number in range(15):
        value = make(name, CALCULATING if number % 2 else IDLE)
        assert (value.value, value.version) == (3 if number % 2 else 2, 0)
        value.set(UNAVAILABLE)
        if number % 3 == 0:
            value.close()
        if number % 3 == 1:
            value.unlink()
        if number % 5 == 0 and number % 3:
            pickle.dumps(value)
        del value
        collect_unless_counted()


@named
def test_closed_value_keeps_its_name(name: str) -> None:
    """A closed value that is still there keeps the name, for those who attached."""
    created = make(name)
    created.close()
    with pytest.raises(FileExistsError, match=name):
        make(name)
    assert WorkerStatus.attach(name) == IDLE


@named
def test_attached_value_keeps_its_name(name: str) -> None:
    """In the creating process the name stays while any object for the value does."""
    created = make(name)
    attached = copy.copy(created)
    del created
    collect()
    assert path_of(name).exists()
    with pytest.raises(FileExistsError, match=name):
        make(name)
    assert WorkerStatus.attach(name) == attached == IDLE


@named
def test_pickle_means_that_segment(name: str) -> None:
    """A pickle means the segment that it was made of: a later one of the name is a ValueError."""
    first = make(name)
    pickled = pickle.dumps(first)
    first_copy = pickle.loads(pickled)
    assert first_copy == first
    first.unlink()
    assert pickle.loads(pickled) == first  # mapped here
    del first, first_copy
    collect()
    with pytest.raises(FileNotFoundError, match=name):
        pickle.loads(pickled)
    second = make(name, CALCULATING)
    with pytest.raises(ValueError, match="another one than was pickled"):
        pickle.loads(pickled)
    assert pickle.loads(pickle.dumps(second)) == CALCULATING


@named
@pytest.mark.parametrize("how", ["pickle", "attach"])
def test_value_that_comes_back_is_answered_for(how: str, name: str) -> None:
    """A creator that gets its value back after dropping it has the name until it drops that."""
    created = make(name)
    pickled = pickle.dumps(created)
    del created
    collect()  # now it lingers
    with as_elsewhere():
        returned = pickle.loads(pickled) if how == "pickle" else WorkerStatus.attach(name)
    with pytest.raises(FileExistsError, match=f"{name}.*this very process"):
        make(name)
    assert WorkerStatus.attach(name) == returned == IDLE
    del returned
    collect()
    assert path_of(name).exists()  # the pickle may be on its way once more
    assert make(name, CALCULATING) == CALCULATING


@named
def test_lingering_value_gives_way(name: str) -> None:
    """A pickled value that its creator dropped keeps its name from everybody but the creator."""
    created = make(name)
    pickled = pickle.dumps(created)
    del created
    collect()

    def want(pipe: Connection) -> None:
        try:
            make(name)
        except FileExistsError:
            pipe.send(pickle.loads(pickled).load())

    with child(want) as peer:
        assert peer.says() is IDLE
    assert make(name, CALCULATING) == CALCULATING


@named
def test_fork_child_does_not_own_the_name(name: str) -> None:
    """A forked child that drops its copy of a value with a name leaves the name alone."""
    created: list[Any] = [make(name)]

    def drop(pipe: Connection) -> None:
        created.clear()
        collect()
        try:
            make(name)
        except FileExistsError:
            pipe.send("taken")

    with child(drop) as peer:
        assert peer.says() == "taken"
    assert path_of(name).exists()
    assert WorkerStatus.attach(name) == created[0]
