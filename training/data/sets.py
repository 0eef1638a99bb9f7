"""Types of data sets, before and after binning: listings of files and arrays of frames; how rows are divided."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spikesight.encoders.events import Events, SensorSize
from spikesight.training.config import TrainConfig
from spikesight.training.resolve import Facts, WindowShape

IMAGE_STEPS = 4


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
class Listing:
    """The samples of a set of recordings; `test` is empty if the set has no test split.

    A user's own folder has no samples until it is `fitted` to the settings of a run: it is then divided into windows,
    and `val` is not None. `notes` say in sentences how it is divided.
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
    complete: Callable[[Any], Any] | None = None  # adds to the loaded samples, `Data`, what a corpus makes
    samples: Callable[[TrainConfig], int] | None = None  # counts the training windows of a folder
    fitted: "Callable[[TrainConfig], Listing] | None" = None  # divides a folder into windows, by complete settings

    @property
    def facts(self) -> Facts:
        """What settings are resolved by."""
        count = self.samples or (lambda _: len(self.train))
        return Facts(self.name, "events", self.own, self.window, count, cut=self.fitted is not None)


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
    side: int = 0  # of the input that suits pictures of any size; 0: that of the frames
    own: bool = False  # somebody's own folder
    complete: Callable[[Any], Any] | None = None  # as a Listing's
    fitted: "Callable[[TrainConfig], ImageSet] | None" = None  # as a Listing's: decodes pictures at the input's size

    @property
    def facts(self) -> Facts:
        """What settings are resolved by."""
        height, width = (self.side, self.side) if self.side else self.train.frames.shape[-2:]
        window = WindowShape(IMAGE_STEPS, 0, height, width)
        return Facts(self.name, "image", self.own, window, lambda _: len(self.train))


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
