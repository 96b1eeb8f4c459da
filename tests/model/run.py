"""Check the models of the protocol, and that each planted fault is found.

    python tests/model/run.py

Needs spin and a C compiler. Each model is run as it is, where nothing may be found, and with one
fault after the other, where the named property has to break: a check that can't fail shows nothing.
Prints a line a run, and exits with 1 if anything is not as expected.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent

#: What may break, and below by which part of the assertion that spin's verifier then prints; the
#: first that matches.
NOTHING = ""
LOST_WAKEUP = "lost wake-up"
EXCLUSION = "exclusion"
WHOLE = "lost write"
FALSE_RETURN = "return without the goal"
REPORT = "report of a death"
NEEDLESS = "a second needless wake-up"
STUCK = "stuck"
CLAIM_LOST = "a live claim lost"
STRANDED = "a dead one's word stays"
NOBODYS = "given back from nobody"
OWNER_LOST = "an owner lost"
MISLED = "refused for nobody"
SPOT_LEFT = "a spot without a wait"
TOLD_TWICE = "told twice"
UNWATCHED = "watched by nobody"
UNRELATED = "rung for nobody"
SIGNS = {
    LOST_WAKEUP: r"asleep\[",
    EXCLUSION: "inside",
    WHOLE: "last_written",
    FALSE_RETURN: r"goal_of\[|need_of\[",
    REPORT: "flag_abandoned",
    NEEDLESS: "needless",
    CLAIM_LOST: r"gone\[answers|answers\[.*==me",
    STRANDED: "stranded",
    NOBODYS: r"answers\[.*!=0",
    OWNER_LOST: "robbed",
    MISLED: "misled",
    SPOT_LEFT: r"waits\[",
    TOLD_TWICE: r"served\[",
    UNWATCHED: r"spot\[",
    UNRELATED: "related",
    STUCK: "invalid end state",
}


class Run(NamedTuple):
    """A model, what is defined for it, and what has to be found."""

    model: str
    define: str = ""
    expected: str = NOTHING
    variant: str = ""


RUNS = [
    # The longest first.
    Run("claims"),
    Run("killed", variant="LOCKERS"),
    Run("claims", variant="LEAVING"),
    Run("killed"),
    Run("own"),
    Run("watch", variant="KILLED"),
    Run("watch", variant="WHOLE"),
    Run("rows", variant="HELD"),
    Run("rows"),
    Run("claims", variant="NAMES"),
    Run("event", variant="KILLED"),
    Run("watch"),
    Run("watch", variant="TWO_LOOPS"),
    Run("watch", variant="OTHERS"),
    Run("waiting"),
    Run("watch", variant="SEEN_LOOKED"),
    Run("watch", variant="LEFT_BEHIND"),
    Run("event"),
    Run("event", variant="LEFT_BEHIND"),
    Run("looking"),
    Run("looking", variant="AWAKE"),
    Run("waiting", "FAULT_NO_WAKE", LOST_WAKEUP),
    Run("waiting", "FAULT_WAKE_FIRST", LOST_WAKEUP),
    Run("waiting", "FAULT_NO_COMPARE", LOST_WAKEUP),
    Run("waiting", "FAULT_VERSION_KEPT", LOST_WAKEUP),
    Run("waiting", "FAULT_NO_SECOND_READ", FALSE_RETURN),
    Run("waiting", "FAULT_ANNOUNCED_BY_STORE", WHOLE),
    Run("waiting", "FAULT_LOCKED_IGNORED", EXCLUSION),
    Run("waiting", "FAULT_UNLOCK_FIRST", EXCLUSION),
    Run("event", "FAULT_RELOADED", LOST_WAKEUP),
    Run("event", "FAULT_SCAN_FIRST", LOST_WAKEUP),
    Run("event", "FAULT_EVENT_LOADED_FIRST", LOST_WAKEUP),
    Run("event", "FAULT_NOT_ADVANCED", LOST_WAKEUP),
    Run("event", "FAULT_NO_WAKE", LOST_WAKEUP),
    Run("event", "FAULT_NO_COMPARE", LOST_WAKEUP),
    Run("event", "FAULT_NO_SECOND_READ", FALSE_RETURN),
    Run("killed", "FAULT_NO_SECOND_LOOK", LOST_WAKEUP),
    Run("killed", "FAULT_NO_FLAG", REPORT, "LOCKERS"),
    Run("killed", "FAULT_FLAG_KEPT", REPORT, "LOCKERS"),
    Run("killed", "FAULT_WRITER_TAKES_REPORT", REPORT, "LOCKERS"),
    Run("killed", "FAULT_UNLOCK_FIRST", EXCLUSION),
    Run("killed", "FAULT_LOCKED_IGNORED", EXCLUSION),
    Run("killed", "FAULT_INCONSISTENT", STUCK, "LOCKERS"),
    Run("event", "FAULT_NO_SECOND_LOOK", LOST_WAKEUP, "KILLED"),
    Run("event", "FAULT_NOT_DISARMED", NEEDLESS, "LEFT_BEHIND"),
    Run("event", "FAULT_LOSER_WAKES", NEEDLESS, "LEFT_BEHIND"),
    Run("claims", "FAULT_ASKED_FIRST", CLAIM_LOST),
    Run("claims", "FAULT_NOT_ASKED_AGAIN", CLAIM_LOST),
    Run("claims", "FAULT_NO_WALK", STRANDED),
    Run("claims", "FAULT_TWO_STEPS", STRANDED),
    Run("claims", "FAULT_SAME_LEASES", STRANDED),
    Run("claims", "FAULT_OWNER_KEPT", NOBODYS),
    Run("claims", "FAULT_ASKED_FIRST", CLAIM_LOST, "NAMES"),
    Run("claims", "FAULT_UNCONFIRMED", CLAIM_LOST, "NAMES"),
    Run("claims", "FAULT_TWO_FIELDS", CLAIM_LOST, "NAMES"),
    Run("claims", "FAULT_NO_WALK", STRANDED, "NAMES"),
    Run("claims", "FAULT_ROW_FREED", CLAIM_LOST, "LEAVING"),
    Run("claims", "FAULT_FLAG_IGNORED", CLAIM_LOST, "LEAVING"),
    Run("claims", "FAULT_FLAG_FIRST", CLAIM_LOST, "LEAVING"),
    Run("rows", "FAULT_WALK_ONCE", STRANDED),
    Run("rows", "FAULT_LOCKED_PASSED", STRANDED, "HELD"),
    Run("rows", "FAULT_TAKER_LIVES", STRANDED),
    Run("rows", "FAULT_ANSWER_KEPT", CLAIM_LOST),
    Run("rows", "FAULT_NOT_ASKED_INSIDE", CLAIM_LOST, "HELD"),
    Run("own", "FAULT_OWNED_KEPT", STRANDED),
    Run("own", "FAULT_OWNER_DROPPED", OWNER_LOST),
    Run("own", "FAULT_OWN_UNCOUNTED", CLAIM_LOST),
    Run("own", "FAULT_TAKER_LIVES", MISLED),
    Run("own", "FAULT_REFUSED_AT_ONCE", MISLED),
    Run("looking", "FAULT_NO_SECOND_LOOK", LOST_WAKEUP),
    Run("looking", "FAULT_OWNER_NOT_ASKED", LOST_WAKEUP),
    Run("looking", "FAULT_NOBODY_WOKEN", LOST_WAKEUP, "AWAKE"),
    Run("watch", "FAULT_COUNTER_LATE", LOST_WAKEUP),
    Run("watch", "FAULT_COUNTER_KEPT", LOST_WAKEUP),
    Run("watch", "FAULT_SCAN_FIRST", LOST_WAKEUP),
    Run("watch", "FAULT_RELOADED", LOST_WAKEUP),
    Run("watch", "FAULT_WITHOUT_BELL", LOST_WAKEUP),
    Run("watch", "FAULT_WITHOUT_WAITERS", LOST_WAKEUP),
    Run("watch", "FAULT_NO_LOOK_AFTER", LOST_WAKEUP),
    Run("watch", "FAULT_SEEN_BY_WATCHER", LOST_WAKEUP),
    Run("watch", "FAULT_FLAG_CLEARED_LAST", LOST_WAKEUP),
    Run("watch", "FAULT_EVENT_LOADED_FIRST", LOST_WAKEUP),
    Run("watch", "FAULT_NOT_ADVANCED", LOST_WAKEUP),
    Run("watch", "FAULT_NO_WAKE", LOST_WAKEUP),
    Run("watch", "FAULT_NOT_RETRIED", LOST_WAKEUP, "OTHERS"),
    Run("watch", "FAULT_WHOLE_BY_BELL", LOST_WAKEUP, "WHOLE"),
    Run("watch", "FAULT_NO_SECOND_LOOK", LOST_WAKEUP, "KILLED"),
    Run("watch", "FAULT_NO_LOOK_WHEN_TOLD", FALSE_RETURN),
    Run("watch", "FAULT_STAYS_LISTED", TOLD_TWICE),
    Run("watch", "FAULT_SPOT_LEFT", SPOT_LEFT),
    Run("watch", "FAULT_ENDS_UNLOOKED", UNWATCHED),
    Run("watch", "FAULT_ENDS_OUTSIDE", UNWATCHED),
    Run("watch", "FAULT_BELL_FOR_ALL", UNRELATED),
    Run("watch", "FAULT_ARMED_KEPT", NEEDLESS, "LEFT_BEHIND"),
    Run("watch", "FAULT_BELL_KEPT", NEEDLESS, "LEFT_BEHIND"),
]


def commands(run: Run) -> list[list[str]]:
    """Return how a run's verifier is made and started."""
    defines = [f"-D{name}" for name in (run.variant, run.define) if name]
    return [
        ["spin", *defines, "-a", str(HERE / f"{run.model}.pml")],
        # -w: what spin generates is not ours to warn of. SAFETY: endless runs are not judged.
        # NOREDUCE: every order of steps, with no cleverness to trust. It saves nothing anyway in
        # the models with a killer, which are the largest.
        [os.environ.get("CC") or "cc", "-O2", "-w", "-DSAFETY", "-DNOREDUCE", "-o", "pan", "pan.c"],
        ["./pan", "-m100000", "-w22"],
    ]


def check(run: Run) -> tuple[str, int, float]:
    """Return what a run found (a property, or spin's own words), its states and its seconds."""
    started = time.monotonic()
    output = ""
    with tempfile.TemporaryDirectory() as folder:
        for command in commands(run):
            done = subprocess.run(
                command,
                check=False,
                cwd=folder,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            output = done.stdout
            if done.returncode:
                return output.strip(), 0, 0.0
    states = re.search(r"(\d+) states, stored", output)
    errors = re.search(r"errors: (\d+)", output)
    if states is None or errors is None or "max search depth too small" in output:
        return output.strip(), 0, 0.0
    found = NOTHING
    if errors[1] != "0":
        reason = re.search(r"^pan:1: (.*)\(at depth", output, re.MULTILINE)
        found = reason[1] if reason else output.strip()
        for name, sign in SIGNS.items():
            if re.search(sign, found):
                found = name
                break
    elif "Warning: Search not completed" in output:
        found = output.strip()
    return found, int(states[1]), time.monotonic() - started


def main() -> int:
    """Run them all, as many at once as there are CPUs."""
    for tool in ("spin", os.environ.get("CC") or "cc"):
        if shutil.which(tool) is None:
            print(
                f"{tool} is missing. On Debian and Ubuntu: apt-get install spin gcc; elsewhere "
                "see https://spinroot.com",
                file=sys.stderr,
            )
            return 1
    started = time.monotonic()
    wrong = 0
    print(f"{'model':<22}{'planted fault':<28}{'states':>11}{'seconds':>9}  found", flush=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for run, (found, states, seconds) in zip(RUNS, pool.map(check, RUNS), strict=True):
            fault = run.define.removeprefix("FAULT_").lower().replace("_", " ") or "-"
            model = f"{run.model} {run.variant.lower().replace('_', ' ')}".strip()
            verdict = found or "nothing"
            if found != run.expected:
                wrong += 1
                verdict += f"   EXPECTED: {run.expected or 'nothing'}"
            print(f"{model:<22}{fault:<28}{states:>11,}{seconds:>9.1f}  {verdict}", flush=True)
    print(f"{len(RUNS)} runs in {time.monotonic() - started:.0f} s; {wrong} not as expected")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
