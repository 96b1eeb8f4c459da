"""Processes for the tests of locks and histories: forked where that can be, never left behind."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
import time
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ParamSpec

from atomic_intenum import IntEnumValue
from helpers.by_value import CONTEXT
from helpers.lacking import WINDOWS, Lacking, needs, what_is_lacking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

_P = ParamSpec("_P")

#: No step of these tests takes a tenth of it, unless something hangs.
PATIENCE = 20.0

#: For how long a step that must not happen is watched.
WATCH = 0.1

#: The exit code of a process that was killed.
KILLED = -getattr(signal, "SIGKILL", signal.SIGTERM)


class Bits(IntEnum):
    """Members without a bit in common between LEFT and RIGHT: half of each is neither."""

    IDLE = 0
    LEFT = 0x55555555
    RIGHT = -0x55555556
    LOWEST = -(2**31)
    HIGHEST = 2**31 - 1


class Status(IntEnumValue[Bits]):
    """The value under test."""


class Peer:
    """A child process and the pipe to it."""

    def __init__(self, process: BaseProcess, pipe: Connection) -> None:
        self.process = process
        self._pipe = pipe

    @property
    def pid(self) -> int:
        """The process id."""
        assert self.process.pid is not None
        return self.process.pid

    @property
    def descriptor(self) -> int:
        """The descriptor of the parent's end of the pipe."""
        return self._pipe.fileno()

    def tell(self, message: object = None) -> None:
        """Send a message to the child's ``pipe.recv()``."""
        self._pipe.send(message)

    def says(self, patience: float = PATIENCE) -> Any:
        """Wait for the child's next message; fail if none comes in time."""
        assert self._pipe.poll(patience), f"no word from {self.process.name} in {patience} s"
        answer = self._pipe.recv()
        if isinstance(answer, Lacking):
            needs(answer)
        return answer

    def is_silent(self, watch: float = WATCH) -> bool:
        """Whether no message comes while watched."""
        return not self._pipe.poll(watch)

    def kill(self) -> None:
        """Kill -9, and wait until the child is gone."""
        self.process.kill()
        self.process.join(PATIENCE)


def _skip_if_lacking(pipe: Connection) -> None:
    """Skip the test, if that is the last that the child has said."""
    with contextlib.suppress(EOFError, OSError):
        while pipe.poll():
            answer = pipe.recv()
            if isinstance(answer, Lacking):
                needs(answer)


def _main(target: Callable[..., object], pipe: Connection, args: tuple[object, ...]) -> None:
    try:
        target(pipe, *args)
    except Exception as error:
        what = what_is_lacking(error)
        if what is None:
            raise
        pipe.send(Lacking(what))


@contextlib.contextmanager
def child(target: Callable[..., object], *args: object) -> Iterator[Peer]:
    """Run ``target(pipe, *args)`` in a process; at the end it must be done, without error.

    A child that was killed on purpose is no error.
    """
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_main, args=(target, theirs, args), name=target.__name__)
    process.start()
    theirs.close()
    del args  # what the caller drops is gone
    try:
        yield Peer(process, ours)
        process.join(PATIENCE)
        assert process.exitcode is not None, f"{process.name} did not end"
        if WINDOWS:
            _skip_if_lacking(ours)
        assert process.exitcode in (0, KILLED), process.exitcode
    finally:
        if process.is_alive():
            process.kill()
        process.join()
        ours.close()


class Task:
    """A thread that keeps its result or its exception."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:  # noqa: BLE001 - raised in result()
            self._error = error

    def is_running(self, watch: float = WATCH) -> bool:
        """Whether the thread doesn't end while watched."""
        self._thread.join(watch)
        return self._thread.is_alive()

    def result(self) -> Any:
        """Wait for the end; return or raise what the function did."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the thread did not end"
        if self._error is not None:
            raise self._error
        return self._result


def in_a_thread_of_its_own(test: Callable[_P, None]) -> Callable[_P, None]:
    """Make a test run in another thread: what it leaves locked ends with that thread."""

    @functools.wraps(test)
    def run(*args: _P.args, **keywords: _P.kwargs) -> None:
        Task(lambda: test(*args, **keywords)).result()

    return run


def is_asleep(pid: int) -> bool:
    """Whether a process's main thread sleeps in the kernel."""
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
        return file.read().rpartition(b")")[2].split()[0] == b"S"


def hold(pipe: Connection, value: Status) -> None:
    """Hold the value's lock: say so, and let go when told to or after PATIENCE."""
    with value.get_lock():
        pipe.send("held")
        told = pipe.poll(PATIENCE)
    pipe.send("told" if told else "gave up")


def exit_of(fork_child: Callable[[], object], fork: Callable[[], int] | None = None) -> int:
    """Run a function in a plain os.fork child; return its exit code, 0 if it returned true."""
    pid = (fork or os.fork)()
    if pid == 0:
        code = 2
        try:
            code = 0 if fork_child() else 1
        finally:
            os._exit(code)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    message = "the child of os.fork hangs"
    raise AssertionError(message)
