"""Compiled loops of the encoders, imported only where they are needed: numba takes its time.

Each module is named after what calls it. Tests hold them against plain Python.
"""

from functools import cache
from importlib import import_module
from types import ModuleType

LARGEST_PACKET = 1 << 28
"""Bytes of one packet of AEDAT 3 or 4; a size beyond this is damage."""


@cache
def compiled(name: str) -> ModuleType:
    """The module of compiled loops with this name.

    Called as `kernels.compiled(...)`, so that a test can put other loops in the place of all at once.
    """
    return import_module(f"spikesight.encoders.kernels.{name}")
