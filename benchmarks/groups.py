"""Operations measured side by side: all contenders of an operation by turns.

What is done so that two runs agree:

- A loop takes about half a millisecond, by the CPU time of its thread: most are not interrupted,
  what others run meanwhile is not in it, and the median passes over what they leave in the caches.
- The contenders take turns, each time in the opposite order, so that whatever drifts hits all of
  them.
- All of that is done in several sets of fresh interpreters, one set after the other, since where an
  interpreter's memory happens to lie can move a figure by some per cent; each set on the CPU that
  is the fastest just then. A ratio is taken in each set, or, of what reads megabytes, in each part
  of its turns; the median of the quiet ones counts (see quiet() in results.py).
- The first turns, which warm caches and specialise the code, are not counted, and no garbage is
  collected inside a loop.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import machine
from operations import COUNTS
from results import OF_MEGABYTES, Missing, Results, Turns, figure
from timing import on_quietest_cpu
from worker import Interpreter, Worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SECONDS = 0.0005
#: Long enough for several segments in one loop, so that their cost is spread as in a long run.
LONGER = {"create": 0.004}
SETS = 8

#: Of most, a set is what one interpreter takes.
TURNS = Turns(12, warm_up=2)
MORE_TURNS = {COUNTS: OF_MEGABYTES}

#: This interpreter with each backend; the first one measures the rivals too.
BACKENDS = ("native", "cffi", "lock")
HERE = [Interpreter((sys.executable,), backend) for backend in BACKENDS]


class Measured(NamedTuple):
    """One contender in one operation.

    Attributes:
        samples: seconds of one operation; empty if it was not measured.
        operations: in one timing.
        text: the statement.
        missing: why it was not measured.

    """

    samples: list[float]
    operations: int = 0
    text: str = ""
    missing: str = ""


def turns_of(operation: str) -> Turns:
    """Return how often everybody is timed in an operation."""
    return MORE_TURNS.get(operation, TURNS)


def missing_backend(backend: str) -> str:
    """Return why this Python has not got a backend; empty if it has."""
    if backend == "lock":
        return ""
    if find_spec(f"atomic_intenum._{backend}") is None:
        return f"MISSING: the extension for {backend} was not built"
    if backend == "cffi" and find_spec("cffi") is None:
        return "MISSING: cffi is not installed"
    return ""


def ours(backend: str) -> str:
    """Return the label of this package with a backend."""
    return f"atomic_intenum {backend}"


def measure(
    wanted: Mapping[str, Sequence[str] | None],
    interpreters: Iterable[Interpreter] = HERE,
    sets: int = SETS,
) -> dict[str, dict[str, Measured]]:
    """Measure operations.

    Args:
        wanted: the operations, and of each the labels of the contenders; None for all.
        interpreters: the first measures everybody, the others this package alone.
        sets: how many fresh ones of each.

    Returns:
        By operation and label.

    """
    started = [each for each in interpreters if each.label or not missing_backend(each.backend)]
    found: dict[str, dict[str, Measured]] = {operation: {} for operation in wanted}
    for _ in range(sets):
        with ExitStack() as stack, on_quietest_cpu() as cpu:
            workers = [stack.enter_context(Worker(interpreter)) for interpreter in started]
            for operation, only in wanted.items():
                _measure(workers, operation, only, cpu, found[operation])
    return found


def _measure(
    workers: list[Worker],
    operation: str,
    only: Sequence[str] | None,
    cpu: int | None,
    found: dict[str, Measured],
) -> None:
    names: list[tuple[Worker, dict[str, str]]] = []
    for number, worker in enumerate(workers):
        mine = ours(worker.interpreter.backend)
        label = worker.interpreter.label
        # Rivals are no other in another backend's interpreter: the first one measures them.
        selected = list(only) if only is not None else None
        if number or label:
            selected = [mine] if label or only is None or mine in only else []
        opened = worker.ask(
            open=operation, only=selected, seconds=LONGER.get(operation, SECONDS), cpu=cpu
        )
        labels = {name: label or name for name in opened}
        for name, about in opened.items():
            found.setdefault(
                labels[name],
                Measured(
                    [],
                    about.get("operations", 0),
                    about.get("text", ""),
                    about.get("missing", ""),
                ),
            )
        names.append((worker, labels))
    turns = turns_of(operation)
    for turn in range(turns.warm_up + turns.repeats):
        backwards = turn % 2 == 1
        for worker, labels in reversed(names) if backwards else names:
            for name, seconds in worker.ask(time=backwards).items():
                if turn >= turns.warm_up:
                    found[labels[name]].samples.append(seconds)


def results(found: Mapping[str, Mapping[str, Measured]], part: str = "operations") -> Results:
    """Return what was measured as figures."""
    run = Results(machine.facts())
    for operation, contenders in found.items():
        for label, case in contenders.items():
            if case.missing:
                run.missing.append(Missing(part, operation, label, case.missing))
            else:
                sets = turns_of(operation).sets(case.samples)
                run.figures.append(figure(part, operation, label, case.samples, sets=sets))
    return run
