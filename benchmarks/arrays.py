"""Arrays, many values, and memory; and what importing the package costs.

    python benchmarks/arrays.py            the rows: bytes of a value, import, first value
    python benchmarks/arrays.py --growth   10 to 10,000,000 words, and 1 to 1,000,000 values

``counts`` stands beside numpy's ``(a == member).sum()`` for each of three members on a plain int32
array.  "Claim, none" looks for what is not there, so that it visits every word; "claim, one" finds
one and gives it back.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from enum import IntEnum
from pathlib import Path
from time import perf_counter

import rows
from machine import absence
from operations import IDLE, NAMES, Loop, Statement, WorkerStatusEnum, board, statuses, take_turns
from results import Missing, Series, emit

from atomic_intenum import IntEnumValue

SHM, MAPS = Path("/dev/shm"), Path("/proc/self/maps")
COUNT, CLAIM_NONE, CLAIM_ONE = "counts, three members", "claim, none", "claim, one"
CREATE = "create so many values"
#: More multiprocessing.Value than that would take minutes to make.
MOST_LOCKED = 10_000
WORDS = (10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
VALUES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
#: What a status takes in an array's segment: a word of 8 bytes and a control block of 64.
BYTES = 72


class Fresh(IntEnum):  # with segments of its own, so that none has been begun
    ONE = 1


def _ours() -> object:
    return IntEnumValue[Fresh](Fresh.ONE)


def _locked() -> object:
    return multiprocessing.Value("i", 1)


# -- memory


def _mapped() -> dict[str, int]:
    """Return the bytes of shared memory that this process has mapped.

    Of a segment that has a name its blocks count, whoever touched them and however often it is
    mapped, and of one without a name what is mapped of it.
    """
    found = {}
    for line in MAPS.read_text().splitlines():
        place, *_, name = line.split(maxsplit=5)
        path = Path(name)
        if name.startswith(f"{SHM}/") and path.exists():
            found[name] = path.stat().st_blocks * 512
        elif name.startswith(f"{SHM}/"):
            low, high = (int(end, 16) for end in place.split("-"))
            found[place] = high - low
    return found


def _bytes(make: Callable[[], object], count: int) -> list[float]:
    before = _mapped()
    kept = [make() for _ in range(count)]
    new = sum(size for name, size in _mapped().items() if name not in before)
    return [new / len(kept)]


def measure_memory() -> tuple[list[Series], list[Missing]]:
    if not MAPS.exists():
        return [], [Missing(rows.BYTES, rows.OURS, f"there is no {MAPS} here")]
    ours = Series(rows.BYTES, rows.OURS, _bytes(_ours, 20_000), unit="bytes")
    return [ours, Series(rows.BYTES, rows.LOCKED, _bytes(_locked, 500), unit="bytes")], []


# -- the import

#: By the CPU time of the process, so that others' work is not in it.
_PROGRAM = """\
import json, os, time
from enum import IntEnum
begun = time.process_time()
import multiprocessing.shared_memory
shared = time.process_time()
{0}
imported = time.process_time()
value = {1}
first = time.process_time()
path = f"/proc/self/task/{{os.getpid()}}/children"
started = len(open(path).read().split()) if os.path.exists(path) else 0
print(json.dumps([shared - begun, imported - shared, first - imported, started]))
"""
_OURS = "from atomic_intenum import IntEnumValue\nE = IntEnum('E', ['A', 'B'])"
_PROGRAMS = {
    rows.OURS: _PROGRAM.format(_OURS, "IntEnumValue[E](E.A)"),
    rows.LOCKED: _PROGRAM.format("import multiprocessing", "multiprocessing.Value('i', 1)"),
}


def measure_import() -> list[Series]:
    """Return what the import takes beyond that of shared_memory, and the first value."""
    taken: dict[str, list[list[float]]] = {who: [] for who in _PROGRAMS}
    for _ in range(5):
        for who, program in _PROGRAMS.items():
            done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
            taken[who].append(json.loads(done.stdout))
    found = []
    for who, each in taken.items():
        shared, imported, first, started = map(list, zip(*each, strict=True))
        found += [Series(rows.FIRST, who, first), Series(rows.STARTED, who, started, unit="")]
        if who == rows.OURS:
            found += [Series(rows.IMPORT, who, imported), Series(rows.IMPORT, rows.FLOOR, shared)]
    return found


# -- growth


def measure_words(numbers: Sequence[int] = WORDS) -> tuple[list[Series], list[Missing]]:
    """Return what counting and claiming take by size."""
    found, gaps = [], []
    for number in numbers:
        free = shutil.disk_usage(SHM).free if SHM.is_dir() else 0
        if BYTES * number > 0.8 * free:
            reason = f"{number:,} words take {BYTES * number / 1e6:,.0f} MB: they do not fit"
            gaps.append(Missing(COUNT, f"{rows.OURS}, {number:,}", reason))
            continue
        with ExitStack() as stack:
            names = {**NAMES, **board(stack, number)}
            # Statuses that no branch predictor learns, of two members: the third is looked for.
            few = [min(status, IDLE) for status in statuses(min(number, 100_000))]
            for index, status in enumerate(few):
                names["board"][index] = WorkerStatusEnum(status)
            texts = {
                (COUNT, rows.OURS): "board.counts()",
                (CLAIM_NONE, rows.OURS): "board.claim(BUSY, IDLE)",
                (CLAIM_ONE, rows.OURS): "board[board.claim(IDLE, BUSY)] = IDLE",
            }
            if not absence("numpy"):
                import numpy as np

                names["int32s"] = np.resize(np.array(few, dtype=np.int32), number)
                parts = (f"(int32s == {member}).sum()" for member in range(3))
                texts[COUNT, rows.NUMPY] = "\n".join(parts)
            if number <= MOST_LOCKED:
                names["values"] = [_locked() for _ in few]
                texts[COUNT, rows.LOCKED] = "[value.value for value in values]"
            loops = [Loop(Statement(text), names) for text in texts.values()]
            taken = take_turns(loops, 10 if number <= 1_000_000 else 4)
            for (what, who), seconds in zip(texts, taken, strict=True):
                found.append(Series(what, who, seconds, number))
    return found, gaps


def measure_values(numbers: Sequence[int] = VALUES) -> list[Series]:
    """Return what creating so many values takes, which are all kept."""
    found = []
    gc.disable()
    for number in numbers:
        for who, make in ((rows.OURS, _ours), (rows.LOCKED, _locked)):
            seconds: list[float] = []
            while (number <= MOST_LOCKED or who == rows.OURS) and len(seconds) < 3:
                started = perf_counter()
                kept = [make() for _ in range(number)]
                seconds.append(perf_counter() - started)
                kept.clear()
            found += [Series(CREATE, who, seconds, number)] * bool(seconds)
    return found


if __name__ == "__main__":
    if "--growth" in sys.argv:
        words, gaps = measure_words()
        emit([*words, *measure_values()], gaps)
    else:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        memory, gaps = measure_memory()
        emit([*memory, *measure_import()], gaps)
