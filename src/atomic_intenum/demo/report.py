"""What the demo says when the work is done, and whether it adds up."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .files import count, printable
from .measure import MOST_VALUES
from .screen import say

if TYPE_CHECKING:
    from . import crew, simulation
    from .files import Comparison, Listing
    from .measure import Rates

__all__ = ["say_board_rates", "say_comparison", "say_rates", "say_simulation", "say_work"]


def say_work(outcome: crew.Outcome, workers: int) -> bool:
    """Say what real workers did, and return whether it adds up."""
    say(
        f"{count(outcome.files, 'digest')} of {count(len(outcome.readings), 'file')} in "
        f"{outcome.seconds:.1f} s; {_looks(outcome.looks)}"
    )
    say(f"claims: {outcome.claims:,}; dispatchers {_sleeps(outcome.sleeps, outcome.lost)}")
    # One into CALCULATING and one back for each claim; one into IDLE and one out for each worker.
    # A claim that two dispatchers won, or a write that was lost, would show here.
    return _say_transitions(outcome.transitions, 2 * outcome.claims + 2 * workers)


def say_simulation(outcome: simulation.Outcome, workers: int) -> bool:
    """Say what the simulators did, and return whether it adds up."""
    tally = outcome.tally
    say(f"{count(tally.claims, 'claim')} in {outcome.seconds:.1f} s; {_looks(outcome.looks)}")
    say(f"processes {_sleeps(tally.sleeps, tally.lost)}")
    alone = tally.twice == 0
    if alone:
        say("no worker was claimed twice at a time")
    else:
        say(f"CLAIMED TWICE AT A TIME: {count(tally.twice, 'worker')}")
    expected = tally.came + tally.claims + tally.finished + tally.dismissed
    consistent = _say_transitions(outcome.transitions, expected)
    if tally.claims != tally.finished:
        say(f"NOT SET BACK: {tally.claims - tally.finished:,} of the claimed")
    if tally.came != tally.dismissed or outcome.left:
        say(f"NOT UNAVAILABLE at the end: {outcome.left:,} of {count(workers, 'worker')}")
    return (
        alone
        and consistent
        and tally.claims == tally.finished
        and tally.came == tally.dismissed
        and not outcome.left
    )


def _sleeps(sleeps: int, lost: int) -> str:
    return (
        f"slept {count(sleeps, 'time')} until a worker was IDLE,\n"
        f"  and woke too late {count(lost, 'time')}: another process had claimed it"
    )


def _looks(number: int) -> str:
    return f"{count(number, 'look')} at the whole board"


def _say_transitions(transitions: int, expected: int) -> bool:
    if transitions == expected:
        say(f"transitions: {expected:,}, as many as the claims account for")
        return True
    say(f"TRANSITIONS: {transitions:,}, where the claims account for {expected:,}")
    return False


def say_comparison(comparison: Comparison, listing: Listing, outcome: crew.Outcome) -> bool:
    """Say what the plain run showed, and return whether no digest differs."""
    equal = count(comparison.equal, "digest")
    say(f"plain run in this process: {comparison.seconds:.1f} s, {equal} equal")
    missing = len(listing.files) - len(outcome.readings)
    if missing:
        say(f"  the time was up before {count(missing, 'file')} could be hashed: not compared")
    for problem, number in Counter(problem for _, problem in comparison.problems).items():
        example = next(path for path, reason in comparison.problems if reason == problem)
        files = count(number, "file")
        say(f"  {files} not compared: {problem} ({printable(example)})")
    for path in comparison.different:
        say(f"  DIFFERENT: {printable(path)}")
    return not comparison.different


def say_rates(rates: dict[str, Rates], here: str) -> None:
    """Say what was measured on one value."""
    say(f"measured in this run: {here};")
    say("one process, and nobody else uses the value")
    _say_table("IntEnumValue", rates)
    say("poll: load(), beside .value")
    say("claim: compare_and_set(), beside get_lock(), compare and assign")


def say_board_rates(rates: dict[str, Rates], workers: int) -> None:
    """Say what was measured on the board."""
    say()
    values = f"{min(workers, MOST_VALUES):,} multiprocessing.Values"
    if workers > MOST_VALUES:
        values += " only"
    say(f"the board of {workers:,}, beside {values};")
    say("the figures are single statuses")
    _say_table("IntEnumArray", rates)
    say("claim: claim() until it is None, fill(); beside get_lock(), compare and assign, for each")
    say("count: counts(), beside reading and counting them all")


def _say_table(ours: str, rates: dict[str, Rates]) -> None:
    say(f"{'per second':<12}{ours:>14}{'multiprocessing.Value':>24}")
    for name, (mine, theirs) in rates.items():
        say(f"{name:<12}{mine:>14,.0f}{theirs:>24,.0f}{mine / theirs:>8.1f} times")
