"""Each operation beside its floor and its rivals, for pytest-benchmark: a group for each operation.

    pytest benchmarks --benchmark-only

The figures are per operation: the loop is inside what is timed, and the timer divides by its
length. One contender is measured after the other, so read the tables for the sizes; ``bars.py``
alternates and gives ratios to rely on.
"""

from __future__ import annotations

from contextlib import ExitStack
from time import perf_counter
from typing import TYPE_CHECKING

import pytest
from operations import CANNOT, OPERATIONS, Contender, names_of
from timing import Loop, no_collection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_benchmark.fixture import BenchmarkFixture

SECONDS = 0.002
ROUNDS = 100


class _PerOperation:
    """The clock, in units of one operation each: what lasts a second for 1,000 takes 1 ms."""

    __name__ = "perf_counter per operation"

    def __init__(self) -> None:
        self.operations = 1

    def __call__(self) -> float:
        return perf_counter() / self.operations


_timer = _PerOperation()

pytestmark = pytest.mark.benchmark(timer=_timer)


def _cases() -> Iterator[object]:
    for operation, contenders in OPERATIONS.items():
        left_out = [contender for name, contender in CANNOT if name == operation]
        for contender in [*contenders, *(each for each in left_out if each not in contenders)]:
            reason = CANNOT.get((operation, contender)) or contender.absence
            marks = [pytest.mark.skip(reason=reason)] if reason else []
            name = f"{operation}: {contender.label}"
            yield pytest.param(operation, contender, id=name, marks=marks)


@pytest.mark.parametrize(("operation", "contender"), list(_cases()))
def test_operation(benchmark: BenchmarkFixture, operation: str, contender: Contender) -> None:
    """One contender's way to do one operation."""
    statement = OPERATIONS[operation][contender]
    benchmark.group = operation
    benchmark.name = contender.label
    with ExitStack() as stack:
        loop = Loop(statement, names_of(contender, stack), SECONDS)
        benchmark.extra_info.update(statement=statement.text, operations=loop.operations)
        _timer.operations = loop.operations
        try:
            with no_collection():
                benchmark.pedantic(loop.run, setup=loop.prepare, rounds=ROUNDS, warmup_rounds=2)
        finally:
            _timer.operations = 1
            loop.prepare()  # drops what the creation kept
