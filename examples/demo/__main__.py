"""The demo, ``python examples/demo``: processes claim files and hash them, and some are killed."""

import sys

if __name__ == "__main__":
    from command import main  # not in the processes that spawn starts: they need less

    sys.exit(main())
