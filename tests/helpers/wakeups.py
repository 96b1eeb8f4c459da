"""Games of sleeping and waking between processes, for the tests of waiting and their scripts."""

from __future__ import annotations

import os
import random
import time
from multiprocessing.sharedctypes import RawArray
from typing import TYPE_CHECKING, Any

from helpers.by_value import CONTEXT
from helpers.crew import Bits, Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

#: After which a wait is in vain.
TIMEOUT = 20.0
#: What a wake-up that was lost takes where sleepers look again by themselves.
LOOK_AGAIN = 0.25

HERD = 8


def play(status: Status, mine: Bits, other: Bits, pings: int, slow: Any) -> None:
    """Wait for a state, answer with the other, again and again."""
    for _ in range(pings):
        before = time.monotonic()
        status.wait_for(mine, timeout=TIMEOUT)
        if time.monotonic() - before >= LOOK_AGAIN:
            slow[0] += 1
        status.set(other)


def sleep_on(status: Status) -> None:
    """Sleep on a state that never comes, until killed."""
    parent = os.getppid()
    while os.getppid() == parent:
        try:
            status.wait_for(Bits.HIGHEST, timeout=0.05)
        except TimeoutError:
            continue


def start(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Fork a process."""
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


def end(*processes: BaseProcess) -> None:
    """Kill what still runs, and wait for all."""
    for process in processes:
        process.kill()
        process.join()


def ping_pong(pings: int) -> dict[str, Any]:
    """Let two processes wake each other, while third ones sleep on the same word and are killed."""
    status = Status(Bits.IDLE)
    slow: Any = RawArray("Q", 1)
    begin = time.monotonic()
    players = [
        start(play, status, Bits.LEFT, Bits.RIGHT, pings, slow),
        start(play, status, Bits.RIGHT, Bits.LEFT, pings, slow),
    ]
    killed = 0
    try:
        status.set(Bits.LEFT)
        while any(player.is_alive() for player in players):
            victim = start(sleep_on, status)
            players[0].join(random.uniform(0, 0.02))
            end(victim)
            killed += 1
        codes = [player.exitcode for player in players]
    finally:
        end(*players)
    elapsed = time.monotonic() - begin
    return {
        "codes": codes,
        "writes": status.version,
        "slow": slow[0],
        "killed": killed,
        "seconds": round(elapsed, 1),
    }


def look(status: Status) -> tuple[int, Bits]:
    """Return a version and the member of that very version: LEFT, of an odd one.

    The lock path shows a member a moment before its version.
    """
    while True:
        version, member = status.version, status.load()
        if status.version == version and version % 2 == (member is Bits.LEFT):
            return version, member


def follow(status: Status, seen: Any, slot: int) -> None:
    """Tell the version of each state that comes."""
    parent = os.getppid()
    while os.getppid() == parent:
        # One version's: told of B while it waits while A, the writer would go on to the next A.
        seen[slot], member = look(status)
        status.wait_while(member, timeout=TIMEOUT)


def herd(rounds: int) -> dict[str, Any]:
    """Wake eight sleepers by one write, again and again, and kill one of them now and then."""
    status = Status(Bits.IDLE)
    seen: Any = RawArray("q", HERD)
    slots = range(HERD)
    begin = time.monotonic()
    sleepers = [start(follow, status, seen, slot) for slot in slots]
    killed = slow = 0
    try:
        for count in range(1, rounds + 1):
            status.set(Bits.LEFT if count % 2 else Bits.RIGHT)
            written = time.monotonic()
            while any(seen[slot] != count for slot in slots):
                if time.monotonic() > written + TIMEOUT:
                    message = f"round {count}: sleeping on: {[*seen]}"
                    raise AssertionError(message)
                time.sleep(0)  # the sleepers need the processor
            slow += time.monotonic() - written >= LOOK_AGAIN
            if random.random() < 0.05:
                slot = random.randrange(HERD)
                end(sleepers[slot])
                sleepers[slot] = start(follow, status, seen, slot)
                killed += 1
        codes = [sleeper.exitcode for sleeper in sleepers if not sleeper.is_alive()]
    finally:
        end(*sleepers)
    elapsed = time.monotonic() - begin
    return {
        "codes": codes,
        "writes": status.version,
        "slow": slow,
        "killed": killed,
        "seconds": round(elapsed, 1),
    }
