"""Compiled loops of the encoders, one module for each caller; imported only when needed, since numba loads slowly.

Tests compare the loops with plain Python.
"""

from functools import cache
from importlib import import_module
from types import ModuleType

LARGEST_PACKET = 1 << 28
"""Most bytes of one packet of AEDAT 3 or 4; a larger size means damage."""


@cache
def compiled(name: str) -> ModuleType:
    """Return the module of compiled loops with this name.

    Call it as `kernels.compiled(...)`, so that a test can replace the loops everywhere at once.
    """
    return import_module(f"spikesight.encoders.kernels.{name}")
