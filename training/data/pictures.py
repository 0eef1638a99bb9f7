"""Still images as plain arrays: what ANNs, conversion and the comparison read of spikesight.training.data's sets."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikesight.training.data.images import IMAGES, PICTURES, list_pictures, read_picture
from spikesight.training.data.sets import DataError, Frames

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SCALES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "mnist": ((0.1307,), (0.3081,)),
    "fashionmnist": ((0.2860,), (0.3530,)),
    "cifar10": (IMAGENET_MEAN, IMAGENET_STD),  # as the published CIFAR ResNets were trained
    "cifar100": (IMAGENET_MEAN, IMAGENET_STD),
}
"""Mean and standard deviation of pixels in [0, 1], by channel, that an ANN is fed with; 0.5 and 0.25 of other sets."""


@dataclass(frozen=True)
class Images:
    """Pictures uint8 [N, C, H, W] and their classes int64 [N]."""

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | np.ndarray) -> "Images":
        return Images(self.pixels[rows], self.labels[rows])

    def shuffled(self, seed: int = 0) -> "Images":
        """All images in a random order that follows from the seed."""
        return self[np.random.default_rng(seed).permutation(len(self))]

    def subset(self, count: int, seed: int = 0) -> "Images":
        """`count` images drawn without replacement, or all; they follow from the seed."""
        return self if count >= len(self) else self.shuffled(seed)[:count]

    def split(self, count: int, seed: int = 0) -> tuple["Images", "Images"]:
        """(the others in their order, `count` of them set aside); at most half are set aside."""
        aside = np.zeros(len(self), bool)
        aside[np.random.default_rng([seed, 1]).permutation(len(self))[: min(count, len(self) // 2)]] = True
        return self[~aside], self[aside]


@dataclass(frozen=True)
class Pictures:
    """A data set of still images with its two splits."""

    name: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: Images
    test: Images


def _images(frames: Frames) -> Images:
    return Images(np.asarray(frames.frames[:])[:, 0], frames.labels)


def load_images(data: str, root: Path, size: tuple[int, int, int] = (3, 32, 32)) -> Pictures:
    """A set by its name, or a folder of pictures <class>/<file>, brought to `size` [C, H, W].

    A folder without a test split has every seventh picture set aside.
    """
    if data in IMAGES:
        found = IMAGES[data](root)
    elif Path(data).is_dir():
        found = list_pictures(Path(data), Path(data).resolve().name, size[1], size[2], size[0])
    else:
        raise DataError(f"{data!r} is neither a folder of pictures nor one of {', '.join(IMAGES)}")
    train = _images(found.train)
    mean, std = SCALES.get(data, tuple((value,) * train.pixels.shape[1] for value in (0.5, 0.25)))
    held = np.arange(len(train)) % 7 == 6
    train, test = (train, _images(found.test)) if found.test is not None else (train[~held], train[held])
    return Pictures(found.name, found.labels, mean, std, train, test)


def pictures_below(folder: Path, count: int, size: tuple[int, int, int]) -> np.ndarray:
    """uint8 [N, C, H, W]: up to `count` picture files below a folder, evenly picked; no labels needed."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES and not p.name.startswith("."))
    if not found:
        raise DataError(f"no pictures in {folder} (known: {', '.join(PICTURES)})")
    chosen = found if count >= len(found) else [found[i * len(found) // count] for i in range(count)]
    return np.stack([read_picture(path, *size) for path in chosen])
