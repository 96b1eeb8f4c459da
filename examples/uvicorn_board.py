"""Uvicorn with several workers: each has a row of one board, and GET /workers answers with it.

    python examples/uvicorn_board.py [PORT]

serves until Ctrl-C or kill. Ask it in another terminal for its workers, and kill one by kill -9:

    $ curl http://127.0.0.1:8000/workers
    [{"row": 0, "pid": 4712, "status": "IDLE"}, {"row": 1, "pid": 4713, "status": "BUSY"}]

uvicorn starts each worker anew, so that a worker inherits no memory. So this program creates the
board by a name, and each worker attaches to it. A killed worker's row is FREE again by on_death=.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeAlias

from atomic_intenum import IntEnumArray, IntEnumValue

Message: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class Status(IntEnum):
    """What a worker is doing."""

    FREE = 0  # no worker has this row
    IDLE = 1
    BUSY = 2


class Board(IntEnumArray[Status]):
    """A row for each worker."""


class Worker:
    """The application, in each worker."""

    board: Board
    row: IntEnumValue[Status]
    requests = 0  # how many it is answering

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve as ASGI says: once for the worker's life, and once for each request."""
        if scope["type"] == "lifespan":
            await receive()
            if "BOARD" not in os.environ:
                message = "start it by: python examples/uvicorn_board.py"
                await send({"type": "lifespan.startup.failed", "message": message})
                return
            self.start()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.row.set(Status.FREE)
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "http":
            self.requests += 1
            self.row.set(Status.BUSY)
            try:
                await self.answer(scope["path"], send)
            finally:
                self.requests -= 1
                if not self.requests:
                    self.row.set(Status.IDLE)

    def start(self) -> None:
        """Take a row."""
        self.board = Board.attach(os.environ["BOARD"])
        index = self.board.claim(Status.FREE, Status.IDLE)
        if index is None:  # 0 is an index
            raise RuntimeError(f"all {len(self.board)} rows of the board are taken")
        self.row = self.board.at(index)

    def rows(self) -> list[Message]:
        """Return what the board says of each worker."""
        owners = self.board.owners()  # first of all: it gives dead workers' rows back
        return [
            {"row": index, "pid": pid, "status": status.name}
            for index, (pid, status) in enumerate(zip(owners, self.board, strict=True))
            # A row that was taken since has no pid here: the next answer has it.
            if pid is not None and status is not Status.FREE
        ]

    async def answer(self, path: str, send: Send) -> None:
        """Answer with the board."""
        known = path == "/workers"
        body = json.dumps(self.rows() if known else "ask for /workers").encode()
        headers = [(b"content-type", b"application/json")]
        code = 200 if known else 404
        await send({"type": "http.response.start", "status": code, "headers": headers})
        await send({"type": "http.response.body", "body": body})


app = Worker()

if __name__ == "__main__":
    import uvicorn

    # A worker that writes IDLE or BUSY answers for its row: if it dies, the row is FREE.
    board = Board(
        size=64,
        initial=Status.FREE,
        segment_name=f"uvicorn-{os.getpid()}",  # two servers may run side by side
        on_death={Status.IDLE: Status.FREE, Status.BUSY: Status.FREE},
    )
    os.environ["BOARD"] = board.segment_name
    uvicorn.run(
        "uvicorn_board:app",
        app_dir=str(Path(__file__).parent),
        port=int(sys.argv[1]) if sys.argv[1:] else 8000,
        workers=2,
        lifespan="on",  # the application cannot do without
    )
