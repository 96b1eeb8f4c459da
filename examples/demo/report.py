"""What is said when the work is done, and whether it adds up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from files import count, printable
from screen import say

if TYPE_CHECKING:
    from crew import Outcome
    from files import Comparison, Listing


def say_report(outcome: Outcome, comparison: Comparison, listing: Listing) -> bool:
    """Say what came of the work, and return whether it adds up."""
    files, jobs = len(listing.paths), len(outcome.digests)
    # COMING, PENDING, RUNNING, DONE: three writes, and two more for each claim that was given back.
    excess = [version - 3 for version in outcome.versions]
    back = sum(outcome.held.values())
    wrong = []
    if outcome.lost:
        wrong.append(f"LOST: {count(outcome.lost, 'file')} not done")
    twice = sum(
        more % 2 != 0 or more < 2 * outcome.held[job] or (not outcome.others and more > 2 * outcome.held[job])
        for job, more in enumerate(excess)
    )
    if twice or outcome.refused:
        wrong.append(f"CLAIMED TWICE AT A TIME: {count(max(twice, outcome.refused), 'file')}")
    wrong += [f"DIFFERENT: {printable(path)}" for path in comparison.different]
    again = f" {jobs / files:.0f} times over" if jobs > files else ""
    say(f"  {count(files, 'file')} hashed{again} by {count(outcome.workers, 'worker')} in {outcome.seconds:.1f} s")
    say(f"  {count(comparison.equal, 'file')}: digests equal to those of a plain run in one process")
    for reason, number in comparison.problems.items():
        say(f"  {count(number, 'file')} not compared: {reason}")
    say(f"  {count(outcome.kills, 'kill')} survived")
    say(f"  {count(back, 'claim')} given back")
    for line in wrong:
        say(f"  {line}")
    return not wrong
