"""Thousands of sleeps and wake-ups between processes, and not one of them is lost.

In the builds that are made here a sleeper does not look again by itself, so that a lost wake-up is
a timeout.  Sleepers are killed among the others: they hold nothing that could be missed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import atomic_intenum
from helpers.inside import set_spin
from helpers.support import ROOT, TESTS, environment, run_script
from helpers.waits import BUSY, MOST_NAPS, SLEEPS
from helpers.wakeups import LOOK_AGAIN, herd, ping_pong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ATOMIC = atomic_intenum.BACKEND != "lock"

PINGS, ROUNDS = (300, 60)
FULL_PINGS, FULL_ROUNDS = (100_000, 10_000)

#: A writer's death delays a sleeper by this at most, and a busy machine by this much more.
SLACK = 2.0


@pytest.fixture(params=[0, 5], ids=["no spin", "spin"])
def spin(request: pytest.FixtureRequest) -> Iterator[int]:
    """Run without spinning, and with it."""
    if not ATOMIC and request.param:
        pytest.skip("the lock path never spins")
    set_spin(request.param)
    yield request.param
    set_spin(5)


def check_ping_pong(told: dict[str, Any], pings: int) -> None:
    """No wait was in vain, no write is missing."""
    assert told["codes"] == [0, 0], told
    assert told["writes"] == 2 * pings + 1


def check_herd(told: dict[str, Any], rounds: int) -> None:
    """Nobody slept on, and nobody ended who was not killed."""
    assert told["codes"] == [], told
    assert told["writes"] == rounds


# -- as the package is installed here: a lost wake-up is a delay of 250 ms


def test_ping_pong(spin: int) -> None:
    """Two processes wake each other again and again, promptly, though sleepers are killed."""
    told = ping_pong(PINGS)
    check_ping_pong(told, PINGS)
    assert told["slow"] <= PINGS // 50, (spin, told)


def test_herd(spin: int) -> None:
    """Each of eight sleepers is woken by each write, promptly, though some of them are killed."""
    told = herd(ROUNDS)
    check_herd(told, ROUNDS)
    assert told["slow"] <= ROUNDS // 10, (spin, told)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_ping_pong_at_full_size(spin: int) -> None:
    """100,000 ping-pongs without one timeout."""
    told = ping_pong(FULL_PINGS)
    print(atomic_intenum.BACKEND, "ping-pong, spin", spin, told)  # shown with -rP
    check_ping_pong(told, FULL_PINGS)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_herd_at_full_size(spin: int) -> None:
    """10,000 rounds of eight sleepers woken by one write, without one timeout."""
    told = herd(FULL_ROUNDS)
    print(atomic_intenum.BACKEND, "herd, spin", spin, told)  # shown with -rP
    check_herd(told, FULL_ROUNDS)


# -- builds of the native core of its own, in a copy of the package

#: Without optimisation, which takes longest, where nobody races.
BUILDS = {
    "futex": (
        "-O1",
        "-DAIE_LOOK_AGAIN=(3600*AIE_NS_PER_S)",
    ),
    "no futex": ("-O1", "-DAIE_LOOK_AGAIN=(3600*AIE_NS_PER_S)", "-DAIE_PRETEND_NO_FUTEX"),
    "polling": (
        "-O0",
        "-DAIE_PRETEND_NO_FUTEX",
    ),
    "deadly": ("-O0", "-include", str(TESTS / "core_c" / "deadly.h")),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """Give a function that builds the core, once each, and returns the environment to import it."""
    environments: dict[str, dict[str, str]] = {}
    compiler = os.environ.get("CC", "gcc")
    python_h = sysconfig.get_path("include")
    if shutil.which(compiler) is None or not (Path(python_h) / "Python.h").exists():
        pytest.skip("no C compiler, or no Python.h")

    def build(name: str) -> dict[str, str]:
        if name not in environments:
            folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
            package = folder / "atomic_intenum"
            ignored = shutil.ignore_patterns("*.so", "__pycache__")
            # As it is imported here: the tests may run against an installed package.
            shutil.copytree(Path(atomic_intenum.__file__).parent, package, ignore=ignored)
            source = ROOT / "csrc" / "native.c"
            options = ["-std=c11", "-fPIC", "-shared", "-pthread", f"-I{python_h}"]
            target = package / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"
            subprocess.run(
                [compiler, *options, *BUILDS[name], str(source), "-o", str(target), "-ldl"],
                check=True,
            )
            env = environment()
            env["PYTHONPATH"] = os.pathsep.join([str(folder), env["PYTHONPATH"]])
            environments[name] = env
        return environments[name]

    return build


RUN = """
import json, sys
import atomic_intenum
from helpers import wakeups
from helpers.inside import native_binding, set_spin

game, size, spin, folder = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
assert atomic_intenum.__file__.startswith(folder)
assert native_binding().FUTEX == (sys.argv[5] == "futex")
set_spin(spin)
print(json.dumps(getattr(wakeups, game)(size)))
"""


@pytest.mark.only_on("native")
@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("microseconds", [0, 5], ids=["no spin", "spin"])
@pytest.mark.parametrize("name", ["futex", "no futex"])
@pytest.mark.parametrize(
    ("game", "size", "check"),
    [("ping_pong", FULL_PINGS, check_ping_pong), ("herd", FULL_ROUNDS, check_herd)],
)
def test_no_wake_up_is_lost_at_full_size(
    game: str,
    size: int,
    check: Callable[[dict[str, Any], int], None],
    name: str,
    microseconds: int,
    built: Callable[[str], dict[str, str]],
    tmp_path: Path,
) -> None:
    """Where no sleeper looks again by itself: not one timeout, with a futex and by polling."""
    env = built(name)
    folder = env["PYTHONPATH"].split(os.pathsep)[0]
    script = tmp_path / "script.py"
    script.write_text(RUN)
    done = subprocess.run(
        [sys.executable, str(script), game, str(size), str(microseconds), folder, name],
        capture_output=True,
        text=True,
        timeout=1700,
        env=env,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    print(game, name, "spin", microseconds, told)  # shown with -rP
    check(told, size)


DIE = """
import os, signal, sys, time
from helpers.crew import Bits, Status, child
from helpers.waits import until_asleep, wait_and_tell

def die(pipe, status):
    os.environ["DEADLY_POINT"] = "write-before-wake"
    status.set(Bits.RIGHT)
    pipe.send("survived")

status = Status(Bits.LEFT)
with child(wait_and_tell, status) as sleeper:
    sleeper.says()
    until_asleep(status, sleeper)
    before = time.monotonic()
    with child(die, status) as writer:
        writer.process.join(20)
        assert writer.process.exitcode == -signal.SIGKILL
    assert status.load() is Bits.RIGHT
    member, woken = sleeper.says()
    assert member is Bits.RIGHT
print(woken - before)
"""


@pytest.mark.slow
@pytest.mark.only_on("native")
def test_writer_that_dies_before_it_wakes(
    built: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    """A writer killed between its CAS and its wake-up delays a sleeper by 250 ms at most."""
    done = run_script(DIE, folder=tmp_path, env=built("deadly"))
    assert (done.returncode, done.stderr) == (0, "")
    assert float(done.stdout) < LOOK_AGAIN + SLACK


THREADS = """
from helpers.boards import Wide, until_watched
from helpers.crew import Bits, Status, Task
from helpers.waits import until_asleep

status, array = Status(Bits.LEFT), Wide(3, Bits.LEFT)
waiter = Task(lambda: status.wait_for(Bits.RIGHT))
until_asleep(status)
status.set(Bits.RIGHT)
print(waiter.result() is Bits.RIGHT)
waiter = Task(lambda: array.wait_any(Bits.RIGHT))
until_watched(array)
array[1] = Bits.RIGHT
print(waiter.result())
"""


@pytest.mark.slow
@pytest.mark.only_on("native")
def test_other_threads_run_meanwhile(
    built: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    """A thread that waits leaves the interpreter to the others, one of which wakes it."""
    done = run_script(THREADS, folder=tmp_path, env=built("futex"))
    assert (done.stdout, done.stderr) == ("True\n1\n", "")


POLL = """
from helpers.inside import native_binding
from helpers.waits import SLEEPS, second_asleep

assert not native_binding().FUTEX
for what in SLEEPS:
    print(*second_asleep(what))
"""


@pytest.mark.slow
@pytest.mark.only_on("native")
def test_polling_costs_little(built: Callable[[str], dict[str, str]], tmp_path: Path) -> None:
    """A waiter falls asleep a few times a second where there is no futex, and is not busy."""
    done = run_script(POLL, folder=tmp_path, env=built("polling"))
    assert (done.returncode, done.stderr) == (0, "")
    sleeps = [line.split() for line in done.stdout.splitlines()]
    assert len(sleeps) == len(SLEEPS)
    for naps, cost in sleeps:
        assert 10 < int(naps) < MOST_NAPS
        assert float(cost) < BUSY
