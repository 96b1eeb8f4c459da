"""Signal handlers that raise, at random moments: nothing stays locked, and no name is lost.

Each storm is a program of its own: this process's timer signal is pytest-timeout's.  It lasts a
quarter of a second (soak: two seconds).
"""

from __future__ import annotations

import signal
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers.marks import named, unnamed
from helpers.support import SHM, marked_segments, run_script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess

pytestmark = [
    pytest.mark.slow,
    pytest.mark.scaled,
    pytest.mark.skipif(
        sys.implementation.name != "cpython",
        reason="a signal handler may come between any two bytecodes there, in `with` too",
    ),
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer signals"),
]


@pytest.fixture
def marker() -> Iterator[str]:
    """A word for what a test has in shared memory: its enum, its names; nothing may be left."""
    chosen = f"S{uuid.uuid4().hex[:12]}"
    yield chosen
    # The semaphores are multiprocessing's: interrupted in its constructor, it forgets them.
    for path in SHM.glob(f"sem.{chosen}*"):
        path.unlink()
    left = {path.name for path in SHM.glob(f"*{chosen}*")} | marked_segments(chosen)
    for name in left:
        (SHM / name).unlink(missing_ok=True)
    assert not left


#: What all storms need: interrupted() does something once, and a handler ends it at some moment.
HEAD = """
import gc, multiprocessing, os, pickle, queue, random, signal, sys, threading, time, warnings
from multiprocessing import resource_tracker, util
import atomic_intenum
from atomic_intenum import IntEnumArray, IntEnumValue
from helpers.inside import backend
from helpers.support import make_enum, soaked

warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads
ATOMIC = atomic_intenum.BACKEND != "lock"
PATIENCE = 10.0
STORM = soaked(25, 200) / 100
marker = sys.argv[1]
multiprocessing.current_process()._config["semprefix"] = "/" + marker
Members = globals()[marker] = make_enum(marker, "A B")
A, B = Members
Value, Array = IntEnumValue[Members], IntEnumArray[Members]


class Interrupt(BaseException):
    pass


#: Where the interpreter itself prints what is raised, and goes on: destructors, others' fork hooks.
IGNORED = {"__del__", "_drop", "<lambda>"}
FINALIZE = util.Finalize.__call__.__code__
ELSEWHERE = {"logging", "weakref", "_weakrefset"}
if sys.version_info >= (3, 14):  # what it locks by `with` stays locked: see ProcessLock.call()
    ELSEWHERE.add("multiprocessing.resource_tracker")
#: Whose lambdas are no hooks, but what a write does inside of its lock.
WRITERS = {f"atomic_intenum.backends.{name}" for name in ("python_row", "python_value")}
came, ready = [], []
longest = 1e-3


def handle(_, frame):
    if frame.f_code is handle.__code__:  # on a full machine it takes longer than it sets the timer
        signal.setitimer(signal.ITIMER_REAL, 1e-3)
        return
    inner = frame
    while inner is not None:
        code = inner.f_code
        name = inner.f_globals.get("__name__")
        inside = code.co_name == "<lambda>" and name in WRITERS
        ignored = code.co_name in IGNORED and not inside
        if ignored or code is FINALIZE or name in ELSEWHERE:
            signal.setitimer(signal.ITIMER_REAL, 1e-5)
            return
        inner = inner.f_back
    came.append(True)
    raise Interrupt


signal.signal(signal.SIGALRM, handle)


def unraisable(what):
    # Interrupted in its __init__, multiprocessing's Finalize does not survive its own end.
    finalizes = isinstance(what.object, util.Finalize) or "Finalize" in (what.err_msg or "")
    if not (finalizes and what.exc_type is AttributeError):
        sys.__unraisablehook__(what)


sys.unraisablehook = unraisable


def until_it_comes(action):
    action()
    ready.append(True)
    # Not inside of `try`: no handler covers the jump back of CPython 3.12 and 3.13.  Not spinning
    # either: 3.12 may not see a signal that another thread received until it lets go of the GIL.
    while not came:
        time.sleep(1e-4)


def interrupted(action):
    global longest
    came.clear()
    ready.clear()
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, longest))
        until_it_comes(action)
    except Interrupt:
        longest *= 0.98 if ready else 1.02  # about as many before the end as behind


def storm():
    end = time.monotonic() + STORM
    number = 0
    while number < 6 or time.monotonic() < end:
        number += 1
        yield number


class Other:
    # Another thread, that does what it is told.

    def __init__(self):
        self.asked, self.answers = queue.SimpleQueue(), queue.SimpleQueue()
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        while True:
            self.answers.put(self.asked.get()())

    def does(self, function):
        self.asked.put(function)
        try:
            return self.answers.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError("another thread waits in vain") from None


def forked(body):
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(PATIENCE))
        code = 1
        try:
            body()
            code = 0
        finally:
            os._exit(code)
    return pid


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def descriptors():
    return len(os.listdir("/dev/fd"))


def create():
    Array(1, A)  # a segment of its own


def create_in_child():
    create()
    backend.end()


if not ATOMIC:  # of its semaphores, where the default start method is not fork
    resource_tracker.ensure_running()
create()
"""


def said(done: CompletedProcess[str], backend: str) -> str:
    """Return what a storm said on stderr, but for multiprocessing's semaphores.

    Between two lines of its constructor the resource tracker has them and nobody else; and children
    that end by os._exit leave theirs.
    """
    if backend != "lock":
        return done.stderr
    lines = done.stderr.splitlines(keepends=True)
    return "".join(line for line in lines if "resource_tracker" not in line).replace(
        "  warnings.warn(\n", ""
    )


CREATIONS = """
def values():
    for _ in range(300 if ATOMIC else 20):
        kept.append(Value(A))

def array():
    kept.append(Array(1, A))

def name():
    kept.append(Value(A, segment_name=f"{marker}-{len(names)}"))

def derive():
    type("Derived", (Value,), {})

kept, names = [], []
what = sys.argv[2]
if what == "lingering":
    for number in range(50):
        pickle.dumps(Value(A, segment_name=f"{marker}-l{number}"))
actions = {"values": values, "array": array, "name": name, "lingering": name, "class": derive}
action = actions[what]
other = Other()
for number in storm():
    kept.clear()
    names.append(True)
    interrupted(action)
    other.does(create)
    other.does(derive)
    if number % 5 == 0:
        assert ended(forked(create_in_child)) == 0
"""


@pytest.mark.parametrize(
    "what",
    [
        "values",
        "array",
        "class",
        pytest.param("name", marks=named),
        pytest.param("lingering", marks=named),
    ],
)
def test_creation_leaves_no_lock(what: str, marker: str, backend: str, tmp_path: Path) -> None:
    """After an interrupted creation, a class's too, other threads and forked children create."""
    done = run_script(HEAD + CREATIONS, marker, what, folder=tmp_path)
    assert (said(done, backend), done.returncode) == ("", 0)


NAMES = """
number = 0
kept = []
before = descriptors()

def create_named():
    kept.append(Value(A, segment_name=f"{marker}-{number}"))

for number in storm():
    kept.clear()
    interrupted(create_named)
    if kept:
        assert kept[0].load() is Value.attach(kept[0].segment_name).load() is A
        kept.clear()
    again = Value(B, segment_name=f"{marker}-{number}")
    assert again.load() is Value.attach(again.segment_name).load() is B
lasting = again  # until exit
del again
gc.collect()
assert descriptors() == before, "some were lost"
"""


@named
def test_creation_leaves_no_name(marker: str, tmp_path: Path) -> None:
    """An interrupted creation is a value, or its name is free; at exit nothing is left or said."""
    done = run_script(HEAD + NAMES, marker, folder=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)


LOOKS = """
def look():
    try:
        return Value(B, segment_name=marker)
    except FileExistsError:
        return None

def look_and_keep_the_traceback():
    try:
        look()
    except Interrupt as interrupt:
        kept.append(interrupt)
        raise

taken, kept = Value(A, segment_name=marker), []
other = Other()
before = descriptors()
for number in storm():
    interrupted(look_and_keep_the_traceback)
    assert other.does(look) is None
    kept.clear()
gc.collect()
assert descriptors() == before, "some were lost"
"""


@named
def test_look_leaves_no_lock(marker: str, tmp_path: Path) -> None:
    """Who is interrupted looking whose a name is keeps neither others from it nor descriptors."""
    done = run_script(HEAD + LOOKS, marker, folder=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)


WRITES = """
given, contended = sys.argv[2:]
owner, array = Value(A), None
match given:
    case "value's":
        value = Value(A, lock=owner.get_lock())
    case "RLock":
        value = Value(A, lock=multiprocessing.RLock())
    case "own":
        value = owner
    case "array's own":
        array = Array(3, A)
        value = array.at(0)
lock = value.get_lock()

def write_value():
    value.set(B)
    value.exchange(A)
    value.compare_and_set(A, B)
    value.compare_and_set(B, A)

def write_array():
    array[1] = B
    array.fill(A)
    array.compare_and_set(0, A, B)
    array.exchange(2, B)
    array.claim(A, B)

write = write_value if array is None else write_array

def write_on():
    for _ in range(5):
        write()

def another_takes_it():
    if not lock.acquire(timeout=PATIENCE):
        return False
    lock.release()
    return True

going = Value(A)
parent = os.getpid()

def contend():
    signal.alarm(0)
    while going.load() is A and os.getppid() == parent:
        with lock:
            time.sleep(1e-5)
        time.sleep(1e-4)

pids = [forked(contend)] if contended else []
other = Other()
try:
    for number in storm():
        interrupted(write_on)
        assert other.does(another_takes_it), "it is held"
finally:
    going.set(B)
assert [ended(pid) for pid in pids] == [0] * len(pids)

def another_process():
    assert another_takes_it()

assert ended(forked(another_process)) == 0
"""


@pytest.mark.parametrize("contended", ["", "contended"])
@pytest.mark.parametrize(
    "given",
    [
        # A value's lock is none that another value can have, on the lock-based path.
        pytest.param("value's", marks=named),
        "RLock",
        pytest.param("own", marks=unnamed),
        pytest.param("array's own", marks=unnamed),
    ],
)
def test_write_leaves_no_lock(given: str, contended: str, marker: str, tmp_path: Path) -> None:
    """A write that is interrupted, waiting for its lock or inside, does not leave it held."""
    done = run_script(HEAD + WRITES, marker, given, contended, folder=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)


FORKS = """
def fork():
    if os.fork() == 0:
        os._exit(0)

def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass

other = Other()
for number in storm():
    interrupted(fork)
    other.does(create)
    reap()
assert ended(forked(create_in_child)) == 0
"""


def test_fork_leaves_no_lock(marker: str, backend: str, tmp_path: Path) -> None:
    """After an os.fork that was interrupted, in its hooks too, other threads create."""
    done = run_script(HEAD + FORKS, marker, folder=tmp_path)
    assert (said(done, backend), done.returncode) == ("", 0)
