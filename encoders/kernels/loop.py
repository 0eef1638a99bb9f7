"""How the compiled loops are compiled: at their first call, and kept on disk for later processes where they can be."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

_loops: list[Any] = []


def own_temporary_folder() -> Path:
    """One folder among the temporary files for all of a user's processes, that nobody else may write to.

    Raises OSError where there is none, and where somebody else was there first.
    """
    user = getattr(os, "getuid", lambda: 0)()
    folder = Path(tempfile.gettempdir()) / f"spikesight-compiled-{user}"
    folder.mkdir(exist_ok=True, mode=0o700)
    there = folder.lstat()
    if folder.is_symlink() or there.st_uid != user or there.st_mode & 0o022:
        raise OSError(f"{folder} belongs to somebody else")
    return folder


def loop(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """`numba.njit` with these options, as a decorator; runs without the interpreter's lock."""
    if function is None:
        return lambda function: loop(function, **options)
    try:
        made = numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # no folder beside the source or of the user's can be written to, as in a container
        made = kept_among_temporary_files(function, options)
    _loops.append(made)
    return made


def kept_among_temporary_files(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Compiled once for all processes until the machine forgets its temporary files; else once a process."""
    try:
        numba.config.CACHE_DIR = str(own_temporary_folder() / "loops")  # type: ignore[attr-defined]
        return numba.njit(cache=True, nogil=True, **options)(function)
    except (OSError, RuntimeError):
        return numba.njit(nogil=True, **options)(function)


def leave_disk() -> None:
    """From now on neither look for compiled loops on disk nor put any there: for a process that may open no file."""
    for made in _loops:
        made._cache.disable()
