"""The demo: ``python examples/demo``.

Processes claim the workers of one board and hash files in their names, while a monitor draws the
board.

command    the command line, and all of it in order
interrupt  Ctrl-C, noticed at safe points alone
board      the statuses: an IntEnumArray
files      the files to hash, one file's digest, and the comparison with a plain run
processes  child processes: started, heard, and ended whatever happens
players    what they do: claim workers, hash, and set them back
monitor    looks at the board, and draws what changed
screen     what the monitor draws on: a terminal, or lines
live       the terminal: cells of one worker each, or a table
outcome    what is said at the end, and whether it adds up
"""

from __future__ import annotations

import sys

from command import main

if __name__ == "__main__":
    sys.exit(main())
