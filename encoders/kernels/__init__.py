"""Compiled loops of the encoders, imported only where they are needed: numba takes its time.

Each module is named after what calls it; `emulator_numpy` is the emulator without numba.
"""

from functools import cache
from importlib import import_module
from types import ModuleType


@cache
def compiled(name: str) -> ModuleType | None:
    """This folder's module of that name, or None where numba cannot be imported: numpy then does the same, more slowly.

    Called as `kernels.compiled(...)`, so that a test can take numba away from everything at one place.
    """
    try:
        return import_module(f"encoders.kernels.{name}")
    except ImportError:
        return None
