"""Processes that want a few names all the time, and are killed: ``races.py SECONDS CROWD [FAULT]``.

Each creates a name or gets it by exist_ok, holds it for a while, forks, sweeps, and ends: by kill
-9, normally, or by dropping it.  As long as it holds the name, the name has to lead to its segment.
It prints what was broken, and how many ended in which way.

The fault ``blind`` removes names without asking who lives.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from enum import IntEnum
from pathlib import Path
from typing import NoReturn

from atomic_intenum import IntEnumValue
from helpers.support import SHM

NAMES = [f"race{os.getpid() % 100_000}-{number}" for number in range(10)]
ENDED, TAKEN, BROKEN = 0, 3, 9


class Step(IntEnum):
    FIRST = 1
    NEXT = 2


class Status(IntEnumValue[Step]):
    pass


def inode_of(name: str) -> int | None:
    """Return what the name leads to."""
    try:
        return (SHM / f"intenum.{name}").lstat().st_ino
    except FileNotFoundError:
        return None


def descriptors() -> int:
    """Return how many descriptors this process has."""
    return len([*Path("/proc/self/fd").iterdir()])


def broken(what: str) -> NoReturn:
    """Say what was broken, and end."""
    print(what, flush=True)
    os._exit(BROKEN)


def hold(name: str, mine: int | None, fault: str) -> None:
    """Look after the name for a while, and attach others."""
    until = time.monotonic() + random.random() / 10
    while time.monotonic() < until:
        if inode_of(name) != mine:
            broken("a live name was removed")
        if random.random() < 0.2:
            with contextlib.suppress(FileNotFoundError):
                Status.attach(random.choice(NAMES)).set(Step.NEXT)
        if fault == "blind":
            (SHM / f"intenum.{random.choice(NAMES)}").unlink(missing_ok=True)
        time.sleep(0.001)


def compete(fault: str) -> None:
    """Want one of the names, and hold it for a while."""
    name = random.choice(NAMES)
    before = descriptors()
    try:
        value = Status(Step.FIRST, segment_name=name, exist_ok=random.random() < 0.3)
    except FileExistsError:
        os._exit(TAKEN)
    mine = inode_of(name)
    if random.random() < 0.2 and os.fork() == 0:
        time.sleep(random.random() / 10)  # holds on to the memory, but does not answer for the name
        os._exit(ENDED)
    hold(name, mine, fault)
    if random.random() < 0.5:
        os.kill(os.getpid(), signal.SIGKILL)
    if inode_of(name) != mine:
        broken("a live name was removed at its end")
    if random.random() < 0.5:
        del value
        if descriptors() != before:
            broken("a descriptor is left")
        os._exit(ENDED)


def main() -> None:
    """Keep a crowd of them at it, and then want each name once more."""
    seconds, crowd, fault = float(sys.argv[1]), int(sys.argv[2]), "".join(sys.argv[3:])
    ends: Counter[int] = Counter()
    living = 0
    until = time.monotonic() + seconds
    while living or time.monotonic() < until:
        while living < crowd and time.monotonic() < until:
            if os.fork() == 0:
                random.seed()
                compete(fault)
                return  # a normal end
            living += 1
        _, status = os.wait()
        living -= 1
        ends[os.waitstatus_to_exitcode(status)] += 1
    longest = 0.0
    for name in NAMES:
        began = time.monotonic()
        try:
            Status(Step.FIRST, segment_name=name)
        except FileExistsError:
            print(f"{name} stays taken")
        longest = max(longest, time.monotonic() - began)
    if longest > 0.1:
        print(f"a name was taken over after {longest} s")
    print(dict(sorted(ends.items())))


if __name__ == "__main__":
    main()
