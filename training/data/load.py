"""Load the three splits of a run from its settings.

The validation split is drawn from the training samples, stratified and seeded. A set without a test split gets one that
is the same for every seed. Both are recorded in the run's folder.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.preprocess.fit import Still
from spikesight.encoders.recordings.files import digest
from spikesight.encoders.words import counted
from spikesight.models.contract import Contract
from spikesight.training.config import TrainConfig
from spikesight.training.data.cache import bin_items, cached, file_stamps
from spikesight.training.data.images import IMAGES, PictureRows, find_imagenet, holds_pictures, list_pictures, of_size
from spikesight.training.data.own import list_own
from spikesight.training.data.recordings import recorded
from spikesight.training.data.separate import TEST_FRACTION
from spikesight.training.data.sets import Frames, ImageSet, Item, Listing, split_by_name, split_indices
from spikesight.training.data.tonic_sets import NAMED, kind_of, list_given, list_named
from spikesight.training.flags import from_mapping
from spikesight.training.resolve import WindowShape, resolve, start_of

MOST_DIGESTS = 10_000  # recordings or pictures of larger sets are not listed in the card
FOLDER_SIDE, IMAGENET_SIDE = 64, 224
MEASURED = 5000  # training images from which mean and standard deviation are computed
KEEP_DECODED_BYTES = 4 << 30  # larger sets of pictures are decoded as they are read
DATA_NAMES = (*NAMED, *IMAGES, "imagenet")


@dataclass(frozen=True, kw_only=True)
class Data:
    """The three splits of a run; `split` records which samples are in which."""

    train: Frames
    val: Frames
    test: Frames
    labels: tuple[str, ...]
    contract: Contract
    split: dict[str, Any]
    test_items: tuple[Item, ...] = ()  # the recordings of `test`; empty for images
    recorded: int  # number of distinct recordings or images among the training samples
    config: TrainConfig = field(default_factory=TrainConfig)  # of the run, complete
    own: bool = False  # somebody's own recordings or pictures: few, and of any classes
    notes: tuple[str, ...] = ()  # what the samples are and how they were divided, in sentences
    left_out: tuple[str, ...] = ()  # files of it that cannot be read, each with its reason
    train_items: tuple[Item, ...] = ()  # the recordings of `train`, which begins with them; empty for images
    val_items: tuple[Item, ...] = ()  # the recordings of `val`; empty for images
    made: Any = None  # the validation samples after val_items, of a corpus (as frames, of any `steps` and `bin_us`)
    outliers: Frames | None = None  # training samples of none of the classes, labelled len(labels)
    outlier_kinds: tuple[str, ...] = ()  # what they show, for the card
    calibration: tuple[Item, ...] = ()  # further recordings that calibrate prediction sets alone
    digests: tuple[str, ...] = ()  # hashes of the training and validation recordings, if they are not too many

    @classmethod
    def of(cls, dataset: Any, test: Any | None = None, **settings: Any) -> "Data":
        """Load a data set like Tonic's: indexable, with samples (events, label) or (frames, label), and a
        `sensor_size`. Each sample is one recording, as in a folder of your own; `test` holds those to test on.

        Events are flat structured arrays (`as_events`); frames are counts [T, 2, H, W], whose length is that of the
        transform that made them, or `bin_us`. `settings` are fields of TrainConfig. Raises DataError and ValueError.
        """
        config = from_mapping(TrainConfig(), {"data": type(dataset).__name__, **settings}, "Data.of")
        return _load(*settle(config, list_given(dataset, test, config)))


def is_recorded(data: str) -> bool:
    """Return whether this is the name of a set of recordings: one of Tonic's or of a plug-in's."""
    return bool(kind_of(data)) or data in recorded()


def list_data(config: TrainConfig) -> Listing | ImageSet:
    """List the samples of a run's data set, by name or from a folder of recordings or pictures. Raises ValueError."""
    if kind_of(config.data):
        return list_named(config)
    if config.transform:
        raise ValueError("--transform is for Tonic's data sets")
    if config.data in recorded():
        return recorded()[config.data](Path(config.root))
    if config.data in IMAGES:
        return IMAGES[config.data](Path(config.root))
    return _list_pictures(config) if _holds_images(config) else list_own(config, Path(config.data))


def _holds_images(config: TrainConfig) -> bool:
    return config.data in (*IMAGES, "imagenet") or (not is_recorded(config.data) and holds_pictures(Path(config.data)))


def _list_pictures(config: TrainConfig) -> ImageSet:
    """List ImageNet, whose pictures are kept larger and cropped when used, or a folder of pictures."""
    named = config.data == "imagenet"
    path = find_imagenet(Path(config.root)) if named else Path(config.data)
    side, name = (IMAGENET_SIDE, "imagenet") if named else (FOLDER_SIDE, path.resolve().name)

    def fitted(config: TrainConfig) -> ImageSet:
        kept = [size * 8 // 7 if named else size for size in (config.height, config.width)]
        return replace(found, train=of_size(found.train, *kept), test=found.test and of_size(found.test, *kept))

    found = replace(list_pictures(path, name, side, side, 3), side=side, own=not named, fitted=fitted)
    return found


def _shortest_bin(config: TrainConfig, window: WindowShape) -> int:
    """Return the shortest bin, microseconds, of the same weights: a leak in time runs at any pace; 0: only its own."""
    suits = config.encoding == "binary" and config.neuron in ("lif", "if") and config.bin_us == window.bin_us
    return window.shortest_bin_us if suits else 0


def settle(given: TrainConfig, found: Listing | ImageSet | None = None) -> tuple[Listing | ImageSet, TrainConfig]:
    """Return the samples of a run (`found`, else those of the data set that is named), and its complete settings.

    Raises DataError, and ValueError for settings that do not fit.
    """
    own = found is not None or not (_holds_images(given) or is_recorded(given.data))
    found, start = found or list_data(given), start_of(given, own=own)
    config = resolve(given, found.facts, start)
    return (found if found.fitted is None else found.fitted(config)), config


def load_data(config: TrainConfig) -> Data:
    """Load the splits of a run, ready to train on. Raises DataError, and ValueError for settings that do not fit."""
    return _load(*settle(config))


def _load(found: Listing | ImageSet, config: TrainConfig) -> Data:
    data = _load_images(found, config) if isinstance(found, ImageSet) else _load_recordings(found, config)
    return data if found.complete is None else found.complete(data)


def _split(
    labels: Sequence[int], groups: Sequence[str], names: Sequence[str], own_test: bool, config: TrainConfig
) -> dict[str, NDArray[np.int64]]:
    """Divide the training samples: rows by part; "test" is empty if the set has its own test split, else by `names`.

    Samples of a group stay together; groups are drawn class by class, or from all if one holds several classes.
    """
    classes: dict[str, set[int]] = {}
    for group, label in zip(groups, labels):
        classes.setdefault(group, set()).add(label)
    alone = all(len(of) == 1 for of in classes.values())
    strata, rows, test = np.array([min(of) if alone else 0 for of in classes.values()]), np.arange(len(classes)), []
    if not own_test:
        rows, test = split_by_name(list(dict(zip(groups, names)).values()), strata, TEST_FRACTION)
    rest, val = split_indices(strata[rows], config.val_fraction, config.seed)
    parts = {"train": rows[rest], "val": rows[val], "test": test}
    number = {group: n for n, group in enumerate(classes)}
    member = np.array([number[group] for group in groups])
    return {part: np.flatnonzero(np.isin(member, of)) for part, of in parts.items()}


def divided(listing: Listing, config: TrainConfig) -> dict[str, Sequence[Item]]:
    """Return the recordings, or their windows, of each part: "train", "val" and "test"."""
    if listing.val is not None:
        return {"train": listing.train, "val": listing.val, "test": listing.test}
    items = listing.train
    groups, names = zip(*((item.group or str(item.path), item.group or item.name) for item in items))
    rows = _split([item.label for item in items], groups, names, bool(listing.test), config)
    chosen = {part: [items[i] for i in of] for part, of in rows.items()}
    return {**chosen, "test": listing.test or chosen["test"]}


def _digests(files: Iterable[Path]) -> tuple[str, ...]:
    paths = sorted({path for path in files if path.is_file()})
    return tuple(digest(path) for path in paths) if len(paths) <= MOST_DIGESTS else ()


def _load_recordings(listing: Listing, config: TrainConfig) -> Data:
    chosen, folder = divided(listing, config), Path(config.cache)
    contract = Contract(
        kind="events", channels=2, height=config.height, width=config.width, steps=config.steps,
        encoding=config.encoding, sensor_width=listing.sensor.width, sensor_height=listing.sensor.height,
        bin_us=config.bin_us, shortest_bin_us=_shortest_bin(config, listing.window),
        still="none" if {"left", "right"} <= set(listing.labels) else _image_fit(listing.labels),  # motions
        filter_us=config.filter_us, frame="object" if config.crop == "object" else "sensor",
    )  # fmt: skip
    names = {part: [item.name for item in items] for part, items in chosen.items()}
    official = listing.val is None and bool(listing.test)
    train, val = (bin_items(chosen[part], contract, folder, f"binning {part}") for part in ("train", "val"))
    return Data(
        train=train,
        val=val,
        test=bin_items(chosen["test"], contract, folder, "binning test"),
        labels=listing.labels,
        contract=contract,
        split={"data": listing.name, "seed": config.seed, "official_test": official, **names},
        test_items=tuple(chosen["test"]),
        train_items=tuple(chosen["train"]),
        val_items=tuple(chosen["val"]),
        recorded=len(chosen["train"]),
        config=config,
        own=listing.own,
        notes=listing.notes,
        left_out=listing.left_out,
        digests=_digests(item.path for item in (*chosen["train"], *chosen["val"])),
    )


def _image_fit(labels: Sequence[str]) -> Still:
    """Return how still images are fitted to the input: those of the ten digits are centred."""
    return "digit" if tuple(labels) == tuple("0123456789") else "plain"


def _load_images(images: ImageSet, config: TrainConfig) -> Data:
    own, folder = images.test, Path(config.cache)
    names = images.names or [str(n) for n in range(len(images.train))]
    rows = _split(images.train.labels.tolist(), names, names, own is not None, config)
    train, val, test = (_rows(images.train, of, folder) for of in rows.values())
    test = test if own is None else _rows(own, np.arange(len(own)), folder)
    mean, std = _moments(train) if config.encoding == "direct" else ((), ())
    still = "plain" if isinstance(images.train.frames, PictureRows) else _image_fit(images.labels)  # as they were read
    contract = Contract(
        kind="image", channels=train.frames.shape[2], height=config.height, width=config.width, steps=config.steps,
        encoding=config.encoding, mean=mean, std=std, still=still,
    )  # fmt: skip
    parts: dict[str, Any] = {part: of.tolist() for part, of in rows.items()}
    if images.names:
        parts = {part: [images.names[i] for i in of] for part, of in rows.items()}
    else:  # tens of thousands of numbers, which follow from the other parts
        parts["train"] = f"the other {counted(len(train), 'training image')}"
    if own is not None:
        parts["test"] = f"all {len(test)} of the set's own"
    files = images.train.frames.paths if isinstance(images.train.frames, PictureRows) else ()
    return Data(
        train=train, val=val, test=test, labels=images.labels, contract=contract,
        recorded=len(train), config=config,
        digests=_digests(files[n] for n in (*rows["train"], *rows["val"])) if files else (),
        split={"data": images.name, "seed": config.seed, "official_test": own is not None, **parts}, own=images.own,
        notes=(
            f"{counted(len(images.labels), 'class')}, pictures as {config.height} x {config.width} pixels: "
            f"{len(train)} for training, {len(val)} validation, {len(test)} test",
        ),
    )  # fmt: skip


def _rows(frames: Frames, rows: np.ndarray, folder: Path) -> Frames:
    """Return the given rows; pictures on disk are decoded into the cache, unless they are too many."""
    if not isinstance(frames.frames, PictureRows):
        return frames.take(rows)
    pictures, labels = frames.frames.only(rows), frames.labels[rows]
    shape = pictures.shape[1:]
    if not len(rows) or len(rows) * int(np.prod(shape)) > KEEP_DECODED_BYTES:
        return Frames(pictures, labels)
    key = {"pictures": file_stamps(pictures.paths), "shape": shape, "transparent": "on white"}
    samples = (pictures[n] for n in range(len(rows)))
    return Frames(cached(folder, key, len(rows), shape, samples, "decoding pictures"), labels)


def _moments(frames: Frames) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (mean, standard deviation) a channel, of values in [0, 1], over MEASURED images spread evenly."""
    rows = np.linspace(0, len(frames) - 1, min(MEASURED, len(frames))).astype(int)
    means = []
    for part in np.array_split(rows, max(1, len(rows) // 500)):
        values = np.asarray(frames.frames[part], np.float64) / 255
        means.append(len(part) * np.stack([values.mean((0, 1, 3, 4)), (values**2).mean((0, 1, 3, 4))]))
    mean, square = np.sum(means, 0) / len(rows)
    std = np.sqrt(np.maximum(square - mean**2, 1e-6))
    return tuple(mean.round(4).tolist()), tuple(std.round(4).tolist())
