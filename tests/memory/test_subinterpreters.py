"""Several interpreters in one process: each with a package of its own, on the same shared memory.

Each test is a script in a process of its own, so that a crash fails one test.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from atomic_intenum import BACKEND
from helpers import subinterpreters
from helpers.support import marked_segments, run_script

if TYPE_CHECKING:
    from pathlib import Path

try:
    subinterpreters.module()
except ImportError:
    pytest.skip("this interpreter makes no others", allow_module_level=True)
if BACKEND == "cffi":
    pytest.skip("cffi's own module refuses further interpreters", allow_module_level=True)

pytestmark = pytest.mark.slow

kinds = pytest.mark.parametrize("kind", subinterpreters.KINDS)

#: In every interpreter: a value by name, or a fresh one.
ENUM = """
import enum
from atomic_intenum import BACKEND, IntEnumValue
Status = enum.IntEnum("MARK", ["IDLE", "BUSY", "DONE"], module="here")
Value = IntEnumValue[Status]
"""


def script(source: str, *arguments: str, folder: Path) -> str:
    """Run it, with ENUM at hand; return what it printed.

    Nothing of it is left, and nothing is said on stderr.
    """
    marker = f"Sub{os.getpid()}"
    setup = ENUM.replace("MARK", marker)
    top = (
        f"import sys, threading\nfrom helpers import subinterpreters as sub\nENUM = '''{setup}'''\n"
    )
    done = run_script(top + source, *arguments, folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert marked_segments(marker) == set()
    return done.stdout


@kinds
def test_import_in_several(kind: str, tmp_path: Path) -> None:
    """Several interpreters and the main one import the package, each with the backend asked for."""
    printed = script(
        """
exec(ENUM)
mine = Value(Status.IDLE)
others = [sub.create(sys.argv[1]) for _ in range(3)]
for other in others:
    sub.run(other, ENUM + '''
value = Value(Status.IDLE)
assert value.compare_and_set(Status.IDLE, "BUSY") and value.name == "BUSY"
with value.get_lock():
    value.set(Status.DONE)
print(BACKEND, flush=True)
''')
for other in others:
    sub.destroy(other)
    assert mine.compare_and_set(mine.load(), Status.DONE)
    mine.set(Status.IDLE)
print(BACKEND, mine.name)
""",
        kind,
        folder=tmp_path,
    )
    assert printed == f"{BACKEND}\n" * 3 + f"{BACKEND} IDLE\n"


@pytest.mark.only_on("native")
@kinds
def test_value_is_shared_by_name(kind: str, tmp_path: Path) -> None:
    """What one interpreter creates another attaches; it stays when the other ends."""
    script(
        """
import os
exec(ENUM)
name = f"intenum-{os.getpid()}"
mine = Value(Status.IDLE, segment_name=name)
other = sub.create(sys.argv[1])
sub.run(other, ENUM + '''
value = Value.attach(name)
assert value.compare_and_set(Status.IDLE, Status.BUSY)
try:
    Value(Status.IDLE, segment_name=name)
except FileExistsError:
    pass
else:
    raise AssertionError("its creator runs: it is this process")
''', name=name)
assert mine.load() is Status.BUSY
sub.destroy(other)
assert mine.compare_and_set(Status.BUSY, Status.DONE)
assert Value.attach(name).load() is Status.DONE
""",
        kind,
        folder=tmp_path,
    )


@pytest.mark.only_on("native")
@kinds
def test_end_of_the_creator_leaves_the_value(kind: str, tmp_path: Path) -> None:
    """An interpreter that ends removes its names, by atexit; who attached them goes on."""
    script(
        """
import os
exec(ENUM)
name = f"intenum-{os.getpid()}"
other = sub.create(sys.argv[1])
sub.run(other, ENUM + "value = Value(Status.BUSY, segment_name=name)", name=name)
mine = Value.attach(name)
lock = mine.get_lock()
sub.destroy(other)
with lock:
    mine.set(Status.DONE)
assert mine.load() is Status.DONE
try:
    Value.attach(name)
except FileNotFoundError:
    print("gone")
""",
        kind,
        folder=tmp_path,
    )


@pytest.mark.only_on("native")
@kinds
def test_lock_held_in_one_keeps_the_other_out(kind: str, tmp_path: Path) -> None:
    """A lock that a thread of one interpreter holds is taken for a thread of another."""
    script(
        """
import os
exec(ENUM)
name = f"intenum-{os.getpid()}"
mine = Value(Status.IDLE, segment_name=name)
other = sub.create(sys.argv[1])
sub.run(other, ENUM + "value = Value.attach(name)", name=name)
failed = []
def try_there(source):
    def call():
        try:
            sub.run(other, source)
        except BaseException as error:
            failed.append(error)
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
with mine.get_lock():
    try_there("assert not value.get_lock().acquire(timeout=0.05)")
    try_there("assert not value.compare_and_set(Status.DONE, Status.BUSY)")
try_there("assert value.get_lock().acquire(timeout=5); value.get_lock().release()")
try_there("value.set(Status.BUSY)")
assert not failed, failed
assert mine.wait_for(Status.BUSY, timeout=5) is Status.BUSY
sub.destroy(other)
with mine.get_lock():
    mine.set(Status.DONE)
""",
        kind,
        folder=tmp_path,
    )


@pytest.mark.only_on("native")
def test_ended_interpreters_leave_nothing_mapped(tmp_path: Path) -> None:
    """The mappings of interpreters that ended are gone; the process may make any number."""
    script(
        """
def mapped():
    with open("/proc/self/maps") as file:
        return sum("intenum-" in line for line in file)
for _ in range(5):
    other = sub.create("legacy")
    sub.run(other, ENUM + "values = [Value(Status.IDLE) for _ in range(40)]")
    assert mapped()
    sub.destroy(other)
assert mapped() == 0, mapped()
""",
        folder=tmp_path,
    )


@pytest.mark.only_on("native")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="isolated ones may start processes")
def test_isolated_interpreter_of_3_11(tmp_path: Path) -> None:
    """An interpreter that may not start processes creates and shares values all the same."""
    script(
        """
import os
exec(ENUM)
name = f"intenum-{os.getpid()}"
other = sub.create("isolated")
sub.run(other, ENUM + "value = Value(Status.IDLE, segment_name=name)", name=name)
Value.attach(name).set(Status.BUSY)
sub.run(other, "assert value.load() is Status.BUSY")
sub.destroy(other)
""",
        folder=tmp_path,
    )
