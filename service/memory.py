"""The C allocator, told to keep what a stepping network frees and takes again many times a second.

A batch's membranes are megabytes. By default glibc hands such a block back to the system when it is freed, so each step
pays for its pages anew: 200 page faults and half the time of a step of eight streams, measured with the digit model.
"""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT = 128 * 2**20  # bytes free at the end of the heap before they go back
MAPPED = 32 * 2**20  # larger blocks are the system's as before (the most that glibc takes)


def keep_memory() -> bool:
    """Set the thresholds of this process; False where the C library has no such knobs."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, MAPPED)) and bool(mallopt(M_TRIM_THRESHOLD, KEPT))
