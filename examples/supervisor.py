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
word is DEAD unless it has said otherwise. If the supervisor is killed, the workers end by
themselves.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from enum import IntEnum
from multiprocessing import Process

from atomic_intenum import IntEnumArray


class Status(IntEnum):
    """What a worker is doing."""

    STARTING = 1
    RUNNING = 2
    STOPPING = 3  # the supervisor asks it to
    STOPPED = 4
    DEAD = 5  # it ended without being asked


class Board(IntEnumArray[Status]):
    """A word for each worker."""


def work(board: Board, index: int) -> None:
    """Be a worker, until the supervisor says STOPPING or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a fork inherits the supervisor's
    status = board.at(index)
    status.own()  # first of all
    status.compare_and_set(Status.STARTING, Status.RUNNING)  # unless it is STOPPING by now
    while status != Status.STOPPING:
        time.sleep(0.1)  # here goes the work
        supervisor = multiprocessing.parent_process()
        if supervisor is not None and not supervisor.is_alive():
            return  # nobody is there to see that it is DEAD
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


def supervise(board: Board, workers: list[Process]) -> None:
    """Restart each worker that dies, for ever."""
    while True:
        index = board.wait_any(Status.DEAD)  # it sleeps here
        workers[index].join()
        print(f"worker {index} died: exit code {workers[index].exitcode}", flush=True)
        workers[index] = start(board, index)


def main() -> None:
    """Start the workers, supervise them, and stop them."""
    board = Board(4, Status.STARTING, on_death=Status.DEAD)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # kill does as Ctrl-C does
    try:
        supervise(board, [start(board, index) for index in range(len(board))])
    except KeyboardInterrupt:
        pass  # this is how it is told to stop
    finally:
        board.fill(Status.STOPPING)
        for worker in multiprocessing.active_children():
            worker.join()
        print({status.name: number for status, number in board.counts().items() if number})


if __name__ == "__main__":
    main()
