"""Measures everything, prints the table, and writes one file: what `make bench` runs.

    python benchmarks/run.py --output RESULTS.json [--rounds 10]

Each round starts fresh interpreters: one of each backend for the operations, by pytest-benchmark,
and one of each other runner; so what the table says is a median over interpreters, and over the
minutes in between.  How things grow is measured once, at the end.  Exits with 1 if a row of the
table misses its bar, or can't be shown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

import machine
import rows
from operations import OPERATIONS
from results import Collected, Found, Missing, Results, Series, received

from atomic_intenum import BACKEND

HERE = Path(__file__).parent
ROUNDS, TURNS = 10, 8
PREFIXES = {"native": "", "lock": rows.LOCK_PATH}
RUNNERS = ("wakeups", "processes", "arrays")
HEAD = ("what", "against", "ours", "theirs", "ratio (quartiles)", "bar", "")
WIDTHS = (37, 30, 9, 9, 28, 20, 0)


def turns_of(content: dict[str, Any], prefix: str = "") -> list[Series]:
    """Return what pytest-benchmark wrote as series: seconds of one operation, turn by turn."""
    taken: dict[tuple[str, str], list[float]] = {}
    for case in content["benchmarks"]:
        about = case["extra_info"]
        seconds = case["stats"]["median"] / about["operations"]
        taken.setdefault((prefix + about["operation"], about["who"]), []).append(seconds)
    return [Series(what, who, seconds) for (what, who), seconds in taken.items()]


def measure_operations(backend: str, turns: int) -> list[Series]:
    """Have an interpreter of that backend measure the operations; RuntimeError if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "operations.json"
        command = [sys.executable, "-m", "pytest", str(HERE), "-q", "--benchmark-quiet"]
        command += ["--benchmark-json", str(path)]
        more = {"ATOMIC_INTENUM_BACKEND": backend, "BENCH_TURNS": str(turns)}
        environment = {**os.environ, **more}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        if done.returncode:
            message = f"the operations on the backend {backend}: {done.stdout}{done.stderr}"
            raise RuntimeError(message)
        return turns_of(json.loads(path.read_text()), PREFIXES[backend])


def ran(runner: str, *arguments: str) -> tuple[list[Series], list[Missing]]:
    """Have a runner measure, in an interpreter of its own."""
    command = [sys.executable, str(HERE / f"{runner}.py"), *arguments]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, timeout=300)
    if done.returncode:
        return [], [Missing(runner, "all", f"MISSED: {runner}.py ended with {done.returncode}")]
    return received(done.stdout)


def absent() -> list[Missing]:
    """Return whom the operations leave out, since it is not installed."""
    every = [(what, who) for what, contenders in OPERATIONS.items() for who in contenders]
    return [Missing(what, who.label, who.absence) for what, who in every if who.absence]


def measure(rounds: int) -> Results:
    run, collected, begun = Results(machine.facts(), missing=absent()), Collected(), perf_counter()

    def add(found: list[Series], gaps: list[Missing]) -> None:
        collected.add(found)
        run.missing += [gap for gap in gaps if gap not in run.missing]

    for number in range(rounds):
        for backend in PREFIXES:
            collected.add(measure_operations(backend, TURNS))
        for runner in RUNNERS:
            add(*ran(runner))
        print(f"round {number + 1} of {rounds}: {perf_counter() - begun:.0f} s", flush=True)
    for runner in RUNNERS:
        add(*ran(runner, "--growth"))
    seconds = round(perf_counter() - begun)
    print(f"growth: {seconds} s\n")
    run.machine.update(rounds=rounds, seconds=seconds)
    run.figures = collected.figures()
    judge(collected, run)
    return run


def judge(collected: Collected, run: Results) -> None:
    """Have a run say of each row what became of it, or why it can't be shown."""
    for row in rows.ROWS:
        found = collected.row(row)
        if found is not None:
            run.rows.append(found)
            continue
        sides = [(row.what.removeprefix(rows.LOCK_PATH), who) for who in (row.ours, row.rival)]
        known = [gap.reason for gap in run.missing if (gap.what, gap.who) in sides]
        reason = (known or ["nobody measured it"])[0]
        verdict = reason if row.limit is None else f"MISSED: {reason}"
        run.missing.append(Missing(row.title, row.rival, verdict))


def printed(found: Iterable[Found]) -> None:
    for cells in [HEAD, *(row.cells for row in found)]:
        padded = (f"{cell:{width}} " for cell, width in zip(cells, WIDTHS, strict=True))
        print("".join(padded).rstrip())


def show(run: Results) -> int:
    """Print the table; returns 1 if something is missed."""
    print("\n".join(machine.description(run.machine)), end="\n\n")
    printed(run.rows)
    for gap in run.missing:
        print(f"not measured: {gap.what}: {gap.who}: {gap.reason}")
    missed = [row.title for row in run.rows if not row.holds]
    missed += [gap.what for gap in run.missing if gap.reason.startswith("MISSED")]
    print(f"\n{len(missed)} missed: {'; '.join(missed)}" if missed else "\nEvery bar is kept.")
    return int(bool(missed))


def main() -> int:
    """Measure, print and write; 1 if something is missed."""
    parser = argparse.ArgumentParser(description="All benchmarks.")
    parser.add_argument("--output", type=Path, metavar="PATH", required=True)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how many fresh interpreters")
    arguments = parser.parse_args()
    if BACKEND != "native":
        print(f"These benchmarks begin with the native backend; this is {BACKEND}.")
        return 1
    run = measure(arguments.rounds)
    run.save(arguments.output)
    return show(run)


if __name__ == "__main__":
    sys.exit(main())
