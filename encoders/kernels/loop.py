"""How the compiled loops are compiled: at their first call, and kept on disk for later processes where they can be."""

from collections.abc import Callable
from typing import Any

import numba

_loops: list[Any] = []


def loop(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """`numba.njit` with these options, as a decorator; runs without the interpreter's lock."""
    if function is None:
        return lambda function: loop(function, **options)
    try:
        made = numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # no folder can be written to, as in a container: compiled once a process
        return numba.njit(nogil=True, **options)(function)
    _loops.append(made)
    return made


def leave_disk() -> None:
    """From now on neither look for compiled loops on disk nor put any there: for a process that may open no file."""
    for made in _loops:
        made._cache.disable()
