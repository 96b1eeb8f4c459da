"""An asyncio server in front of worker processes: a request takes a worker that is IDLE.

    python examples/asyncio_server.py [PORT]

prints its address and its workers' pids, and serves until Ctrl-C or kill. Then

    curl http://127.0.0.1:8000/25

prints "25 squared is 625, says process 4711". The board says who is free, and wakes the loop. Pipes
carry the numbers. A killed worker's request gets 502, and the server starts another worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from enum import IntEnum
from multiprocessing import Pipe, Process, set_start_method
from multiprocessing.connection import Connection

from atomic_intenum import IntEnumArray


class Status(IntEnum):
    """What a worker is doing."""

    STARTING = 1
    IDLE = 2
    BUSY = 3  # the server claims it so
    DONE = 4  # the answer is in the pipe
    DEAD = 5


class Board(IntEnumArray[Status]):
    """A word for each worker."""


def work(board: Board, index: int, pipe: Connection) -> None:
    """Be a worker: answer what comes through the pipe, until the server closes it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
    status = board.at(index)
    status.own()  # its death makes it DEAD
    status.set(Status.IDLE)
    with contextlib.suppress(EOFError, OSError):
        while True:
            number = pipe.recv()
            time.sleep(0.01)  # here goes the work
            pipe.send(f"{number} squared is {number * number}, says process {os.getpid()}")
            status.set(Status.DONE)


class Server:
    """Workers, and who asks them."""

    def __init__(self, size: int) -> None:
        self.board = Board(size, Status.STARTING, on_death=Status.DEAD)
        self.pipes: dict[int, Connection] = {}

    async def keep(self, index: int) -> None:
        """Start a worker, and start it again whenever it dies."""
        status = self.board.at(index)
        while True:
            status.set(Status.STARTING)
            self.pipes[index], theirs = Pipe()
            worker = Process(target=work, args=(self.board, index, theirs), daemon=True)
            worker.start()
            theirs.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(20):  # seconds; who dies before own() leaves STARTING
                    await status.aio.wait_while(Status.STARTING)
                print("worker", index, "is", worker.pid, flush=True)
                await status.aio.wait_for(Status.DEAD)
            worker.kill()
            worker.join()

    async def ask(self, number: int) -> tuple[str, str]:
        """Have a worker answer, and return the status of HTTP and the text."""
        try:
            async with asyncio.timeout(1):
                index = await self.board.aio.claim(Status.IDLE, Status.BUSY)
        except TimeoutError:
            return "503 Service Unavailable", "no worker is free"
        status, pipe = self.board.at(index), self.pipes[index]
        with contextlib.suppress(EOFError, OSError):  # a killed worker's pipe
            pipe.send(number)  # all but DONE is a death: there may be a new worker already
            if await status.aio.wait_while(Status.BUSY) is Status.DONE:
                text = pipe.recv()
                status.compare_and_set(Status.DONE, Status.IDLE)
                return "200 OK", text
        return "502 Bad Gateway", "the worker died"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, such as GET /25 HTTP/1.1."""
        with contextlib.closing(writer):
            path = (await reader.readline()).decode("latin-1").partition(" /")[2].partition(" ")[0]
            code, text = "404 Not Found", "ask for a number"
            if path.isdecimal() and len(path) < 20:
                code, text = await self.ask(int(path))
            writer.write(f"HTTP/1.1 {code}\r\nConnection: close\r\n\r\n{text}\n".encode())


async def serve(port: int) -> None:
    """Serve until this task is cancelled."""
    server = Server(4)
    listener = await asyncio.start_server(server.answer, "127.0.0.1", port)
    print(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", flush=True)
    with contextlib.closing(listener):  # async with would wait for clients that say nothing
        await asyncio.gather(*map(server.keep, range(len(server.board))))


if __name__ == "__main__":
    set_start_method("spawn")  # no fork beside the thread that watches
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's & has it ignored
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(int(sys.argv[1]) if sys.argv[1:] else 8000))
