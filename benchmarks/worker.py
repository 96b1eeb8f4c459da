"""An interpreter that times loops on request, and the side that asks.

A process has one backend, chosen when it imports the package. So each backend, and each further
Python, gets an interpreter of its own, and they take turns: whoever asks sees to it. A request and
its answer are a line of JSON each; the loops run between the two, with nothing of the harness
inside.

    {"open": operation, "only": [labels] or null, "seconds": s, "cpu": n or null}
        -> {label: {"text": statement, "operations": n} or {"missing": reason}}
    {"time": true or false}   (in reverse order or not)
        -> {label: seconds of one operation}
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from timing import Loop


class Interpreter(NamedTuple):
    """What to start.

    Attributes:
        command: that runs a Python.
        backend: for it.
        label: its name in tables, put behind ours; empty for the one that measures the rivals too.

    """

    command: tuple[str, ...]
    backend: str
    label: str = ""


class WorkerError(Exception):
    """An interpreter could not be started, or ended."""


class Worker:
    """The side that asks: starts the interpreter, and ends it."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self._process = subprocess.Popen(
            [*interpreter.command, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "ATOMIC_INTENUM_BACKEND": interpreter.backend},
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return the answer."""
        reader, writer = self._process.stdout, self._process.stdin
        assert reader is not None
        assert writer is not None
        try:
            print(json.dumps(request), file=writer, flush=True)
        except BrokenPipeError:
            line = ""
        else:
            line = reader.readline()
        if not line:
            message = f"{' '.join(self.interpreter.command)} ({self.interpreter.backend}) ended"
            raise WorkerError(message)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let it clean up, which the end of its input tells it to."""
        with self._process:
            assert self._process.stdin is not None
            with suppress(BrokenPipeError):  # it has ended already
                self._process.stdin.close()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()


# -- the side that times


def _open(
    stack: ExitStack,
    loops: dict[str, Loop],
    operation: str,
    only: Iterable[str] | None,
    seconds: float,
) -> dict[str, dict[str, Any]]:
    from contenders import names_of
    from operations import CANNOT, OPERATIONS
    from timing import Loop

    answer: dict[str, dict[str, Any]] = {}
    statements = OPERATIONS[operation]
    cannot = {who: reason for (what, who), reason in CANNOT.items() if what == operation}
    for contender in dict.fromkeys([*statements, *cannot]):
        if only is not None and contender.label not in only:
            continue
        reason = cannot.get(contender) or contender.absence
        if reason:
            answer[contender.label] = {"missing": reason}
            continue
        loop = Loop(statements[contender], names_of(contender, stack), seconds)
        stack.callback(loop.prepare)  # drops what the creation kept
        loops[contender.label] = loop
        answer[contender.label] = {
            "text": statements[contender].text,
            "operations": loop.operations,
        }
    return answer


def _serve() -> None:
    from timing import no_collection

    with ExitStack() as last:
        stack = last.enter_context(ExitStack())
        loops: dict[str, Loop] = {}
        for line in sys.stdin:
            request = json.loads(line)
            if "open" in request:
                stack.close()
                loops.clear()
                if request["cpu"] is not None:
                    os.sched_setaffinity(0, {request["cpu"]})
                answer: dict[str, Any] = _open(
                    stack, loops, request["open"], request["only"], request["seconds"]
                )
            else:
                order = list(loops)
                if request["time"]:
                    order.reverse()
                with no_collection():
                    answer = {label: loops[label].time() for label in order}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
