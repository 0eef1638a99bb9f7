"""Still images by name or by folder, as uint8 arrays: what ANNs, conversion and the comparison read.

mnist, fashion-mnist   the four IDX files, in ROOT, ROOT/<name> or where Debian's package puts them
cifar10                CIFAR-10 as JPEG bytes, offsets and labels in ROOT/cifar10_jpeg/*.npz
a folder               pictures laid out <class>/<file>, or train/<class>/<file> and test/<class>/<file>
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from encoders.still import fit_plain
from training.data import DataError, read_idx

DIGITS = tuple("0123456789")
CLOTHES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
CIFAR_MEAN, CIFAR_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # as the published CIFAR weights were trained
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm")


@dataclass(frozen=True)
class Images:
    """Pictures uint8 [N, C, H, W] and their classes int64 [N]."""

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def some(self, count: int, seed: int = 0) -> "Images":
        """`count` of them drawn without replacement, or all; the same for the same seed."""
        if count >= len(self):
            return self
        chosen = np.random.default_rng(seed).permutation(len(self))[:count]
        return Images(self.pixels[chosen], self.labels[chosen])


@dataclass(frozen=True)
class ImageSet:
    """A data set of still images."""

    name: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]  # of pixels in [0, 1], by channel
    std: tuple[float, ...]
    train: Images
    test: Images


def _idx_folder(root: Path, name: str) -> Path:
    places = (root, root / name, root / name / "raw", Path("/usr/share/datasets") / name)
    for place in places:
        if any(place.glob("train-images-idx3-ubyte*")) and any(place.glob("t10k-labels-idx1-ubyte*")):
            return place
    raise DataError(
        f"no {name} in {root} or {root / name}: its four IDX files are needed (train-images-idx3-ubyte, ...)"
    )


def _idx(folder: Path, part: str) -> Images:
    def find(stem: str) -> np.ndarray:
        return read_idx(sorted(folder.glob(f"{part}-{stem}*"))[0])

    return Images(find("images")[:, None], find("labels").astype(np.int64))


def load_idx(root: Path, name: str, classes: tuple[str, ...], mean: float, std: float) -> ImageSet:
    """MNIST's format."""
    folder = _idx_folder(root, name)
    return ImageSet(name, classes, (mean,), (std,), _idx(folder, "train"), _idx(folder, "t10k"))


def decode(data: np.ndarray, name: str) -> np.ndarray:
    """RGB uint8 [H, W, 3] of an encoded picture."""
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if picture is None:
        raise DataError(f"{name} is not a picture that can be read")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _cifar(path: Path) -> tuple[Images, tuple[str, ...]]:
    if not path.is_file():
        raise DataError(f"no {path.name} in {path.parent}: JPEG bytes, offsets and label are needed")
    with np.load(path) as stored:
        data, offsets, labels = stored["jpeg"], stored["offsets"], stored["label"].astype(np.int64)
        classes = tuple(map(str, stored["classes"]))
    pictures = [decode(data[a:b], path.name) for a, b in pairwise(offsets)]
    return Images(np.stack(pictures).transpose(0, 3, 1, 2).copy(), labels), classes


def load_cifar10(root: Path) -> ImageSet:
    """CIFAR-10, re-encoded as JPEG."""
    folder = root / "cifar10_jpeg" if (root / "cifar10_jpeg").is_dir() else root
    train, classes = _cifar(folder / "cifar10_jpeg_train.npz")
    return ImageSet("cifar10", classes, CIFAR_MEAN, CIFAR_STD, train, _cifar(folder / "cifar10_jpeg_test.npz")[0])


SETS: dict[str, Callable[[Path], ImageSet]] = {
    "mnist": lambda root: load_idx(root, "mnist", DIGITS, 0.1307, 0.3081),
    "fashion-mnist": lambda root: load_idx(root, "fashion-mnist", CLOTHES, 0.2860, 0.3530),
    "cifar10": load_cifar10,
}


def pictures_in(folder: Path, count: int | None = None) -> list[Path]:
    """The picture files below a folder, sorted; evenly thinned to `count`."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES and not p.name.startswith("."))
    if not found:
        raise DataError(f"no pictures in {folder} (known: {', '.join(PICTURES)})")
    return found if count is None or count >= len(found) else [found[i * len(found) // count] for i in range(count)]


def read_pictures(paths: list[Path], height: int, width: int, channels: int) -> np.ndarray:
    """uint8 [N, channels, height, width]: each picture's centre, resized."""
    images = []
    for path in paths:
        images.append(fit_plain(decode(np.fromfile(path, np.uint8), path.name), height, width, channels))
    return np.stack(images)


def load_folder(
    root: Path, height: int, width: int, channels: int, test_share: float = 0.15, seed: int = 0
) -> ImageSet:
    """Pictures laid out <class>/<file>; without train/ and test/, a share of each class is set aside."""
    base = root / "train" if (root / "train").is_dir() else root
    classes = tuple(sorted(p.name for p in base.iterdir() if p.is_dir() and not p.name.startswith(".")))
    if len(classes) < 2:
        raise DataError(f"{base} needs at least two class folders with pictures in them; found {len(classes)}")

    def read(folder: Path) -> Images:
        parts = [read_pictures(pictures_in(folder / c), height, width, channels) for c in classes]
        labels = np.concatenate([np.full(len(p), i, np.int64) for i, p in enumerate(parts)])
        return Images(np.concatenate(parts), labels)

    train = read(base)
    if base != root and (root / "test").is_dir():
        test = read(root / "test")
    else:
        order = np.random.default_rng(seed).permutation(len(train))
        cut = max(1, round(test_share * len(order)))
        test = Images(train.pixels[order[:cut]], train.labels[order[:cut]])
        train = Images(train.pixels[order[cut:]], train.labels[order[cut:]])
    scaled = train.pixels.reshape(len(train), channels, -1) / 255
    mean, std = scaled.mean((0, 2)), scaled.std((0, 2)).clip(1e-3)
    return ImageSet(root.resolve().name, classes, tuple(map(float, mean)), tuple(map(float, std)), train, test)


def load_images(data: str, root: Path, size: tuple[int, int, int] = (3, 32, 32)) -> ImageSet:
    """A set by its name, or a folder; `size` [C, H, W] is what a folder's pictures are brought to."""
    if data in SETS:
        return SETS[data](root)
    if Path(data).is_dir():
        return load_folder(Path(data), size[1], size[2], size[0])
    raise DataError(f"{data!r} is neither a folder nor one of {', '.join(SETS)}")
