"""CPython's own tests of a re-entrant lock and of a condition, run on a value's lock."""

from __future__ import annotations

import threading
import unittest
from typing import TYPE_CHECKING, Any

import pytest

from helpers.crew import Bits, Status

if TYPE_CHECKING:
    from types import ModuleType

pytestmark = pytest.mark.only_on("native", "cffi")

#: What multiprocessing.RLock fails too: its repr, and that a negative timeout is refused.
NOT_OURS = {"test_repr", "test_locked_repr", "test_timeout"}


def make_lock() -> Any:
    """Return the lock of a value that is gone already: it keeps its memory."""
    return Status(Bits.LEFT).get_lock()


def make_condition(lock: Any = None) -> threading.Condition:
    """Return a condition over a value's lock, as threading.Condition is made."""
    return threading.Condition(make_lock() if lock is None else lock)


@pytest.fixture
def lock_tests() -> ModuleType:
    """The module of CPython's test suite, which not every system installs."""
    module: ModuleType = pytest.importorskip("test.lock_tests")
    return module


def failures_of(cases: type[unittest.TestCase], **attributes: Any) -> set[str]:
    """Run the cases, which must be some, and return the names of those that failed."""
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(type("Ours", (cases,), attributes))
    result = unittest.TestResult()
    suite.run(result)
    assert result.testsRun >= 5
    return {case.id().rpartition(".")[2] for case, _ in result.failures + result.errors}


def test_rlock(lock_tests: ModuleType) -> None:
    """The lock passes what CPython asks of threading.RLock, as far as multiprocessing's does."""
    assert failures_of(lock_tests.RLockTests, locktype=staticmethod(make_lock)) <= NOT_OURS


def test_condition(lock_tests: ModuleType) -> None:
    """threading.Condition over the lock passes what CPython asks of one over threading.RLock."""
    assert not failures_of(lock_tests.ConditionTests, condtype=staticmethod(make_condition))
