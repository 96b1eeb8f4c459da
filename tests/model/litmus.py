"""Check the memory orders of the protocol, and that each one taken away is missed.

    python tests/model/litmus.py

Needs herd7.  Each test of litmus/ is run as it is, where the outcome that it names must not be
reachable and no access may be a data race, and with each of its faults, where that outcome has to
be reachable: a check that can't fail shows nothing.  What is harmless is run too, and has to stay
so.  Prints a line a run, and exits with 1 if anything is not as expected.

A fault stands in a comment of the test: its name, then lines of the test (-), and what takes their
place (+).
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

FOLDER = Path(__file__).resolve().parent / "litmus"

#: What herd7 says of the outcome that a test names.
NEVER, REACHABLE = "never", "reachable"

COMMENT = re.compile(r"\(\*.*?\*\)", re.DOTALL)
VARIANT = re.compile(r"\(\* (fault|harmless) (.+)\n((?:[-+ ] .*\n)+)\*\)")

#: C is judged by the repaired C11 model; the others by the model that herd7 has for their machine.
C11_MODEL = "rc11.cat"


class Run(NamedTuple):
    """A test, what was changed in it, its text then, and what has to come."""

    test: str
    change: str
    text: str
    expected: str


def squeeze(line: str) -> str:
    """Return a line without the blanks that align it."""
    return re.sub(r"\s+", "", line)


def changed(text: str, edits: str) -> str:
    """Return the test with its - lines, each there once, replaced by their + lines."""
    lines = text.splitlines()
    places = [squeeze(line) for line in lines]
    removed = [line[2:] for line in edits.splitlines() if line.startswith("-")]
    added = [line[2:] for line in edits.splitlines() if line.startswith("+")]
    if len(removed) != len(added):
        message = f"as many lines go as come:\n{edits}"
        raise ValueError(message)
    for old, new in zip(removed, added, strict=True):
        if places.count(squeeze(old)) != 1:
            message = f"{places.count(squeeze(old))} lines, not one, are: {old}"
            raise ValueError(message)
        lines[places.index(squeeze(old))] = new
    return "\n".join(lines) + "\n"


def runs_of(path: Path) -> list[Run]:
    """Return the runs of a test: as it is, and with each change that its comments name."""
    whole = path.read_text()
    text = COMMENT.sub("", whole)
    found = [Run(path.stem, "", text, NEVER)]
    for kind, name, edits in VARIANT.findall(whole):
        expected = REACHABLE if kind == "fault" else NEVER
        found.append(Run(path.stem, name, changed(text, edits), expected))
    if not any(run.expected == REACHABLE for run in found):
        message = f"{path.name} has no fault: nothing shows that it can fail"
        raise ValueError(message)
    return found


def check(run: Run) -> tuple[str, int, float]:
    """Return what a run found (or herd7's own words), its executions and its seconds."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{run.test}.litmus")
        path.write_text(run.text)
        model = ["-model", C11_MODEL] if run.text.startswith("C ") else []
        done = subprocess.run(
            ["herd7", *model, str(path)],
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    told = re.search(
        r"^Observation \S+ (Never|Sometimes|Always) (\d+) (\d+)$", done.stdout, re.MULTILINE
    )
    # A warning is a test that herd7 did not take as it was meant (a loop that it cut off).
    if done.returncode or told is None or "Warning" in done.stdout:
        return done.stdout.strip(), 0, 0.0
    found = NEVER if told[1] == "Never" else REACHABLE
    if found == NEVER and re.search(r"^Flag", done.stdout, re.MULTILINE):
        found = "a data race"
    return found, int(told[2]) + int(told[3]), time.monotonic() - started


def main() -> int:
    """Run them all, as many at once as there are CPUs."""
    if shutil.which("herd7") is None:
        print(
            "The litmus tests are skipped: there is no herd7. On Debian (from forky on): apt-get "
            "install herdtools7; elsewhere: opam install herdtools7",
            file=sys.stderr,
        )
        return 0
    started = time.monotonic()
    runs = [run for path in sorted(FOLDER.glob("*.litmus")) for run in runs_of(path)]
    wrong = 0
    print(f"{'test':<15}{'change':<40}{'executions':>11}{'seconds':>9}  outcome", flush=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for run, (found, executions, seconds) in zip(runs, pool.map(check, runs), strict=True):
            verdict = found
            if found != run.expected:
                wrong += 1
                verdict += f"   EXPECTED: {run.expected}"
            change = run.change or "-"
            print(f"{run.test:<15}{change:<40}{executions:>11,}{seconds:>9.2f}  {verdict}")
    print(f"{len(runs)} runs in {time.monotonic() - started:.0f} s; {wrong} not as expected")
    return int(wrong > 0 or not runs)


if __name__ == "__main__":
    sys.exit(main())
