"""Gunicorn's configuration: four workers, each with a row of the board.

    cd examples/gunicorn_board && gunicorn app:app

serves on http://127.0.0.1:8000. Ask it in another terminal for its workers, kill one of them by
kill -9, reload it by kill -HUP, stop it by kill or Ctrl-C:

    $ curl http://127.0.0.1:8000/workers
    [{"row": 0, "pid": 4712, "status": "BUSY"}, {"row": 1, "pid": 4713, "status": "IDLE"}, ...
"""

import scoreboard  # in the parent: the workers inherit what it creates

workers = 4


def post_fork(_server: object, _worker: object) -> None:
    """In a worker that was just forked."""
    scoreboard.take()


def post_worker_init(_worker: object) -> None:
    """In a worker that has loaded the application."""
    scoreboard.say(scoreboard.Status.IDLE)


def worker_exit(_server: object, _worker: object) -> None:
    """In a worker that ends by itself; a killed one runs no hook, and its row is DEAD."""
    scoreboard.leave()
