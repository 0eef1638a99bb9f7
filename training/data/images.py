"""Sets of still images: MNIST and Fashion-MNIST (IDX), CIFAR (Python and JPEG forms), folders of pictures.

All are read as uint8 [M, 1, C, H, W]; an encoder makes T steps of them, batch by batch.
"""

import gzip
import io
import pickle
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from spikesight.encoders.preprocess.fit import fit_digit, fit_plain
from spikesight.encoders.sample import IMAGE_SUFFIXES, read_pixels
from spikesight.training.data.recordings import CIFAR10, class_folders, held_items, items_of
from spikesight.training.data.separate import TEST_FRACTION
from spikesight.training.data.sets import DataError, Frames, ImageSet, Item, MissingDataError, split_by_name

PICTURES = tuple(sorted(IMAGE_SUFFIXES))
Still = Literal["plain", "digit"]


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
    "fashionmnist": (
        "fashion-mnist", "fashionmnist", "fashion_mnist", "FashionMNIST/raw", "FashionMNIST", "",
        "usr/share/datasets/fashion-mnist",
    ),
}  # fmt: skip
"""Folders below the root where IDX files may lie: plain, as torchvision unpacks them, and as Debian installs them."""
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist


def find_idx(root: Path, name: str, stem: str) -> Path:
    """Return the path of the IDX file `stem`, gzipped or not, of the set `name`. Raises MissingDataError."""
    folders = [root / folder for folder in IDX_FOLDERS[name]]
    if name == "fashionmnist":
        folders.append(DEBIAN_FASHION)
    for folder in folders:
        for file in (f"{stem}.gz", stem, stem.replace("-idx", ".idx")):
            if (folder / file).is_file():
                return folder / file
    title, kind = ("MNIST", "MNIST") if name == "mnist" else ("Fashion-MNIST", "FashionMNIST")
    also = ", or install Debian's dataset-fashion-mnist" if name == "fashionmnist" else ""
    needed = f"no {stem}(.gz) in {root} or {root / IDX_FOLDERS[name][0]}: {title}'s four IDX files are needed"
    raise _missing(needed, kind, root, also)


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


def list_mnist(root: Path) -> ImageSet:
    """Read MNIST (LeCun et al. 1998): 60000 training and 10000 test images, 28 x 28."""
    return _list_idx(root, "mnist", tuple("0123456789"))


FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def list_fashionmnist(root: Path) -> ImageSet:
    """Read Fashion-MNIST (Xiao et al. 2017): 60000 training and 10000 test images, 28 x 28."""
    return _list_idx(root, "fashionmnist", FASHION)


class _Restricted(pickle.Unpickler):
    """Unpickler for CIFAR files: it loads NumPy arrays and refuses any other global name, which could run code."""

    ALLOWED = frozenset({"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"})

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        full = f"{module_name}.{global_name}"
        if full in self.ALLOWED:
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if full in ("numpy.ndarray", "numpy.dtype"):
            return getattr(np, global_name)
        if full == "_codecs.encode":
            import codecs

            return codecs.encode
        raise DataError(f"a CIFAR file asks for {full}: it is not the published file")


def _read_cifar_pickle(path: Path) -> dict[str, Any]:
    try:
        values = _Restricted(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        return {k.decode() if isinstance(k, bytes) else str(k): v for k, v in values.items()}
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path.name} is damaged: {error}; download it again") from None


def _cifar_python(folder: Path, files: Sequence[str], field: str) -> Frames:
    """Read batches of CIFAR in the Python form (cifar-10-batches-py, cifar-100-python); `field` holds the labels."""
    batches = []
    for name in files:
        if not (folder / name).is_file():
            raise DataError(f"{folder.name} lacks {name}: the download is partial; fetch it again")
        batches.append(_read_cifar_pickle(folder / name))
    try:
        labels = np.concatenate([np.asarray(b[field], np.int64) for b in batches])
        images = np.concatenate([np.asarray(b["data"], np.uint8) for b in batches]).reshape(len(labels), 1, 3, 32, 32)
    except (KeyError, ValueError) as error:
        raise DataError(f"{folder.name} is not CIFAR as published: {error}") from None
    return Frames(images, labels)


def _cifar_jpeg(path: Path) -> tuple[Frames, tuple[str, ...]]:
    """Read a .npz of concatenated JPEG files: arrays jpeg (bytes), offsets [M + 1], label [M], classes [K]."""
    with np.load(path, allow_pickle=False) as file:
        data, offsets, labels, classes = (file[name] for name in ("jpeg", "offsets", "label", "classes"))
    images = []
    for begin, end in pairwise(offsets.tolist()):
        image = cv2.imdecode(data[begin:end], cv2.IMREAD_COLOR)
        if image is None or image.shape != (32, 32, 3):
            raise DataError(f"{path.name} holds pictures that cannot be decoded")
        images.append(image)
    frames = np.stack(images)[..., ::-1].transpose(0, 3, 1, 2)[:, None]
    return Frames(np.ascontiguousarray(frames), labels.astype(np.int64)), tuple(map(str, classes))


def list_cifar10(root: Path) -> ImageSet:
    """Read CIFAR-10 (Krizhevsky 2009): 50000 training and 10000 test images, 32 x 32, in the Python or JPEG form."""
    for folder in (root, root / "cifar10_jpeg"):
        if (folder / "cifar10_jpeg_train.npz").is_file():
            train, labels = _cifar_jpeg(folder / "cifar10_jpeg_train.npz")
            return ImageSet("cifar10-jpeg", labels, train, _cifar_jpeg(folder / "cifar10_jpeg_test.npz")[0])
    for folder in (root, root / "cifar-10-batches-py", root / "cifar10" / "cifar-10-batches-py"):
        if (folder / "data_batch_1").is_file():
            train = _cifar_python(folder, [f"data_batch_{n}" for n in range(1, 6)], "labels")
            return ImageSet("cifar10", CIFAR10, train, _cifar_python(folder, ["test_batch"], "labels"))
    raise _missing(f"CIFAR-10 is not in {root}: it needs cifar-10-batches-py/", "CIFAR10", root)


def list_cifar100(root: Path) -> ImageSet:
    """Read CIFAR-100 (Krizhevsky 2009): 50000 training and 10000 test images, 32 x 32, with the 100 fine labels."""
    for folder in (root, root / "cifar-100-python", root / "cifar100" / "cifar-100-python"):
        if (folder / "train").is_file():
            train, test = (_cifar_python(folder, [name], "fine_labels") for name in ("train", "test"))
            labels = tuple(str(n) for n in range(100))
            if (folder / "meta").is_file():
                names = _read_cifar_pickle(folder / "meta")["fine_label_names"]
                labels = tuple(n.decode() if isinstance(n, bytes) else str(n) for n in names)
            return ImageSet("cifar100", labels, train, test)
    raise _missing(f"CIFAR-100 is not in {root}: it needs cifar-100-python/", "CIFAR100", root)


IMAGES: dict[str, Callable[[Path], ImageSet]] = {
    "mnist": list_mnist,
    "fashionmnist": list_fashionmnist,
    "cifar10": list_cifar10,
    "cifar100": list_cifar100,
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

    def split(self, count: int, seed: int = 0) -> tuple["Images", "Images"]:
        """Return (remaining images, `count` random images set aside), both in order; at most half are set aside."""
        aside = np.zeros(len(self), bool)
        aside[np.random.default_rng([seed, 1]).permutation(len(self))[: min(count, len(self) // 2)]] = True
        return self[~aside], self[aside]


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
