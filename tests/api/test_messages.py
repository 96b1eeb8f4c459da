"""What errors say: which object, what was wanted, what it is instead, and what to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atomic_intenum import BACKEND, IntEnumArray, IntEnumValue
from helpers.boards import Board
from helpers.crew import child
from helpers.support import (
    CALCULATING,
    IDLE,
    SOURCES,
    WorkerStatus,
    environment,
    write_word,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection


#: Type checkers know the errors that these are for.
generic: Any = IntEnumValue
generic_array: Any = IntEnumArray
wide: Any = Board


@pytest.fixture
def board() -> Board:
    """Three words, one of them CALCULATING."""
    made = Board(3, IDLE)
    made[1] = CALCULATING
    return made


@pytest.mark.parametrize(
    ("wait", "said"),
    [
        (lambda v, _: v.wait_for("CALCULATING", timeout=0), "wait_for(CALCULATING): still IDLE"),
        (lambda v, _: v.wait_while(IDLE, timeout=0), "wait_while(IDLE): still IDLE"),
        (lambda v, _: [*v.changes(timeout=0)], "changes(): still IDLE"),
        (
            lambda _, b: b.wait_all(IDLE, timeout=0),
            "wait_all(IDLE): still 2 IDLE, 1 CALCULATING",
        ),
        (
            lambda _, b: b.wait_any("UNAVAILABLE", timeout=0),
            "wait_any(UNAVAILABLE): still 2 IDLE, 1 CALCULATING",
        ),
    ],
)
def test_a_wait_that_is_over(wait: Callable[[Any, Any], object], said: str, board: Board) -> None:
    """A TimeoutError names the method, what it waited for, what it is still, and the seconds."""
    with pytest.raises(TimeoutError) as raised:
        wait(WorkerStatus(IDLE), board)
    assert str(raised.value) == f"{said} after 0 s"


def test_a_wait_on_what_is_no_member() -> None:
    """A wait for a word that holds no member's number is over, too, and shows the number."""
    status = WorkerStatus(IDLE)
    write_word(status, 77)
    with pytest.raises(TimeoutError, match="still 77 after 0 s"):
        status.wait_for(IDLE, timeout=0)


def test_many_members_are_shortened() -> None:
    """A wait for many members names the first ones."""
    with pytest.raises(TimeoutError, match=r"^wait_for\(CALCULATING, (CALCULATING, ){3}\.\.\.\)"):
        WorkerStatus(IDLE).wait_for(*[CALCULATING] * 9, timeout=0)


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda: generic("i", 0), TypeError, r"not 'i' of str; .*IntEnumValue\[YourEnum\]"),
        (lambda: wide(IDLE, 4), TypeError, r"Board\(size, initial\): size must be.*not <.*IDLE"),
        (lambda: wide(0, IDLE), ValueError, r"Board\(size, initial\).*1 or more, not 0"),
        (lambda: wide("4", IDLE), TypeError, r"Board\(size, initial\).*not '4'"),
        (lambda: generic_array(4, 2), TypeError, "not 2 of int"),
    ],
)
def test_wrong_arguments(make: Callable[[], object], kind: type[Exception], said: str) -> None:
    """Swapped arguments, a type code and a wrong size are told from what was wanted."""
    with pytest.raises(kind, match=said):
        make()


def test_unknown_names_and_seconds() -> None:
    """A misspelt name is told with the one meant, another with some of those there are."""
    status = WorkerStatus(IDLE)
    with pytest.raises(KeyError, match="no member 'IDEL': did you mean 'IDLE'"):
        status.set("IDEL")
    with pytest.raises(KeyError, match="no member 'i': it has UNAVAILABLE, IDLE, CALCULATING"):
        WorkerStatus("i")
    with pytest.raises(TypeError, match=r"not 0\.1 of float; a wait takes its seconds as timeout="):
        status.wait_for(CALCULATING, 0.1)  # type: ignore[arg-type]


def test_two_classes_of_one_name() -> None:
    """An enum that was defined twice is told from a wrong one."""
    source = "from enum import IntEnum\nclass S(IntEnum):\n    A = 1\n    B = 2\n"
    first: dict[str, Any] = {"__name__": "cell"}
    second: dict[str, Any] = {"__name__": "cell"}
    exec(source, first)
    exec(source, second)
    status, other = generic[first["S"]](first["S"].A), generic[second["S"]](second["S"].A)
    uses: list[Callable[[], object]] = [
        lambda: status.set(second["S"].B),
        lambda: status == other,
    ]
    for use in uses:
        with pytest.raises(TypeError, match="two classes of one name"):
            use()


def keep(pipe: Connection, name: str) -> None:
    """Have a value of that name until told."""
    status = WorkerStatus(IDLE, segment_name=name)
    pipe.send(os.getpid())
    pipe.recv()
    status.unlink()


@pytest.mark.only_on("native", "cffi")
def test_taken_names() -> None:
    """A taken name is told with who has it: this process, or another one with its command."""
    name = f"taken-{os.getpid()}"
    with child(keep, name) as peer:
        pid = peer.says()
        with pytest.raises(FileExistsError, match=f"in use by process {pid} .*python") as raised:
            WorkerStatus(IDLE, segment_name=name)
        peer.tell()
    assert "choose another name, or attach to it" in str(raised.value)
    status = WorkerStatus(IDLE, segment_name=name)
    with pytest.raises(FileExistsError, match="in use by this very process"):
        WorkerStatus(IDLE, segment_name=name)
    status.unlink()
    with pytest.raises(FileNotFoundError, match=f"no value or array is called '{name}'"):
        WorkerStatus.attach(name)


@pytest.mark.skipif(sys.platform != "linux", reason="asks for more than /dev/shm has")
def test_no_room() -> None:
    """A full /dev/shm is told with what was wanted and what is there."""
    with pytest.raises(OSError, match=r"no room in /dev/shm for [\d,]+ bytes: [\d,]+ of"):
        Board(1 << 44, IDLE)  # nor has the disk, where the lock-based path would go next


@pytest.mark.skipif(sys.platform != "linux", reason="asks for more than a process may map")
def test_no_room_to_map() -> None:
    """What a process may not map is told alike, where a file may be that large."""
    room = os.statvfs("/dev/shm")
    if room.f_bavail * room.f_frsize < 1 << 28:
        pytest.skip("/dev/shm is too small")

    def ask(pipe: Connection) -> None:
        import resource

        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (mapped + (1 << 25), hard))
        try:
            Board(1 << 21, IDLE)
        except OSError as error:
            pipe.send(str(error))

    with child(ask) as peer:
        found = peer.says()
    assert re.search(r"no room in /dev/shm for .*, but this process may map no more", found)


def test_no_compiled_core(tmp_path: Path) -> None:
    """Without the compiled core the error, or the warning, says that, and how to get it."""
    package = tmp_path / "atomic_intenum"
    original = SOURCES / "atomic_intenum"
    for path in original.rglob("*.py"):
        copied = package / path.relative_to(original)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_text(path.read_text())
    script = """
        import sys
        sys.path.insert(0, sys.argv[1])
        try:
            import atomic_intenum
        except ImportError as error:
            print(error)
    """
    backend = "cffi" if BACKEND == "lock" else BACKEND
    done = subprocess.run(
        [sys.executable, "-S", "-c", textwrap.dedent(script), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
        env={**environment(ATOMIC_INTENUM_BACKEND=backend), "PYTHONPATH": ""},
    )
    assert f"atomic_intenum._{backend} is not built. Install a C11 compiler" in done.stdout
    assert "circular" not in done.stdout
