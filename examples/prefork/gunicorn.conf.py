"""Gunicorn's configuration: the parent keeps the board, and gives each worker a word of it.

cd examples/prefork && gunicorn wsgi:app
"""

import shared
from board import Status

workers = 2


def pre_fork(server, worker):
    """In the parent, before it forks: take a free word for the new worker."""
    worker.index = shared.board.claim(Status.FREE, Status.STARTING)


def post_fork(server, worker):
    """In the worker: remember which word is its own."""
    shared.mine = shared.board.at(worker.index)
    shared.mine.set(Status.IDLE)


def child_exit(server, worker):
    """In the parent, when a worker has ended, killed or not: its word is free again."""
    shared.board[worker.index] = Status.FREE
