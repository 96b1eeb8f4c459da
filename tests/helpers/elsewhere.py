"""A process in a PID namespace of its own, which says what comes of what it is told.

    PYTHONPATH=tests python tests/helpers/elsewhere.py NAME BOARD

It attaches to both, and serves; or serves with what it has inherited (Elsewhere).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import signal
import sys
import traceback
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.boards import Board
from helpers.support import (
    CALCULATING,
    IDLE,
    UNAVAILABLE,
    WorkerStatus,
    collect_unless_counted,
    environment,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

CLONE_NEWPID = 0x20000000  # os has it from Python 3.12 on

#: For how long what must not happen is watched; and how long what must may take.
WATCH, PATIENCE = 0.1, 20.0

__all__ = [
    "CALCULATING",
    "IDLE",
    "UNAVAILABLE",
    "Elsewhere",
    "attached",
    "can",
    "collect_unless_counted",
    "inherited",
]


def unshare() -> bool:
    """Have the children from here on in another PID namespace; False if that is not permitted."""
    call = getattr(ctypes.CDLL(None), "unshare", None)
    return call is not None and call(CLONE_NEWPID) == 0


def can() -> bool:
    """Tell whether a process here may make PID namespaces."""
    if sys.platform != "linux":
        return False
    pid = os.fork()
    if pid == 0:
        os._exit(0 if unshare() else 1)
    return os.waitpid(pid, 0)[1] == 0


def serve(incoming: TextIO, outgoing: TextIO, **names: Any) -> None:
    """Do what each line says, an expression or a statement, and answer with what came of it."""
    names |= globals()
    for line in incoming:
        try:
            try:
                answer = repr(eval(line, names))
            except SyntaxError:
                exec(line, names)
                answer = "None"
        except Exception as error:  # noqa: BLE001
            answer = f"{type(error).__name__}: {error}"
        outgoing.write(answer.replace("\n", " ") + "\n")
        outgoing.flush()


class Elsewhere:
    """The process there."""

    def __init__(self, pid: int, to: TextIO, back: TextIO) -> None:
        self.pid = pid
        self._to, self._back = to, back

    def tell(self, line: str) -> None:
        """Have it do something, and do not wait."""
        self._to.write(line + "\n")
        self._to.flush()

    def is_silent(self, watch: float = WATCH) -> bool:
        """Tell whether no answer comes while watched."""
        return not wait([self._back.fileno()], watch)

    def answer(self) -> str:
        """Return the next answer; AssertionError if none comes in time."""
        assert not self.is_silent(PATIENCE), f"no answer in {PATIENCE} s"
        return self._back.readline().rstrip("\n")

    def ask(self, line: str) -> str:
        """Have it do something, and return its answer."""
        self.tell(line)
        return self.answer()

    def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{self.pid}").exists(), "its end")


@contextlib.contextmanager
def _running(names: dict[str, Any], program: list[str]) -> Iterator[Elsewhere]:
    """Run the process as the first one of its namespace, and end it.

    Args:
        names: what it has inherited.
        program: what it executes; empty: it serves with what it has inherited.

    """
    theirs, to = os.pipe()
    back, ours = os.pipe()
    middle = os.fork()
    if middle == 0:
        code = 1
        try:
            os.close(to)
            os.close(back)
            code = _be_in_between(names, program, theirs, ours)
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(theirs)
    os.close(ours)
    with open(to, "w") as outgoing, open(back) as incoming:  # noqa: PTH123
        process = Elsewhere(0, outgoing, incoming)
        try:
            process.pid = int(process.answer())
            yield process
            outgoing.close()
            assert not process.is_silent(PATIENCE), "it did not end"
            assert incoming.read() == ""
        finally:
            if process.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            else:
                os.kill(middle, signal.SIGKILL)
            status = os.waitpid(middle, 0)[1]
    assert os.waitstatus_to_exitcode(status) == 0


def _be_in_between(names: dict[str, Any], program: list[str], theirs: int, ours: int) -> int:
    """Fork the process, say which it is, and wait for its end; 0 if it was a good one."""
    assert unshare()
    pid = os.fork()
    if pid:
        os.write(ours, f"{pid}\n".encode())
        os.close(ours)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return 0 if code in (0, -signal.SIGKILL) else 1
    if program:
        os.dup2(theirs, 0)
        os.dup2(ours, 1)
        os.execve(sys.executable, [sys.executable, *program], environment())
    with open(theirs) as incoming, open(ours, "w") as outgoing:
        serve(incoming, outgoing, **names)
    return 0


def inherited(**names: Any) -> contextlib.AbstractContextManager[Elsewhere]:
    """Run one with what it inherits."""
    return _running(names, [])


def attached(name: str, board: str) -> contextlib.AbstractContextManager[Elsewhere]:
    """Run one that attaches to a value and an array."""
    return _running({}, [__file__, name, board])


def main() -> None:
    """Attach, and serve."""
    value, board = WorkerStatus.attach(sys.argv[1]), Board.attach(sys.argv[2])
    serve(sys.stdin, sys.stdout, value=value, board=board, pickle=pickle)


if __name__ == "__main__":
    main()
