"""The demo, ``python examples/demo``: processes claim files and hash them, and some are killed.

board is what they share, worker what each does, crew the supervisor and the killer, files what is
hashed, screen what is drawn, report what is said in the end, and interrupt Ctrl-C.
"""

import sys

if __name__ == "__main__":
    from command import main  # not in the processes that spawn starts: they need less

    sys.exit(main())
