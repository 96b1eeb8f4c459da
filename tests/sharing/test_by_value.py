"""Values and arrays of classes that cannot be imported go through cloudpickle and joblib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from helpers.support import run_script

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import pickle
from enum import IntEnum
from atomic_intenum import IntEnumArray, IntEnumValue

class Job(IntEnum):
    PENDING = 1
    RUNNING = 2
    DONE = 3

class JobStatus(IntEnumValue[Job]):
    pass

class Board(IntEnumArray[Job]):
    pass

def made_in_a_function():
    class Inner(JobStatus):
        pass
    return Inner(Job.PENDING)

VALUES = [IntEnumValue[Job](Job.PENDING), JobStatus(Job.PENDING), made_in_a_function()]
"""

CLOUDPICKLE = """
import cloudpickle
for value in VALUES:
    pickle.loads(cloudpickle.dumps(value)).set("DONE")
    assert value.load() is Job.DONE
board = Board(3, Job.PENDING)
pickle.loads(cloudpickle.dumps(board)).fill("RUNNING")
assert board.count(Job.RUNNING) == 3
"""

JOBLIB = """
import joblib

def work(board, index):
    board[index] = "DONE"
    return index

if __name__ == "__main__":
    board = Board(4, Job.PENDING)
    run = joblib.Parallel(n_jobs=2, backend="loky")
    assert run(joblib.delayed(work)(board, i) for i in range(4)) == [0, 1, 2, 3]
    assert board.count(Job.DONE) == 4
    joblib.externals.loky.get_reusable_executor().shutdown(wait=True)
"""


@pytest.mark.only_on("native", "cffi")
@pytest.mark.parametrize(
    ("module", "source"), [("cloudpickle", CLOUDPICKLE), ("joblib", JOBLIB)], ids=str
)
def test_pickled_by_value(module: str, source: str, tmp_path: Path) -> None:
    """Classes of __main__ and of functions are sent by value, and what arrives is the same."""
    pytest.importorskip(module)
    done = run_script(SCRIPT + source, folder=tmp_path)
    assert done.returncode == 0, done.stderr
