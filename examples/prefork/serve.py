"""Starts uvicorn: the parent creates the board by name, and the workers attach it.

python examples/prefork/serve.py [PORT]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import uvicorn
from board import SIZE, Board, Status

if __name__ == "__main__":
    # Uvicorn starts its workers anew: they inherit no memory, but the environment.
    name = f"prefork-{os.getpid()}"
    # Each worker writes its own word, and so answers for it: when it dies, the word is FREE.
    on_death = {status: Status.FREE for status in Status if status is not Status.FREE}
    board = Board(SIZE, Status.FREE, segment_name=name, on_death=on_death)
    os.environ["BOARD"] = name
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    uvicorn.run("asgi:app", app_dir=str(Path(__file__).parent), port=port, workers=2)
