"""What is said when the work is done: whether it adds up, and what was measured."""

import multiprocessing
from statistics import median
from time import get_clock_info, perf_counter, thread_time
from timeit import Timer

from board import RACES, REFUSED, SLEEPS, Job, State
from crew import Crew
from files import SIZE, UNREADABLE, TreeError, changed_since, count, digest_of, printable
from interrupt import check
from screen import say

from atomic_intenum import IntEnumValue

#: CPU time does not count what other processes run; a clock with coarse ticks cannot be used.
_clock = thread_time if get_clock_info("thread_time").resolution <= 1e-6 else perf_counter

#: What is counted, what it tells, how often a statement does it, and the two statements.
_LOCKED = "with value.get_lock():\n    {}value.value = {}"
_CLAIMS = "\n".join(_LOCKED.format(f"if value.value == {3 - i}: ", i) for i in (2, 1))
_MEASURED = (
    ("polls", "what it costs to watch a status", 1, "value.value", "status.load()"),
    (
        "claims",
        "what it costs to be the only one who gets a job",
        2,
        _CLAIMS,
        "status.compare_and_set(A, B); status.compare_and_set(B, A)",
    ),
    (
        "lock sections",
        "what it costs to keep all others out for some writes",
        1,
        _LOCKED.format("", 1),
        "with status.get_lock():\n    status.set(A)",
    ),
)


def say_report(crew: Crew) -> bool:
    """Say what came of the work, with a plain run's digests; return whether it adds up."""
    lost = twice = back = equal = skipped = 0
    for job in range(crew.total):
        # COMING, PENDING, RUNNING, DONE: three writes, and two more for a claim that is given back.
        more = crew.jobs.at(job).version - 3
        lost += crew.jobs[job] is not Job.DONE
        twice += more % 2 or not 0 <= more - 2 * crew.held[job] <= 2 * crew.others
        back += more // 2
    sleeps, races, refused = (sum(crew.common.tallies[i::3]) for i in (SLEEPS, RACES, REFUSED))
    wrong = [f"LOST: {count(lost, 'file')}"] if lost else []
    wrong += [f"DONE TWICE: {count(twice + refused, 'file')}"] if twice or refused else []
    digests = bytes(crew.common.digests)
    for index, path in enumerate(crew.common.paths):
        check()
        jobs = range(index, crew.total, len(crew.common.paths))
        found = {digests[job * SIZE : (job + 1) * SIZE] for job in jobs} | {digest_of(path)}
        if UNREADABLE in found or changed_since(path, crew.began):
            skipped += 1
        elif len(found) == 1:
            equal += 1
        else:
            wrong.append(f"DIFFERENT: {printable(path)}")
    if skipped == len(crew.common.paths):
        raise TreeError("no file could be read and compared")
    say(f"{count(crew.total, 'file')} hashed in {crew.seconds:.1f} s by {crew.who}")
    say(f"{count(equal, 'digest')} equal to a plain run's, in one process")
    if skipped:
        say(f"  not compared: {count(skipped, 'file')} that changed or cannot be read")
    say(f"{count(crew.kills + crew.others, 'kill')} survived, by as many restarts")
    say(f"{count(back, 'claim')} given back, of {sum(crew.held.values()):,} that the killed held")
    for line in wrong or ["no file lost, and none done twice"]:
        say(line)
    say(f"{count(sleeps, 'sleep')} until a file came, {count(races, 'race')} lost")
    return not wrong


def measure(seconds: float) -> None:
    """Measure for so long beside multiprocessing.Value, by turns, and say what came out."""
    names = {"A": State.WAITING, "B": State.HASHING, "value": multiprocessing.Value("i", 1)}
    names["status"] = IntEnumValue[State](State.WAITING)
    for name, meaning, number, *texts in _MEASURED:
        timers = [Timer("\n".join([text] * 5), timer=_clock, globals=names) for text in texts]
        taken: list[list[float]] = [[], []]
        end = perf_counter() + seconds / len(_MEASURED)
        while perf_counter() < end or not taken[1]:
            check()
            for timer, times in zip(timers, taken, strict=True):
                times.append(timer.timeit(200) / (1000 * number))
        theirs, ours = map(median, taken)
        say(f"{1e-6 / ours:6.2f} million {name}: {theirs / ours:.1f} times: {meaning}")
