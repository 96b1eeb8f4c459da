"""What ends a wait for a status: close(), signals, forks and exit; and what a wait costs."""

from __future__ import annotations

import copy
import functools
import gc
import os
import pickle
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

import atomic_intenum
from helpers.crew import PATIENCE, Bits, Status, Task, child, exit_of
from helpers.support import (
    environment,
    run_script,
)
from helpers.waits import (
    BUSY,
    LOOK_AGAIN,
    MOST_NAPS,
    PROMPT,
    SLACK,
    SLEEPS,
    WAITS,
    by_each_wait,
    closed,
    delay_of_thread,
    quickest,
    second_asleep,
    until_asleep,
    wait_and_tell,
)
from helpers.writes import WRITES, set_value

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path


ATOMIC = atomic_intenum.BACKEND != "lock"


# -- closing


@by_each_wait
def test_closing_ends_a_wait(wait: Callable[..., Bits]) -> None:
    """Closing a value under a waiter raises ValueError there, 250 ms later at most."""
    status = Status(Bits.LEFT)

    def ends() -> float:
        with pytest.raises(ValueError, match="closed"):
            wait(status, timeout=PATIENCE)
        return time.monotonic()

    sleeper = Task(ends)
    until_asleep(status)
    before = time.monotonic()
    status.close()
    assert sleeper.result() - before < LOOK_AGAIN + SLACK


def test_closed_beats_met() -> None:
    """A waiter whose value was closed gets the ValueError, also if the state comes after that."""
    status = Status(Bits.LEFT)
    twin = copy.copy(status)
    sleeper = Task(lambda: status.wait_for(Bits.RIGHT, timeout=PATIENCE))
    until_asleep(twin)
    status.close()
    twin.set(Bits.RIGHT)
    with pytest.raises(ValueError, match="closed"):
        sleeper.result()


def test_closing_a_twin_ends_no_other_wait() -> None:
    """Closing another object of the same value, or dropping it, does not disturb a waiter."""
    status = Status(Bits.LEFT)
    twin, third = copy.copy(status), copy.deepcopy(status)
    sleeper = Task(lambda: status.wait_for(Bits.RIGHT, timeout=PATIENCE))
    until_asleep(status)
    twin.close()
    assert sleeper.is_running(0.01)
    third.set(Bits.RIGHT)
    assert sleeper.result() is Bits.RIGHT


@pytest.mark.parametrize(
    "make", [lambda: object.__new__(Status), lambda: closed(Status(Bits.LEFT))]
)
def test_closed_or_uninitialised(make: Callable[[], Status]) -> None:
    """Waiting on a closed value, or one whose __init__ never ran, is a ValueError."""
    status = make()
    for wait in WAITS.values():
        for timeout in (None, 0, 1):
            with pytest.raises(ValueError, match="closed"):
                wait(status, timeout=timeout)
    with pytest.raises(ValueError, match="closed"):
        next(status.changes())


class Closing:
    """A timeout that closes a value as it is looked at."""

    def __init__(self, value: Status) -> None:
        self.value = value

    def __float__(self) -> float:
        self.value.close()
        return 1.0


def test_closed_by_an_argument() -> None:
    """A value that its wait's own timeout closes is closed."""
    for member in (Bits.LEFT, Bits.RIGHT):
        status = Status(member)
        timeout: Any = Closing(status)
        with pytest.raises(ValueError, match="closed"):
            status.wait_for(Bits.RIGHT, timeout=timeout)


class ClosingLock:
    """A lock that closes a value when it is asked who holds it."""

    value: Status

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass

    def _is_owned(self) -> bool:
        self.value.close()
        return False


def test_closed_by_the_lock() -> None:
    """A value that its own lock closes, asked for its holder, is closed."""
    lock = ClosingLock()
    lock.value = status = Status(Bits.LEFT, lock=lock)
    with pytest.raises(ValueError, match="closed"):
        status.wait_for(Bits.RIGHT, timeout=PATIENCE)


class WritingLock(ClosingLock):
    """A lock that writes a value when it is asked who holds it."""

    def _is_owned(self) -> bool:
        self.value.set(Bits.RIGHT)
        return False


def test_met_after_the_first_look() -> None:
    """A state that comes between the first look and the sleep is returned."""
    lock = WritingLock()
    lock.value = status = Status(Bits.LEFT, lock=lock)
    assert status.wait_for(Bits.RIGHT, timeout=0) is Bits.RIGHT


class Failing(ClosingLock):
    """A lock that cannot be asked."""

    def _is_owned(self) -> bool:
        raise ZeroDivisionError


def test_lock_that_raises() -> None:
    """What the lock raises, asked for its holder, is raised."""
    status = Status(Bits.LEFT, lock=Failing())
    with pytest.raises(ZeroDivisionError):
        status.wait_for(Bits.RIGHT, timeout=PATIENCE)


# -- signals


def wait_for_ctrl_c(pipe: Connection, status: Status) -> None:
    """Wait for ever, and tell when Ctrl-C came through."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # some shells ignore it
    pipe.send("ready")
    try:
        status.wait_for(Bits.RIGHT)
    except KeyboardInterrupt:
        pipe.send(time.monotonic())


def test_ctrl_c_ends_a_wait() -> None:
    """KeyboardInterrupt comes through at once, and the value is none the worse."""
    status = Status(Bits.LEFT)

    def attempt() -> float:
        status.set(Bits.LEFT)
        with child(wait_for_ctrl_c, status) as sleeper:
            sleeper.says()
            until_asleep(status, sleeper)
            sent = time.monotonic()
            os.kill(sleeper.pid, signal.SIGINT)
            return float(sleeper.says() - sent)

    assert quickest(attempt) < PROMPT
    assert delay_of_thread(status, WAITS["wait_for"], WRITES["set"]) < SLACK


def wait_with_handler(
    pipe: Connection, status: Status, handler: Callable[[], object], timeout: float | None
) -> None:
    """Wait with a handler of SIGUSR1 that tells when it ran; tell how the wait ended."""

    def handle(*_: object) -> None:
        pipe.send(time.monotonic())
        handler()

    signal.signal(signal.SIGUSR1, handle)
    pipe.send("ready")
    begin = time.monotonic()
    try:
        outcome: object = status.wait_for(Bits.RIGHT, timeout=timeout)
    except Exception as error:  # noqa: BLE001 - told to the test
        outcome = type(error)
    pipe.send((outcome, time.monotonic() - begin))


@pytest.mark.slow
def test_signals_do_not_stretch_a_timeout() -> None:
    """Handlers run at once, and the wait goes on for the time that is left, five times over."""
    status = Status(Bits.LEFT)
    timeout = 0.8
    with child(wait_with_handler, status, lambda: None, timeout) as sleeper:
        sleeper.says()
        delays = []
        for n in range(5):
            until_asleep(status, sleeper)
            assert sleeper.is_silent(0.05), n
            sent = time.monotonic()
            os.kill(sleeper.pid, signal.SIGUSR1)
            delays.append(sleeper.says() - sent)
        outcome, elapsed = sleeper.says()
    assert outcome is TimeoutError
    assert timeout - 1e-6 <= elapsed < timeout + SLACK
    assert min(delays) < PROMPT
    assert sorted(delays)[2] < PROMPT * 2


def test_handler_that_raises_ends_a_wait() -> None:
    """What a signal handler raises ends the wait, at once."""
    status = Status(Bits.LEFT)

    def attempt() -> float:
        status.set(Bits.LEFT)
        with child(wait_with_handler, status, [].pop, None) as sleeper:
            sleeper.says()
            until_asleep(status, sleeper)
            sent = time.monotonic()
            os.kill(sleeper.pid, signal.SIGUSR1)
            sleeper.says()
            outcome, _ = sleeper.says()
            assert outcome is IndexError
            return time.monotonic() - sent

    assert quickest(attempt) < PROMPT


@pytest.mark.parametrize(
    ("act", "expected"),
    [(set_value, Bits.RIGHT), (lambda value: value.close(), ValueError)],
    ids=["writes", "closes"],
)
def test_handler_that_acts_on_the_value(act: Callable[[Status], object], expected: object) -> None:
    """A signal handler may write the awaited value, or close it."""
    status = Status(Bits.LEFT)
    with child(wait_with_handler, status, lambda: act(status), PATIENCE) as sleeper:
        sleeper.says()
        until_asleep(status, sleeper)
        os.kill(sleeper.pid, signal.SIGUSR1)
        sleeper.says()
        assert sleeper.says()[0] is expected


# -- threads, forks, exit


def test_other_threads_run_meanwhile() -> None:
    """While one thread waits the others run."""
    status = Status(Bits.LEFT)
    sleeper = Task(lambda: status.wait_for(Bits.RIGHT, timeout=PATIENCE))
    until_asleep(status)
    others = [Task(lambda: sum(range(10_000))) for _ in range(8)]
    assert {other.result() for other in others} == {49_995_000}
    assert sleeper.is_running(0)
    status.set(Bits.RIGHT)
    assert sleeper.result() is Bits.RIGHT


@pytest.mark.slow
def test_daemon_thread_may_wait_at_exit(tmp_path: Path) -> None:
    """The interpreter ends at once, and in silence, while daemon threads wait."""
    done = run_script(
        """
        import sys, threading
        from helpers.crew import Bits, Status
        from helpers.waits import until_asleep

        status = Status(Bits.LEFT)
        for wait in (lambda: status.wait_for(Bits.RIGHT), lambda: list(status.changes())):
            threading.Thread(target=wait, daemon=True).start()
        until_asleep(status)
        """,
        folder=tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_fork_while_a_thread_waits() -> None:
    """A fork under a waiting thread: the child works, and its write wakes the parent's thread."""
    status = Status(Bits.LEFT)
    sleeper = Task(lambda: status.wait_for(Bits.RIGHT, timeout=PATIENCE))
    until_asleep(status)

    def in_child() -> bool:
        try:
            status.wait_for(Bits.RIGHT, timeout=0.01)
        except TimeoutError:
            other = Task(lambda: status.wait_for(Bits.RIGHT, timeout=PATIENCE))
            status.set(Bits.RIGHT)
            return other.result() is Bits.RIGHT
        return False

    assert exit_of(in_child) == 0
    assert sleeper.result() is Bits.RIGHT


def test_dropped_elsewhere() -> None:
    """A value whose other references are all gone is still waited on, here and in a child."""
    status = Status(Bits.LEFT)
    segment = status._atomic_segment  # to look at the word when the value is gone
    offset = segment.word_offset(status._atomic_index)
    sleeper = Task(functools.partial(status.wait_for, Bits.RIGHT, timeout=0.3))
    until_asleep(status)
    with child(wait_and_tell, status, 0.3) as peer:
        peer.says()
        del status
        gc.collect()
        with segment.mapping.view() as view:
            assert view[offset : offset + 4] == int(Bits.LEFT).to_bytes(4, sys.byteorder)
        with pytest.raises(TimeoutError):
            sleeper.result()
        assert peer.says()[0] is TimeoutError


def test_twins() -> None:
    """Copies are the same value: a wait on one ends by a write through another."""
    status = Status(Bits.LEFT)
    twins = [copy.copy(status), copy.deepcopy(status)]
    if ATOMIC:
        twins.append(pickle.loads(pickle.dumps(status)))
    for twin in twins:
        status.set(Bits.LEFT)
        sleeper = Task(lambda t=twin: t.wait_for(Bits.RIGHT, timeout=PATIENCE))  # type: ignore[misc]
        until_asleep(status)
        status.set(Bits.RIGHT)
        assert sleeper.result() is Bits.RIGHT


ATTACH = """
import sys
from helpers.crew import Bits, Status
status = Status.attach(sys.argv[1])
print("attached", flush=True)
for member in status.changes(timeout=20):
    print(member.name, flush=True)
    if member is Bits.RIGHT:
        break
print(status.wait_while(Bits.RIGHT, timeout=20).name, flush=True)
"""


@pytest.mark.only_on("native", "cffi")
def test_attached_by_name() -> None:
    """A process that nobody spawned attaches by name, sleeps, and is woken."""
    status = Status(Bits.LEFT, segment_name=f"wait-{os.getpid()}")
    with subprocess.Popen(
        [sys.executable, "-c", ATTACH, status.segment_name.removeprefix("intenum-")],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "attached\n"
            assert process.stdout.readline() == "LEFT\n"
            until_asleep(status)
            status.set(Bits.RIGHT)
            assert process.stdout.readline() == "RIGHT\n"
            until_asleep(status)
            status.set(Bits.IDLE)
            assert process.stdout.readline() == "IDLE\n"
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


# -- what it costs


@pytest.mark.slow
@pytest.mark.parametrize("what", SLEEPS)
def test_a_second_asleep_costs_little(what: str) -> None:
    """A waiter falls asleep a few times a second, by polling too, and is not busy in between."""
    naps, cost = second_asleep(what)
    assert 0 < naps < MOST_NAPS
    assert cost < BUSY
