"""Public sets of recordings by name, in the layouts in which Tonic unpacks them.

A listing names files, classes and readers; no events are read for it.
"""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from spikesight.encoders.events import EVENTS, Events, SensorSize, make_events, sanitise
from spikesight.encoders.kernels.readers import decode
from spikesight.encoders.plugins import extend
from spikesight.encoders.recordings.files import read_recording
from spikesight.encoders.recordings.format import RecordingError
from spikesight.training.data.folders import PARTS
from spikesight.training.data.sets import DataError, Item, Listing, MissingDataError, Window
from spikesight.training.data.windows import cut_windows


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(folder: Path, suffix: str = "") -> list[Path]:
    files = (p for p in folder.rglob(f"*{suffix}") if p.is_file() and not p.name.startswith("."))
    return sorted(files)


def items_of(path: Path, labels: Sequence[str], *, suffix: str = "", reader: str = "recording") -> tuple[Item, ...]:
    """List the files below <path>/<class>/, class by class."""
    return tuple(Item(file, n, reader) for n, label in enumerate(labels) for file in _files(path / label, suffix))


def held_items(path: Path | None, labels: Sequence[str], **how: str) -> tuple[Item, ...]:
    """List the files of a test folder as `items_of` does. Raises DataError for a class that training does not have."""
    if path is None:
        return ()
    if strange := [folder.name for folder in _folders(path) if folder.name not in labels]:
        raise DataError(f"class {strange[0]!r} of {path.name} is not among the training classes")
    return items_of(path, labels, **how)


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


def list_folder(
    path: Path, name: str, sensor: SensorSize, window: Window, *, suffix: str = "", reader: str = "recording"
) -> Listing:
    """List a set laid out <class>/<file>, or train/<class>/<file> and test/<class>/<file> (any capitals)."""
    base, test, labels = class_folders(path)
    items = items_of(base, labels, suffix=suffix, reader=reader)
    if len(labels) < 2 or not items:
        raise MissingDataError(f"{path} needs at least two class folders with recordings in them; found {len(labels)}")
    return Listing(name, labels, items, held_items(test, labels, suffix=suffix, reader=reader), sensor, window)


def _find(root: Path, title: str, tonic_name: str, layout: str, holds: Callable[[Path], object]) -> Path:
    """Return the folder that holds the data: root, or a folder of Tonic's name in it. Raises MissingDataError."""
    for folder in (root, root / tonic_name.lower(), root / tonic_name):
        if folder.is_dir() and holds(folder):
            return folder
    with_tonic = f"python -c \"import tonic; tonic.datasets.{tonic_name}('{root}')\""
    if importlib.util.find_spec("tonic") is None:
        with_tonic = f"pip install 'spikesight[datasets]', pip install --no-deps tonic, and {with_tonic}"
    raise MissingDataError(
        f"{title} is not in {root}: it needs {layout}. Download it with {with_tonic} or from its authors"
    )


def list_nmnist(root: Path) -> Listing:
    """List N-MNIST (Orchard et al. 2015): Train|Test/<digit>/<id>.bin, 60000 and 10000 recordings."""
    layout = "Train/<digit>/*.bin and Test/<digit>/*.bin"
    path = _find(root, "N-MNIST", "NMNIST", layout, lambda p: (p / "Train").is_dir())
    return list_folder(path, "nmnist", SensorSize(34, 34), Window(10, 31_000, 34, 34, 1000), reader="nmnist")


GESTURES = (
    "hand clapping", "right hand wave", "left hand wave", "right arm clockwise", "right arm counter-clockwise",
    "left arm clockwise", "left arm counter-clockwise", "arm roll", "air drums", "air guitar", "other gestures",
)  # fmt: skip


def list_dvsgesture(root: Path) -> Listing:
    """List DVS128 Gesture (Amir et al. 2017): ibmGestureTrain|Test/<user>_<light>/<class>.npy, 1077 and 264 files."""
    layout = "ibmGestureTrain/<user>_<light>/<class>.npy and ibmGestureTest/..."
    path = _find(root, "DVS128 Gesture", "DVSGesture", layout, lambda p: (p / "ibmGestureTrain").is_dir())
    sets = []
    for folder in ("ibmGestureTrain", "ibmGestureTest"):
        files = _files(path / folder, ".npy")
        if odd := [file for file in files if not file.stem.isdigit() or int(file.stem) >= len(GESTURES)]:
            raise DataError(f"{odd[0].parent.name}/{odd[0].name}: gestures are named 0.npy to {len(GESTURES) - 1}.npy")
        sets.append(tuple(Item(file, int(file.stem), "gesture") for file in files))
    return Listing("dvsgesture", GESTURES, sets[0], sets[1], SensorSize(128, 128), Window(16, 100_000, 64, 64))


CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def list_cifar10dvs(root: Path) -> Listing:
    """List CIFAR10-DVS (Li et al. 2017): <class>/*.aedat4, 1000 a class; it has no test split."""
    layout = "<class>/*.aedat4 for the ten classes"
    path = _find(root, "CIFAR10-DVS", "CIFAR10DVS", layout, lambda p: any((p / c).is_dir() for c in CIFAR10))
    labels = tuple(c for c in CIFAR10 if (path / c).is_dir())
    items = items_of(path, labels, suffix=".aedat4")
    return Listing("cifar10dvs", labels, items, (), SensorSize(128, 128), Window(10, 130_000, 48, 48))


def list_ncaltech101(root: Path) -> Listing:
    """List N-Caltech101 (Orchard et al. 2015): Caltech101/<class>/*.bin, 8709 recordings; it has no test split.

    Recordings differ in size, up to 240 x 180; each is centred in the contract's shape.
    """
    layout = "Caltech101/<class>/*.bin"
    path = _find(root, "N-Caltech101", "NCALTECH101", layout, lambda p: (p / "Caltech101").is_dir())
    labels = tuple(p.name for p in _folders(path / "Caltech101"))
    items = items_of(path / "Caltech101", labels, suffix=".bin")
    return Listing("ncaltech101", labels, items, (), SensorSize(240, 180), Window(10, 31_000, 60, 80))


def list_asldvs(root: Path) -> Listing:
    """List ASL-DVS (Bi et al. 2019): .../<letter>/*.mat, 100800 recordings; it has no test split."""
    layout = "<letter>/*.mat, or Yin*/<letter>/*.mat"
    path = _find(root, "ASL-DVS", "ASLDVS", layout, lambda p: next(p.rglob("*.mat"), None))
    files = [f for f in _files(path, ".mat") if len(f.parent.name) == 1 and f.parent.name.isalpha()]
    labels = tuple(sorted({f.parent.name.lower() for f in files}))
    items = tuple(Item(f, labels.index(f.parent.name.lower())) for f in files)
    return Listing("asldvs", labels, items, (), SensorSize(240, 180), Window(10, 15_000, 45, 60))


RECORDED: dict[str, Callable[[Path], Listing]] = {
    "nmnist": list_nmnist,
    "dvsgesture": list_dvsgesture,
    "cifar10dvs": list_cifar10dvs,
    "ncaltech101": list_ncaltech101,
    "asldvs": list_asldvs,
}
"""Functions that list sets of recordings, by name."""


def recorded() -> dict[str, Callable[[Path], Listing]]:
    """Return RECORDED, extended by the data sets of installed plugins."""
    extend("data", {Callable: RECORDED})
    return RECORDED


Read = tuple[Events, SensorSize]


def _read_recording(path: Path) -> Read:
    recording = read_recording(path)
    return recording.events, recording.size


def _read_nmnist(path: Path) -> Read:
    """Decode an N-MNIST file in one compiled pass; use the slower reader if it has markers, damage or disorder."""
    raw = np.fromfile(path, np.uint8)
    if len(raw) and len(raw) % 5 == 0:
        events = np.empty(len(raw) // 5, EVENTS)
        if decode(raw.reshape(-1, 5), 34, events):
            return events, SensorSize(34, 34)
    return _read_recording(path)


def _read_gesture(path: Path) -> Read:
    """Read an array [events, 4] with columns x, y, polarity and time in milliseconds."""
    table = np.load(path, allow_pickle=False)
    if table.ndim != 2 or table.shape[1] != 4:
        raise ValueError(f"an array [events, 4] is needed, not {table.shape}")
    t = (table[:, 3].astype(np.float64) * 1000).round().astype(np.int64)
    sensor = SensorSize(128, 128)
    return sanitise(make_events(t, table[:, 0], table[:, 1], table[:, 2]), sensor)[0], sensor


READERS: dict[str, Callable[[Path], Read]] = {
    "recording": _read_recording,
    "nmnist": _read_nmnist,
    "gesture": _read_gesture,
}


def read_item(item: Item) -> Read:
    """Read a sample's (events, sensor size); times of a window begin at 0. Raises DataError, which names the file."""
    if item.length_us:
        return next(cut_windows(item.path, [item.begin_us], item.length_us))
    try:
        events, sensor = READERS[item.reader](item.path)
    except (RecordingError, ValueError, KeyError, OSError, EOFError, TypeError, NotImplementedError) as error:
        raise DataError(f"{item.name} cannot be read: {error}") from None
    if not len(events) or events.dtype != EVENTS:
        raise DataError(f"{item.name} holds no events")
    return events, sensor
