"""The demo: worker processes hash files while a monitor watches their statuses.

interrupt   Ctrl-C, noticed at safe points alone
files       the files to hash, one file's digest, and the comparison with a plain run
crew        the processes: workers, the dispatchers that claim them, the monitor
screen      what the monitor draws: a live table, or lines
measure     polls and claims beside multiprocessing.Value
command     all of it in order
"""
