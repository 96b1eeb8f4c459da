"""How many workers the demo takes."""

from __future__ import annotations

__all__ = ["MOST_PROCESSES", "MOST_WORKERS"]

#: Workers that are processes.  Each takes four descriptors in the parent, and 1,024 are what many
#: systems allow.
MOST_PROCESSES = 128

#: Workers in all: more than MOST_PROCESSES are simulated.
MOST_WORKERS = 10_000
