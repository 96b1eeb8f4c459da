"""Owners where pids come again, clocks differ, and /proc shows little or nothing."""

from __future__ import annotations

import functools
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from helpers.marks import named, needs_root
from helpers.names import own_name
from helpers.owners import ATOMIC, NOTICED, PENDING, RUNNING, leased
from helpers.support import run_script

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

#: Programs that run another one in such a place.
PLACES: dict[str, tuple[str, ...]] = {
    # As `unshare --mount-proc`, for a pid namespace alone.
    "pids": (
        *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"),
        *('echo 1000 >/proc/sys/kernel/ns_last_pid && exec "$@"', "sh"),
    ),
    "few pids": (
        *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"),
        *('echo 400 >/proc/sys/kernel/pid_max && exec "$@"', "sh"),
    ),
    "time": ("unshare", "--time", "--fork", "--kill-child", "--monotonic", "8000000"),
    "hidepid": (
        *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"),
        *("sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', "sh"),
    ),
    "no proc": (
        *("unshare", "--mount", "--propagation", "private", "sh", "-c"),
        *('mount -t tmpfs tmpfs /proc && exec "$@"', "sh"),
    ),
}  # fmt: skip


@functools.cache
def place(name: str) -> tuple[str, ...]:
    """Return what runs a program there; () where this machine has no such place."""
    try:
        probe = subprocess.run([*PLACES[name], "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return ()
    return PLACES[name] if probe.returncode == 0 else ()


def run_in(name: str, source: str, *arguments: str, folder: Path) -> str:
    """Run a script there, and return what it says; skip the test where that cannot be."""
    prefix = place(name)
    if not prefix:
        pytest.skip(f"no place here like: {name}")
    done = run_script(HEAD + source, *arguments, folder=folder, prefix=prefix)
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


HEAD = """
import os, signal, sys, time
from helpers.owners import DEAD, DONE, LEASES, PENDING, RUNNING, Job, Jobs
from helpers.support import fork

ready, tell = os.pipe()
until, end = os.pipe()

def leave(take):
    os.close(end)  # the parent's alone: its end is theirs
    try:
        take()
    except BaseException:
        os.write(tell, b"!")
        raise
    os.write(tell, b".")
    os.read(until, 1)

def owner(take):
    pid = fork(lambda: leave(take))
    assert os.read(ready, 1) == b"."
    return pid

def kill(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""


REUSED = """
def next_pid(pid):
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(pid - 1))

status, other = (Job(PENDING, on_death=LEASES) for _ in range(2))
for take_first in (False, True):
    next_pid(5000)
    first = owner(lambda: (status.set(RUNNING), status.own()))
    assert first == 5000 == status.owner
    kill(first)
    next_pid(5000)
    again = owner(lambda: other.set(RUNNING) if take_first else None)
    assert again == 5000
    assert (other.owner == again) == take_first
    assert status.load() is RUNNING or take_first
    assert status.recover() or status.load() is PENDING
    assert status.owner is None
    assert (other.owner == again) == take_first
    kill(again)
    assert other.recover() == take_first
print("reused")
"""


@pytest.mark.parametrize("where", ["pids"])
def test_pid_that_comes_again(where: str, tmp_path: Path) -> None:
    """A dead owner is dead though its pid is another process's by now, an owner or not."""
    assert run_in(where, REUSED, folder=tmp_path) == "reused\n"


COME_ROUND = """
from pathlib import Path
status, seen, again = Job(PENDING, on_death=LEASES), set(), 0
while again < 30:
    pid = owner(lambda: status.set(RUNNING))
    assert status.owner == pid
    again += pid in seen
    seen.add(pid)
    kill(pid)
    living = owner(lambda: None)  # which may get that very pid
    assert status.recover()
    kill(living)
print(len(seen) < 500)
"""


def test_few_pids(tmp_path: Path) -> None:
    """Where pids come round again and again, each death is one."""
    assert run_in("few pids", COME_ROUND, folder=tmp_path) == "True\n"


CLOCK = """
began = time.monotonic()
status, jobs = Job(PENDING, on_death=LEASES), Jobs(3, DONE, on_death=LEASES)
pid = owner(lambda: (status.set(RUNNING), jobs.exchange(1, RUNNING)))
try:
    status.wait_for(PENDING, timeout=0.3)
except TimeoutError:
    print(status.owner == pid)
kill(pid)
print(status.wait_for(PENDING, timeout=20).name, jobs.claim(PENDING, DONE, timeout=20))
print(began > 8_000_000, time.monotonic() - began < 10)
"""


def test_other_clock(tmp_path: Path) -> None:
    """Where the clock began at another time, owners die and are noticed as everywhere."""
    assert run_in("time", CLOCK, folder=tmp_path) == "True\nPENDING 1\nTrue True\n"


SLEEPS = """
status = Job.attach(sys.argv[1])
print("attached", flush=True)
pid = owner(lambda: status.wait_for(DONE, timeout=20) and status.set(RUNNING))
kill(pid)
began = time.monotonic()
print(status.wait_for(PENDING, timeout=20).name, time.monotonic() - began < float(sys.argv[2]))
"""


@named
def test_sleeper_of_another_clock(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Processes of two clocks have owners together: a death of one is noticed by the other."""
    with own_name(request.node.nodeid) as name:
        status = leased(segment_name=name)
        status.set("DONE")
        said = run_in("time", SLEEPS, name, str(NOTICED), folder=tmp_path)
        assert said == "attached\nPENDING True\n"
        assert (status.load(), status.version) == (PENDING, 3)
        status.set(RUNNING)
        assert status.owner == os.getpid()
        status.unlink()


HIDDEN = """
Job(PENDING, on_death={DONE: DEAD}).own()  # what that imports, another user may not read
os.setgid(65534)
os.setuid(65534)
assert not os.path.exists("/proc/1/stat") or os.getpid() == 1
status, jobs = Job(PENDING, on_death=LEASES), Jobs(3, PENDING, on_death=DEAD)
pid = owner(lambda: (status.set(RUNNING), jobs.at(1).own()))
assert (status.owner, jobs.owners()) == (pid, [None, pid, None])
assert not status.recover()
os.kill(pid, signal.SIGKILL)
if sys.argv[1] == "zombie":
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
else:
    os.waitpid(pid, 0)
print(status.recover(), jobs.recover(), status.name, jobs[1].name)
"""


@needs_root
@pytest.mark.parametrize("where", ["hidepid", "no proc"])
def test_processes_that_are_not_shown(where: str, tmp_path: Path) -> None:
    """Where /proc shows other processes to nobody, or nothing at all, the dead are told apart."""
    # On the lock path nothing but its pid tells of a process where there is no /proc.
    dead = "zombie" if ATOMIC or where != "no proc" else "reaped"
    assert run_in(where, HIDDEN, dead, folder=tmp_path) == "True [1] PENDING DEAD\n"


LESS_PRIVILEGED = """
status, jobs = Job(PENDING, on_death=LEASES), Jobs(3, PENDING, on_death=DEAD)

def work():
    os.setgid(65534)
    os.setuid(65534)
    status.set(RUNNING)
    jobs.at(1).own()
    assert status.owner == jobs.owner(1) == os.getpid()

worker = owner(work)
print(status.owner == worker, jobs.owners() == [None, worker, None])
kill(worker)
print(status.recover(), jobs.recover(), status.name, jobs[1].name)
"""

JUDGES = """
status, mine = Job(PENDING, on_death=LEASES), Job(PENDING, on_death=LEASES)
mine.own()
pid = owner(lambda: status.set(RUNNING))

def judge():
    os.setgid(65534)
    os.setuid(65534)
    assert (status.owner, status.recover()) == (pid, False)
    os.write(tell, b".")
    assert status.wait_for(PENDING, timeout=20) is PENDING
    assert status.owner is None

judging = fork(judge)
assert os.read(ready, 1) == b"."
kill(pid)
print(os.waitpid(judging, 0)[1], status.name)
os.setgid(65534)
os.setuid(65534)
status.set(RUNNING)  # by the row that it has
print(status.owner == mine.owner == os.getpid())
"""


@needs_root
def test_worker_that_becomes_another_user(tmp_path: Path) -> None:
    """A prefork worker that gives up its privileges owns what its master made, as any other."""
    done = run_script(HEAD + LESS_PRIVILEGED, folder=tmp_path)
    assert done.stdout == "True True\nTrue [1] PENDING DEAD\n", done.stderr


@needs_root
def test_another_user_judges(tmp_path: Path) -> None:
    """Who has given up his privileges tells who lives, and uses the row that he had before."""
    done = run_script(HEAD + JUDGES, folder=tmp_path)
    assert done.stdout == "0 PENDING\nTrue\n", done.stderr
    if ATOMIC:  # multiprocessing's own semaphores are still the former user's
        assert done.stderr == ""
