"""Eight workers behind one port; any of them tells Prometheus what all are doing.

    pip install 'atomic-intenum[metrics]'
    python examples/metrics.py 8000  # and: curl http://127.0.0.1:8000/metrics

A worker is BUSY while it answers, as with ``/slow``.  Kill one with -9: another has its place.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import socket
import sys
import time
from enum import IntEnum
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from atomic_intenum import IntEnumArray, IntEnumValue
from atomic_intenum.observe import Collector


class ServiceEnum(IntEnum):
    """What the service is doing."""

    STARTING = 1
    READY = 2
    STOPPING = 3


class WorkerEnum(IntEnum):
    """What a worker is doing."""

    STARTING = 1
    IDLE = 2
    BUSY = 3
    DEAD = 4


Service = IntEnumValue[ServiceEnum]
Board = IntEnumArray[WorkerEnum]


class Quiet(WSGIRequestHandler):
    """A handler of requests without a log."""

    def log_message(self, *_: Any) -> None:
        """Write no log."""


def work(index: int, listener: socket.socket, board: Board, names: list[str]) -> None:
    """Be a worker: answer what comes, until the parent ends this process."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # wsgiref would take sys.exit() for an error
    status = board.at(index)
    status.own()  # from here on, this process's death makes it DEAD
    registry = CollectorRegistry()
    registry.register(Collector(names))
    metrics: Any = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        status.set(WorkerEnum.BUSY)
        try:
            if environ["PATH_INFO"] == "/metrics":
                return metrics(environ, start_response)
            if environ["PATH_INFO"] == "/slow":
                time.sleep(1)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [f"worker {index}\n".encode()]
        finally:
            status.set(WorkerEnum.IDLE)

    server = WSGIServer(("", 0), Quiet, bind_and_activate=False)
    server.socket = listener
    server.server_name, server.server_port = listener.getsockname()
    server.setup_environ()
    server.set_app(answer)
    status.set(WorkerEnum.IDLE)
    server.serve_forever(poll_interval=60)


def main() -> None:
    """Start the workers, and another one for each that dies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--name", default="app", help="of the segments")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit())
    listener = socket.create_server(("127.0.0.1", arguments.port))
    listener.settimeout(0)  # all workers are told of a request, and one gets it
    names = [arguments.name, f"{arguments.name}-workers"]
    service = Service(ServiceEnum.STARTING, segment_name=names[0])
    board = Board(8, WorkerEnum.STARTING, segment_name=names[1], on_death=WorkerEnum.DEAD)

    def start(index: int) -> multiprocessing.Process:
        worker = multiprocessing.Process(target=work, args=(index, listener, board, names))
        worker.daemon = True  # it ends with this process
        worker.start()
        return worker

    workers = [start(index) for index in range(len(board))]
    board.wait_all(WorkerEnum.IDLE, WorkerEnum.BUSY)
    service.set(ServiceEnum.READY)
    print(f"serving on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    try:
        while True:
            index = board.wait_any(WorkerEnum.DEAD)
            workers[index].join()  # of a dead one: at once
            board[index] = WorkerEnum.STARTING
            workers[index] = start(index)
    finally:
        service.set(ServiceEnum.STOPPING)


if __name__ == "__main__":
    main()
