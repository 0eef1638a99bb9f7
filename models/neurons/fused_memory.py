"""A pool of memory blocks for the large outputs of fused layers, so that they are not returned to the system each time.

Each training step frees and requests the same megabytes. Most systems hand out fresh, cleared pages, which takes
several times as long as a layer of neurons, little more than one pass over its input and output. A block returns to
this pool when the last tensor in it is gone. Huge pages are requested where the system has them, since looking up many
small pages costs time. On a GPU, torch pools memory itself.
"""

import ctypes
import mmap
import weakref
from collections import defaultdict
from contextlib import suppress

import torch
from torch import Tensor

SMALL_BYTES = 4 << 20  # smaller blocks are pooled by the C library itself
KEPT_BYTES = 1 << 30  # most unused memory in the pool; beyond it, memory returns to the system

_free: defaultdict[int, list[Tensor]] = defaultdict(list)  # unused blocks by size


def empty_like(tensor: Tensor) -> Tensor:
    """Return an uninitialised tensor like torch.empty_like, for a contiguous float32 tensor on the CPU."""
    size = 4 * tensor.numel()
    if size < SMALL_BYTES:
        return torch.empty_like(tensor)
    blocks = _free[size]
    block = blocks.pop() if blocks else _new_block(size)
    lent = (ctypes.c_char * size).from_address(block.data_ptr())
    weakref.finalize(lent, _give_back, block).atexit = False
    return torch.frombuffer(lent, dtype=torch.float32).view(tensor.shape)  # holds `lent` until its storage is freed


def _new_block(size: int) -> Tensor:
    """Request memory from the system, uint8 [size]; a forked process gets a copy of it, as of all other memory."""
    pages = mmap.mmap(-1, size, mmap.MAP_PRIVATE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without huge pages
            pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=torch.uint8)


def kept_bytes() -> int:
    """Return the bytes of unused memory in the pool."""
    return sum(size * len(blocks) for size, blocks in list(_free.items()))  # a copy: other threads may add sizes


def _give_back(block: Tensor) -> None:
    if kept_bytes() + block.numel() > KEPT_BYTES:  # blocks in the pool may have sizes no longer needed
        _free.clear()
    if block.numel() <= KEPT_BYTES:
        _free[block.numel()].append(block)
