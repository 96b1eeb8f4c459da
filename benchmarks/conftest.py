"""What the benchmarks were measured on, and columns that fit nanoseconds."""

from __future__ import annotations

from pathlib import Path

import machine
import pytest

COLUMNS = ["median", "iqr", "min", "max", "ops", "rounds"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add where the results go."""
    parser.addoption("--results", type=Path, metavar="PATH", help="write figures as results.py has")


def pytest_configure(config: pytest.Config) -> None:
    """Show medians and quartiles, sorted by median, unless the command line says otherwise."""
    given = config.invocation_params.args
    if not any(argument.startswith("--benchmark-columns") for argument in given):
        config.option.benchmark_columns = COLUMNS
    if not any(argument.startswith("--benchmark-sort") for argument in given):
        config.option.benchmark_sort = "median"


def pytest_report_header() -> list[str]:
    """Say what the figures were measured on, and which rivals are missing."""
    return machine.description()


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, object]) -> None:
    """Have the same in the JSON of a run."""
    machine_info["atomic_intenum"] = machine.description()
