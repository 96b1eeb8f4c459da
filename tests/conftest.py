"""What all tests share: the backend under test, and the promise that nothing is left behind.

One run tests one backend, the one of ATOMIC_INTENUM_BACKEND (unless told, the best that the
interpreter has): ``make test`` runs the suite for each.  Every test carries the backend's name in
its id, and fails if the package came up with another one.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT = "native" if sys.implementation.name == "cpython" else "cffi"
BACKEND = os.environ.setdefault("ATOMIC_INTENUM_BACKEND", DEFAULT)


@pytest.fixture(scope="session", params=[BACKEND], autouse=True)
def backend(request: pytest.FixtureRequest) -> str:
    """Name the backend under test, having seen that it is the one in use."""
    import atomic_intenum

    assert request.param == atomic_intenum.BACKEND
    return str(request.param)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the backend under test is exempt from, by the marker that names it."""
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        marker = item.get_closest_marker("only_on")
        (kept if marker is None or BACKEND in marker.args else left).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def pytest_collection_finish() -> None:
    """Leave what pytest has made so far out of garbage collection, which many tests ask for."""
    if hasattr(gc, "freeze"):
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def no_child_outlives() -> Iterator[None]:
    """End the children that a failed test left, and fail it if it had not."""
    yield
    left = multiprocessing.active_children()
    for child in left:
        child.kill()
        child.join()
    assert not left, f"children outlived the test: {left}"
