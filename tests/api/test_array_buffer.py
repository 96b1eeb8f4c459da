"""The values of an array as a buffer: for memoryview and numpy."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import io
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import BACKEND
from helpers.boards import SHAPES, Board, Wide, write_number
from helpers.crew import Bits, child
from helpers.support import CALCULATING, IDLE, UNAVAILABLE, collect, segment_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

#: A class in Python can export a buffer from 3.12 on; numpy has another way too.
HAS_BUFFER = BACKEND == "native" or sys.version_info >= (3, 12)

by_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def numpy_view(array: Any) -> Any:
    """Return numpy's view of it."""
    numpy = pytest.importorskip("numpy")
    return numpy.asarray(array)


def memory_view(array: Any) -> Any:
    """Return a memoryview of it."""
    if not HAS_BUFFER:
        pytest.skip("a class in Python exports no buffer before 3.12")
    return memoryview(array)


by_view = pytest.mark.parametrize("view_of", [memory_view, numpy_view])
buffered = pytest.mark.skipif(not HAS_BUFFER, reason="no buffer of a Python class before 3.12")


def is_mapped(name: str) -> bool:
    """Whether this process has that segment mapped."""
    return name in Path("/proc/self/maps").read_text()


@by_view
@by_shape
def test_sees_the_values(view_of: Callable[[Any], Any], shape: dict[str, Any]) -> None:
    """The view has each word's value, negative ones too, and sees later writes."""
    array = Wide(5, Bits.LEFT, **shape)
    view = view_of(array)
    array[1], array[2], array[3] = Bits.LOWEST, Bits.HIGHEST, Bits.RIGHT
    assert view.tolist() == [int(member) for member in array]
    array.at(4).set(Bits.IDLE)
    assert view[4] == view[-1] == 0
    assert view[1] == -(2**31)
    write_number(array, 0, -77)
    assert view[0] == -77
    assert view[1:4:2].tolist() == [-(2**31), int(Bits.RIGHT)]
    assert len(view) == 5


@by_view
@by_shape
def test_shape(view_of: Callable[[Any], Any], shape: dict[str, Any]) -> None:
    """It is one row of int32, as far apart as the words, and of all of them."""
    for size in (1, 2, 5000):
        view = view_of(Board(size, IDLE, **shape))
        assert (view.shape, view.ndim, view.itemsize) == ((size,), 1, 4)
        assert view.strides == (64 if shape else 8,)
        assert view.nbytes == 4 * size
        assert view.tolist() == [2] * size


@by_view
def test_read_only(view_of: Callable[[Any], Any]) -> None:
    """Nothing can be written through it, nor can it be made writable."""
    array = Board(3, IDLE)
    view = view_of(array)
    with pytest.raises((TypeError, ValueError)):
        view[0] = 1
    with pytest.raises((TypeError, ValueError)):
        view[:] = view
    if hasattr(view, "flags"):
        assert not view.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            view.flags.writeable = True
    else:
        assert view.readonly
    assert array[:] == [IDLE] * 3


@by_view
def test_outlives_the_array(view_of: Callable[[Any], Any]) -> None:
    """It stays valid when the array is closed, dropped, collected, and its name removed."""
    array = Board(4, IDLE)
    twin = copy.copy(array)
    view = view_of(array)
    array.close()
    twin[0] = CALCULATING
    assert view.tolist() == [3, 2, 2, 2]
    twin.unlink()
    twin[1] = UNAVAILABLE
    del array, twin
    collect()
    [Board(2, IDLE) for _ in range(3)]
    part = view[1:]
    del view
    collect()
    assert part.tolist() == [1, 2, 2]


@by_view
def test_mapping_goes_with_the_last_view(view_of: Callable[[Any], Any]) -> None:
    """The memory is mapped as long as the array or one view is there, and no longer."""
    array = Board(4, IDLE)
    name = segment_of(array)
    views = [view_of(array) for _ in range(3)]
    views.append(views[0][1:])
    array.close()
    del array
    collect()
    while views:
        assert is_mapped(name)
        assert views[-1].tolist()[-1] == 2
        views.pop()
        collect()
    assert not is_mapped(name)


@by_view
def test_view_of_a_closed_array(view_of: Callable[[Any], Any]) -> None:
    """There is no new view of a closed array, or of one that was never open: ValueError."""
    array = Board(4, IDLE)
    array.close()
    for shut in (array, Board.__new__(Board)):
        with pytest.raises(ValueError, match="closed"):
            view_of(shut)


def write_in_child(pipe: Connection, array: Board) -> None:
    """Write, and tell."""
    array[2] = CALCULATING
    pipe.send("written")


@by_view
def test_sees_another_process(view_of: Callable[[Any], Any]) -> None:
    """What another process writes is seen."""
    array = Board(4, IDLE)
    view = view_of(array)
    with child(write_in_child, array) as peer:
        assert peer.says() == "written"
        assert view.tolist() == [2, 2, 3, 2]


# -- the protocol

WRITABLE, FORMAT, ND, STRIDES = 1, 4, 8, 0x18
CONTIGUOUS = {"C": 0x38, "F": 0x58, "any": 0x98}


class PyBuffer(ctypes.Structure):
    """Py_buffer."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.POINTER(ctypes.c_ssize_t)),
        ("strides", ctypes.POINTER(ctypes.c_ssize_t)),
        ("suboffsets", ctypes.POINTER(ctypes.c_ssize_t)),
        ("internal", ctypes.c_void_p),
    )


def request(array: Any, flags: int) -> tuple[Any, ...]:
    """Ask for a buffer with these flags, in C, and give it back; return what it said."""
    view = PyBuffer()
    python = ctypes.pythonapi
    get, release = python.PyObject_GetBuffer, python.PyBuffer_Release
    get.argtypes = (ctypes.py_object, ctypes.POINTER(PyBuffer), ctypes.c_int)
    release.argtypes = (ctypes.POINTER(PyBuffer),)
    get(array, ctypes.byref(view), flags)
    try:
        return (view.len, view.itemsize, view.readonly, view.ndim, view.format, view.strides[0])
    finally:
        release(ctypes.byref(view))


@buffered
@pytest.mark.skipif(sys.implementation.name != "cpython", reason="no such C API there")
@by_shape
def test_requests(shape: dict[str, Any]) -> None:
    """A strided request is met; one that would write, or wants a contiguous block, is not."""
    array = Board(5, IDLE, **shape)
    stride = 64 if shape else 8
    assert request(array, STRIDES | FORMAT) == (20, 4, 1, 1, b"i", stride)
    assert request(array, STRIDES) == (20, 4, 1, 1, None, stride)
    assert request(array, 0x11C) == (20, 4, 1, 1, b"i", stride)  # FULL_RO
    for flags in (WRITABLE, STRIDES | WRITABLE, 0x11D, CONTIGUOUS["C"] | WRITABLE):
        with pytest.raises(BufferError):
            request(array, flags)
    for flags in (0, FORMAT, ND, ND | FORMAT, *CONTIGUOUS.values()):
        with pytest.raises(BufferError):
            request(array, flags)
    for _ in range(1000):
        request(array, STRIDES)


@buffered
@by_shape
def test_who_wants_a_contiguous_or_writable_one(shape: dict[str, Any]) -> None:
    """What asks for a contiguous or a writable buffer gets an error, not other bytes."""
    array: Any = Board(5, IDLE, **shape)
    for use in (
        lambda: ctypes.c_char.from_buffer(array),
        lambda: sys.stdout.buffer.write(array),
        lambda: io.BytesIO(b"123").readinto(array),
        lambda: int.from_bytes(memoryview(array).cast("B"), "little"),
        lambda: hash(memoryview(array)),
        lambda: memoryview(array).cast("B"),
        lambda: memoryview(array).cast("i", (5, 1)),
        lambda: memoryview(array)[0, 0],
    ):
        with pytest.raises((BufferError, TypeError, ValueError, NotImplementedError)):
            use()
    assert (
        bytes(memoryview(array))
        == memoryview(array).tobytes()
        == b"".join([(2).to_bytes(4, sys.byteorder)] * 5)
    )
    assert memoryview(array) == memoryview(array)[::1]
    assert memoryview(array).contiguous is False
    assert memoryview(array).format == "i"


@buffered
def test_released_views() -> None:
    """A released view is released, the array and other views are not."""
    array = Board(3, IDLE)
    first, second = memoryview(array), memoryview(array)
    with first:
        assert first[0] == 2
    with pytest.raises(ValueError, match="released"):
        first[0]
    assert second.toreadonly().tolist() == [2, 2, 2]
    assert array[0] is IDLE
    for _ in range(10_000):
        memoryview(array).release()


@pytest.mark.skipif(
    sys.version_info < (3, 12) or sys.implementation.name != "cpython", reason="3.12's methods"
)
def test_buffer_methods() -> None:
    """__buffer__ called by hand is checked as any request; __release_buffer__ does no harm."""
    array: Any = Board(3, IDLE)
    view = array.__buffer__(0x11C)
    assert view.tolist() == [2, 2, 2]
    for wrong in (None, "a", 1.5):
        with pytest.raises(TypeError):
            array.__buffer__(wrong)
    with pytest.raises(BufferError):
        array.__buffer__(0x11D)
    for owner in (array, view.obj):
        release: Any = getattr(owner, "__release_buffer__", None)
        if release is not None:
            for argument in (view, view, memoryview(b"x"), None):
                with contextlib.suppress(TypeError, ValueError):
                    release(argument)
    array.close()
    with pytest.raises(ValueError, match="closed"):
        array.__buffer__(0x11C)


def test_numpy_counts_and_selects() -> None:
    """Operations of numpy's on the view agree with the array."""
    numpy = pytest.importorskip("numpy")
    for shape in SHAPES.values():
        array = Wide(1000, Bits.LEFT, **shape)
        for i in range(0, 1000, 7):
            array[i] = Bits.LOWEST
        view = numpy.asarray(array)
        assert view.dtype == numpy.int32
        assert not view.flags.owndata
        assert int((view == Bits.LOWEST).sum()) == array.count(Bits.LOWEST)
        assert numpy.flatnonzero(view == Bits.LOWEST).tolist() == [*range(0, 1000, 7)]
        assert numpy.array(array).flags.owndata
        assert numpy.array_equal(numpy.asarray(copy.copy(array)), view)
        wide = numpy.asarray(array, dtype=numpy.int64)
        assert wide.tolist() == view.tolist()


@pytest.mark.only_on("native")
def test_the_owner_of_a_view_gives_the_same_view() -> None:
    """Who asks a view's owner for its buffer again, as PickleBuffer does, gets the same int32s."""
    board = Board(5, IDLE)
    again = memoryview(pickle.PickleBuffer(board))
    assert (again.format, again.shape, again.readonly) == ("i", (5,), True)
    assert memoryview(memoryview(board).obj).tolist() == again.tolist() == [2] * 5
