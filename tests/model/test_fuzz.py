"""Values against a plain model, random calls, and corrupt headers."""

from __future__ import annotations

import copy
import os
import pickle
import random
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from atomic_intenum import BACKEND, IntEnumValue
from helpers.support import HELPERS, WorkerStatus, WorkerStatusEnum, environment, soaked

MEMBERS = list(WorkerStatusEnum)
NAMED = BACKEND != "lock"

members = st.sampled_from(MEMBERS)
writable = st.one_of(members, members.map(lambda member: member.name))
numbers = st.integers(0, 2)


#: Of values of the lock-based path.  What hypothesis refers to ends wherever garbage collection
#: happens to run, and a semaphore that ends in multiprocessing's resource tracker warns.
semaphores: list[Any] = []


def member_of(given: Any) -> WorkerStatusEnum:
    """Return the member that was meant."""
    return WorkerStatusEnum[given] if isinstance(given, str) else given


class Model:
    """What a shared value should be: a member, a count of writes, the depth of its lock."""

    def __init__(self, member: WorkerStatusEnum, name: str | None) -> None:
        self.member = member
        self.version = 0
        self.depth = 0
        self.name = name
        self.removed = name is None

    def write(self, member: WorkerStatusEnum) -> None:
        """Count a write."""
        self.member = member
        self.version += 1


class Machine(RuleBasedStateMachine):
    """Objects for values, beside what each should be."""

    objects: Bundle[Any] = Bundle("objects")
    pickles: Bundle[Any] = Bundle("pickles")

    def __init__(self) -> None:
        super().__init__()
        self.known: list[tuple[Any, Model]] = []
        self.taken: dict[str, Model] = {}

    def keep(self, value: Any, model: Model) -> tuple[Any, Model]:
        """Note an object."""
        self.known.append((value, model))
        return value, model

    @rule(target=objects, member=writable, bound=st.booleans())
    def create(self, member: Any, bound: bool) -> Any:
        """Make a value."""
        cls: Any = WorkerStatus if bound else IntEnumValue[WorkerStatusEnum]
        value = cls(member)
        if not NAMED:
            semaphores.append(value.get_lock())
        return self.keep(value, Model(member_of(member), None))

    @precondition(lambda _: NAMED)
    @rule(target=objects, member=writable, number=numbers)
    def create_named(self, member: Any, number: int) -> Any:
        """Make a value of a name; if it is taken, that is said."""
        name = f"model{os.getpid()}-{number}"
        if name in self.taken:
            with pytest.raises(FileExistsError):
                WorkerStatus(member, segment_name=name)
            return self.keep(WorkerStatus.attach(name), self.taken[name])
        model = Model(member_of(member), name)
        self.taken[name] = model
        return self.keep(WorkerStatus(member, segment_name=name), model)

    @precondition(lambda self: NAMED and self.taken)
    @rule(target=objects, data=st.data())
    def attach(self, data: Any) -> Any:
        """Attach a name."""
        name = data.draw(st.sampled_from(sorted(self.taken)))
        return self.keep(WorkerStatus.attach(name), self.taken[name])

    @rule(it=objects)
    def unlink(self, it: Any) -> None:
        """Remove a name, or be told that there is none."""
        value, model = it
        if model.name is None:
            with pytest.raises(ValueError, match="segment of its own"):
                value.unlink()
            return
        value.unlink()
        if not model.removed:
            model.removed = True
            del self.taken[model.name]
        if model.name not in self.taken:
            with pytest.raises(FileNotFoundError):
                WorkerStatus.attach(model.name)

    @rule(it=objects, member=writable, way=st.sampled_from(["set", "value", "update"]))
    def write(self, it: Any, member: Any, way: str) -> None:
        """Write, one way or another."""
        value, model = it
        if way == "set":
            value.set(member)
        elif way == "value":
            value.value = member
        else:
            assert value.update(lambda _: member) is member_of(member)
        model.write(member_of(member))

    @rule(it=objects, member=writable)
    def exchange(self, it: Any, member: Any) -> None:
        """Exchange."""
        value, model = it
        assert value.exchange(member) is model.member
        model.write(member_of(member))

    @rule(it=objects, old=writable, new=writable)
    def compare_and_set(self, it: Any, old: Any, new: Any) -> None:
        """Compare and set."""
        value, model = it
        matches = model.member is member_of(old)
        assert value.compare_and_set(old, new) is matches
        if matches:
            model.write(member_of(new))

    @rule(it=objects, other=objects)
    def compare(self, it: Any, other: Any) -> None:
        """Compare two values."""
        (left, left_model), (right, right_model) = it, other
        assert (left == right) == (left_model.member == right_model.member)
        assert (left < right) == (left_model.member < right_model.member)

    @rule(it=objects, wrong=st.sampled_from([None, 2, "NOBODY", 1.5, b"IDLE"]))
    def write_wrong(self, it: Any, wrong: Any) -> None:
        """Write what is no member: nothing happens."""
        with pytest.raises((TypeError, KeyError)):
            it[0].set(wrong)

    @rule(target=objects, it=objects, deep=st.booleans())
    def duplicate(self, it: Any, deep: bool) -> Any:
        """Copy: the same value."""
        return self.keep((copy.deepcopy if deep else copy.copy)(it[0]), it[1])

    @rule(target=pickles, it=objects)
    def dump(self, it: Any) -> Any:
        """Pickle; on the lock-based path that is refused."""
        if NAMED:
            return it[0], pickle.dumps(it[0]), it[1]
        with pytest.raises(RuntimeError, match="inheritance"):
            pickle.dumps(it[0])
        return it[0], b"", it[1]

    @precondition(lambda _: NAMED)
    @rule(target=objects, it=pickles)
    def load(self, it: Any) -> Any:
        """Unpickle while the value lives: the same value."""
        return self.keep(pickle.loads(it[1]), it[2])

    @rule(it=objects)
    def acquire(self, it: Any) -> None:
        """Acquire the lock, which is re-entrant, by any object for the value."""
        if it[0].get_lock().acquire(block=False):
            it[1].depth += 1
        else:
            raise AssertionError

    @rule(it=objects)
    def release(self, it: Any) -> None:
        """Release the lock, if it is held."""
        if it[1].depth:
            it[0].get_lock().release()
            it[1].depth -= 1
        else:
            with pytest.raises((RuntimeError, AssertionError)):
                it[0].get_lock().release()

    @rule(it=consumes(objects), twice=st.booleans())
    def close(self, it: Any, twice: bool) -> None:
        """Close one object: it alone is closed."""
        value, model = it
        twin = copy.copy(value)
        value.close()
        if twice:
            value.close()
        for use in (value.load, lambda: value.set("IDLE"), value.get_lock, value.unlink):
            with pytest.raises(ValueError, match="closed"):
                use()
        self.known = [(known, held) for known, held in self.known if known is not value]
        self.known.append((twin, model))

    @invariant()
    def agrees(self) -> None:
        """Every object says what its model does."""
        for value, model in self.known:
            assert value.load() is model.member
            assert (value.value, value.name) == (model.member.value, model.member.name)
            assert value.version == model.version
            assert value == model.member

    def teardown(self) -> None:
        """Let go of locks and names."""
        for value, model in self.known:
            while model.depth:
                value.get_lock().release()
                model.depth -= 1
        for model in list(self.taken.values()):
            WorkerStatus.attach(str(model.name)).unlink()
        self.known.clear()
        self.taken.clear()


@pytest.mark.slow
@pytest.mark.scaled
def test_values_agree_with_a_model() -> None:
    """Whatever is done to values, in whatever order, they are what a plain model says."""
    run: Any = run_state_machine_as_test  # some versions have no types for it
    run(
        Machine,
        settings=settings(
            max_examples=soaked(20, 1000),
            stateful_step_count=soaked(20, 50),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def seed() -> str:
    """Return a new seed, or the one given to see a failure again."""
    return os.environ.get("ATOMIC_INTENUM_SEED") or str(random.SystemRandom().randrange(1, 2**32))


def fuzz(mode: str, count: int) -> dict[str, int]:
    """Run helpers/fuzz.py; return how often each outcome came."""
    arguments = [mode, str(count), seed()]
    done = subprocess.run(
        [sys.executable, "-W", "error", HELPERS / "fuzz.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert (done.returncode, done.stderr) == (0, ""), f"fuzz.py {' '.join(arguments)}"
    return {name: int(number) for number, name in re.findall(r"(\d+) (.*)", done.stdout)}


@pytest.mark.slow
@pytest.mark.scaled
def test_random_calls() -> None:
    """Calls of everything public with arguments of every kind: documented errors, no crash."""
    count = soaked(3000, 100_000)
    outcomes = fuzz("calls", count)
    assert sum(outcomes.values()) == count
    kinds = ["make", "method", "attribute", "operator", "duplicate", "lock", "classes", "array"]
    for kind in kinds:
        assert outcomes.get(f"{kind} done", 0) > 10, kind
    for error in ("TypeError", "ValueError", "KeyError"):
        found = sum(outcomes.get(f"{kind} {error}", 0) for kind in ("method", "array"))
        assert found > 0, error


@pytest.mark.slow
@pytest.mark.scaled
@pytest.mark.only_on("native", "cffi")
def test_corrupt_headers() -> None:
    """Segments with corrupt headers are attached or refused, and replaced or left: no crash."""
    count = soaked(120, 2000)
    outcomes = fuzz("headers", count)
    assert sum(outcomes.values()) == 2 * count
    assert outcomes["attach_and_use ValueError"] > 30
    assert outcomes["create_over done"] > 30
    assert outcomes["create_over FileExistsError"] > 1
