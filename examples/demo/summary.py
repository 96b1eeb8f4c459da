"""What is said when the work is done: whether it adds up, and what was measured."""

import multiprocessing
from statistics import median
from time import perf_counter, thread_time
from timeit import Timer

from board import Job, State
from crew import Crew
from files import SIZE, UNREADABLE, count, digest_of, printable
from interrupt import POSIX, check
from screen import say

from atomic_intenum import IntEnumValue

_clock = thread_time if POSIX else perf_counter  # CPU time: what else runs here does not count
_LOCK, _OURS = "with value.get_lock():\n    ", "with status.get_lock():\n    status.set(A)\n"
_SWAPS = "".join(f"{_LOCK}if value.value == {i}: value.value = {3 - i}\n" for i in (1, 2))
_CLAIMS = "status.compare_and_set(A, B)\nstatus.compare_and_set(B, A)\n"
#: What is measured, what it tells, and two statements, of which each does it twice.
_MEASURED = (
    ("polls", "looks at what a worker does", "value.value\n" * 2, "status.load()\n" * 2),
    ("claims", "files of which nobody else gets the same", _SWAPS, _CLAIMS),
    ("lock sections", "steps that nobody disturbs", f"{_LOCK}value.value = 1\n" * 2, _OURS * 2),
)


def say_report(crew: Crew) -> bool:
    """Say what came of the work, beside a plain run; return whether it adds up."""
    lost = twice = back = equal = different = skipped = 0
    for job in range(crew.total):
        # COMING, PENDING, RUNNING, DONE: three writes, and two more for a claim that is given back.
        more = crew.jobs.at(job).version - 3
        lost += crew.jobs[job] is not Job.DONE
        twice += more % 2 or not 0 <= more - 2 * crew.held[job] <= 2 * crew.others
        back += more // 2
    sleeps, races, refused = map(sum, (crew.common.sleeps, crew.common.races, crew.common.refused))
    digests, paths = bytes(crew.common.digests), crew.common.paths
    for index, path in enumerate(paths):
        check()
        jobs = range(index, crew.total, len(paths))
        theirs = (digests[job * SIZE : (job + 1) * SIZE] for job in jobs)
        found = {*theirs, digest_of(path, crew.began)}
        if UNREADABLE in found:
            skipped += 1
        elif len(found) == 1:
            equal += 1
        else:
            different += 1
            say(f"DIFFERENT: {printable(path)}")
    if skipped == len(paths):
        raise FileNotFoundError("no file could be read and compared")
    say(f"\n{count(crew.total, 'file')} hashed by {crew.who}, in {crew.seconds:.1f} s")
    say(f"{count(equal, 'digest')} equal to a plain run's in one process, {skipped:,} not compared")
    say(f"{count(crew.kills + crew.others, 'kill')} survived: each time a new process took over")
    say(f"{count(back, 'claim')} given back, of {sum(crew.held.values()):,} that the killed had")
    say(f"{count(lost, 'file')} lost, {count(twice + refused, 'file')} done twice")
    say(f"{count(sleeps, 'time')} a worker slept until a file came")
    say(f"{count(races, 'race')} lost: two workers wanted one file, and one of them got it")
    return not (lost or twice or refused or different)


def measure(seconds: float) -> None:
    """Measure for so long beside multiprocessing.Value, by turns, and say what came out."""
    value, status = multiprocessing.Value("i", 1), IntEnumValue[State](State.WAITING)
    names = {"A": State.WAITING, "B": State.HASHING, "value": value, "status": status}
    say("\nMeasured in one process, by turns with multiprocessing.Value:")
    for name, meaning, *statements in _MEASURED:
        timers = [Timer(text * 5, timer=_clock, globals=names) for text in statements]
        taken: list[list[float]] = [[], []]
        end = perf_counter() + seconds / len(_MEASURED)
        while perf_counter() < end or not taken[1]:
            check()
            for timer, times in zip(timers, taken, strict=True):
                times.append(timer.timeit(100))
        theirs, ours = (1000e-6 / median(times) for times in taken)
        say(f"{ours:.1f} million {name} a second, {ours / theirs:.1f} times as many: {meaning}")
