"""A Raspberry Pi in software, for rehearsals: its userland, files, programs, counters and SSH.

It runs the same wheels as the board does and counts what they execute, but it knows no wall time:
nothing here may print an emulated millisecond as a board's.
"""
