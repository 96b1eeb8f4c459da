"""The short benchmark: what this package costs here, beside multiprocessing.

timing      loops that time one statement
contenders  what is measured: each operation as the floor, the rival and this package do it
wakeups     waking a sleeper in another process, there and back
tables      what is printed: a table by rich, or plain text
command     all of it in order

It needs nothing but the package.  The long one, with more rivals and plots, is in benchmarks/ of
the sources, and times its loops by the same ``timing``.
"""
