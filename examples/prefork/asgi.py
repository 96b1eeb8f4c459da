"""The application that uvicorn serves: each request answers with the statuses of all workers."""

import os

from board import Board, Status, page

board = Board.attach(os.environ["BOARD"])
index = board.claim(Status.FREE, Status.STARTING)  # a word that nobody else gets


async def app(scope, receive, send):
    """Serve one connection: the start and the end of the worker, or a request."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    board[index] = Status.BUSY
    body = page(board)
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    board[index] = Status.IDLE


async def lifespan(receive, send):
    """Say when this worker serves, and when it no longer does."""
    await receive()
    board[index] = Status.IDLE
    await send({"type": "lifespan.startup.complete"})
    await receive()
    board[index] = Status.FREE
    await send({"type": "lifespan.shutdown.complete"})
