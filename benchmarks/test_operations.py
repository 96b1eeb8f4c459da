"""Each operation beside its floor and its rivals, for pytest-benchmark: a group for each operation.

    pytest benchmarks --benchmark-only

The figures are per operation: the loop is inside what is timed. The contenders of all groups are
measured by turns before the first test (groups.py says how), since neither two backends fit into
one process nor would one contender after the other give ratios that hold. Each test then hands its
rounds to pytest-benchmark, whose clock here shows what the loops took.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from groups import BACKENDS, Measured, measure, missing_backend, ours, results
from operations import CANNOT, OPERATIONS
from results import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_benchmark.fixture import BenchmarkFixture


class _Clock:
    """A clock that shows the seconds that were added to it."""

    __name__ = "seconds of one operation"

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


_clock = _Clock()

pytestmark = pytest.mark.benchmark(timer=_clock)


def _labels(operation: str) -> list[str]:
    """Return everybody's labels in an operation, this package's once for each backend."""
    left_out = [contender for name, contender in CANNOT if name == operation]
    labels = dict.fromkeys(each.label for each in [*OPERATIONS[operation], *left_out])
    everybody = [label for label in labels if not label.startswith(ours(""))]
    return [*everybody, *map(ours, BACKENDS)]


def _cases() -> Iterator[object]:
    for operation in OPERATIONS:
        for label in _labels(operation):
            reason = missing_backend(label.removeprefix(ours(""))) if ours("") in label else ""
            marks = [pytest.mark.skip(reason=reason)] if reason else []
            yield pytest.param(operation, label, id=f"{operation}: {label}", marks=marks)


@pytest.fixture(scope="module")
def measured(request: pytest.FixtureRequest) -> dict[str, dict[str, Measured]]:
    """Measure what this session's tests ask for."""
    wanted: dict[str, list[str]] = {}
    for item in request.session.items:
        parameters = item.callspec.params  # type: ignore[attr-defined]
        wanted.setdefault(parameters["operation"], []).append(parameters["label"])
    found = measure(wanted)
    path = request.config.getoption("results")
    if path is not None:
        run = results(found)
        for operation, labels in wanted.items():
            gaps = [label for label in labels if label not in found[operation]]
            for label in gaps:
                reason = missing_backend(label.removeprefix(ours("")))
                run.missing.append(Missing("operations", operation, label, reason))
        run.save(path)
    return found


@pytest.mark.parametrize(("operation", "label"), list(_cases()))
def test_operation(
    benchmark: BenchmarkFixture,
    measured: dict[str, dict[str, Measured]],
    operation: str,
    label: str,
) -> None:
    """One contender's way to do one operation."""
    case = measured[operation][label]
    if case.missing:
        pytest.skip(case.missing)
    benchmark.group = operation
    benchmark.name = label
    benchmark.extra_info.update(statement=case.text, operations=case.operations)
    samples = iter(case.samples)

    def run() -> None:
        _clock.seconds += next(samples)

    _clock.seconds = 0.0
    benchmark.pedantic(run, rounds=len(case.samples))
