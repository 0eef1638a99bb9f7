"""What a stepping network frees and takes again many times a second stays with the process.

A batch's membranes are megabytes. By default glibc hands such a block back to the system when it is freed, so each step
pays for its pages anew: 200 page faults and half the time of a step of eight streams, measured with the digit model.
"""

from models.memory import keep_freed

KEPT = 128 * 2**20  # bytes free at the end of the heap before they go back
MAPPED = 32 * 2**20  # larger blocks are the system's as before (the most that glibc takes)


def keep_membranes() -> bool:
    """Set the thresholds of this process; False where the C library has no such knobs."""
    return keep_freed(KEPT, MAPPED)
