"""Arrays from 10 to 10,000,000 statuses: counting them all, and claiming one.

``counts`` is beside numpy's ``(a == member).sum()`` for each of three members on a plain int32
array, and beside reading as many multiprocessing.Value. ``claim, none`` looks for what is not
there, so that it visits every word; ``claim, one`` finds one and gives it back.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from contextlib import ExitStack
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

import machine
from contenders import BUSY, IDLE, LOCKED, MEMBERS, NUMPY, OURS_MANY, Board, WorkerStatusEnum
from memory import SHM
from results import OF_MEGABYTES, Missing, Results, Turns, figure, quietest
from timing import Loop, Statement, on_quietest_cpu, take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
#: More of them would take minutes to make.
MOST_VALUES = 10_000
#: What a status takes in an array's segment: a word of 8 bytes and a control block of 64.
BYTES = 72
SECONDS = 0.002
#: Up to 100,000, with 10,000 multiprocessing.Value among them; and beyond, where each timing takes
#: a tenth of a second or more.
TURNS, TURNS_OF_MILLIONS = OF_MEGABYTES, Turns(5)
#: How many measure a size, one after the other; and one beyond MOST_VALUES.
INTERPRETERS, FEWER = 8, 3

COUNTS, CLAIM_NONE, CLAIM_ONE = "counts", "claim, none", "claim, one"


def _ours(size: int, stack: ExitStack) -> Any:
    board = Board(size, IDLE)
    stack.callback(board.unlink)
    # Statuses that no branch predictor learns, for the first million, and the same again.
    for index, status in enumerate(_statuses(min(size, 1_000_000))):
        board[index] = status
    return board


def _statuses(size: int) -> list[WorkerStatusEnum]:
    import random

    return random.Random(1).choices(MEMBERS, k=size)


def _loops(size: int, stack: ExitStack) -> Iterator[tuple[str, str, Loop]]:
    """Yield what is timed at a size: what, who, and the loop."""
    names: dict[str, Any] = {"IDLE": IDLE, "BUSY": BUSY}
    names["board"] = _ours(size, stack)
    all_idle = Board(size, IDLE)
    stack.callback(all_idle.unlink)
    names["all_idle"] = all_idle

    def loop(text: str) -> Loop:
        return Loop(Statement(text), names, SECONDS)

    yield COUNTS, OURS_MANY.label, loop("board.counts()")
    yield CLAIM_NONE, OURS_MANY.label, loop("all_idle.claim(BUSY, IDLE)")
    yield CLAIM_ONE, OURS_MANY.label, loop("all_idle[all_idle.claim(IDLE, BUSY)] = IDLE")
    if not NUMPY.absence:
        import numpy as np

        names["int32s"] = np.array(_statuses(min(size, 1_000_000)), dtype=np.int32)
        if size > 1_000_000:
            names["int32s"] = np.resize(names["int32s"], size)
        text = "(int32s == 0).sum()\n(int32s == 1).sum()\n(int32s == 2).sum()"
        yield COUNTS, NUMPY.label, loop(text)
    if size <= MOST_VALUES:
        import multiprocessing

        names["values"] = [multiprocessing.Value("i", status) for status in _statuses(size)]
        yield COUNTS, LOCKED.label, loop("[value.value for value in values]")


def _room() -> int:
    return shutil.disk_usage(SHM).free if SHM.is_dir() else 0


def _turns(size: int) -> Turns:
    return TURNS if size <= 100_000 else TURNS_OF_MILLIONS


def sample(size: int) -> list[tuple[str, str, list[float]]]:
    """Measure one size in this interpreter: what, who, and the seconds."""
    taken = []
    with ExitStack() as stack, on_quietest_cpu():
        found = sorted(_loops(size, stack), key=lambda each: each[0])
        turns = _turns(size)
        for what, group in groupby(found, key=lambda each: each[0]):
            contenders = list(group)
            loops = [loop for *_, loop in contenders]
            samples = take_turns(loops, turns.repeats, turns.warm_up)
            for (_, who, _), seconds in zip(contenders, samples, strict=True):
                taken.append((what, who, seconds))
    return taken


def measure(sizes: tuple[int, ...] = SIZES) -> Results:
    """Measure all sizes that fit; the others are named as missing.

    Each in several interpreters, all sizes by turns, of which the quietest counts: who else uses
    the cache in that minute moves the time of reading 10,000 objects by half.
    """
    run = Results(machine.facts())
    fitting = []
    for size in sizes:
        needed = 2 * BYTES * size
        if needed > 0.8 * _room():
            reason = f"{size:,} statuses do not fit: {needed / 1e6:,.0f} MB of {SHM}"
            run.missing.append(Missing("arrays", COUNTS, f"{OURS_MANY.label}, {size:,}", reason))
        else:
            fitting.append(size)
    taken: dict[tuple[int, str, str], list[list[float]]] = {}
    for number in range(INTERPRETERS):
        for size in fitting:
            if number >= FEWER and size > MOST_VALUES:
                continue
            command = [sys.executable, __file__, "--sample", str(size)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            for what, who, samples in json.loads(output):
                taken.setdefault((size, what, who), []).append(samples)
    for (size, what, who), each in taken.items():
        sets = [*chain(*map(_turns(size).sets, each))]
        run.figures.append(figure("arrays", what, who, quietest(each), at=size, sets=sets))
    return run


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="One size of the arrays' benchmark.")
    parser.add_argument("--sample", type=int, metavar="SIZE", required=True)
    json.dump(sample(parser.parse_args().sample), sys.stdout)
