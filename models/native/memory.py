"""Settings of the C allocator and the garbage collector that avoid page faults and pauses.

The membrane potentials of a batch take megabytes. By default glibc returns a freed block of this size to the operating
system, so each step faults its pages in again: 200 page faults, half the time of a digit model's step of eight streams.

Closed connections leave reference cycles, for which Python's collector scans all objects from time to time. A quarter
of a million objects belong to libraries and are never freed; scanning them blocks the service for 240 ms.
"""

import ctypes
import gc
import os
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h


def _of_c(name: str) -> Any:
    """Return a function of the C library; None if there is none of this name."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):
        return None


def keep_freed(free_bytes: int, block_bytes: int) -> bool:
    """Have glibc keep up to `free_bytes` of freed memory, in blocks of up to `block_bytes`; return whether it does.

    Affects the whole process: call at a program's start, not on import. Returns False for C libraries without mallopt.
    """
    mallopt = _of_c("mallopt")
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, block_bytes)) and bool(mallopt(M_TRIM_THRESHOLD, free_bytes))


def keep_memory(limit_bytes: int = 1 << 30) -> bool:
    """Have glibc keep up to `limit_bytes` of freed tensors, when a command starts; return whether it does.

    Faulting their pages in again would take a third of a batched step and a tenth of a training step. Does nothing,
    and returns False, if the user set GLIBC_TUNABLES or an environment variable MALLOC_*.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    return keep_freed(limit_bytes, limit_bytes)


KEPT = 128 * 2**20  # free bytes at the heap's end above which they are returned to the system
MAPPED = 32 * 2**20  # bytes; larger blocks still return to the system when freed (glibc's maximum)


def keep_membranes() -> bool:
    """Have a serving process keep freed membrane buffers; return whether it does. Call before threads start.

    All threads share one heap: separate heaps would each keep up to KEPT, and `give_back` would not trim their ends.
    """
    return keep_freed(KEPT, MAPPED) and bool(ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1))


def give_back() -> bool:
    """Return all free heap memory to the operating system; False if the C library has no malloc_trim.

    A large recording leaves hundreds of free megabytes below live blocks; the thresholds cover only the heap's end.
    """
    trim = _of_c("malloc_trim")
    if trim is not None:
        trim(0)
    return trim is not None


def keep_libraries() -> None:
    """Exclude all present objects from garbage collection. Call at start, before models load: these may be replaced."""
    gc.collect()
    gc.freeze()
