"""Waiting for a status: wait_for, wait_while, changes, clause by clause of the contract."""

from __future__ import annotations

import multiprocessing
import os
import signal
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
    make_enum,
    until,
    word_of,
    write_word,
)
from helpers.waits import (
    LOOK_AGAIN,
    PROMPT,
    SLACK,
    WAITS,
    by_each_wait,
    delay_of_thread,
    quickest,
    until_asleep,
    wait_and_tell,
)
from helpers.writes import WRITES, by_each_write

if TYPE_CHECKING:
    from collections.abc import Callable


ATOMIC = atomic_intenum.BACKEND != "lock"

Many: Any = make_enum("Many", {f"M{i}": i - 20 for i in range(60)}, module=__name__)


class ManyStatus(IntEnumValue[Any]):
    """Has more members than a wait keeps on the C stack."""


class Whispering(IntEnumValue[Bits]):
    """Takes names in small letters."""

    def to_value(self, name: str) -> int:
        return super().to_value(name.upper())


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
        with pytest.raises(TimeoutError, match=r"still .* after 0 s$"):
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
        with pytest.raises(TimeoutError, match=f"still .* after {timeout} s$"):
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
    write_word(status, Bits.LEFT, version=2**19 - 1)
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
