"""Waiting for a status: wait_for, wait_while, changes, clause by clause of the contract."""

from __future__ import annotations

import copy
import functools
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

import atomic_intenum
from atomic_intenum import IntEnumValue
from helpers.crew import PATIENCE, Bits, Status, Task, child, exit_of, hold
from helpers.support import (
    IDLE,
    JobEnum,
    environment,
    make_enum,
    run_script,
    until,
    word_of,
    write_word,
)
from helpers.waits import BUSY, MOST_NAPS, SLEEPS, second_asleep, until_asleep, wait_and_tell

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path


ATOMIC = atomic_intenum.BACKEND != "lock"

#: A sleeper looks again by itself after this, if nobody wakes it.
LOOK_AGAIN = 0.25

#: What a busy machine may add to a bound; and what no wake-up takes in the best of a few tries.
SLACK = 2.0
PROMPT = 0.1
TRIES = 3

Many: Any = make_enum("Many", {f"M{i}": i - 20 for i in range(60)}, module=__name__)


class ManyStatus(IntEnumValue[Any]):
    """Has more members than a wait keeps on the C stack."""


class Whispering(IntEnumValue[Bits]):
    """Takes names in small letters."""

    def to_value(self, name: str) -> int:
        return super().to_value(name.upper())


def set_value(value: Status) -> None:
    """Write through the property."""
    value.value = Bits.RIGHT


#: Each way to write RIGHT over LEFT.
WRITES: dict[str, Callable[[Status], object]] = {
    "set": lambda value: value.set(Bits.RIGHT),
    "exchange": lambda value: value.exchange(Bits.RIGHT),
    "compare_and_set": lambda value: value.compare_and_set(Bits.LEFT, Bits.RIGHT),
    "update": lambda value: value.update(lambda _: Bits.RIGHT),
    "value": set_value,
}

by_each_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)

#: Each wait that ends when LEFT is not the state any more, RIGHT is.
WAITS: dict[str, Callable[..., Bits]] = {
    "wait_for": lambda value, **keywords: value.wait_for(Bits.RIGHT, **keywords),
    "wait_while": lambda value, **keywords: value.wait_while(Bits.LEFT, **keywords),
}

by_each_wait = pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)


def quickest(attempt: Callable[[], float]) -> float:
    """Return the shortest of a few delays: a machine with two busy cores makes some longer."""
    best = attempt()
    for _ in range(TRIES - 1):
        if best >= PROMPT:
            best = min(best, attempt())
    return best


def delay_of_thread(
    value: Status, wait: Callable[..., Bits], write: Callable[[Status], object]
) -> float:
    """Return how long after a write a thread that slept goes on; the write is over by then."""
    value.set(Bits.LEFT)  # clears what an earlier sleeper left
    sleeper = Task(lambda: (wait(value, timeout=PATIENCE), time.monotonic()))
    until_asleep(value)
    write(value)
    written = time.monotonic()
    member, woken = sleeper.result()
    assert member is Bits.RIGHT
    return float(woken - written)


# -- what is met already, and what is not


@pytest.mark.parametrize(
    "timeout", [None, 0, 0.0, -0.0, 5, Fraction(1, 2), True, 1e300, float("inf")]
)
def test_met_already(timeout: Any) -> None:
    """What is the case already is returned at once, whatever the timeout."""
    status = Status(Bits.LEFT)
    before = time.monotonic()
    assert status.wait_for(Bits.LEFT, timeout=timeout) is Bits.LEFT
    assert status.wait_while(Bits.RIGHT, timeout=timeout) is Bits.LEFT
    assert time.monotonic() - before < SLACK
    assert word_of(status) == int(Bits.LEFT)  # nothing was written to the word


def test_members_and_names() -> None:
    """Members and names, one or several, mixed and twice: any of them ends the wait."""
    status = Status(Bits.LEFT)
    assert status.wait_for("LEFT") is Bits.LEFT
    assert status.wait_for(Bits.RIGHT, "LEFT") is Bits.LEFT
    assert status.wait_for("RIGHT", Bits.IDLE, Bits.LEFT, Bits.LEFT, timeout=0) is Bits.LEFT
    assert status.wait_while("RIGHT") is Bits.LEFT
    assert status.wait_while(Bits.RIGHT, "IDLE", Bits.RIGHT, timeout=0) is Bits.LEFT
    for member in Bits:
        status.set(member)
        assert status.wait_for(*Bits, timeout=0) is member
        assert status.wait_for(member, timeout=0) is member
        others = [other for other in Bits if other is not member]
        assert status.wait_while(*others, timeout=0) is member


def test_names_go_through_to_value() -> None:
    """A subclass's to_value() says what a name means to a wait, too."""
    whispering = Whispering("left")
    assert whispering.wait_for("left", timeout=0) is Bits.LEFT
    assert whispering.wait_while("right", timeout=0) is Bits.LEFT


@by_each_wait
def test_timeout_of_zero_looks_once(wait: Callable[..., Bits]) -> None:
    """A timeout of 0 is a look: TimeoutError, at once, and nobody is announced as a sleeper."""
    status = Status(Bits.LEFT)
    word = word_of(status)
    before = time.monotonic()
    for _ in range(100):
        with pytest.raises(TimeoutError, match="waited for 0 seconds"):
            wait(status, timeout=0)
    assert time.monotonic() - before < SLACK
    assert word_of(status) == word


@by_each_wait
@pytest.mark.parametrize("timeout", [0.001, LOOK_AGAIN + 0.1, Fraction(1, 50)])
def test_timeout_is_accurate(wait: Callable[..., Bits], timeout: Any) -> None:
    """A wait in vain is a TimeoutError, never early, and late by a bound that is honest."""
    status = Status(Bits.LEFT)
    wanted = int(timeout * 10**9)

    def attempt() -> float:
        before = time.monotonic_ns()
        with pytest.raises(TimeoutError, match=f"waited for {timeout} seconds"):
            wait(status, timeout=timeout)
        late = time.monotonic_ns() - before - wanted
        # The lock path adds the timeout to a float of the clock, which may round down.
        assert late >= (0 if ATOMIC else -1000)
        assert late < SLACK * 1e9
        return late / 1e9

    assert quickest(attempt) < PROMPT
    assert status.load() is Bits.LEFT
    assert status.version == 0


@by_each_wait
@pytest.mark.parametrize("timeout", [-1, -1e-9, -1e300, float("-inf"), Fraction(-1, 2)])
def test_negative_timeout_is_refused(wait: Callable[..., Bits], timeout: Any) -> None:
    """A negative timeout is a ValueError, also where nothing would be waited for."""
    for member in (Bits.LEFT, Bits.RIGHT):
        with pytest.raises(ValueError, match="negative"):
            wait(Status(member), timeout=timeout)


@by_each_wait
def test_nan_timeout_is_refused(wait: Callable[..., Bits]) -> None:
    """A timeout that is not a number is a ValueError."""
    for member in (Bits.LEFT, Bits.RIGHT):
        with pytest.raises(ValueError, match="NaN"):
            wait(Status(member), timeout=float("nan"))


@by_each_wait
@pytest.mark.parametrize("timeout", ["1", b"1", [1], 1j, object()])
def test_timeout_of_another_type_is_refused(wait: Callable[..., Bits], timeout: Any) -> None:
    """A timeout that is no real number is a TypeError."""
    with pytest.raises(TypeError):
        wait(Status(Bits.RIGHT), timeout=timeout)


@by_each_wait
@pytest.mark.parametrize("timeout", [None, 1e9, 2.0**63, 1e300, float("inf"), 10**18])
def test_long_timeouts(wait: Callable[..., Bits], timeout: float | None) -> None:
    """None, infinity and more than a lifetime wait until the state comes."""
    status = Status(Bits.LEFT)
    sleeper = Task(lambda: wait(status, timeout=timeout))
    until_asleep(status)
    assert sleeper.is_running(0.01)
    status.set(Bits.RIGHT)
    assert sleeper.result() is Bits.RIGHT


@pytest.mark.parametrize("method", ["wait_for", "wait_while"])
def test_wrong_arguments_are_refused(method: str) -> None:
    """An int, another enum's member or none at all is a TypeError, an unknown name a KeyError."""
    status = Status(Bits.LEFT)
    wait: Any = getattr(status, method)
    for wrong in (7, int(Bits.LEFT), IDLE, JobEnum.DONE, None, b"LEFT", 1.5, status, Bits):
        with pytest.raises(TypeError):
            wait(wrong, timeout=0)
        with pytest.raises(TypeError):
            wait(Bits.LEFT, wrong, timeout=0)
    for name in ("left", "", "NOTHING"):
        with pytest.raises(KeyError):
            wait(name, timeout=0)
        with pytest.raises(KeyError):
            wait(Bits.LEFT, Bits.RIGHT, name, timeout=0)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((), {}),
        ((), {"timeout": 0}),
        ((), {"member": Bits.LEFT}),
        ((Bits.LEFT,), {"members": (Bits.RIGHT,)}),
        ((Bits.LEFT,), {"patience": 0}),
        ((Bits.LEFT,), {"timeout": 0, "block": True}),
        ((Bits.LEFT, 0), {}),
    ]
    for arguments, keywords in calls:
        with pytest.raises(TypeError):
            wait(*arguments, **keywords)
    with pytest.raises(TypeError, match=r"Bits.*JobEnum|JobEnum.*Bits"):
        wait(JobEnum.DONE)
    assert status.version == 0


def test_more_members_than_the_stack_has_room_for() -> None:
    """A wait takes any number of members: 40, the last of which comes."""
    members = list(Many)
    status = ManyStatus(members[50])
    assert status.wait_for(*members[11:51], timeout=0) is members[50]
    with pytest.raises(TimeoutError):
        status.wait_for(*members[:40], timeout=0.01)
    with pytest.raises(TimeoutError):
        status.wait_while(*members[11:51], timeout=0.01)
    with pytest.raises(KeyError):
        status.wait_for(*members[:40], "NOTHING")
    sleeper = Task(lambda: status.wait_for(*members[:40], timeout=PATIENCE))
    until_asleep(status)
    status.set(members[39])
    assert sleeper.result() is members[39]
    sleeper = Task(lambda: status.wait_while(*members[:40], timeout=PATIENCE))
    status.set(members[0])  # still one of them
    until_asleep(status)
    status.set(members[59])
    assert sleeper.result() is members[59]


# -- what wakes


@by_each_write
@by_each_wait
def test_woken_by_each_write(wait: Callable[..., Bits], write: Callable[[Status], object]) -> None:
    """Every kind of write wakes a sleeping thread, which returns the member."""
    status = Status(Bits.LEFT)
    assert quickest(lambda: delay_of_thread(status, wait, write)) < PROMPT


@by_each_write
def test_woken_across_processes(write: Callable[[Status], object]) -> None:
    """Every kind of write wakes a process that sleeps."""
    status = Status(Bits.LEFT)

    def attempt() -> float:
        status.set(Bits.LEFT)
        with child(wait_and_tell, status) as sleeper:
            sleeper.says()
            until_asleep(status, sleeper)
            write(status)
            written = time.monotonic()
            outcome, woken = sleeper.says()
        assert outcome is Bits.RIGHT
        return float(woken - written)

    assert quickest(attempt) < PROMPT


def held_write(value: Status) -> None:
    """Write as the lock's holder."""
    with value.get_lock():
        value.set(Bits.RIGHT)


def held_write_deeper(value: Status) -> None:
    """Write as the lock's holder, two levels inside."""
    with value.get_lock(), value.get_lock():
        value.compare_and_set(Bits.LEFT, Bits.RIGHT)


@pytest.mark.parametrize("write", [held_write, held_write_deeper])
def test_woken_by_the_locks_holder(write: Callable[[Status], object]) -> None:
    """A write inside the lock wakes as any other."""
    status = Status(Bits.LEFT)
    assert quickest(lambda: delay_of_thread(status, WAITS["wait_for"], write)) < PROMPT


def test_woken_while_the_lock_is_still_held() -> None:
    """A write inside the lock wakes at once, not when the lock is given back."""
    status = Status(Bits.LEFT)
    sleeper = Task(lambda: status.wait_for(Bits.RIGHT, timeout=PATIENCE))
    until_asleep(status)
    with status.get_lock():
        status.set(Bits.RIGHT)
        assert sleeper.result() is Bits.RIGHT


@by_each_write
def test_woken_by_a_write_that_waited_for_the_lock(write: Callable[[Status], object]) -> None:
    """A write that had to wait for somebody's lock wakes when it happens."""
    status = Status(Bits.LEFT)

    def attempt() -> float:
        status.set(Bits.LEFT)
        with child(hold, status) as holder:
            holder.says()
            writer = Task(lambda: (write(status), time.monotonic()))
            assert writer.is_running(0.01)
            sleeper = Task(
                lambda: (status.wait_for(Bits.RIGHT, timeout=PATIENCE), time.monotonic())
            )
            until_asleep(status)
            assert sleeper.is_running(0.01)
            holder.tell()
            _, written = writer.result()
            member, woken = sleeper.result()
            assert member is Bits.RIGHT
            return float(woken - written)

    assert quickest(attempt) < PROMPT


LOCKS: dict[str, Callable[[], Any]] = {
    "multiprocessing.Lock": multiprocessing.Lock,
    "multiprocessing.RLock": multiprocessing.RLock,
    "threading.Lock": threading.Lock,
    "threading.RLock": threading.RLock,
    "another value's": lambda: Status(Bits.IDLE).get_lock(),
}

by_each_lock = pytest.mark.parametrize("make", LOCKS.values(), ids=LOCKS)


@by_each_lock
def test_woken_by_a_guarded_write(make: Callable[[], Any]) -> None:
    """A write of a value with a lock of its user's wakes as any other."""
    status = Status(Bits.LEFT, lock=make())
    for write in WRITES.values():
        assert quickest(lambda w=write: delay_of_thread(status, WAITS["wait_for"], w)) < PROMPT  # type: ignore[misc]


def test_woken_by_no_other_state() -> None:
    """Writes of other states, and locks taken and given back, do not end a wait."""
    status = Status(Bits.LEFT)
    sleeper = Task(lambda: status.wait_for(Bits.RIGHT, timeout=PATIENCE))
    for member in (Bits.IDLE, Bits.HIGHEST, Bits.LOWEST, Bits.LEFT):
        until_asleep(status)
        with status.get_lock():
            pass
        status.set(member)
    until_asleep(status)
    assert sleeper.is_running(0.01)
    status.set(Bits.RIGHT)
    assert sleeper.result() is Bits.RIGHT


def test_one_write_wakes_all() -> None:
    """One write wakes all who sleep on the value, whatever they wait for."""
    status = Status(Bits.LEFT)
    sleepers = [Task(lambda w=wait: w(status)) for wait in [*WAITS.values()] * 4]  # type: ignore[misc]
    until_asleep(status)
    status.set(Bits.RIGHT)
    assert [sleeper.result() for sleeper in sleepers] == [Bits.RIGHT] * 8


def test_state_that_comes_and_goes_is_missed_but_counted() -> None:
    """A state that came and went before the sleeper looked is missed; the version tells."""
    status = Status(Bits.LEFT)
    with child(wait_and_tell, status) as sleeper:
        sleeper.says()
        until_asleep(status, sleeper)
        os.kill(sleeper.pid, signal.SIGSTOP)
        version = status.version
        status.set(Bits.RIGHT)
        status.set(Bits.LEFT)
        os.kill(sleeper.pid, signal.SIGCONT)
        assert sleeper.is_silent()
        assert status.version == version + 2
        status.set(Bits.RIGHT)
        assert sleeper.says()[0] is Bits.RIGHT


def test_state_that_came_in_time_is_no_timeout() -> None:
    """A state that is there when a late sleeper looks is returned, though the time is over."""
    status = Status(Bits.LEFT)
    with child(wait_and_tell, status, 0.2) as sleeper:
        sleeper.says()
        until_asleep(status, sleeper)
        started = time.monotonic()
        os.kill(sleeper.pid, signal.SIGSTOP)
        status.set(Bits.RIGHT)
        until(lambda: time.monotonic() > started + 0.25, "the timeout")
        os.kill(sleeper.pid, signal.SIGCONT)
        assert sleeper.says()[0] is Bits.RIGHT


def test_write_that_wakes_nobody_is_seen() -> None:
    """A change whose writer did not wake the sleeper is seen within 250 ms."""
    status = Status(Bits.LEFT)
    sleeper = Task(lambda: (status.wait_for(Bits.RIGHT, timeout=PATIENCE), time.monotonic()))
    until_asleep(status)
    before = time.monotonic()
    write_word(status, Bits.RIGHT, version=1)
    member, woken = sleeper.result()
    assert member is Bits.RIGHT
    assert woken - before < LOOK_AGAIN + SLACK


def test_foreign_number_in_the_word() -> None:
    """A number that is no member's meets no wait_for, and ends a wait_while with a ValueError."""
    status = Status(Bits.LEFT)
    write_word(status, 77)
    with pytest.raises(TimeoutError):
        status.wait_for(*Bits, timeout=0.01)
    with pytest.raises(ValueError, match="77"):
        status.wait_while(Bits.LEFT, timeout=0)
    with pytest.raises(ValueError, match="77"):
        next(status.changes(timeout=0))
    sleeper = Task(lambda: status.wait_for(Bits.RIGHT, timeout=PATIENCE))
    until_asleep(status)
    status.set(Bits.RIGHT)
    assert sleeper.result() is Bits.RIGHT
    sleeper = Task(lambda: status.wait_while(Bits.RIGHT, timeout=PATIENCE))
    until_asleep(status)
    write_word(status, -78, version=5)
    with pytest.raises(ValueError, match="-78"):
        sleeper.result()


@pytest.mark.only_on("native", "cffi")
def test_version_may_wrap_under_a_sleeper() -> None:
    """A sleeper is woken by the write after which the version starts anew."""
    status = Status(Bits.LEFT)
    write_word(status, Bits.LEFT, version=2**30 - 1)
    sleeper = Task(lambda: status.wait_for(Bits.RIGHT, timeout=PATIENCE))
    until_asleep(status)
    status.set(Bits.RIGHT)
    assert sleeper.result() is Bits.RIGHT
    assert word_of(status) == int(Bits.RIGHT) & 0xFFFF_FFFF


# -- the value's lock


def test_refused_while_holding_the_lock() -> None:
    """Waiting while this thread holds the value's lock is a RuntimeError, unless it is met."""
    status = Status(Bits.LEFT)
    lock = status.get_lock()
    with lock, lock:
        for timeout in (None, 0, 1e-9, 5):
            for wait in WAITS.values():
                with pytest.raises(RuntimeError, match="holding the value's lock"):
                    wait(status, timeout=timeout)
        assert status.wait_for(Bits.LEFT) is Bits.LEFT
        assert status.wait_while(Bits.RIGHT) is Bits.LEFT
        changes = status.changes()
        assert next(changes) is Bits.LEFT
        with pytest.raises(RuntimeError, match="holding the value's lock"):
            next(changes)
    with pytest.raises(TimeoutError):
        status.wait_for(Bits.RIGHT, timeout=0.01)


@pytest.mark.parametrize("name", [name for name in LOCKS if name != "threading.Lock"])
def test_refused_while_holding_a_given_lock(name: str) -> None:
    """The same for a lock that was given, if it can tell who holds it."""
    status = Status(Bits.LEFT, lock=LOCKS[name]())
    with status.get_lock():
        with pytest.raises(RuntimeError, match="holding the value's lock"):
            status.wait_for(Bits.RIGHT, timeout=PATIENCE)
        assert status.wait_for(Bits.LEFT) is Bits.LEFT
    with pytest.raises(TimeoutError):
        status.wait_for(Bits.RIGHT, timeout=0.01)


def test_lock_that_cannot_tell_its_holder() -> None:
    """A threading.Lock does not know who holds it: the wait runs into its timeout."""
    status = Status(Bits.LEFT, lock=threading.Lock())
    with status.get_lock(), pytest.raises(TimeoutError):
        status.wait_for(Bits.RIGHT, timeout=0.01)


def test_another_values_lock_does_not_matter() -> None:
    """Who holds another value's lock may wait."""
    status, other = Status(Bits.LEFT), Status(Bits.LEFT)
    with other.get_lock(), pytest.raises(TimeoutError):
        status.wait_for(Bits.RIGHT, timeout=0.01)


def test_somebody_elses_lock_does_not_matter() -> None:
    """While another process or thread holds the lock, a wait is a wait."""
    status = Status(Bits.LEFT)
    with child(hold, status) as holder:
        holder.says()
        with pytest.raises(TimeoutError):
            status.wait_for(Bits.RIGHT, timeout=0.01)
        holder.tell()
    with status.get_lock():
        sleeper = Task(lambda: status.wait_for(Bits.RIGHT, timeout=PATIENCE))
        until_asleep(status)
        status.set(Bits.RIGHT)
        assert sleeper.result() is Bits.RIGHT


def test_forks_child_does_not_hold_its_parents_lock() -> None:
    """A child of os.fork may wait for what its parent changes inside the lock."""
    status = Status(Bits.LEFT)

    def times_out() -> bool:
        try:
            status.wait_for(Bits.RIGHT, timeout=0.01)
        except TimeoutError:
            return True
        return False

    with status.get_lock():
        assert exit_of(times_out) == 0


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


def closed(value: Status) -> Status:
    """Return the value, closed."""
    value.close()
    return value


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


# -- changes


def test_changes_begins_with_the_current_member() -> None:
    """The first is the member of that moment, without a wait, and reading goes on from there."""
    status = Status(Bits.LEFT)
    changes = status.changes(timeout=0)
    status.set(Bits.RIGHT)  # before the first is asked for
    assert next(changes) is Bits.RIGHT
    status.set(Bits.IDLE)
    assert next(changes) is Bits.IDLE
    with pytest.raises(TimeoutError):
        next(changes)


def test_changes_yields_what_differs_from_the_last() -> None:
    """Each member that differs from the last one yielded, and no write of the same one."""
    status = Status(Bits.LEFT)
    changes = status.changes(timeout=0)
    assert next(changes) is Bits.LEFT
    for member in (Bits.RIGHT, Bits.IDLE, Bits.RIGHT, Bits.LEFT, Bits.HIGHEST):
        status.set(member)
        status.set(member)
        assert next(changes) is member
    status.set(Bits.HIGHEST)
    with pytest.raises(TimeoutError):
        next(changes)
    # There and back between two looks: missed, and the version tells.
    changes = status.changes(timeout=0)
    assert next(changes) is Bits.HIGHEST
    version = status.version
    status.set(Bits.LEFT)
    status.set(Bits.HIGHEST)
    with pytest.raises(TimeoutError):
        next(changes)
    assert status.version == version + 2


def test_changes_waits() -> None:
    """A thread that follows the changes sees each in turn, if the writer lets it."""
    status = Status(Bits.IDLE)
    seen: list[Bits] = []

    def follow() -> None:
        for member in status.changes(timeout=PATIENCE):
            seen.append(member)
            if member is Bits.HIGHEST:
                return

    def saw(count: int) -> Callable[[], bool]:
        return lambda: len(seen) >= count

    follower = Task(follow)
    members = [Bits.IDLE, Bits.LEFT, Bits.RIGHT, Bits.LEFT, Bits.LOWEST, Bits.HIGHEST]
    for count, member in enumerate(members, 1):
        status.set(member)
        until(saw(count), "the change")
    follower.result()
    assert seen == members


def test_changes_bounds_each_wait() -> None:
    """The timeout is each wait's, counted anew from each change; then it is a TimeoutError."""
    status = Status(Bits.LEFT)
    changes = status.changes(timeout=0.2)
    begin = time.monotonic()
    assert next(changes) is Bits.LEFT
    for member in (Bits.RIGHT, Bits.LEFT, Bits.RIGHT):
        writer = threading.Timer(0.1, status.set, (member,))
        writer.start()
        try:
            assert next(changes) is member
        finally:
            writer.join()
    assert time.monotonic() - begin >= 0.3
    last = time.monotonic()
    with pytest.raises(TimeoutError, match=r"^changes\(\) waited for 0\.2 seconds in vain$"):
        next(changes)
    assert 0.2 - 1e-6 <= time.monotonic() - last < 0.2 + SLACK
    assert next(changes, None) is None  # over


def test_changes_can_be_closed() -> None:
    """The iterator is a generator: it can be closed, and leaves nothing behind."""
    status = Status(Bits.LEFT)
    changes: Any = status.changes()
    assert next(changes) is Bits.LEFT
    changes.close()
    assert next(changes, None) is None
    assert word_of(status) == int(Bits.LEFT)


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (-1, ValueError),
        (-1e-9, ValueError),
        (float("-inf"), ValueError),
        (float("nan"), ValueError),
        ("1", TypeError),
        (object(), TypeError),
    ],
)
def test_changes_refuses_wrong_timeouts(timeout: Any, error: type[Exception]) -> None:
    """A wrong timeout is refused by the call itself, with what wait_while() raises."""
    status = Status(Bits.LEFT)
    with pytest.raises(error):
        status.wait_while(Bits.RIGHT, timeout=timeout)
    with pytest.raises(error):
        status.changes(timeout=timeout)


# -- what it costs


@pytest.mark.parametrize("what", SLEEPS)
def test_a_second_asleep_costs_little(what: str) -> None:
    """A waiter falls asleep a few times a second, by polling too, and is not busy in between."""
    naps, cost = second_asleep(what)
    assert 0 < naps < MOST_NAPS
    assert cost < BUSY
