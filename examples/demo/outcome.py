"""What the demo says when the work is done, and whether it adds up."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from files import count, printable
from screen import say

if TYPE_CHECKING:
    from files import Comparison, Listing
    from players import Outcome


def say_work(outcome: Outcome, workers: int) -> bool:
    """Say what the processes did, and return whether it adds up."""
    tally = outcome.tally
    say(
        f"{count(outcome.files, 'digest')} of {count(len(outcome.readings), 'file')} in "
        f"{outcome.seconds:.1f} s; {count(outcome.looks, 'look')} at the whole board"
    )
    say(
        f"claims: {tally['claims']:,}; processes slept {count(tally['sleeps'], 'time')} until a "
        f"worker was IDLE,\n  and woke too late {count(tally['lost'], 'time')}: another process "
        "had claimed it"
    )
    wrong = []
    if tally["twice"]:
        wrong.append(f"CLAIMED TWICE AT A TIME: {count(tally['twice'], 'worker')}")
    else:
        say("no worker was claimed twice at a time")
    # A write that was lost, or one that nobody accounts for, would show here.
    expected = sum(tally[step] for step in ("came", "claims", "finished", "dismissed"))
    if outcome.transitions != expected:
        wrong.append(
            f"TRANSITIONS: {outcome.transitions:,}, where the claims account for {expected:,}"
        )
    else:
        say(f"transitions: {expected:,}, as many as the claims account for")
    if tally["claims"] != tally["finished"]:
        wrong.append(f"NOT SET BACK: {tally['claims'] - tally['finished']:,} of the claimed")
    if tally["came"] != tally["dismissed"] or outcome.left:
        wrong.append(f"NOT UNAVAILABLE at the end: {outcome.left:,} of {count(workers, 'worker')}")
    for line in wrong:
        say(line)
    return not wrong


def say_comparison(comparison: Comparison, listing: Listing, outcome: Outcome) -> bool:
    """Say what the plain run showed, and return whether no digest differs."""
    equal = count(comparison.equal, "digest")
    say(f"plain run in this process: {comparison.seconds:.1f} s, {equal} equal")
    missing = len(listing.files) - len(outcome.readings)
    if missing:
        say(f"  {count(missing, 'file')} not hashed: not compared")
    for problem, number in Counter(problem for _, problem in comparison.problems).items():
        example = next(path for path, reason in comparison.problems if reason == problem)
        files = count(number, "file")
        say(f"  {files} not compared: {problem} ({printable(example)})")
    for path in comparison.different:
        say(f"  DIFFERENT: {printable(path)}")
    return not comparison.different
