"""Types of data sets, before and after binning: listings of files, arrays of frames, the splits of a run."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spikesight.encoders.events import SensorSize
from spikesight.models.contract import Contract
from spikesight.training.config import TrainConfig


class DataError(ValueError):
    """Data that is missing or broken, and what to do about it."""


class MissingDataError(DataError):
    """Nothing of the data is there; says how to get it."""


@dataclass(frozen=True)
class Item:
    """One sample: a file on disk or a window of it, its class, and the name of its reader in READERS."""

    path: Path
    label: int
    reader: str = "recording"
    begin_us: int = 0  # of the window, from the recording's first event
    length_us: int = 0  # of the window; 0: the whole recording

    @property
    def name(self) -> str:
        """The file with its class folder, and a window's begin: what the split of a run records."""
        window = f"@{self.begin_us / 1e6:.3f}s" if self.length_us else ""
        return f"{self.path.parent.name}/{self.path.name}{window}"


@dataclass(frozen=True)
class Window:
    """The event contract that suits a data set; a run may choose another."""

    steps: int  # T
    bin_us: int
    height: int
    width: int
    shortest_bin_us: int = 0  # that LIF neurons trained at bin_us run at too
    crop: str = "none"  # or "object", around what moves


@dataclass(frozen=True)
class Listing:
    """The samples of a set of recordings; `test` is empty where the set has no test split of its own.

    A folder of one's own comes divided, in windows: `val` is not None, and `notes` say what was done, in sentences.
    """

    name: str
    labels: tuple[str, ...]
    train: tuple[Item, ...]
    test: tuple[Item, ...]
    sensor: SensorSize
    window: Window
    val: tuple[Item, ...] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Frames:
    """Samples: frames uint8 [M, T, C, H, W] (T = 1 for still images) and labels int64 [M]."""

    frames: Any  # an array, memory-mapped or not, or files that are decoded when read (images.PictureRows)
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Frames":
        """The samples of these rows, in their order."""
        return Frames(self.frames[rows], self.labels[rows])

    def beside(self, other: "Frames") -> "Frames":
        """These samples, then the other's."""
        frames = np.concatenate([self.frames, other.frames])
        return Frames(frames, np.concatenate([self.labels, other.labels]))

    def evenly(self, most: int) -> np.ndarray:
        """Rows of up to `most` samples, as large a share of every class."""
        order = np.argsort(self.labels, kind="stable")
        return np.sort(order[:: max(1, -(-len(order) // most))])


@dataclass(frozen=True)
class ImageSet:
    """Still images: frames uint8 [M, 1, C, R, R']; `test` is None where the set has no test split of its own."""

    name: str
    labels: tuple[str, ...]
    train: Frames
    test: Frames | None
    names: tuple[str, ...] = ()  # of the training images, where they are files
    input_size: tuple[int, int] | None = None  # of the network's input, where pictures are kept larger

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the input that suits the set."""
        return self.input_size or self.train.frames.shape[-2:]


@dataclass(frozen=True, kw_only=True)
class Data:
    """The three splits of a run; `split` says which samples went where."""

    train: Frames
    val: Frames
    test: Frames
    labels: tuple[str, ...]
    contract: Contract
    split: dict[str, Any]
    test_items: tuple[Item, ...] = ()  # the recordings of `test`; empty for images
    recorded: int  # how many of the training samples are different recordings or images
    config: TrainConfig = field(default_factory=TrainConfig)  # of the run, its contract filled in
    notes: tuple[str, ...] = ()  # what was made of a folder, in sentences
    val_items: tuple[Item, ...] = ()  # the recordings of `val`; empty for images
    outliers: Frames | None = None  # what trains beside `train` as none of the classes, labelled len(labels)
    digests: tuple[str, ...] = ()  # of the recordings that train and choose the model, where they are not too many
    camera: dict[str, Any] = field(default_factory=dict)  # its settings that all training recordings share


Rest = tuple[np.ndarray, np.ndarray]  # (rows that are left, rows that are chosen), both ascending


def split_indices(labels: np.ndarray, fraction: float, seed: int) -> Rest:
    """(rest, chosen): about `fraction` of each class chosen, at least one and never all; the same for the same seed.

    >>> rest, chosen = split_indices(np.repeat([0, 1], 10), 0.2, seed=0)
    >>> len(rest), len(chosen)
    (16, 4)
    """
    return _split(labels, fraction, np.random.default_rng(seed).permutation)


def held_out(names: Sequence[str], labels: np.ndarray, fraction: float) -> Rest:
    """(rest, test) for a set with no test split: by the SHA-256 of the names, so that it is the same for every seed.

    >>> rest, test = held_out([f"a/{n}" for n in range(10)], np.zeros(10, int), 0.2)
    >>> len(rest), test.tolist()
    (8, [2, 3])
    """
    keys = np.array([hashlib.sha256(name.encode()).hexdigest() for name in names])
    return _split(labels, fraction, lambda rows: rows[np.argsort(keys[rows], kind="stable")])


def _split(labels: np.ndarray, fraction: float, ordered: Callable[[np.ndarray], np.ndarray]) -> Rest:
    """The first of each class's rows, in an order of theirs. Raises DataError for a class of one sample."""
    chosen = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 2:
            raise DataError("every class needs at least two samples, one to train on and one to choose the model by")
        chosen.append(ordered(rows)[: min(len(rows) - 1, max(1, round(fraction * len(rows))))])
    picked = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), picked), picked
