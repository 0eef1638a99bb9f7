"""Compile loops with numba at their first call, cached on disk for later processes if possible."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

_loops: list[Any] = []


def own_temporary_folder() -> Path:
    """Return a folder among the temporary files for all of a user's processes, which only this user can write to.

    Raises OSError if it cannot be made, or belongs to somebody else.
    """
    user = getattr(os, "getuid", lambda: 0)()
    folder = Path(tempfile.gettempdir()) / f"spikesight-compiled-{user}"
    folder.mkdir(exist_ok=True, mode=0o700)
    there = folder.lstat()
    if folder.is_symlink() or there.st_uid != user or there.st_mode & 0o022:
        raise OSError(f"{folder} belongs to somebody else")
    return folder


def loop(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Decorate with `numba.njit` and these options, cached on disk and without holding the interpreter's lock."""
    if function is None:
        return lambda function: loop(function, **options)
    try:
        made = numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # neither the source's folder nor the user's cache is writable, as in a container
        made = kept_among_temporary_files(function, options)
    _loops.append(made)
    return made


def kept_among_temporary_files(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Compile with a cache among the temporary files; without it if that folder cannot be used."""
    try:
        numba.config.CACHE_DIR = str(own_temporary_folder() / "loops")  # type: ignore[attr-defined]
        return numba.njit(cache=True, nogil=True, **options)(function)
    except (OSError, RuntimeError):
        return numba.njit(nogil=True, **options)(function)


def leave_disk() -> None:
    """Stop using the disk cache, for processes that may not open files."""
    for made in _loops:
        made._cache.disable()
