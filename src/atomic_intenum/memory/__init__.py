"""Where words live: segments of shared memory, their names, and their end."""
