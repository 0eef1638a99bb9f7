"""Which folders of saved models are served; each of the others is skipped with a warning that says why."""

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from spikesight.models.checkpoint import CONFIG, WEIGHTS
from spikesight.models.shipped import shipped, why_unfit
from spikesight.service.http.logs import event


def entries(folder: Path | None) -> list[Path]:
    """Return the entries of a folder that may be models, sorted by name: no files, nothing hidden."""
    if folder is None or not folder.exists():  # it is made when the first model is saved
        return []
    try:
        there = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        leave_out(folder.name, error)
        return []
    return sorted(path for path in there if not os.path.isfile(path))  # noqa: PTH113 - never raises


def servable(folder: Path | None, taken: Iterable[str]) -> Iterator[Path]:
    """Yield the folders in `folder` with a valid name that is not in `taken`, and whose files lie in `folder`, too.

    All others are left out with a warning.
    """
    names = {name.casefold() for name in taken}
    for path in entries(folder):
        if reason := reason_left_out(path, names):
            leave_out(path.name, reason)
        else:
            names.add(path.name.casefold())
            yield path


def reason_left_out(path: Path, taken: set[str]) -> str:
    """Return why a saved model is not served; an empty string if it is."""
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
    """Return why a model cannot be saved by this name, or "". Like `why_unfit`, but "model" is refused, too."""
    return why_unfit(name) or ("a folder of that name is called as the one around it" if name == "model" else "")


def leave_out(name: str, reason: str | Exception) -> None:
    """Log that a saved model is not served, and why."""
    sentence = reason if isinstance(reason, str | ValueError) else type(reason).__name__
    event("a saved model is left out", logging.WARNING, model=ascii(name)[1:-1], reason=str(sentence))
