"""The segment of what has owners: its header, its table, its descriptor, and what is refused."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from helpers.inside import as_elsewhere, layout, segment
from helpers.names import own_name, path_of
from helpers.owners import (
    DEAD,
    LEASES,
    PENDING,
    ROWS,
    RUNNING,
    Job,
    Jobs,
    row_of,
    table_of,
)
from helpers.support import SHM, collect, fork, run_script, spoil, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.only_on("native", "cffi"),
    pytest.mark.skipif(not SHM.is_dir(), reason="no folder lists shared memory"),
]

RULES = layout.Rules(((1, 2), (3, 4)), None)


@pytest.fixture
def made() -> Iterator[tuple[Path, segment.Segment]]:
    """Make a segment with owners by itself and give it with its file, for a test to spoil."""
    created = segment.create(b"Fresh\nA=1", 4, 64, layout.KIND_POOL, on_death=RULES)
    path = SHM / created.name
    yield path, created
    path.unlink(missing_ok=True)


def attach_anew(made: segment.Segment) -> segment.Segment:
    """Attach a segment as another process would, that does not know it."""
    with as_elsewhere():
        return segment.unpickled(made.name, made.header.nonce)


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def say(path: Path, text: bytes) -> None:
    """Have a segment's on_death be that text."""
    header = layout.Header(*layout.HEADER.unpack_from(path.read_bytes(), layout.HEADER_OFFSET))
    begin = header.vocabulary_offset + header.vocabulary_size
    assert begin + len(text) <= header.header_size
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(text)
    spoil(path, on_death_size=len(text))


# -- what is there


def test_header(made: tuple[Path, segment.Segment]) -> None:
    """A segment carries its on_death behind the vocabulary, and the table behind the controls."""
    path, created = made
    header, raw = created.header, path.read_bytes()
    end = header.vocabulary_offset + header.vocabulary_size
    assert json.loads(raw[end : end + header.on_death_size]) == [[1, 2], [3, 4]]
    controls_end = header.control_offset + header.capacity * header.control_stride
    assert header.owners_offset == controls_end
    assert len(raw) >= header.owners_offset + 8 * (ROWS + 1)
    assert raw[header.owners_offset :].strip(b"\0") == b""
    assert created.on_death == attach_anew(created).on_death == RULES


def test_nothing_where_nothing_is_said() -> None:
    """Without on_death a segment has no table, and takes no descriptor."""
    before = descriptors()
    values = [Job(PENDING), Jobs(3, PENDING)]
    for value in values:
        header = value._atomic_segment.header
        assert (header.on_death_size, header.owners_offset) == (0, 0)
    assert descriptors() == before


def test_row_of_a_process() -> None:
    """A process has one row of a segment, which names its pid, whatever it owns there."""
    jobs = Jobs(5, PENDING, on_death=LEASES)
    jobs.fill(RUNNING)
    jobs.at(3).own()
    rows = {row_of(jobs.at(index)) for index in range(5)}
    assert len(rows) == 1
    (row,) = rows
    raw = Path(table_of(jobs)).read_bytes()
    at = jobs._atomic_segment.header.owners_offset + 8 * row
    assert int.from_bytes(raw[at : at + 8], sys.byteorder) & 0xFFFF_FFFF == os.getpid()

    def lease_in_a_child() -> None:
        jobs[2] = RUNNING
        assert row_of(jobs.at(2)) not in (0, row)

    assert wait_for(fork(lease_in_a_child)) == 0


# -- what it takes


def test_descriptors_are_given_back() -> None:
    """A segment with owners takes a descriptor, and of root two, however often it is attached."""
    collect()
    before = descriptors()
    for _ in range(20):
        jobs = Jobs(3, PENDING, on_death=LEASES)
        with as_elsewhere():
            again: Any = segment.unpickled(
                jobs._atomic_segment.name, jobs._atomic_segment.header.nonce
            )
        assert jobs.claim(PENDING, RUNNING) == 0
        assert jobs.owners() == [os.getpid(), None, None]
        assert descriptors() <= before + (2 if os.geteuid() == 0 else 1)
        jobs[0] = PENDING
        del jobs, again
    collect()
    assert descriptors() == before


def test_what_is_owned_stays_mapped(request: pytest.FixtureRequest) -> None:
    """Memory that this process owns a word of is mapped still when its last object has gone."""

    def mapped() -> bool:
        return name in Path("/proc/self/maps").read_text()

    def drop() -> None:
        status = Job.attach(name)
        status.own()
        del status
        collect()
        assert mapped()
        for _ in range(3):
            status = Job.attach(name)
            assert status.owner == os.getpid()
            del status
            collect()
        status = Job.attach(name)
        status.disown()
        del status
        collect()
        assert not mapped()

    with own_name(request.node.nodeid) as name:
        status = Job(PENDING, segment_name=name, on_death=DEAD)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                del status  # inherited
                collect()
                drop()
                code = 0
            finally:
                os._exit(code)
        assert wait_for(pid) == 0
        assert status.owner is None
        assert status.load() is PENDING
        status.unlink()
        assert not path_of(name).exists()


# -- what is refused


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("owners_offset", 0),
        ("owners_offset", 8),
        ("owners_offset", 64),
        ("owners_offset", 192),
        ("owners_offset", "-64"),
        ("owners_offset", "+8"),
        ("owners_offset", "+64"),
        ("owners_offset", 2**32),
        ("owners_offset", 2**63),
        ("owners_offset", 2**64 - 64),
        ("owners_offset", 2**64 - 8192),
        ("on_death_size", 0),
        ("on_death_size", "-1"),
        ("on_death_size", "+1"),
        ("on_death_size", "+64"),
        ("on_death_size", 2**31),
        ("on_death_size", 2**32 - 1),
    ],
)
def test_corrupt_header(made: tuple[Path, segment.Segment], field: str, wrong: Any) -> None:
    """A table or a text that does not fit the segment is a ValueError, and no descriptor stays."""
    path, created = made
    if isinstance(wrong, str):
        wrong = getattr(created.header, field) + int(wrong)
    spoil(path, **{field: wrong})
    before = descriptors()
    with pytest.raises(ValueError, match=rf"{created.name}.*cannot be attached"):
        attach_anew(created)
    assert descriptors() == before


def test_table_without_a_text(made: tuple[Path, segment.Segment]) -> None:
    """A segment with an on_death that is said to have none, and the other way round, is refused."""
    path, created = made
    plain = segment.create(b"Fresh\nA=1", 4, 64, layout.KIND_POOL)
    plain_path = SHM / plain.name
    spoil(plain_path, owners_offset=plain.header.control_offset)
    with pytest.raises(ValueError, match="cannot be attached"):
        attach_anew(plain)
    spoil(plain_path, owners_offset=0, on_death_size=8)
    with pytest.raises(ValueError, match="cannot be attached"):
        attach_anew(plain)
    plain_path.unlink()
    spoil(path, owners_offset=0, on_death_size=0)
    assert attach_anew(created).on_death is None  # as one that was made so


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b"{}",
        b"null",
        b"true",
        b"1.5",
        b"NaN",
        b'"x"',
        b" 1",
        b"1 ",
        b"-",
        b"[1]",
        b"[[]]",
        b"[[1]]",
        b"[[1,2]]",
        b"[[1, 2, 3]]",
        b'[["1", 2]]',
        b"[[1, null]]",
        b"[[1.0, 2]]",
        b"[[1, [2]]]",
        b"[[1, 2]",
        b'{"1": 2}',
        b"2147483648",
        b"-2147483649",
        b"[[1, 2147483648]]",
        b"[[-2147483649, 1]]",
        b"[" * 40,
        b"9" * 40,
        b"\xff",
        b"\0",
        b"1\0",
        "1".encode("utf-16-le"),
    ],
)
def test_corrupt_text(made: tuple[Path, segment.Segment], text: bytes) -> None:
    """An on_death that is neither a number nor pairs of numbers is a ValueError."""
    path, created = made
    say(path, text)
    with pytest.raises(ValueError, match=rf"{created.name}.*its on_death cannot be read"):
        attach_anew(created)


@pytest.mark.parametrize("text", [b"[[true, 1]]", b"[[1, 2], [1, 3]]", b"[[3, 4], [1, 2]]"])
def test_text_that_nobody_writes(made: tuple[Path, segment.Segment], text: bytes) -> None:
    """An on_death with a member twice, or in another order than any is written in, is refused."""
    path, created = made
    say(path, text)
    with pytest.raises(ValueError, match="its on_death cannot be read"):
        attach_anew(created)


@pytest.mark.parametrize("text", [b"77", b"[[2, 77]]", b"[[77, 1]]"])
def test_text_of_no_members(text: bytes, request: pytest.FixtureRequest) -> None:
    """An on_death with a number that is no member's is a ValueError."""
    with own_name(request.node.nodeid) as name:
        status = Job(PENDING, segment_name=name, on_death=LEASES)
        say(path_of(name), text)
        with as_elsewhere(), pytest.raises(ValueError, match="on_death"):
            Job.attach(name)
        status.unlink()


@pytest.mark.parametrize("text", [b"1", b"-2147483648", b"[[2147483647, -1]]"])
def test_other_text(made: tuple[Path, segment.Segment], text: bytes) -> None:
    """What every process would write so is read so: the check above is not merely of bytes."""
    path, created = made
    say(path, text)
    rules: Any = attach_anew(created).on_death
    assert rules.text == text


UNLINKED_ELSEWHERE = """
import gc, os
from enum import IntEnum
from atomic_intenum import IntEnumArray

class Work(IntEnum):
    PENDING = 1
    RUNNING = 2

jobs = IntEnumArray[Work](2, Work.PENDING, on_death={Work.RUNNING: Work.PENDING})
(told, tell), (gone, go) = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    jobs.unlink()
    os.write(tell, b".")
    os.read(gone, 1)
    print(jobs.owner(0) == os.getppid(), jobs[0].name, flush=True)
    os._exit(0)
os.read(told, 1)
jobs[0] = Work.RUNNING
del jobs
gc.collect()
os.write(go, b".")
os.waitpid(child, 0)
"""


def test_what_is_owned_when_its_name_is_gone(tmp_path: Path) -> None:
    """Who drops the last object of what another has unlinked still owns what it leased."""
    done = run_script(UNLINKED_ELSEWHERE, folder=tmp_path)
    assert done.stdout == "True RUNNING\n", done.stderr
