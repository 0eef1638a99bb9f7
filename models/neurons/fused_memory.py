"""Memory for the large outputs of fused layers, kept for the next call instead of going back to the system.

Each step of a training frees and asks for the same megabytes. Most systems give every page of them anew, cleared: that
takes several times as long as a layer of neurons, which is little more than one pass over its input and output. A block
comes back here when the last tensor that lies in it is gone. Huge pages are asked for, where the system has them: a
pass over so much memory loses time on finding small ones. torch's memory on a GPU is kept likewise.
"""

import ctypes
import mmap
import weakref
from collections import defaultdict
from contextlib import suppress

import torch
from torch import Tensor

SMALL_BYTES = 4 << 20  # below, the C library keeps the memory by itself
KEPT_BYTES = 1 << 30  # beyond so much that nobody uses, it does go back

_free: defaultdict[int, list[Tensor]] = defaultdict(list)  # blocks by their size


def empty_like(tensor: Tensor) -> Tensor:
    """As torch.empty_like for a contiguous float32 tensor on the CPU."""
    size = 4 * tensor.numel()
    if size < SMALL_BYTES:
        return torch.empty_like(tensor)
    blocks = _free[size]
    block = blocks.pop() if blocks else _new_block(size)
    lent = (ctypes.c_char * size).from_address(block.data_ptr())
    weakref.finalize(lent, _give_back, block).atexit = False
    return torch.frombuffer(lent, dtype=torch.float32).view(tensor.shape)  # holds `lent` until its storage is freed


def _new_block(size: int) -> Tensor:
    """Memory from the system itself, uint8 [size]."""
    pages = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=torch.uint8)


def kept_bytes() -> int:
    """How much is kept that nobody uses."""
    return sum(size * len(blocks) for size, blocks in _free.items())


def _give_back(block: Tensor) -> None:
    if kept_bytes() + block.numel() > KEPT_BYTES:  # of sizes that are perhaps no longer asked for
        _free.clear()
    if block.numel() <= KEPT_BYTES:
        _free[block.numel()].append(block)
