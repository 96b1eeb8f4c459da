"""The demo: ``python examples/demo``.

Processes claim files on one board and hash them, a killer kills some of them, and a supervisor
starts them again.

command    the command line, and all of it in order
interrupt  Ctrl-C, noticed at safe points alone
board      the two boards: what workers do, and what became of the jobs
files      the files to hash, one file's digest, and the comparison with a plain run
worker     what a process does: claim, hash, commit
crew       the supervisor and the killer, and what they count
screen     what is drawn, and plain lines
live       the same on a terminal, by rich
report     what is said at the end, and whether it adds up
rates      what is measured beside multiprocessing.Value
"""

from __future__ import annotations

import sys

from command import main

if __name__ == "__main__":
    sys.exit(main())
