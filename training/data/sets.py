"""Types of data sets, before and after binning: listings of files, arrays of frames, the splits of a run."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spikesight.encoders.events import Events, SensorSize
from spikesight.models.contract import Contract
from spikesight.training.config import TrainConfig


class DataError(ValueError):
    """Error for data that is missing or broken; it says what to do."""


class MissingDataError(DataError):
    """Error for a data set that is not there at all; it says how to get it."""


Read = tuple[Events, SensorSize]


@dataclass(frozen=True)
class Item:
    """One sample: a file on disk, a window of it or a sample of somebody else's data set, and its class."""

    path: Path  # of a sample in memory, made of its part, class and number
    label: int
    begin_us: int = 0  # of the window, from the recording's first event
    length_us: int = 0  # of the window; 0: the whole recording
    read: Callable[[], Read] | None = field(default=None, compare=False)  # another data set's reader of it
    mark: str = ""  # what the events depend on beside the file: a transform, or a digest of them
    group: str = ""  # the user or recording that it is of: those of one are never in two parts

    @property
    def name(self) -> str:
        """Class folder, file and start of a window: the name that the recorded split of a run uses."""
        window = f"@{self.begin_us / 1e6:.3f}s" if self.length_us else ""
        return f"{self.path.parent.name}/{self.path.name}{window}"


@dataclass(frozen=True)
class WindowShape:
    """Bins and input size that suit a data set; a run may choose others."""

    steps: int  # T
    bin_us: int
    height: int
    width: int
    shortest_bin_us: int = 0  # at which LIF neurons trained at bin_us may run as well; 0: only bin_us
    crop: str = "none"  # or "object": a square around what moves


@dataclass(frozen=True)
class Listing:
    """The samples of a set of recordings; `test` is empty if the set has no test split.

    A user's own folder is already divided into windows: `val` is not None. `notes` say in sentences how it is divided.
    """

    name: str
    labels: tuple[str, ...]
    train: tuple[Item, ...]
    test: tuple[Item, ...]
    sensor: SensorSize
    window: WindowShape
    val: tuple[Item, ...] | None = None
    own: bool = False  # somebody's own recordings: few, and of any classes
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()  # files that cannot be read, each with its reason
    complete: "Callable[[Data], Data] | None" = None  # adds to the loaded samples what a corpus makes


@dataclass(frozen=True)
class Frames:
    """Samples: frames uint8 [M, T, C, H, W] (T = 1 for still images) and labels int64 [M]."""

    frames: Any  # an array, memory-mapped or not, or files that are decoded on access (images.PictureRows)
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Return (x_seq float32 [T, C, H, W], label) of a sample, as PyTorch's loader takes it."""
        return np.asarray(self.frames[index], np.float32), int(self.labels[index])

    def take(self, rows: np.ndarray) -> "Frames":
        """Return the samples of the given rows, in that order."""
        return Frames(self.frames[rows], self.labels[rows])

    def concatenated(self, other: "Frames") -> "Frames":
        """Return these samples followed by those of `other`."""
        frames = np.concatenate([self.frames, other.frames])
        return Frames(frames, np.concatenate([self.labels, other.labels]))

    def stratified_rows(self, most: int) -> np.ndarray:
        """Return the rows of up to `most` samples, with the same share of every class; sorted."""
        order = np.argsort(self.labels, kind="stable")
        return np.sort(order[:: max(1, -(-len(order) // most))])


@dataclass(frozen=True)
class ImageSet:
    """A set of still images, frames uint8 [M, 1, C, R, R']; `test` is None if the set has no test split."""

    name: str
    labels: tuple[str, ...]
    train: Frames
    test: Frames | None
    names: tuple[str, ...] = ()  # of the training images, if they are files
    input_size: tuple[int, int] | None = None  # of the network's input, if pictures are kept larger
    own: bool = False  # somebody's own folder
    complete: "Callable[[Data], Data] | None" = None  # as a Listing's

    @property
    def size(self) -> tuple[int, int]:
        """Network input size (height, width) that suits the set."""
        return self.input_size or self.train.frames.shape[-2:]


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
    config: TrainConfig = field(default_factory=TrainConfig)  # of the run, with bins and input size filled in
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
        from spikesight.training.data.load import load_given  # which is above this module

        return load_given(dataset, test, settings)


RowSplit = tuple[np.ndarray, np.ndarray]  # (remaining rows, chosen rows), both ascending


def split_indices(labels: np.ndarray, fraction: float, seed: int) -> RowSplit:
    """Choose about `fraction` of each class at random, at least one and never all; return (remaining, chosen) rows.

    >>> rest, chosen = split_indices(np.repeat([0, 1], 10), 0.2, seed=0)
    >>> len(rest), len(chosen)
    (16, 4)
    """
    return _split(labels, fraction, np.random.default_rng(seed).permutation)


def split_by_name(names: Sequence[str], labels: np.ndarray, fraction: float) -> RowSplit:
    """Choose a test split by the SHA-256 of the names, the same for every seed; return (remaining, test) rows.

    >>> rest, test = split_by_name([f"a/{n}" for n in range(10)], np.zeros(10, int), 0.2)
    >>> len(rest), test.tolist()
    (8, [2, 3])
    """
    keys = np.array([hashlib.sha256(name.encode()).hexdigest() for name in names])
    return _split(labels, fraction, lambda rows: rows[np.argsort(keys[rows], kind="stable")])


def _split(labels: np.ndarray, fraction: float, ordered: Callable[[np.ndarray], np.ndarray]) -> RowSplit:
    """Choose the first rows of each class after `ordered` sorts them. Raises DataError for a class of one sample."""
    chosen = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 2:
            raise DataError("every class needs at least two samples, one to train on and one to choose the model by")
        chosen.append(ordered(rows)[: min(len(rows) - 1, max(1, round(fraction * len(rows))))])
    picked = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), picked), picked
