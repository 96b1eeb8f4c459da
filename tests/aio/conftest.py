"""The thread that watches does not outlive these tests: others fork, which warns of threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from helpers.loops import until_nobody_watches

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="module")
def thread_ends() -> Iterator[None]:
    """Wait for its end behind the tests of a module."""
    yield
    until_nobody_watches()
