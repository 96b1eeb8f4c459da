"""Each operation beside its floor and its rivals, for pytest-benchmark: a group for each operation.

    pytest benchmarks [-k "compare_and_set"]

The contenders of an operation take turns, in the opposite order each time, so that a slow moment of
the machine hits all of them; a test is one turn of one contender, and its figures are those of a
loop of `operations`.  run.py has several interpreters do it, for BENCH_TURNS turns each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, partial

import pytest
from operations import Contender, Loop, chosen, loop_of
from pytest_benchmark.fixture import BenchmarkFixture

TURNS = int(os.environ.get("BENCH_TURNS", "1"))
#: Loops in a turn, and those before the first turn, which are not counted.
ROUNDS, WARM_UP = 5, 3


def _cases() -> Iterator[object]:
    for operation, contenders in chosen().items():
        for turn in range(TURNS):
            for who in reversed(contenders) if turn % 2 else contenders:
                marks = [pytest.mark.skip(reason=who.absence)] if who.absence else []
                name = f"{operation}: {who.label}" + (f": turn {turn}" if turn else "")
                yield pytest.param(operation, who, turn, id=name, marks=marks)


@pytest.fixture(scope="module")
def loop_for() -> Iterator[Callable[[str, Contender], Loop]]:
    """Yield what makes a contender's loop when it is first asked for."""
    with ExitStack() as stack:
        yield cache(partial(loop_of, stack))


@pytest.mark.parametrize(("operation", "who", "turn"), list(_cases()))
def test_operation(
    benchmark: BenchmarkFixture,
    loop_for: Callable[[str, Contender], Loop],
    operation: str,
    who: Contender,
    turn: int,
) -> None:
    """One contender's way to do one operation, for one turn."""
    loop = loop_for(operation, who)
    benchmark.group = f"{operation}, turn {turn}"
    benchmark.extra_info.update(operation=operation, who=who.label, operations=loop.operations)
    warm_up = 0 if turn else WARM_UP
    benchmark.pedantic(loop.run, setup=loop.prepare, rounds=ROUNDS, warmup_rounds=warm_up)
