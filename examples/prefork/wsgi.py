"""The application that gunicorn serves: each request answers with the statuses of all workers."""

import shared
from board import Status, page


def app(environ, start_response):
    """Answer one request, and be BUSY meanwhile."""
    shared.mine.set(Status.BUSY)
    try:
        body = page(shared.board)
    finally:
        shared.mine.set(Status.IDLE)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
