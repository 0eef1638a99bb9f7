"""Models that somebody saved: what of a folder is served, and what is left out, with a warning that says why."""

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from spikesight.models.checkpoint import CONFIG, WEIGHTS
from spikesight.models.shipped import shipped, unfit
from spikesight.service.http.logs import event


def entries(folder: Path | None) -> list[Path]:
    """What lies in the folder and may be a model, by name: all but files, and what is hidden."""
    if folder is None or not folder.exists():  # it is made when the first model is saved
        return []
    try:
        there = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        leave_out(folder.name, error)
        return []
    return sorted(path for path in there if not os.path.isfile(path))  # noqa: PTH113 - never raises


def fitting(folder: Path | None, taken: Iterable[str]) -> Iterator[Path]:
    """The folders whose names are good and not among `taken`, and which lie in `folder`, with all that is read of them.

    The others are left out.
    """
    names = {name.casefold() for name in taken}
    for path in entries(folder):
        if reason := fault(path, names):
            leave_out(path.name, reason)
        else:
            names.add(path.name.casefold())
            yield path


def fault(path: Path, taken: set[str]) -> str:
    """Why it is left out; empty where it is not."""
    name = path.name.casefold()
    if reason := unfit_to_save(path.name):
        return reason
    if name in taken or name in shipped():
        return "another model has that name"
    try:
        root = path.parent.resolve()
        if not all((path / read).resolve().is_relative_to(root) for read in ("", CONFIG, WEIGHTS)):
            return "it is a link, or holds one, out of the folder of saved models"
    except (OSError, RuntimeError):
        return "its links lead nowhere"
    return ""


def unfit_to_save(name: str) -> str:
    """As `unfit`; a folder called "model" has its name of the one around it."""
    return unfit(name) or ("a folder of that name is called as the one around it" if name == "model" else "")


def leave_out(name: str, reason: str | Exception) -> None:
    """Log that a saved model is not served, and why."""
    sentence = reason if isinstance(reason, str | ValueError) else type(reason).__name__
    event("a saved model is left out", logging.WARNING, model=ascii(name)[1:-1], reason=str(sentence))
