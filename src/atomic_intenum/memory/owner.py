"""The end of this process: it stops answering for the names of its segments.

csrc/life.h and region.h say who answers for a name and who removes it.
"""

from __future__ import annotations

from multiprocessing import util

from ..backends import backend


def _see_to_end(_: object = None) -> None:
    """Let go of all names when multiprocessing has joined its children.

    They may still be starting and looking for segments; an atexit function would run before that.
    """
    util.Finalize(None, backend.end, exitpriority=-100)


_see_to_end()
# multiprocessing clears the finalizers of a child that it starts, and runs these right behind it.
# What no interpreter sees to, a child of os.fork, C's atexit does.
util.register_after_fork(_see_to_end, _see_to_end)
