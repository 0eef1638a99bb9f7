"""Recordings in class folders, data sets of plug-ins, and the events of a sample.

A listing names files and classes; no events are read for it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from spikesight.encoders.events import SensorSize
from spikesight.encoders.plugins import extend
from spikesight.encoders.recordings.files import read_recording
from spikesight.training.data.folders import PARTS
from spikesight.training.data.sets import DataError, Item, Listing, MissingDataError, Read, WindowShape
from spikesight.training.data.windows import cut_windows


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))


def items_of(path: Path, labels: Sequence[str]) -> tuple[Item, ...]:
    """List the files below <path>/<class>/, class by class."""
    return tuple(Item(file, n) for n, label in enumerate(labels) for file in _files(path / label))


def held_items(path: Path | None, labels: Sequence[str]) -> tuple[Item, ...]:
    """List the files of a test folder as `items_of` does. Raises DataError for a class that training does not have."""
    if path is None:
        return ()
    if strange := [folder.name for folder in _folders(path) if folder.name not in labels]:
        raise DataError(f"class {strange[0]!r} of {path.name} is not among the training classes")
    return items_of(path, labels)


def class_folders(path: Path) -> tuple[Path, Path | None, tuple[str, ...]]:
    """Return (training folder, test folder or None, class names) of a folder laid out <class>/ or train/<class>/.

    Beside train/ all names of PARTS are known; else a class may be called valid.
    """
    if not path.is_dir():
        raise MissingDataError(f"no folder {path}: give a folder laid out <class>/<file>, or a data set's name")
    named = {p.name.lower(): p for p in _folders(path)}
    parts = {part: named[name] for name, part in reversed(PARTS.items()) if name in named}
    train, parts = parts.get("train"), parts if "train" in parts else named
    base, test = train or path, parts.get("test") or parts.get("val")
    return base, test, tuple(p.name for p in _folders(base) if p != test)


def list_folder(path: Path, name: str, sensor: SensorSize, window: WindowShape) -> Listing:
    """List a set laid out <class>/<file>, or train/<class>/<file> and test/<class>/<file> (any capitals)."""
    base, test, labels = class_folders(path)
    items = items_of(base, labels)
    if len(labels) < 2 or not items:
        raise MissingDataError(f"{path} needs at least two class folders with recordings in them; found {len(labels)}")
    return Listing(name, labels, items, held_items(test, labels), sensor, window)


RECORDED: dict[str, Callable[[Path], Listing]] = {}
"""Functions that list sets of recordings below a folder, by name, beside Tonic's."""


def recorded() -> dict[str, Callable[[Path], Listing]]:
    """Return RECORDED, extended by the data sets of installed plugins."""
    extend("data", {Callable: RECORDED})
    return RECORDED


def read_item(item: Item) -> Read:
    """Read a sample's (events, sensor size); times of a window begin at 0. Raises DataError, which names the file."""
    if item.length_us:
        return next(cut_windows(item.path, [item.begin_us], item.length_us))
    try:
        events, sensor = item.read() if item.read else _read_file(item.path)
    except Exception as error:  # a data set of somebody else may raise anything
        raise DataError(f"{item.name} cannot be read: {error}") from error
    if not len(events):
        raise DataError(f"{item.name} holds no events")
    return events, sensor


def _read_file(path: Path) -> Read:
    recording = read_recording(path)
    return recording.events, recording.size
