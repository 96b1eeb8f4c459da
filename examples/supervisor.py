"""A supervisor that restarts workers that die, and sleeps until one does.

    python examples/supervisor.py

starts four workers and prints their pids. Kill one of them from another terminal by kill -9, and
end it all by Ctrl-C or by kill:

    worker 0 is 4711
    worker 1 is 4712
    worker 2 is 4713
    worker 3 is 4714
    worker 1 died: exit code -9
    worker 1 is 4715
    {'STOPPED': 4}

Each worker owns its word of the board, and the board has on_death=DEAD: however a worker ends, its
word is DEAD unless it has said otherwise. The last word is the supervisor's own, so that one wait
tells of a dead worker and of the end. If the supervisor is killed, the workers end by themselves.
"""

from __future__ import annotations

import signal
import time
from enum import IntEnum
from multiprocessing import Process

from atomic_intenum import IntEnumArray

WORKERS = 4


class Status(IntEnum):
    """What a worker, or the supervisor, is doing."""

    STARTING = 1
    RUNNING = 2
    STOPPING = 3  # the supervisor, which was told to
    STOPPED = 4
    DEAD = 5  # it ended, and did not say so


class Board(IntEnumArray[Status]):
    """A word for each worker, and one for the supervisor."""


def work(board: Board, index: int) -> None:
    """Be a worker, until the supervisor is STOPPING or dead."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a fork inherits the supervisor's
    status, supervisor = board.at(index), board.at(-1)
    status.own()  # first of all
    status.set(Status.RUNNING)
    while supervisor.owner is not None and supervisor == Status.RUNNING:
        time.sleep(0.1)  # here goes the work
    status.disown()  # this is no death
    status.set(Status.STOPPED)


def start(board: Board, index: int) -> Process:
    """Start a worker, and return once it owns its word."""
    board[index] = Status.STARTING
    worker = Process(target=work, args=(board, index))
    worker.start()
    board.at(index).wait_while(Status.STARTING, timeout=20)  # seconds
    print("worker", index, "is", worker.pid, flush=True)
    return worker


def supervise(board: Board) -> None:
    """Start the workers, and each of them again when it dies, until the supervisor is STOPPING."""
    workers = [start(board, index) for index in range(WORKERS)]
    while board[-1] is Status.RUNNING:
        index = board.wait_any(Status.DEAD, Status.STOPPING)  # it sleeps here
        if index < WORKERS:
            workers[index].join()
            print(f"worker {index} died: exit code {workers[index].exitcode}", flush=True)
            workers[index] = start(board, index)
    for worker in workers:
        worker.join()
    print({status.name: board[:-1].count(status) for status in set(board[:-1])})


def main() -> None:
    """Be the supervisor, until Ctrl-C or kill."""
    board = Board(WORKERS + 1, Status.STARTING, on_death=Status.DEAD)
    status = board.at(-1)
    status.own()
    status.set(Status.RUNNING)
    # Nothing is raised: an exception could get lost wherever the signal comes.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: status.set(Status.STOPPING))
    try:
        supervise(board)
    finally:
        status.set(Status.STOPPING)  # for the workers, if something went wrong here


if __name__ == "__main__":
    main()
