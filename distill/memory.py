"""Keep freed memory for the next training step."""

from __future__ import annotations

import ctypes
import functools
import platform

# Names and numbers of malloc.h; the manual page of mallopt(3) says what they do.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT = 1 << 30  # bytes at the end of the heap that stay with the process
MAPPED = 1 << 25  # bytes from which a block is mapped on its own, the highest that glibc takes


@functools.cache
def keep_freed_memory() -> bool:
    """Let glibc keep what a step frees; returns whether it does (False with another C library).

    A step of training takes and frees the same tens of megabytes again and again. glibc gives
    them back to the system each time, and every 4 kB of them cost a page fault in the next step: an
    eighth of a small student's training went there. The process stays as large as it was at most.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return all(
        libc.mallopt(name, value) == 1
        for name, value in ((M_TRIM_THRESHOLD, KEPT), (M_MMAP_THRESHOLD, MAPPED))
    )
