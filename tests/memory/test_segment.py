"""Segments: their layout, what is attached, and what is refused."""

from __future__ import annotations

import gc
import os
import re
import stat
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atomic_intenum import IntEnumArray
from helpers.inside import (
    as_elsewhere,
    backend,
    cffi_library,
    layout,
    native_binding,
    segment,
    vocabulary_of,
)
from helpers.marks import named, needs_root, unnamed
from helpers.names import path_of, planted
from helpers.support import (
    IDLE,
    SHM,
    WorkerStatus,
    WorkerStatusEnum,
    collect,
    run_script,
    spoil,
    word_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(not SHM.is_dir(), reason="no folder lists shared memory")


# -- layout


@pytest.mark.only_on("native")
def test_layout_is_the_cores() -> None:
    """The header as Python packs it is the one that the core was compiled with."""
    core = native_binding()

    assert layout.MAGIC == core.MAGIC
    assert layout.LAYOUT_VERSION == core.LAYOUT_VERSION
    assert layout.HEADER_SIZE == core.HEADER_SIZE
    assert backend.ABI[2] == core.CONTROL_SIZE
    assert layout.SINGLE_STRIDE == core.SINGLE_STRIDE


def field_offsets() -> dict[str, int]:
    """Return where in the header each field of it is."""
    formats = layout.HEADER.format[1:]
    assert len(formats) == len(layout.Header._fields)
    return {
        field: layout.HEADER_OFFSET + struct.calcsize("=" + formats[:number])
        for number, field in enumerate(layout.Header._fields)
    }


@pytest.mark.only_on("cffi")
def test_layout_is_the_cores_through_cffi() -> None:
    """The header as Python packs it is the one that the cffi binding was compiled with."""
    ffi, lib = cffi_library().ffi, cffi_library().lib

    assert layout.MAGIC == lib.AIE_MAGIC
    assert layout.LAYOUT_VERSION == lib.AIE_LAYOUT_VERSION
    assert ffi.sizeof("aie_header") == layout.HEADER_SIZE
    assert layout.SINGLE_STRIDE == lib.AIE_SINGLE_STRIDE
    for field, offset in field_offsets().items():
        assert ffi.offsetof("aie_header", field) == offset, field
    assert layout.PROTOCOL == lib.AIE_PROTOCOL_ATOMIC


@pytest.mark.only_on("native")
def test_protocol_is_the_cores() -> None:
    """The protocol id of the Python side is the core's."""
    core = native_binding()

    assert layout.PROTOCOL == core.PROTOCOL_ATOMIC


def test_fields_are_aligned() -> None:
    """Every field of the header is naturally aligned, so that C and struct agree."""
    formats = layout.HEADER.format[1:]
    for (_, offset), code in zip(field_offsets().items(), formats, strict=True):
        assert offset % struct.calcsize("=" + code) == 0


@named
def test_header() -> None:
    """A segment says what it is, for whom, and who made it, in its first 128 bytes."""
    value = WorkerStatus(IDLE)
    header = value._atomic_segment.header
    vocabulary = vocabulary_of(WorkerStatusEnum)
    assert header.layout_version == layout.LAYOUT_VERSION
    assert header.protocol == layout.PROTOCOL
    assert header.word_stride == 64
    assert header.control_stride == 64
    assert (header.mutex_size, header.libc, header.control_stride) == backend.ABI
    assert header.vocabulary_size == len(vocabulary.text)
    assert header.fingerprint == layout.fingerprint_of(vocabulary.text)
    assert header.creator_pid == os.getpid()
    if sys.platform == "linux":
        ticks = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        assert header.creator_start == int(ticks) > 0
        assert header.pid_namespace == Path("/proc/self/ns/pid").stat().st_ino
    raw = (SHM / value._atomic_segment.name).read_bytes()
    assert int.from_bytes(raw[:8], sys.byteorder) == layout.MAGIC
    assert raw[192 : 192 + header.vocabulary_size] == vocabulary.text
    assert layout.Header(*layout.HEADER.unpack_from(raw, 8)) == header
    fields = field_offsets()
    for field in ("layout_version", "kind", "creator_pid", "creator_start", "vocabulary_offset"):
        assert fields[field] < 128
    offset = value._atomic_segment.word_offset(value._atomic_index)
    assert int.from_bytes(raw[offset : offset + 8], sys.byteorder) == word_of(value) == 2


def test_words_have_cache_lines_of_their_own() -> None:
    """Words and control blocks lie on cache lines, inside the segment, apart from each other."""
    values = [WorkerStatus(IDLE) for _ in range(5)]
    for value in values:
        within, index = value._atomic_segment, value._atomic_index
        size = within.mapping.size
        assert within.word_offset(index) % 64 == 0
        assert within.control_offset(index) % 64 == 0
        assert 192 + within.header.vocabulary_size <= within.word_offset(index)
        assert within.word_offset(index) + 64 <= within.header.control_offset
        assert within.control_offset(index) + 64 <= size


def test_word_beyond_the_segment() -> None:
    """A word that a segment has not is a ValueError."""
    within = WorkerStatus(IDLE)._atomic_segment
    assert within.checked(0) is within
    for index in (-1, within.header.capacity, 2**70):
        with pytest.raises(ValueError, match=f"has no word {index}"):
            within.checked(index)


@named
def test_only_the_user_may_open() -> None:
    """A segment's mode is 0600."""
    name = WorkerStatus(IDLE)._atomic_segment.name
    assert stat.S_IMODE((SHM / name).stat().st_mode) == 0o600


@named
def test_space_is_reserved() -> None:
    """All of a segment's pages are there from the start, so that no write can fail later."""
    status = (SHM / WorkerStatus(IDLE)._atomic_segment.name).stat()
    assert status.st_blocks * 512 >= status.st_size


@named
def test_name_is_short() -> None:
    """A segment's random name is short enough for every system, and tells whose it is."""
    name = WorkerStatus(IDLE).segment_name
    assert re.fullmatch(r"intenum-[0-9a-f]{12}", name)


@unnamed
def test_memory_without_a_name() -> None:
    """On the lock-based path nothing is among the names, and a value says that it has none."""
    values = [WorkerStatus(IDLE), IntEnumArray[WorkerStatusEnum](5, IDLE)]
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        ours = [line.split(maxsplit=5)[5].strip() for line in maps if "/dev/shm/#" in line]
    assert len(ours) >= len(values)
    assert all(path.endswith("(deleted)") for path in ours)
    for value in values:
        with pytest.raises(RuntimeError, match="cannot be shared by name"):
            _ = value.segment_name


def test_first_value_is_the_words_alone() -> None:
    """A segment's first value is in each of its words, and not in the padding after them."""
    created = segment.create(b"Fresh\nA=-1", 3, 8, layout.KIND_POOL, first=-1)
    begin, end = created.word_offset(0), created.control_offset(0)
    with created.mapping.view() as view:
        words = bytes(view[begin:end])
    assert words == (0xFFFF_FFFF).to_bytes(8, sys.byteorder) * 3 + bytes(40)


# -- attaching


@pytest.fixture
def made() -> Iterator[tuple[Path, segment.Segment]]:
    """Make a segment by itself and give it with its file, whose bytes a test may spoil."""
    created = segment.create(b"Fresh\nA=1", 4, 64, layout.KIND_POOL)
    path = SHM / created.name
    yield path, created
    if created.name:  # spoilt, it may be none of ours any more, and nobody removes those
        path.unlink(missing_ok=True)


def attach_anew(made: segment.Segment) -> segment.Segment:
    """Attach a segment as another process would, that does not know it."""
    with as_elsewhere():
        return segment.unpickled(made.name, made.header.nonce)


@named
def test_attach(made: tuple[Path, segment.Segment]) -> None:
    """What is attached is the same memory, with the same header."""
    _, created = made
    attached = attach_anew(created)
    assert attached is not created
    assert attached.header == created.header
    assert attached.vocabulary == b"Fresh\nA=1"
    with created.mapping.view() as there, attached.mapping.view() as here:
        there[created.word_offset(1)] = 7
        assert here[attached.word_offset(1)] == 7


def test_attach_once(made: tuple[Path, segment.Segment]) -> None:
    """A segment is known once in a process, however often it is attached."""
    _, created = made
    place = created.name or created.mapping
    assert segment.unpickled(place, created.header.nonce) is created


@named
def test_mapped_once(made: tuple[Path, segment.Segment]) -> None:
    """A segment is mapped once in a process, whoever attaches it, but for the page of its lock."""
    _, created = made
    attached = [attach_anew(created) for _ in range(3)]
    maps = Path("/proc/self/maps").read_text().splitlines()
    ours = [line.split()[1] for line in maps if line.endswith(created.name)]
    assert ours.count("rw-s") == 1
    assert len(ours) <= 2
    assert len(attached) == 3


@named
def test_attach_missing() -> None:
    """Unpickling a name that is not there is a FileNotFoundError that has the name."""
    with pytest.raises(FileNotFoundError, match="intenum-nothing"):
        segment.unpickled("intenum-nothing", 1)


@named
def test_attach_another_nonce(made: tuple[Path, segment.Segment]) -> None:
    """Unpickling a later segment of the same name is a ValueError."""
    _, created = made
    with pytest.raises(ValueError, match=created.name):
        segment.unpickled(created.name, created.header.nonce ^ 1)


@named
@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("layout_version", 1),
        ("layout_version", 3),
        ("layout_version", 0),
        ("protocol", 2),
        ("protocol", 0),
        ("mutex_size", 41),
        ("libc", 9),
        ("capacity", 0),
        ("capacity", 5),
        ("capacity", 2**32),
        ("capacity", 2**58),
        ("capacity", 2**64 - 1),
        ("word_stride", 0),
        ("word_stride", 4),
        ("word_stride", 12),
        ("word_stride", 2**32 - 64),
        ("control_stride", 0),
        ("control_stride", 128),
        ("control_offset", 0),
        ("control_offset", 8),
        ("control_offset", 2**63),
        ("control_offset", 2**64 - 64),
        ("header_size", 0),
        ("header_size", 64),
        ("header_size", 193),
        ("header_size", 2**32 - 64),
        ("vocabulary_size", 2**32 - 1),
        ("vocabulary_size", 65),
    ],
)
def test_corrupt_header(made: tuple[Path, segment.Segment], field: str, wrong: int) -> None:
    """A header that does not fit this build or the mapping's size is a ValueError."""
    path, created = made
    spoil(path, **{field: wrong})
    with pytest.raises(ValueError, match=rf"{created.name}.*cannot be attached"):
        attach_anew(created)


@named
def test_other_namespace(made: tuple[Path, segment.Segment]) -> None:
    """A segment of another PID namespace is attached, and known for one."""
    path, created = made
    assert not created.mapping.elsewhere
    other = SHM / f"intenum-else{os.getpid()}"
    with planted(other, path.read_bytes()):
        spoil(other, pid_namespace=created.header.pid_namespace + 1)
        assert segment.unpickled(other.name, created.header.nonce).mapping.elsewhere
        other.unlink()


@named
@pytest.mark.slow
@pytest.mark.parametrize("magic", [0, 1, layout.MAGIC ^ 1 << 63])
def test_no_magic(made: tuple[Path, segment.Segment], magic: int) -> None:
    """What does not start with the magic is no segment: ValueError."""
    path, created = made
    with path.open("r+b") as file:
        file.write(magic.to_bytes(8, sys.byteorder))
    with pytest.raises(ValueError, match=created.name):
        attach_anew(created)


@named
@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1, 8, 191, 192, 256, 300, 320, 767])
def test_truncated(made: tuple[Path, segment.Segment], size: int) -> None:
    """A segment that is shorter than its header says is a ValueError."""
    path, created = made
    content = path.read_bytes()
    assert len(content) == 768
    other = SHM / f"intenum-cut{os.getpid()}"
    with planted(other, content[:size]):
        with pytest.raises(ValueError, match=other.name):
            segment.unpickled(other.name, created.header.nonce)
        other.unlink()


@named
def test_refused_segment_stays(made: tuple[Path, segment.Segment]) -> None:
    """A segment that is refused is neither removed nor kept open."""
    path, created = made
    spoil(path, capacity=2**40)
    collect()  # what earlier tests left
    before = len(list(Path("/proc/self/fd").iterdir()))
    mapped = Path("/proc/self/maps").read_text().count(created.name)
    for _ in range(5):
        with pytest.raises(ValueError, match="attached"):
            attach_anew(created)
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert path.exists()
    assert Path("/proc/self/maps").read_text().count(created.name) == mapped


# -- what other users may write


def open_to_others(path: Path) -> None:
    """Let the group write it."""
    path.chmod(0o620)


def give_away(path: Path) -> None:
    """Give it to another user."""
    os.chown(path, 65534, -1)


ATTACH = """
    import sys
    from helpers.support import WorkerStatus
    try:
        WorkerStatus.attach(sys.argv[1])
    except PermissionError as error:
        print(error)
"""


ANOTHERS = """
    import os, sys
    from helpers.support import IDLE, WorkerStatus
    status = WorkerStatus(IDLE, segment_name=sys.argv[1])
    os.seteuid(65534)
    try:
        WorkerStatus.attach(sys.argv[1])
    except PermissionError as error:
        print(error)
    os.seteuid(0)
    status.unlink()
"""


@named
@needs_root
def test_attach_tells_whose_it_is(tmp_path: Path) -> None:
    """Attaching what another user may read alone says that it is another user's."""
    name = f"anothers-{os.getpid()}"
    done = run_script(ANOTHERS, name, folder=tmp_path)
    assert f"'{name}'" in done.stdout, done.stderr
    assert "belongs to another user" in done.stdout


@named
@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason"),
    [(open_to_others, "lets other users write"), (give_away, "user 65534 owns it")],
)
def test_attach_refuses_what_another_user_can_write(
    change: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    """Attaching raises PermissionError where another user owns the memory or may write it."""
    if change is give_away and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    name = f"safe-{os.getpid()}"
    value = WorkerStatus(IDLE, segment_name=name)
    change(path_of(name))
    try:
        done = run_script(ATTACH, name, folder=tmp_path)
        assert reason in done.stdout, done.stderr
        assert value.load() is IDLE  # what is mapped stays
    finally:
        path_of(name).unlink()
