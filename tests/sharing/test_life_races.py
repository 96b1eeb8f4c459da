"""Many processes that want the same names and are killed: who lives keeps its name."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter

import pytest

from helpers.marks import named
from helpers.races import BROKEN, ENDED, TAKEN
from helpers.support import HELPERS, environment, soaked

pytestmark = [named, pytest.mark.slow]

KILLED = -9


def race(seconds: int, crowd: int, *fault: str) -> tuple[list[str], Counter[int]]:
    """Return what was broken, and how often each end came."""
    result = subprocess.run(
        [sys.executable, str(HELPERS / "races.py"), str(seconds), str(crowd), *fault],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=True,
        env=environment(),
    )
    assert result.stderr == ""
    *faults, ends = result.stdout.splitlines()
    return faults, Counter(ast.literal_eval(ends))


@pytest.mark.scaled
@pytest.mark.timeout(0)
def test_no_live_name_is_removed_and_none_is_stuck() -> None:
    """No name of a live process is ever removed, and each one can be had again after the kills."""
    faults, ends = race(soaked(2, 60), soaked(12, 100))
    assert faults == []
    assert set(ends) <= {ENDED, TAKEN, KILLED}
    assert min(ends[ENDED], ends[TAKEN], ends[KILLED]) > 0, ends


def test_race_notices_a_live_name_that_is_removed() -> None:
    """Where names are removed without asking who lives, the race says so."""
    faults, ends = race(1, 8, "blind")
    assert "a live name was removed" in faults
    assert ends[BROKEN] > 0
