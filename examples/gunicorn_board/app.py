"""The application that gunicorn serves: GET /workers answers with the board, as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from scoreboard import Status, rows, say

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a request, and be BUSY meanwhile."""
    say(Status.BUSY)
    try:
        known = environ["PATH_INFO"] == "/workers"
        answer = rows() if known else "ask for /workers"
        code = "200 OK" if known else "404 Not Found"
        start_response(code, [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]
    finally:
        say(Status.IDLE)
