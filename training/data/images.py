"""Sets of still images: MNIST and Fashion-MNIST (IDX), CIFAR, folders of pictures.

All are read as uint8 [M, 1, C, H, W]; an encoder makes T steps of them, batch by batch.
"""

import gzip
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from spikesight.encoders.preprocess.fit import Still, fit_digit, fit_plain
from spikesight.encoders.sample import IMAGE_SUFFIXES, read_pixels
from spikesight.training.data.recordings import class_folders, held_items, items_of
from spikesight.training.data.separate import TEST_FRACTION
from spikesight.training.data.sets import DataError, Frames, ImageSet, Item, MissingDataError, split_by_name

PICTURES = tuple(sorted(IMAGE_SUFFIXES))


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file (LeCun) of bytes, gzipped or not, as a uint8 array. Raises DataError."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            magic = file.read(4)
            if len(magic) != 4 or magic[:3] != b"\x00\x00\x08":
                raise DataError(f"{path.name} is not an IDX file of bytes")
            shape = tuple(int.from_bytes(file.read(4), "big") for _ in range(magic[3]))
            data = np.frombuffer(file.read(), np.uint8)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path.name} is cut short or not gzip: {error}; download it again") from None
    if data.size != np.prod(shape):
        raise DataError(f"{path.name} is cut short: it should hold {np.prod(shape)} bytes, not {data.size}")
    return data.reshape(shape)


IDX_FOLDERS = {
    "mnist": ("mnist", "MNIST/raw", "MNIST", ""),
    "fashionmnist": ("fashion-mnist", "fashionmnist", "FashionMNIST/raw", "FashionMNIST", ""),
}
"""Folders below the root where IDX files may lie, plain or as torchvision unpacks them."""
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist


def find_idx(root: Path, name: str, stem: str) -> Path:
    """Return the path of the IDX file `stem`, gzipped or not, of the set `name`. Raises MissingDataError."""
    folders = [root / folder for folder in IDX_FOLDERS[name]]
    folders += [DEBIAN_FASHION] if name == "fashionmnist" else []
    for path in (folder / file for folder in folders for file in (f"{stem}.gz", stem)):
        if path.is_file():
            return path
    kind, also = ("MNIST", "") if name == "mnist" else ("FashionMNIST", ", or by apt install dataset-fashion-mnist")
    raise _missing(f"no {stem}(.gz) in {root} or {folders[0]}: {kind}'s four IDX files are needed", kind, root, also)


def _missing(needed: str, kind: str, root: Path, also: str = "") -> MissingDataError:
    """Return an error that says what is needed and how to download it with torchvision."""
    download = f"python -c \"import torchvision; torchvision.datasets.{kind}('{root}', download=True)\""
    return MissingDataError(f"{needed}. Download it with {download}{also}")


def _list_idx(root: Path, name: str, labels: tuple[str, ...]) -> ImageSet:
    sets = []
    for split in ("train", "t10k"):
        images = read_idx(find_idx(root, name, f"{split}-images-idx3-ubyte"))
        classes = read_idx(find_idx(root, name, f"{split}-labels-idx1-ubyte"))
        if images.ndim != 3 or classes.shape != images.shape[:1]:
            raise DataError(f"the {split} images and labels of {name} do not belong together")
        sets.append(Frames(images[:, None, None], classes.astype(np.int64)))
    return ImageSet(name, labels, *sets)


FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def _list_cifar(root: Path, kind: str) -> ImageSet:
    """Read CIFAR by torchvision, which unpickles only the published files, by their MD5 sums; or unpacked to pictures,
    `kind`/train/<class>/<file> and `kind`/test/... Raises DataError.
    """
    from torchvision import datasets  # takes a second to load

    name, cifar = kind.lower(), getattr(datasets, kind)
    if (root / name / "train").is_dir():
        return list_pictures(root / name, f"{name}-pictures", 32, 32, 3)
    folder = next((f for f in (root, root / name) if (f / cifar.base_folder).is_dir()), None)
    if folder is None:
        raise _missing(f"{kind} is not in {root}: it needs {cifar.base_folder}/", kind, root)
    try:
        train, test = (cifar(str(folder), train=part) for part in (True, False))
    except RuntimeError:
        raise DataError(f"{cifar.base_folder} in {folder} is partial or damaged: fetch it again") from None
    frames = [Frames(of.data.transpose(0, 3, 1, 2)[:, None], np.array(of.targets, np.int64)) for of in (train, test)]
    return ImageSet(name, tuple(train.classes), frames[0], frames[1])


IMAGES: dict[str, Callable[[Path], ImageSet]] = {
    "mnist": partial(_list_idx, name="mnist", labels=tuple("0123456789")),  # LeCun et al. 1998, 28 x 28
    "fashionmnist": partial(_list_idx, name="fashionmnist", labels=FASHION),  # Xiao et al. 2017, 28 x 28
    "cifar10": partial(_list_cifar, kind="CIFAR10"),
    "cifar100": partial(_list_cifar, kind="CIFAR100"),
}
"""Functions that read sets of images, by name; `imagenet` and folders of pictures are handled separately."""


@dataclass(frozen=True)
class PictureRows:
    """Picture files that act as an array [M, 1, C, H, W], decoded on access, for sets too large for memory."""

    paths: tuple[Path, ...]
    channels: int
    height: int
    width: int
    still: Still = "plain"  # how a picture is brought to this size

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.paths), 1, self.channels, self.height, self.width)

    def __getitem__(self, rows: Any) -> np.ndarray:
        chosen = np.arange(len(self.paths))[rows]
        with ThreadPoolExecutor(4) as pool:
            pictures = list(pool.map(self._read, np.atleast_1d(chosen)))
        out = np.stack(pictures) if pictures else np.zeros((0, *self.shape[1:]), np.uint8)
        return out if np.ndim(chosen) else out[0]

    def _read(self, row: int) -> np.ndarray:
        return read_picture(self.paths[row], self.channels, self.height, self.width, self.still)[None]

    def only(self, rows: np.ndarray) -> "PictureRows":
        """Return a subset of the pictures, without decoding any."""
        return replace(self, paths=tuple(self.paths[i] for i in rows))


def read_picture(path: Path, channels: int, height: int, width: int, still: Still = "plain") -> np.ndarray:
    """Read a picture; crop it centrally, or to its digit, and resize it: uint8 [channels, height, width]."""
    picture = read_pixels(path.read_bytes())
    if picture is None:
        raise DataError(f"{path.parent.name}/{path.name} is not a picture that can be decoded")
    fit = fit_digit if still == "digit" else fit_plain
    return fit(picture, height, width, channels)


def holds_pictures(path: Path) -> bool:
    """Return whether `path` is a folder of class folders whose first file is a picture."""
    if not path.is_dir():
        return False
    base, _, labels = class_folders(path)
    first = next((f for label in labels for f in sorted((base / label).rglob("*")) if f.is_file()), None)
    return first is not None and first.suffix.lower() in PICTURES


def list_pictures(path: Path, name: str, height: int, width: int, channels: int) -> ImageSet:
    """List pictures laid out <class>/<file>, or train/<class>/<file> with test/ or val/ (ImageNet's layout)."""
    base, test, labels = class_folders(path)
    train, held = _pictures(items_of(base, labels)), _pictures(held_items(test, labels))
    if len(labels) < 2 or not train:
        raise MissingDataError(f"{path} needs at least two class folders with pictures in them; found {len(labels)}")

    def frames(items: tuple[Item, ...]) -> Frames:
        rows = PictureRows(tuple(i.path for i in items), channels, height, width)
        return Frames(rows, np.array([i.label for i in items], np.int64))

    return ImageSet(name, labels, frames(train), frames(held) if held else None, tuple(i.name for i in train))


def of_size(frames: Frames, height: int, width: int) -> Frames:
    """Return picture files that are decoded at another size."""
    return replace(frames, frames=replace(frames.frames, height=height, width=width))


def _pictures(items: tuple[Item, ...]) -> tuple[Item, ...]:
    return tuple(i for i in items if i.path.suffix.lower() in PICTURES)


def find_imagenet(root: Path) -> Path:
    """Return ImageNet's folder, which holds train/<wnid>/*.JPEG and val/<wnid>/*.JPEG. Raises MissingDataError."""
    for folder in (root, root / "imagenet", root / "ILSVRC" / "Data" / "CLS-LOC"):
        if (folder / "train").is_dir():
            return folder
    raise MissingDataError(
        f"ImageNet is not in {root}: it needs train/<wnid>/*.JPEG and val/<wnid>/*.JPEG. Its authors give it out "
        "after registration; torchvision.datasets.ImageNet sorts their archives into these folders"
    )


# --- as plain arrays: for ANNs, conversion and comparisons

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SCALES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "mnist": ((0.1307,), (0.3081,)),
    "fashionmnist": ((0.2860,), (0.3530,)),
    "cifar10": (IMAGENET_MEAN, IMAGENET_STD),  # as the published CIFAR ResNets were trained
    "cifar100": (IMAGENET_MEAN, IMAGENET_STD),
}
"""Mean and standard deviation a channel, of pixels in [0, 1], that normalise ANN inputs; other sets: 0.5 and 0.25."""


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
        """Return all images in a random order that the seed determines."""
        return self[np.random.default_rng(seed).permutation(len(self))]

    def subset(self, count: int, seed: int = 0) -> "Images":
        """Return `count` random images without replacement, or all if there are fewer; the seed determines them."""
        return self if count >= len(self) else self.shuffled(seed)[:count]


@dataclass(frozen=True)
class Pictures:
    """A data set of still images: training and test split, classes, and normalisation a channel."""

    name: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: Images
    test: Images


def _images(frames: Frames) -> Images:
    return Images(np.asarray(frames.frames[:])[:, 0], frames.labels)


def load_images(data: str, root: Path, size: tuple[int, int, int] = (3, 32, 32)) -> Pictures:
    """Read a set by its name, or a folder of pictures <class>/<file> resized to `size` (C, H, W). Raises DataError.

    If there is no test split, the test pictures are those that a training sets aside.
    """
    if data in IMAGES:
        found = IMAGES[data](root)
    elif Path(data).is_dir():
        found = list_pictures(Path(data), Path(data).resolve().name, size[1], size[2], size[0])
    else:
        raise DataError(f"{data!r} is neither a folder of pictures nor one of {', '.join(IMAGES)}")
    train = _images(found.train)
    mean, std = SCALES.get(data, tuple((value,) * train.pixels.shape[1] for value in (0.5, 0.25)))
    if found.test is not None:
        return Pictures(found.name, found.labels, mean, std, train, _images(found.test))
    rest, held = split_by_name(found.names, train.labels, TEST_FRACTION)
    return Pictures(found.name, found.labels, mean, std, train[rest], train[held])


def pictures_below(folder: Path, count: int, size: tuple[int, int, int]) -> np.ndarray:
    """Read up to `count` pictures below a folder, picked evenly, as uint8 [N, C, H, W]; labels are not needed."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES and not p.name.startswith("."))
    if not found:
        raise DataError(f"no pictures in {folder} (known: {', '.join(PICTURES)})")
    chosen = found if count >= len(found) else [found[i * len(found) // count] for i in range(count)]
    return np.stack([read_picture(path, *size) for path in chosen])
