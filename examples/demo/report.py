"""What is said when the work is done: whether it adds up, and what was measured."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable
from enum import IntEnum
from statistics import median
from time import get_clock_info, perf_counter, thread_time
from timeit import Timer

from board import Job
from crew import Crew
from files import SIZE, UNREADABLE, Listing, TreeError, count, digest_of, printable, stamp_of
from screen import say
from worker import RACES, REFUSED, SLEEPS

from atomic_intenum import IntEnumValue

#: CPU time does not count what other processes run; a clock with coarse ticks cannot be used.
_clock = thread_time if get_clock_info("thread_time").resolution <= 1e-6 else perf_counter


def say_report(crew: Crew, listing: Listing, check: Callable[[], None]) -> bool:
    """Hash the files in this process too, say what came of it all, and return whether it adds up.

    Raises:
        TreeError: no file could be compared.

    """
    files, claims, back = len(listing.files), 0, 0
    lost = twice = 0
    for job in range(crew.total):
        # COMING, PENDING, RUNNING, DONE: three writes, and two more for a claim that is given back.
        more = crew.jobs.at(job).version - 3
        lost += crew.jobs[job] is not Job.DONE
        twice += (
            more % 2 != 0 or more < 2 * crew.held[job] or more > 2 * (crew.held[job] + crew.others)
        )
        back += more // 2
    sleeps, races, refused = (
        sum(crew.common.tallies[what::3]) for what in (SLEEPS, RACES, REFUSED)
    )
    equal, different, problems = _compare(crew, listing, check)
    if not equal and not different:
        raise TreeError(f"{printable(listing.tree)}: no file could be read and compared")
    over = f", each {crew.total // files} times," if crew.total > files else ""
    say(
        f"{count(files, 'file')}{over} hashed by {count(len(crew.board), 'worker')} in {crew.seconds:.1f} s"
    )
    say(f"{count(equal, 'file')} with the digest that a plain run in one process finds")
    for problem, number in problems.items():
        say(f"  {count(number, 'file')} not compared: {problem}")
    say(f"{count(crew.kills, 'kill')} survived: {count(crew.restarts, 'process')} restarted")
    say(f"{count(back, 'claim')} given back; the killed had held {sum(crew.held.values()):,}")
    wrong = [f"DIFFERENT: {printable(path)}" for path in different]
    wrong += [f"LOST: {count(lost, 'file')}"] if lost else []
    wrong += [f"TWICE: {count(twice + refused, 'claim')}"] if twice or refused else []
    for line in wrong or ["none lost, none twice"]:
        say(line)
    say(f"{count(races, 'race')} lost, {count(sleeps, 'sleep')}")
    return not wrong


def _compare(
    crew: Crew, listing: Listing, check: Callable[[], None]
) -> tuple[int, list[str], Counter[str]]:
    """Return how many files are equal, those that are not, and why others could not be compared."""
    equal, different, problems = 0, [], Counter[str]()
    digests = bytes(crew.common.digests)
    for index, (path, stamp) in enumerate(listing.files.items()):
        check()
        jobs = range(index, crew.total, len(listing.files))
        theirs = {digests[job * SIZE : (job + 1) * SIZE] for job in jobs}
        ours = digest_of(path)
        if stamp_of(path) != stamp:
            problems["changed meanwhile"] += 1
        elif UNREADABLE in {ours, *theirs}:
            problems["cannot be read"] += 1
        elif theirs == {ours}:
            equal += 1
        else:
            different.append(path)
    return equal, different, problems


class Status(IntEnum):
    """What is measured."""

    IDLE = 1
    BUSY = 2


#: What is counted, what for, how often a statement does it, and the two statements.
_TOGGLE = "with value.get_lock():\n    if value.value == {}:\n        value.value = {}\n"
_MEASURED = (
    ("polls", "a monitor may look as often as it likes", 1, "value.value", "status.load()"),
    (
        "claims",
        "nobody holds a lock with which it could die",
        2,
        _TOGGLE.format(1, 2) + _TOGGLE.format(2, 1),
        "status.compare_and_set(IDLE, BUSY)\nstatus.compare_and_set(BUSY, IDLE)",
    ),
    (
        "lock sections",
        "for what takes several writes",
        1,
        "with value.get_lock():\n    value.value = 1",
        "with status.get_lock():\n    status.set(IDLE)",
    ),
)


def measure(seconds: float, check: Callable[[], None]) -> None:
    """Measure for so long beside multiprocessing.Value, by turns, and say what came out."""
    value, status = multiprocessing.Value("i", Status.IDLE), IntEnumValue[Status](Status.IDLE)
    names = {**Status.__members__, "value": value, "status": status}
    for name, meaning, number, *statements in _MEASURED:
        timers = [Timer("\n".join([text] * 5), timer=_clock, globals=names) for text in statements]
        taken: list[list[float]] = [[], []]
        end = perf_counter() + seconds / len(_MEASURED)
        while perf_counter() < end or not taken[1]:
            check()
            for timer, times in zip(timers, taken, strict=True):
                times.append(timer.timeit(200) / (1000 * number))
        theirs, ours = map(median, taken)
        say(
            f"  {1e-6 / ours:6.2f} million {name} a second, {theirs / ours:.1f} times as many: {meaning}"
        )
