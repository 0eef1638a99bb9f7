"""Data sets by name or by folder, as binned uint8 frames in a memory-mapped cache.

Every set becomes arrays `frames` uint8 [M, T, 2, H, W] and `labels` int64 [M], so that an epoch costs no decoding. The
validation split is drawn from the training recordings, stratified and seeded, and is written into the run.
"""

import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from encoders.dvs import DvsEncoder
from encoders.emulator import NMNIST
from encoders.events import SensorSize
from encoders.recordings import RecordingError, read_recording
from encoders.still import saccade_events
from training.config import TrainConfig

CACHE_VERSION = 1


class DataError(ValueError):
    """Data that is missing or broken, and what to do about it."""


@dataclass(frozen=True)
class Item:
    """One sample: a recording on disk and its class."""

    path: Path
    label: int


@dataclass(frozen=True)
class Listing:
    """What a data set holds; `test` is empty where the set has no test split of its own."""

    name: str
    labels: tuple[str, ...]
    train: tuple[Item, ...]
    test: tuple[Item, ...]
    sensor: SensorSize


@dataclass(frozen=True)
class Frames:
    """Binned samples: frames uint8 [M, T, C, H, W] (memory-mapped) and labels int64 [M]."""

    frames: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Data:
    """The three splits of a run; `split` says which samples went where."""

    train: Frames
    val: Frames
    test: Frames
    labels: tuple[str, ...]
    sensor: SensorSize
    split: dict[str, Any]
    test_items: tuple[Item, ...]
    recorded: int  # how many of the training samples are recordings; the others are emulated


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))


def _items(path: Path, labels: Sequence[str]) -> tuple[Item, ...]:
    known = {label: index for index, label in enumerate(labels)}
    items = []
    for folder in _folders(path):
        if folder.name not in known:
            raise DataError(f"class {folder.name!r} of {path.name} is not among the training classes")
        items += [Item(file, known[folder.name]) for file in _files(folder)]
    return tuple(items)


def _subfolder(path: Path, *names: str) -> Path | None:
    return next((p for p in _folders(path) if p.name.lower() in names), None)


def list_folder(path: Path, name: str = "folder", sensor: SensorSize | None = None) -> Listing:
    """Recordings laid out <class>/<file>, or train/<class>/<file> and test/<class>/<file> (any capitals)."""
    if not path.is_dir():
        raise DataError(f"no folder {path}: give a folder of recordings laid out <class>/<file>, or a data set's name")
    train, test = _subfolder(path, "train"), _subfolder(path, "test")
    base = train or path
    labels = tuple(p.name for p in _folders(base) if p != test)
    items = _items(base, labels) if train else tuple(i for i in _items_of_classes(path, labels))
    if len(labels) < 2 or not items:
        raise DataError(f"{path} needs at least two class folders with recordings in them; found {len(labels)}")
    if sensor is None:
        sensor = read_item(items[0])[1]
    return Listing(name, labels, items, _items(test, labels) if test else (), sensor)


def _items_of_classes(path: Path, labels: Sequence[str]) -> Iterator[Item]:
    for index, label in enumerate(labels):
        yield from (Item(file, index) for file in _files(path / label))


def list_nmnist(root: Path) -> Listing:
    """N-MNIST (Orchard et al. 2015), Train/<digit>/<id>.bin and Test/<digit>/<id>.bin, as Tonic lays it out."""
    places = (root, root / "nmnist", root / "NMNIST")
    path = next((p for p in places if (p / "Train").is_dir()), None)
    if path is None:
        raise DataError(
            f"N-MNIST is not in {root}: it needs Train/<digit>/*.bin and Test/<digit>/*.bin. Download it with "
            f"python -c \"import tonic; tonic.datasets.NMNIST('{root}')\" or from its authors"
        )
    return list_folder(path, "nmnist", SensorSize(34, 34))


LISTINGS: dict[str, Callable[[Path], Listing]] = {"nmnist": list_nmnist}


def list_data(config: TrainConfig) -> Listing:
    """The data set of a run: a known name, or a folder."""
    if config.data in LISTINGS:
        return LISTINGS[config.data](Path(config.root))
    return list_folder(Path(config.data), Path(config.data).resolve().name)


def split_indices(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(rest, chosen): about `fraction` of each class chosen, at least one and never all; the same for the same seed.

    >>> rest, chosen = split_indices(np.repeat([0, 1], 10), 0.2, seed=0)
    >>> len(rest), len(chosen)
    (16, 4)
    """
    random = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise DataError("every class needs at least two recordings, one to train on and one to choose the model by")
        count = min(len(members) - 1, max(1, round(fraction * len(members))))
        chosen.append(random.permutation(members)[:count])
    picked = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), picked), picked


def read_item(item: Item) -> tuple[np.ndarray, SensorSize]:
    """A sample's events and its sensor."""
    try:
        recording = read_recording(item.path)
    except RecordingError as error:
        raise DataError(f"{_name(item)}: {error}") from None
    return recording.events, recording.size


def _cached(
    folder: Path, key: dict[str, Any], count: int, shape: tuple[int, ...], samples: Iterator[np.ndarray], what: str
) -> np.ndarray:
    """uint8 [count, *shape] from `samples`, kept on disk under the hash of `key`; written whole or not at all."""
    digest = hashlib.sha256(json.dumps([CACHE_VERSION, key], sort_keys=True).encode()).hexdigest()[:20]
    path = folder / f"{digest}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{digest}.{os.getpid()}.npy"
        array = np.lib.format.open_memmap(partial, "w+", np.uint8, (count, *shape))
        try:
            for index, sample in enumerate(
                tqdm(samples, what, count, unit="sample", leave=False, mininterval=1, disable=None)
            ):
                array[index] = sample
            array.flush()
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")


def _frame_shape(config: TrainConfig) -> tuple[int, ...]:
    return (config.steps, 2, config.height, config.width)


def _encoder(config: TrainConfig, sensor: SensorSize) -> DvsEncoder:
    return DvsEncoder(sensor, (config.height, config.width), config.bin_us, config.steps, config.encoding)


def _contract_key(config: TrainConfig) -> list[Any]:
    return [config.steps, config.bin_us, config.height, config.width, config.encoding]


def bin_items(items: Sequence[Item], config: TrainConfig, what: str) -> Frames:
    """Recordings as frames; every sensor size is brought to the contract's."""

    def samples() -> Iterator[np.ndarray]:
        for item in items:
            events, sensor = read_item(item)
            yield _encoder(config, sensor)(events)[:, 0]

    stats = [(str(i.path), i.path.stat().st_size, i.path.stat().st_mtime_ns) for i in items]
    key = {"items": stats, "contract": _contract_key(config)}
    frames = _cached(Path(config.cache), key, len(items), _frame_shape(config), samples(), what)
    return Frames(frames, np.array([item.label for item in items], np.int64))


def read_idx(path: Path) -> np.ndarray:
    """An IDX file (LeCun), gzipped or not, as uint8."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        magic = file.read(4)
        if len(magic) != 4 or magic[:3] != b"\x00\x00\x08":
            raise DataError(f"{path.name} is not an IDX file of bytes")
        shape = tuple(int.from_bytes(file.read(4), "big") for _ in range(magic[3]))
        data = np.frombuffer(file.read(), np.uint8)
    if data.size != np.prod(shape):
        raise DataError(f"{path.name} is cut short: it should hold {np.prod(shape)} bytes, not {data.size}")
    return data.reshape(shape)


def _find_idx(root: Path, stem: str) -> Path:
    for folder in (root, root / "mnist", root / "MNIST" / "raw"):
        for name in (f"{stem}.gz", stem):
            if (folder / name).is_file():
                return folder / name
    raise DataError(f"no {stem}(.gz) in {root} or {root}/mnist: MNIST's four IDX files are needed")


def emulate_mnist(config: TrainConfig, sensor: SensorSize, left_out: frozenset[int]) -> Frames:
    """The first `emulated_count` MNIST training images but those left out, moved by saccades before the sensor."""
    root = Path(config.emulated_root or config.root)
    images_path = _find_idx(root, "train-images-idx3-ubyte")
    labels = read_idx(_find_idx(root, "train-labels-idx1-ubyte"))
    images = read_idx(images_path)
    chosen = [index for index in range(len(images)) if index not in left_out][: config.emulated_count]
    encoder = _encoder(config, sensor)

    def samples() -> Iterator[np.ndarray]:
        for index in chosen:
            yield encoder(saccade_events(images[index], sensor, "digit", seed=index))[:, 0]

    stat = images_path.stat()
    key = {"mnist": [stat.st_size, chosen], "emulator": [str(NMNIST), str(sensor)], "contract": _contract_key(config)}
    frames = _cached(Path(config.cache), key, len(chosen), _frame_shape(config), samples(), "emulating MNIST")
    return Frames(frames, labels[chosen].astype(np.int64))


def shown_images(items: Sequence[Item]) -> frozenset[int]:
    """The MNIST images that N-MNIST recordings show: recording 00001.bin is image 0."""
    return frozenset(int(item.path.stem) - 1 for item in items if item.path.stem.isdigit())


def load_data(config: TrainConfig) -> Data:
    """The splits of a run, binned."""
    listing = list_data(config)
    labels = np.array([item.label for item in listing.train])
    rest, val = split_indices(labels, config.val_fraction, config.seed)
    train_items, val_items = [listing.train[i] for i in rest], [listing.train[i] for i in val]
    test_items: Sequence[Item] = listing.test
    if not test_items:
        rest, held = split_indices(np.array([i.label for i in train_items]), config.test_fraction, config.seed + 1)
        train_items, test_items = [train_items[i] for i in rest], [train_items[i] for i in held]
    train = bin_items(train_items, config, "binning train")
    recorded = len(train)
    if config.emulated:
        if tuple(listing.labels) != tuple("0123456789"):
            raise DataError("--emulated mnist needs the ten digits 0 to 9 as classes")
        # The same handwriting must not be trained on as an emulation and validated on as a recording.
        extra = emulate_mnist(config, listing.sensor, shown_images(val_items))
        train = _join([*[train] * config.repeat, extra], Path(config.cache))
    names = {
        "train": [_name(i) for i in train_items],
        "val": [_name(i) for i in val_items],
        "test": [_name(i) for i in test_items],
    }
    return Data(
        train,
        bin_items(val_items, config, "binning val"),
        bin_items(test_items, config, "binning test"),
        listing.labels,
        listing.sensor,
        {"data": listing.name, "seed": config.seed, "official_test": bool(listing.test), **names},
        tuple(test_items),
        recorded,
    )


def _name(item: Item) -> str:
    return f"{item.path.parent.name}/{item.path.name}"


def _join(sets: Sequence[Frames], cache: Path) -> Frames:
    """Several sets as one memory-mapped array."""
    key = {"join": [str(getattr(f.frames, "filename", "")) for f in sets]}
    samples = (frame for frames in sets for frame in frames.frames)
    count = sum(map(len, sets))
    joined = _cached(cache, key, count, sets[0].frames.shape[1:], samples, "joining")
    return Frames(joined, np.concatenate([f.labels for f in sets]))
