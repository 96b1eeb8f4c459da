"""Segments: their layout, the pool that hands out their words, and when they are removed."""

from __future__ import annotations

import errno
import gc
import os
import secrets
import shutil
import stat
import struct
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import atomic_intenum
from atomic_intenum import IntEnumArray, IntEnumValue
from helpers.inside import (
    backend,
    cffi_library,
    contract,
    layout,
    native_binding,
    owner,
    posix,
    python_value,
    segment,
    takeover,
    vocabulary_of,
)
from helpers.support import (
    IDLE,
    SHM,
    WorkerStatus,
    WorkerStatusEnum,
    collect,
    make_enum,
    own_segments,
    run_script,
    spoil,
    word_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(not SHM.is_dir(), reason="no folder lists shared memory")


def fresh_enum(name: str = "Fresh") -> Any:
    """Make an IntEnum whose pool is new."""
    return make_enum(name, "A B C")


def place(value: IntEnumValue[Any]) -> tuple[str, int]:
    """Return where the value is: segment and index."""
    return value._atomic_segment.name, value._atomic_index


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
    assert contract.PROTOCOL_ATOMIC == lib.AIE_PROTOCOL_ATOMIC == backend.PROTOCOL
    assert contract.PROTOCOL_LOCK == lib.AIE_PROTOCOL_LOCK
    assert python_value.VERSION_SHIFT == lib.AIE_VERSION_SHIFT


@pytest.mark.only_on("native")
def test_protocols_are_the_cores() -> None:
    """Protocol ids and word layout of the Python side are the core's."""
    core = native_binding()

    assert contract.PROTOCOL_ATOMIC == core.PROTOCOL_ATOMIC == backend.PROTOCOL
    assert contract.PROTOCOL_LOCK == core.PROTOCOL_LOCK
    assert python_value.VERSION_SHIFT == core.VERSION_SHIFT


def test_fields_are_aligned() -> None:
    """Every field of the header is naturally aligned, so that C and struct agree."""
    formats = layout.HEADER.format[1:]
    for (_, offset), code in zip(field_offsets().items(), formats, strict=True):
        assert offset % struct.calcsize("=" + code) == 0


def test_header() -> None:
    """A segment says what it is, for whom, and who made it."""
    value = WorkerStatus(IDLE)
    header = value._atomic_segment.header
    vocabulary = vocabulary_of(WorkerStatusEnum)
    assert header.layout_version == layout.LAYOUT_VERSION
    assert header.protocol == backend.PROTOCOL
    assert header.word_stride == 64
    assert header.control_stride == 64
    assert (header.mutex_size, header.libc, header.control_stride) == backend.ABI
    assert header.vocabulary_size == len(vocabulary.text)
    assert header.fingerprint == vocabulary.fingerprint
    assert header.creator_pid == os.getpid()
    assert header.creator_start == posix.start_time(os.getpid()) > 0
    assert header.pid_namespace == Path("/proc/self/ns/pid").stat().st_ino
    raw = (SHM / value._atomic_segment.name).read_bytes()
    assert int.from_bytes(raw[:8], sys.byteorder) == layout.MAGIC
    assert raw[192 : 192 + header.vocabulary_size] == vocabulary.text
    assert layout.Header(*layout.HEADER.unpack_from(raw, 8)) == header
    offset = value._atomic_segment.word_offset(value._atomic_index)
    assert int.from_bytes(raw[offset : offset + 8], sys.byteorder) == word_of(value) == 2


def test_words_have_cache_lines_of_their_own() -> None:
    """Words and control blocks lie on cache lines, inside the segment, apart from each other."""
    values = [WorkerStatus(IDLE) for _ in range(5)]
    for value in values:
        within, index = value._atomic_segment, value._atomic_index
        size = (SHM / within.name).stat().st_size
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
        with pytest.raises(ValueError, match=within.name):
            within.checked(index)


def test_only_the_user_may_open() -> None:
    """A segment's mode is 0600."""
    name = WorkerStatus(IDLE)._atomic_segment.name
    assert stat.S_IMODE((SHM / name).stat().st_mode) == 0o600


def test_space_is_reserved() -> None:
    """All of a segment's pages are there from the start, so that no write can fail later."""
    status = (SHM / WorkerStatus(IDLE)._atomic_segment.name).stat()
    assert status.st_blocks * 512 >= status.st_size


def test_name_is_short() -> None:
    """A segment's random name is short enough for every system."""
    name = WorkerStatus(IDLE)._atomic_segment.name
    assert len(name) <= 30
    assert name.isascii()


def test_first_value_is_the_words_alone() -> None:
    """A segment's first value is in each of its words, and not in the padding after them."""
    created = segment.create(b"Fresh\nA=-1", 77, 3, 8, layout.KIND_POOL, first=-1)
    begin, end = created.word_offset(0), created.control_offset(0)
    with created.mapping.view() as view:
        words = bytes(view[begin:end])
    assert words == (0xFFFF_FFFF).to_bytes(8, sys.byteorder) * 3 + bytes(40)


# -- attaching


@pytest.fixture
def made() -> Iterator[tuple[Path, segment.Segment]]:
    """Make a segment by itself and return it with its file, whose bytes a test may spoil."""
    text = b"Fresh\nA=1"
    created = segment.create(text, 77, 4, 64, layout.KIND_POOL)
    yield SHM / created.name, created
    del created
    gc.collect()
    owner.drain()


def attach_anew(made: segment.Segment) -> segment.Segment:
    """Attach a segment as another process would, that has not mapped it."""
    key = made.name, made.header.nonce
    known = segment._by_name.pop(key)
    try:
        return segment.attach(*key)
    finally:
        segment._by_name[key] = known


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
    """A segment is mapped once in a process, however often it is attached."""
    _, created = made
    assert segment.attach(created.name, created.header.nonce) is created


def test_attach_missing() -> None:
    """Attaching a name that is not there is a FileNotFoundError that has the name."""
    with pytest.raises(FileNotFoundError, match="intenum-nothing"):
        segment.attach("intenum-nothing", 1)


def test_attach_another_nonce(made: tuple[Path, segment.Segment]) -> None:
    """Attaching a later segment of the same name is a ValueError."""
    _, created = made
    with pytest.raises(ValueError, match=created.name):
        segment.attach(created.name, created.header.nonce ^ 1)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("layout_version", 2),
        ("layout_version", 0),
        ("protocol", 3 - backend.PROTOCOL),
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


def test_other_namespace(made: tuple[Path, segment.Segment]) -> None:
    """A segment of another PID namespace is an OSError."""
    path, created = made
    spoil(path, pid_namespace=created.header.pid_namespace + 1)
    with pytest.raises(OSError, match="namespace"):
        attach_anew(created)


@pytest.mark.slow
@pytest.mark.parametrize("magic", [0, 1, layout.MAGIC ^ 1 << 63])
def test_no_magic(made: tuple[Path, segment.Segment], magic: int) -> None:
    """What does not start with the magic is no segment: ValueError."""
    path, created = made
    with path.open("r+b") as file:
        file.write(magic.to_bytes(8, sys.byteorder))
    with pytest.raises(ValueError, match=created.name):
        attach_anew(created)


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1, 8, 191, 192, 256, 300, 320, 767])
def test_truncated(made: tuple[Path, segment.Segment], size: int) -> None:
    """A segment that is shorter than its header says is a ValueError."""
    path, created = made
    content = path.read_bytes()
    assert len(content) == 768
    other = SHM / f"intenum-cut{os.getpid()}"
    other.write_bytes(content[:size])
    try:
        with pytest.raises(ValueError, match=other.name):
            segment.attach(other.name, created.header.nonce)
    finally:
        other.unlink()


def test_refused_segment_stays(made: tuple[Path, segment.Segment]) -> None:
    """A segment that is refused is neither removed nor kept open."""
    path, created = made
    spoil(path, capacity=2**40)
    collect()  # what earlier tests left
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(ValueError, match="attached"):
            attach_anew(created)
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert path.exists()
    mapped = Path("/proc/self/maps").read_text().count(created.name)
    assert mapped == 1


# -- the pool


def test_pool_doubles() -> None:
    """A pool's segments double, from 16 words to 256."""
    fresh = fresh_enum()
    values = [IntEnumValue(fresh.A) for _ in range(16 + 32 + 64 + 128 + 256 + 256 + 1)]
    capacities: dict[str, int] = {}
    for value in values:
        capacities[value._atomic_segment.name] = value._atomic_segment.header.capacity
    assert list(capacities.values()) == [16, 32, 64, 128, 256, 256, 256]


def test_words_are_used_once() -> None:
    """A word is never handed out a second time, however soon its value is gone."""
    fresh = fresh_enum()
    seen = set()
    for number in range(1000):
        value = IntEnumValue(fresh.A)
        seen.add(place(value))
        assert len(seen) == number + 1


def test_empty_segments_are_removed() -> None:
    """A segment whose values are all gone is removed by the next allocation, others stay."""
    fresh = fresh_enum()
    values = [IntEnumValue(fresh.A) for _ in range(16 + 32 + 1)]
    names = list(dict.fromkeys(value._atomic_segment.name for value in values))
    assert len(names) == 3
    assert set(names) <= own_segments()
    survivor = values[20]
    values.clear()
    gc.collect()
    WorkerStatus(IDLE)
    assert names[0] not in own_segments()
    assert {names[1], names[2]} <= own_segments()
    assert survivor.load() is fresh.A
    del survivor
    gc.collect()
    WorkerStatus(IDLE)
    assert names[1] not in own_segments()


def test_segment_of_other_pool_stays() -> None:
    """Each enum has segments of its own."""
    first, second = fresh_enum(), fresh_enum()
    assert IntEnumValue(first.A)._atomic_segment.name != IntEnumValue(second.A)._atomic_segment.name


def test_churn_stays_small() -> None:
    """Values that come and go do not pile up segments."""
    fresh = fresh_enum()
    before = len(own_segments())
    for _ in range(3000):
        IntEnumValue(fresh.A)
    gc.collect()
    WorkerStatus(IDLE)
    assert len(own_segments()) - before <= 2


def test_removed_segments_are_unmapped() -> None:
    """A segment that nobody uses any more is unmapped."""
    fresh = fresh_enum()
    name = [IntEnumValue(fresh.A) for _ in range(16 + 32 + 64)][-1]._atomic_segment.name
    [IntEnumValue(fresh.A) for _ in range(2)]
    collect()
    assert name not in Path("/proc/self/maps").read_text()


def test_closed_value_keeps_nothing_open() -> None:
    """close() alone unmaps nothing that another value still uses."""
    first, second = WorkerStatus(IDLE), WorkerStatus(IDLE)
    first.close()
    gc.collect()
    assert second.load() is IDLE


def test_cost() -> None:
    """20,000 live values cost at most 192 bytes of shared memory each."""
    fresh = fresh_enum()
    shared: Any = threading.RLock()  # on the lock-based path each would have its own semaphore
    lock = shared if backend.NAME == "lock" else None
    values = [IntEnumValue(fresh.A, lock) for _ in range(20_000)]
    names = {value._atomic_segment.name for value in values}
    used = sum((SHM / name).stat().st_blocks * 512 for name in names)
    assert used <= 192 * len(values)
    assert len({place(value) for value in values}) == len(values)


@pytest.mark.skipif(not hasattr(gc, "set_threshold"), reason="collection cannot be provoked there")
def test_deallocation_in_the_allocator() -> None:
    """Garbage collection that runs inside the allocator and frees values is survived."""
    fresh = fresh_enum()
    shared: Any = threading.RLock()  # a multiprocessing semaphore warns if it dies in the tracker
    lock = shared if backend.NAME == "lock" else None

    def circle() -> None:
        holder: list[Any] = [IntEnumValue(fresh.A, lock) for _ in range(20)]
        holder.append(holder)

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(60):
            circle()
    finally:
        gc.set_threshold(*threshold)
    gc.collect()


def test_allocation_fails_cleanly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room, making a value is OSError(ENOSPC), and nothing is left behind."""
    fresh = fresh_enum()

    def full(fd: int, offset: int, size: int) -> None:  # noqa: ARG001
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = own_segments()
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="no room in") as caught:
        IntEnumValue(fresh.A)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert own_segments() <= before
    assert IntEnumValue(fresh.A).load() is fresh.A


@pytest.mark.slow
def test_large_memory_is_reserved_by_the_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal undoes no more than a piece of it; what there is no room for is not even begun."""
    fresh = fresh_enum()
    reserve = os.posix_fallocate
    pieces: list[tuple[int, int]] = []

    def note(fd: int, offset: int, size: int) -> None:
        pieces.append((offset, size))
        reserve(fd, offset, size)
        if offset:
            with pytest.raises(posix.EmptyError):
                segment.attach(Path(f"/proc/self/fd/{fd}").readlink().name)

    monkeypatch.setattr(os, "posix_fallocate", note)
    monkeypatch.setattr(takeover, "HALF_MADE", 0.0)
    board = IntEnumArray(200_000, fresh.A)
    size = (SHM / board._atomic_segment.name).stat().st_size
    assert max(length for _, length in pieces) <= 1 << 22 < size
    assert [offset for offset, _ in pieces] == list(reversed(range(0, size, 1 << 22)))
    assert sum(length for _, length in pieces) == size
    pieces.clear()
    if not os.statvfs(SHM).f_blocks:
        pytest.skip("as much room as there is memory")
    room = shutil.disk_usage(SHM).free
    with pytest.raises(OSError, match="no room in") as caught:
        IntEnumArray(room // 64, fresh.A)
    assert caught.value.errno == errno.ENOSPC
    assert pieces == []


@pytest.mark.parametrize("failing", ["Mapping", "_read_header"])
def test_failure_after_creation(failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where making a segment fails half way, it is removed."""
    fresh = fresh_enum()
    names: list[str] = []
    random_name = segment._random_name

    def name() -> str:
        names.append(random_name())
        return names[-1]

    def fail(*_: object) -> Any:
        assert (SHM / names[-1]).exists()
        raise MemoryError

    monkeypatch.setattr(segment, "_random_name", name)
    monkeypatch.setattr(backend if failing == "Mapping" else segment, failing, fail)
    with pytest.raises(MemoryError):
        IntEnumValue(fresh.A)
    monkeypatch.undo()
    assert len(names) == 1
    assert not (SHM / names[0]).exists()
    assert IntEnumValue(fresh.A).load() is fresh.A


def test_name_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random name that is taken is passed over, and what has it stays."""
    fresh = fresh_enum()
    first, second = f"{os.getpid():011x}a", f"{os.getpid():011x}b"
    taken = SHM / f"intenum-{first}"
    taken.write_bytes(b"somebody else's")
    names = iter([first, first, second])
    monkeypatch.setattr(secrets, "token_hex", lambda _: next(names))
    try:
        assert IntEnumValue(fresh.A)._atomic_segment.name == f"intenum-{second}"
        assert taken.read_bytes() == b"somebody else's"
    finally:
        taken.unlink()


def test_segment_that_somebody_else_removed() -> None:
    """A segment whose name somebody else removed works on, and its removal says nothing."""
    # Earlier tests' garbage: a semaphore that ends while the next is made warns (lock-based path).
    gc.collect()
    fresh = fresh_enum()
    values = [IntEnumValue(fresh.A) for _ in range(17)]
    (SHM / values[0]._atomic_segment.name).unlink()
    values[0].set("B")
    assert values[0].load() is fresh.B
    values.clear()
    gc.collect()
    WorkerStatus(IDLE)


@pytest.mark.parametrize("pickled", [False, True])
def test_removal_that_fails(pickled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that cannot be removed is an OSError once, and keeps nobody from creating."""
    monkeypatch.setattr(owner, "_dead", deque())  # what earlier tests dropped
    monkeypatch.setattr(owner, "_lingering", deque())
    monkeypatch.setattr(owner, "_LINGER", 0)
    fresh = fresh_enum()
    kind: Any = vars(atomic_intenum)["IntEnumArray"][fresh]
    board = kind(1, fresh.A)
    owned = board._atomic_segment._owned
    assert owned is not None
    owned.pickled = pickled
    refused = owned.created
    unlink = posix.Created.unlink

    def refuse(created: posix.Created) -> None:
        if created is refused:
            raise PermissionError(errno.EPERM, "no longer allowed")
        unlink(created)

    monkeypatch.setattr(posix.Created, "unlink", refuse)
    del board
    collect()
    with pytest.raises(PermissionError):
        kind(1, fresh.A)
    for _ in range(3):
        assert kind(1, fresh.A)[0] is fresh.A
    monkeypatch.undo()
    owner.remove(owned)


def test_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment that was pickled is removed a while after its last value, at an allocation."""
    owner.drain()
    monkeypatch.setattr(owner, "_lingering", deque())  # what earlier tests pickled
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    fresh = fresh_enum()
    values = [IntEnumValue(fresh.A) for _ in range(17)]
    name = values[0]._atomic_segment.name
    values[0]._atomic_segment.reference()
    values.clear()
    gc.collect()
    for seconds in (0.0, 59.0):
        clock[0] = 1000.0 + seconds
        WorkerStatus(IDLE)
        assert name in own_segments()
    clock[0] = 1060.5
    WorkerStatus(IDLE)
    assert name not in own_segments()


@pytest.mark.slow
def test_allocation_in_threads_while_dropping() -> None:
    """Threads that make and drop values at once leave no segment behind but the pools' last."""
    fresh = fresh_enum()
    before = len(own_segments())

    def churn() -> None:
        for _ in range(20):
            [IntEnumValue(fresh.A) for _ in range(40)]

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    WorkerStatus(IDLE)
    assert len(own_segments()) - before <= 2


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
    from helpers.inside import segment
    segment._by_name.clear()  # as another process
    try:
        WorkerStatus.attach(sys.argv[1])
    except PermissionError as error:
        print(error)
    os.seteuid(0)
    status.unlink()
"""


@pytest.mark.only_on("native", "cffi")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_attach_tells_whose_it_is(tmp_path: Path) -> None:
    """Attaching what another user may read alone says that it is another user's."""
    name = f"anothers-{os.getpid()}"
    done = run_script(ANOTHERS, name, folder=tmp_path)
    assert f"'{name}' belongs to another user" in done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.only_on("native", "cffi")
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
    change(SHM / name)
    try:
        done = run_script(ATTACH, name, folder=tmp_path)
        assert reason in done.stdout, done.stderr
        assert value.load() is IDLE  # what is mapped stays
    finally:
        value.unlink()
