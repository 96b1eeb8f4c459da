"""The demo, ``python examples/demo``: processes claim files and hash them, and some are killed.

board has what they share, worker what each does, crew the supervisor and the killer, files what is
hashed, screen what is drawn, report what is said and measured at the end, and interrupt Ctrl-C.
"""

import sys

from command import main

if __name__ == "__main__":
    sys.exit(main())
