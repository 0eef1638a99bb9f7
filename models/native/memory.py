"""The C allocator and the garbage collector, told what to leave alone.

A batch's membranes are megabytes. By default glibc hands such a block back to the system when it is freed, so each step
pays for its pages anew: 200 page faults and half the time of a step of eight streams, measured with the digit model.

Connections that end leave cycles, and every so often Python's collector looks at all objects for them. A quarter of a
million belong to the libraries and live as long as the process: 240 ms during which nobody is served.
"""

import ctypes
import gc
import os
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h


def _of_c(name: str) -> Any:
    """A function of the C library; None where it has none of this name."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):
        return None


def keep_freed(free_bytes: int, block_bytes: int) -> bool:
    """Have glibc keep up to `free_bytes` that nobody uses, of blocks up to `block_bytes`: whether it agreed.

    For the whole process, so for a program's start, not for an import. False where the C library is another one.
    """
    mallopt = _of_c("mallopt")
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, block_bytes)) and bool(mallopt(M_TRIM_THRESHOLD, free_bytes))


def keep_memory(limit_bytes: int = 1 << 30) -> bool:
    """What a command does at its start: keep freed tensors up to this many bytes; whether the C library agreed.

    Faulting their pages in anew costs a third of a batched step and a tenth of a training step. Does nothing where the
    user set MALLOC_ or GLIBC_TUNABLES.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    return keep_freed(limit_bytes, limit_bytes)


KEPT = 128 * 2**20  # bytes free at the end of the heap before they go back
MAPPED = 32 * 2**20  # larger blocks are the system's as before (the most that glibc takes)


def keep_membranes() -> bool:
    """Set the thresholds of this process; False where the C library has no such knobs. Before threads begin.

    One heap for all of them: each thread's own would keep as much, and `give_back` does not reach the ends of those.
    """
    return keep_freed(KEPT, MAPPED) and bool(ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1))


def give_back() -> bool:
    """Hand what is free back to the system, wherever in the heaps it lies; False where the C library has no such call.

    A large recording leaves hundreds of megabytes free below what lives on: the thresholds see only a heap's end.
    """
    trim = _of_c("malloc_trim")
    if trim is not None:
        trim(0)
    return trim is not None


def keep_libraries() -> None:
    """Have the collector leave alone what is there now. For a process's start: before models, which may be replaced."""
    gc.collect()
    gc.freeze()
