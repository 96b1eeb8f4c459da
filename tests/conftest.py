"""What all tests share: the backend under test, and the promise that nothing is left behind.

One run tests one backend, the one of ATOMIC_INTENUM_BACKEND (unless told, the best that the
interpreter has): ``make test`` runs the suite for each.  Every test carries the backend's name in
its id, and fails if the package came up with another one.
"""

from __future__ import annotations

import functools
import gc
import multiprocessing
import os
import signal
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers.lacking import needs, what_is_lacking
from helpers.loops import until_nobody_watches

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

# A shell lets what it runs in the background ignore Ctrl-C, and so would each program of the tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

DEFAULT = "native" if sys.implementation.name == "cpython" else "cffi"
BACKEND = os.environ.setdefault("ATOMIC_INTENUM_BACKEND", DEFAULT)


@pytest.fixture(scope="session", params=[BACKEND], autouse=True)
def backend(request: pytest.FixtureRequest) -> str:
    """Name the backend under test, having seen that it is the one in use."""
    import atomic_intenum

    assert request.param == atomic_intenum.BACKEND
    return str(request.param)


#: What stands in these folders, or in files of these names, is marked so.
MARKED = {
    "once": ("core_c/*", "tools/*"),
    "slow": ("core_c/*", "tools/test_demo*", "tools/test_benchmarks.py"),
}

#: Where the tests are.
TESTS = Path(__file__).parent


@functools.cache
def marks_of(file: Path) -> list[str]:
    """Return how the tests of a file are marked for where it is."""
    path = file.relative_to(TESTS).as_posix() if TESTS in file.parents else ""
    return [
        name
        for name, patterns in MARKED.items()
        if any(fnmatch(path, pattern) for pattern in patterns)
    ]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what ``make test`` says to the run of each backend."""
    group = parser.getgroup("backends")
    group.addoption(
        "--next-backend",
        action="store_true",
        help="another backend was tested before: leave out the tests marked once",
    )
    group.addoption("--failures", type=Path, metavar="FILE", help="append the names of what failed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark by folder, and leave out what the backend under test is exempt from, by its marker."""
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        for name in marks_of(item.path):
            item.add_marker(name)
        marker = item.get_closest_marker("only_on")
        again = config.getoption("next_backend") and item.get_closest_marker("once")
        kept_here = not again and (marker is None or BACKEND in marker.args)
        (kept if kept_here else left).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def pytest_collection_finish() -> None:
    """Leave what pytest has made so far out of garbage collection, which many tests ask for."""
    if hasattr(gc, "freeze"):
        gc.collect()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    """Skip a test whose fixtures need what this system lacks."""
    return (yield from _or_skip())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Skip a test that needs what this system lacks."""
    return (yield from _or_skip())


def _or_skip() -> Generator[None, object, object]:
    try:
        return (yield)
    except Exception as error:
        what = what_is_lacking(error)
        if what is not None:
            needs(what)
        raise


failed: dict[str, None] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what failed; where workers run the tests, they report to one process."""
    if report.failed:
        failed[report.nodeid] = None


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Remember what could not be collected."""
    if report.failed:
        failed[report.nodeid] = None


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Name what failed to who asked for it."""
    file: Path | None = session.config.getoption("failures")
    if file is not None and failed and not hasattr(session.config, "workerinput"):
        with file.open("a") as lines:
            lines.writelines(f"{BACKEND}: {name}\n" for name in failed)


@pytest.fixture(autouse=True)
def no_child_outlives() -> Iterator[None]:
    """End the children that a failed test left, and fail it if it had not."""
    yield
    left = multiprocessing.active_children()
    for child in left:
        child.kill()
        child.join()
    assert not left, f"children outlived the test: {left}"


@pytest.fixture(autouse=True, scope="module")
def no_thread_outlives(request: pytest.FixtureRequest) -> Iterator[None]:
    """Wait for the end of the thread that watches for event loops: other tests fork."""
    yield
    if request.path.parent.name == "aio":
        until_nobody_watches()
