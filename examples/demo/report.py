"""What is said when the work is done: whether it adds up, and what was measured."""

import multiprocessing
from statistics import median
from time import get_clock_info, perf_counter, thread_time
from timeit import Timer

from board import Job, State
from crew import Crew
from files import SIZE, UNREADABLE, TreeError, changed_since, count, digest_of, printable
from interrupt import check
from screen import say

from atomic_intenum import IntEnumValue

#: CPU time does not count what other processes run; a clock with coarse ticks cannot be used.
_clock = thread_time if get_clock_info("thread_time").resolution <= 1e-6 else perf_counter
#: What is measured, what for, how often a statement does it, and the two statements.
_VALUE, _STATUS = "with value.get_lock():\n    ", "with status.get_lock():\n    "
_SWAP = _VALUE + "if value.value == {}: value.value = {}\n"
_CLAIM = "status.compare_and_set(A, B); status.compare_and_set(B, A)"
_MEASURED = (
    ("polls", "to see what a worker does", 1, "value.value", "status.load()"),
    ("claims", "to be the one who gets a file", 2, _SWAP.format(1, 2) + _SWAP.format(2, 1), _CLAIM),
    ("locks", "to write alone", 1, _VALUE + "value.value = 1", _STATUS + "status.set(A)"),
)


def say_report(crew: Crew) -> bool:
    """Say what came of the work, beside a plain run; return whether it adds up."""
    lost = twice = back = equal = skipped = 0
    for job in range(crew.total):
        # COMING, PENDING, RUNNING, DONE: three writes, and two more for a claim that is given back.
        more = crew.jobs.at(job).version - 3
        lost += crew.jobs[job] is not Job.DONE
        twice += more % 2 or not 0 <= more - 2 * crew.held[job] <= 2 * crew.others
        back += more // 2
    sleeps, races, refused = map(sum, (crew.common.sleeps, crew.common.races, crew.common.refused))
    wrong = [f"LOST: {count(lost, 'file')}"] if lost else []
    wrong += [f"DONE TWICE: {count(twice + refused, 'file')}"] if twice or refused else []
    digests, paths = bytes(crew.common.digests), crew.common.paths
    for index, path in enumerate(paths):
        check()
        jobs = range(index, crew.total, len(paths))
        found = {digests[job * SIZE : (job + 1) * SIZE] for job in jobs} | {digest_of(path)}
        if UNREADABLE in found or changed_since(path, crew.began):
            skipped += 1
        elif len(found) == 1:
            equal += 1
        else:
            wrong.append(f"DIFFERENT: {printable(path)}")
    if skipped == len(paths):
        raise TreeError("no file could be read and compared")
    say(f"\n{count(crew.total, 'file')} hashed by {crew.who}, in {crew.seconds:.1f} s")
    say(f"{count(equal, 'digest')} equal to those of a plain run in one process")
    if skipped:
        say(f"{count(skipped, 'file')} not compared: changed meanwhile, or not to be read")
    say(f"{count(crew.kills + crew.others, 'kill')} survived: each time a new process took over")
    say(f"{count(back, 'claim')} given back, of {sum(crew.held.values()):,} that the killed had")
    say("\n".join(wrong or ["no file lost, and none done twice"]))
    say(f"{count(sleeps, 'time')} a worker slept until a file came, and polled nothing meanwhile")
    say(f"{count(races, 'race')} lost: two workers wanted one file, and one of them got it")
    return not wrong


def measure(seconds: float) -> None:
    """Measure for so long beside multiprocessing.Value, by turns, and say what came out."""
    value, status = multiprocessing.Value("i", 1), IntEnumValue[State](State.WAITING)
    names = {"A": State.WAITING, "B": State.HASHING, "value": value, "status": status}
    say("\nMillions a second in one process, and those of multiprocessing.Value:")
    for name, meaning, number, *texts in _MEASURED:
        timers = [Timer("\n".join([text] * 5), timer=_clock, globals=names) for text in texts]
        taken: list[list[float]] = [[], []]
        end = perf_counter() + seconds / len(_MEASURED)
        while perf_counter() < end or not taken[1]:
            check()
            for timer, times in zip(timers, taken, strict=True):
                times.append(timer.timeit(200) * 1000 / number)
        theirs, ours = (1 / median(times) for times in taken)
        say(f"{ours:6.1f} {name:6} {theirs:5.1f}, so {ours / theirs:.1f} times as many {meaning}")
