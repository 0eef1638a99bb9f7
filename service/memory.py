"""What the C allocator and the garbage collector of a service leave alone.

A batch's membranes are megabytes. By default glibc hands such a block back to the system when it is freed, so each step
pays for its pages anew: 200 page faults and half the time of a step of eight streams, measured with the digit model.

Connections that end leave cycles, and every so often Python's collector looks at all objects for them. A quarter of a
million belong to the libraries and live as long as the process: 240 ms during which nobody is served.
"""

import gc

from models.memory import keep_freed

KEPT = 128 * 2**20  # bytes free at the end of the heap before they go back
MAPPED = 32 * 2**20  # larger blocks are the system's as before (the most that glibc takes)


def keep_membranes() -> bool:
    """Set the thresholds of this process; False where the C library has no such knobs."""
    return keep_freed(KEPT, MAPPED)


def keep_libraries() -> None:
    """Have the collector leave alone what is there now. For a process's start: before models, which may be replaced."""
    gc.collect()
    gc.freeze()
