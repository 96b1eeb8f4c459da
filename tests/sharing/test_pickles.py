"""Values as pickles: what arrives, and what is refused."""

from __future__ import annotations

import copy
import enum
import pickle
import sys
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import IntEnumArray, IntEnumValue
from helpers import children
from helpers.support import (
    CALCULATING,
    IDLE,
    UNAVAILABLE,
    WorkerStatus,
    WorkerStatusEnum,
    collect,
    make_enum,
    own_segments,
    run_script,
)

if TYPE_CHECKING:
    from pathlib import Path


pickles = pytest.mark.only_on("native", "cffi")


@pickles
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", children.KINDS)
def test_pickle(kind: str, protocol: int) -> None:
    """What is unpickled is the same shared value with the same attributes; __init__ never runs."""
    value = children.KINDS[kind]()
    children.calls.clear()
    copied = pickle.loads(pickle.dumps(value, protocol))
    children.check_kind(kind, copied)
    assert copied is not value
    assert [call for call in children.calls if "__init__" in call] == []
    assert children.calls == (["Stateful.__setstate__"] if kind == "own state" else [])
    copied.set(CALCULATING)
    assert value.load() is CALCULATING
    value.set(UNAVAILABLE)
    assert (copied.load(), copied.version) == (UNAVAILABLE, 2)
    assert copied == value


@pickles
@pytest.mark.parametrize("kind", ["attributes", "slots", "slots and attributes", "own state"])
def test_copy_as_pickle(kind: str) -> None:
    """Copy and deepcopy carry what a pickle would, and never run __init__."""
    value = children.KINDS[kind]()
    children.calls.clear()
    for duplicate in (copy.copy, copy.deepcopy):
        children.check_kind(kind, duplicate(value))
    assert [call for call in children.calls if "__init__" in call] == []


def test_copy_of_attributes() -> None:
    """On every backend copies carry slots and attributes."""
    for kind in ("attributes", "slots", "slots and attributes", "own state"):
        for duplicate in (copy.copy, copy.deepcopy):
            children.check_kind(kind, duplicate(children.KINDS[kind]()))


@pickles
def test_pickle_of_unset_slots() -> None:
    """A slot that was never set stays so in the copy."""
    value = children.Slotted(7, note="fast")
    del value.note
    copied = pickle.loads(pickle.dumps(value))
    assert copied.number == 7
    assert not hasattr(copied, "note")


@pickles
def test_pickle_with_itself_as_attribute() -> None:
    """A value that refers to itself comes back referring to itself."""
    value: Any = children.Noted(7, note="fast")
    value.me = value
    copied = pickle.loads(pickle.dumps(value))
    assert copied.me is copied


#: Members enough that their names alone are kilobytes.
Large: Any = make_enum("Large", {f"N{i}": i for i in range(1000)}, module=__name__)


@pickles
def test_pickle_is_small() -> None:
    """A pickle is a reference: a few hundred bytes, whatever the enum's size."""
    assert len(pickle.dumps(IntEnumValue[Large](Large.N0))) < 500


@pickles
def test_pickle_of_many() -> None:
    """Values of many segments are unpickled as what they were."""
    values = [WorkerStatus(list(WorkerStatusEnum)[i % 3]) for i in range(600)]
    copied = pickle.loads(pickle.dumps(values))
    assert [value.load() for value in copied] == [value.load() for value in values]
    for value in copied:
        value.set(IDLE)
    assert {value.load() for value in values} == {IDLE}


@pickles
def test_bad_pickles() -> None:
    """A pickle with a wrong index or nonce is refused with ValueError."""
    value = WorkerStatus(IDLE)
    function, (cls, vocabulary, subscripted, place, *lock) = value.__reduce_ex__(4)[:2]
    name, nonce, index = place
    for wrong in ((name, nonce, 100_000), (name, nonce, -1), (name, nonce ^ 1, index)):
        with pytest.raises(ValueError, match=name):
            function(cls, vocabulary, subscripted, wrong, *lock)
    with pytest.raises(FileNotFoundError, match="intenum-nothing"):
        function(cls, vocabulary, subscripted, ("intenum-nothing", nonce, index), *lock)


class Changing(enum.IntEnum):
    A = 1
    B = 2


class ChangingStatus(IntEnumValue[Changing]):
    pass


@pickles
@pytest.mark.parametrize("kind", ["subscribed", "parameterless"])
@pytest.mark.parametrize(
    "members",
    [{"A": 1, "B": 3}, {"A": 1}, {"A": 1, "B": 2, "C": 3}, {"A": 2, "B": 1}, {"X": 1, "Y": 2}],
)
def test_other_members(kind: str, members: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the enum of that name has other members, unpickling is a TypeError that names it."""
    cls = IntEnumValue[Changing] if kind == "subscribed" else IntEnumValue
    value = cls(Changing.A)
    pickled = pickle.dumps(value)
    other = make_enum("Changing", members, module=__name__)
    monkeypatch.setattr(sys.modules[__name__], "Changing", other)
    with pytest.raises(TypeError, match="Changing"):
        pickle.loads(pickled)
    assert value.name == "A"


@pickles
def test_other_members_of_subclass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subclass that is bound to an enum of other members where it arrives is refused."""
    value = ChangingStatus(Changing.A)
    pickled = pickle.dumps(value)
    other: Any = make_enum("Changing", "A B C", module=__name__)
    replaced = type("ChangingStatus", (IntEnumValue[other],), {"__module__": __name__})
    monkeypatch.setattr(sys.modules[__name__], "ChangingStatus", replaced)
    monkeypatch.setattr(sys.modules[__name__], "Changing", other)
    with pytest.raises(TypeError, match="Changing"):
        pickle.loads(pickled)


@pickles
def test_class_bound_to_another_enum(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subclass that holds another enum where it arrives, the old enum still there, is refused."""
    value = ChangingStatus(Changing.A)
    pickled = pickle.dumps(value)
    replaced = type("ChangingStatus", (WorkerStatus,), {"__module__": __name__})
    monkeypatch.setattr(sys.modules[__name__], "ChangingStatus", replaced)
    with pytest.raises(TypeError, match="Changing"):
        pickle.loads(pickled)


@pickles
def test_pickle_of_what_is_gone() -> None:
    """Unpickling what nobody has any more is a FileNotFoundError that says what to do."""
    value = WorkerStatus(IDLE)
    function, (cls, subscripts, enum, (name, nonce, index), *lock) = value.__reduce_ex__(4)[:2]
    gone = ("intenum-000000000000", nonce, index)
    with pytest.raises(FileNotFoundError, match="keep a reference"):
        function(cls, subscripts, enum, gone, *lock)
    assert function(cls, subscripts, enum, (name, nonce, index), *lock) == value


@pickles
def test_pickled_segment_lingers() -> None:
    """A segment that was pickled stays for a while after its last user: the pickle may arrive."""
    arrays = [IntEnumArray[WorkerStatusEnum](2, CALCULATING) for _ in range(2)]
    names = [array.segment_name for array in arrays]
    pickled = pickle.dumps(arrays[1])
    arrays.clear()
    collect()
    assert names[0] not in own_segments()
    assert names[1] in own_segments()
    assert pickle.loads(pickled)[1] is CALCULATING


@pickles
def test_stranger_attaches(tmp_path: Path) -> None:
    """A process that nobody spawned unpickles and writes a value, and leaves it at its end."""
    status = WorkerStatus(IDLE)
    (tmp_path / "pickled").write_bytes(pickle.dumps(status))
    done = run_script(
        """
        import pathlib, pickle, sys
        status = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
        print(status.exchange("CALCULATING").name)
        """,
        str(tmp_path / "pickled"),
        folder=tmp_path,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("IDLE\n", "", 0)
    assert status.load() is CALCULATING
    assert status._atomic_segment.name in own_segments()
