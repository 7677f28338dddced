"""What is copied to a Linux board and runs there: standard library, NumPy and a runtime.

Nothing here imports anything of dlink but its own neighbours, and everything runs on Python 3.9 to
3.13, on 64 and on 32 bit. ``python3 run.py job.json`` starts it by hand; docs/raspberry_pi.md tells
how the job is made.
"""

#: Of job.json, the journal and results.json: raised when a field changes its meaning.
SCHEMA = 1
