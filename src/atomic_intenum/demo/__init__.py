"""The demo: processes claim workers of one board while a monitor watches their statuses.

limits      how many workers
interrupt   Ctrl-C, noticed at safe points alone
board       the statuses: an IntEnumArray
processes   child processes: started, watched and ended
files       the files to hash, one file's digest, and the comparison with a plain run
crew        real workers, processes that hash files, and the dispatchers that claim them
simulation  up to thousands of workers that a few processes pretend to be
monitor     looks at the board, and draws what changed
screen      what the monitor draws on: a terminal, or lines
live        the terminal: cells of one worker each, or a table
measure     polls, claims and counts beside multiprocessing.Value
command     all of it in order
"""
