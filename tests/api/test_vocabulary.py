"""Vocabularies: what a segment carries of an IntEnum, and how two are told apart."""

from __future__ import annotations

import enum
import gc
import json
import threading
import weakref
from typing import Any

import pytest

from atomic_intenum import IntEnumValue
from helpers.inside import Vocabulary, is_int_enum, layout, vocabulary_of
from helpers.marks import classes_are_collected
from helpers.support import (
    IDLE,
    JobEnum,
    WorkerStatus,
    WorkerStatusEnum,
    make_enum,
)


class Aliased(enum.IntEnum):
    ON = 1
    OFF = 0
    ACTIVE = 1


def make(name: str = "Made", **members: int) -> Any:
    """Make an IntEnum."""
    return make_enum(name, members)


def test_text() -> None:
    """The text is the enum's name and members as JSON, in the enum's order."""
    assert vocabulary_of(WorkerStatusEnum).text == (
        b'{"enum": "WorkerStatusEnum", "members": {"UNAVAILABLE": 1, "IDLE": 2, "CALCULATING": 3}}'
    )
    assert vocabulary_of(make(B=-2, A=7)).text == b'{"enum": "Made", "members": {"B": -2, "A": 7}}'


def test_text_is_canonical() -> None:
    """Aliases are no members of their own in the text."""
    assert vocabulary_of(Aliased).text == b'{"enum": "Aliased", "members": {"ON": 1, "OFF": 0}}'


def test_text_is_ascii() -> None:
    """Names that are not ASCII are escaped in the text."""
    text = vocabulary_of(make("Zustände", BESCHÄFTIGT=1)).text
    assert json.loads(text.decode("ascii")) == {"enum": "Zustände", "members": {"BESCHÄFTIGT": 1}}


def test_text_is_unambiguous() -> None:
    """Two enums that differ have different texts, whatever their names are made of."""
    assert vocabulary_of(make("A=1\nB", C=2)).text != vocabulary_of(make("A=1", B=2, C=2)).text


def test_fingerprint_is_of_the_text() -> None:
    """Enums of equal names and members have equal fingerprints, across processes and versions."""
    first, second = vocabulary_of(make(A=1, B=2)), vocabulary_of(make(A=1, B=2))
    assert first is not second
    assert layout.fingerprint_of(first.text) == layout.fingerprint_of(second.text)
    assert layout.fingerprint_of(vocabulary_of(WorkerStatusEnum).text) == 4547655470052496824
    assert 0 <= layout.fingerprint_of(first.text) < 2**64


@pytest.mark.parametrize(
    "other",
    [
        make(A=1),
        make(A=1, B=3),
        make(A=2, B=1),
        make(A=1, C=2),
        make(A=1, B=2, C=3),
        make("Other", A=1, B=2),
        make("Made\nA", B=2),
    ],
)
def test_fingerprints_differ(other: Any) -> None:
    """Another name, member or value makes another fingerprint."""
    assert layout.fingerprint_of(vocabulary_of(other).text) != layout.fingerprint_of(
        vocabulary_of(make(A=1, B=2)).text
    )


def test_one_per_enum() -> None:
    """An enum has one vocabulary, in every class and thread."""
    fresh = make(A=1)
    found: list[Vocabulary] = []
    start = threading.Barrier(8)

    def find() -> None:
        start.wait()
        found.append(vocabulary_of(fresh))

    threads = [threading.Thread(target=find) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(vocabulary) for vocabulary in found}) == 1


@classes_are_collected
def test_dies_with_its_enum() -> None:
    """A vocabulary lives no longer than its enum and what uses it."""
    fresh = make(A=1)
    reference, enum_reference = weakref.ref(vocabulary_of(fresh)), weakref.ref(fresh)
    del fresh
    gc.collect()
    assert reference() is None
    assert enum_reference() is None


def test_names_and_numbers() -> None:
    """number_of takes names and aliases; member_of gives the canonical member."""
    vocabulary = vocabulary_of(Aliased)
    assert [vocabulary.number_of(name) for name in ("ON", "OFF", "ACTIVE")] == [1, 0, 1]
    assert [vocabulary.member_of(number) for number in (1, 0)] == [Aliased.ON, Aliased.OFF]
    with pytest.raises(KeyError, match="NEITHER"):
        vocabulary.number_of("NEITHER")
    with pytest.raises(ValueError, match=r"7.*Aliased"):
        vocabulary.member_of(7)


@pytest.mark.parametrize("name", ["", "__class__", "name", "_missing_", "on", "mro", "\0"])
def test_attributes_are_no_names(name: str) -> None:
    """Attributes of the enum that are no members are no names."""
    with pytest.raises(KeyError):
        IntEnumValue[Aliased](name)


def test_is_int_enum() -> None:
    """Only classes that derive from IntEnum count."""
    assert is_int_enum(WorkerStatusEnum)
    assert is_int_enum(enum.IntEnum)
    for wrong in (enum.IntFlag, enum.Enum, int, IDLE, 3, None, WorkerStatus):
        assert not is_int_enum(wrong)


def test_members_in_it() -> None:
    """Only the enum's own member objects are in a vocabulary."""
    vocabulary = vocabulary_of(WorkerStatusEnum)
    numbers = [vocabulary.number_of_member(member) for member in WorkerStatusEnum]
    assert numbers == [1, 2, 3]
    assert vocabulary.number_of_member(int.__new__(WorkerStatusEnum, 2)) is None
    assert vocabulary.number_of_member(JobEnum.RUNNING) is None


def test_two_members_of_one_number() -> None:
    """An enum with two distinct members that are the same int is a TypeError that names them."""

    class Twice(enum.IntEnum):
        def __new__(cls, label: str) -> Twice:  # noqa: PYI034 - mypy refuses Self in an enum
            member = int.__new__(cls, 1)
            member._value_ = label  # type: ignore[assignment]
            return member

        ONE = "one"
        UNO = "uno"

    with pytest.raises(TypeError, match=r"UNO.*ONE"):
        IntEnumValue[Twice]


def test_extra_attributes_of_members() -> None:
    """Members may carry more than their number."""

    class Rich(enum.IntEnum):
        def __new__(cls, number: int, note: str) -> Rich:  # noqa: PYI034
            member = int.__new__(cls, number)
            member._value_ = number
            member.note = note  # type: ignore[attr-defined]
            return member

        LOW = (1, "low")
        HIGH = (2, "high")

    value = IntEnumValue[Rich]("HIGH")
    assert value.load().note == "high"  # type: ignore[attr-defined]
    assert value.update(lambda _: Rich.LOW) is Rich.LOW
