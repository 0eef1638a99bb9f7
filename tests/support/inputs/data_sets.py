"""Small generated data sets in the layouts of the real ones."""

import gzip
import pickle
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.recordings.files import write_recording
from spikesight.training.config import TrainConfig
from tests.support.inputs.formats import nmnist_records

SIDE = 34


def placed(path: Path) -> Path:
    """The path, whose folder is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def digit_events(label: int, seed: int, count: int = 300, length_us: int = 90_000) -> np.ndarray:
    """EVENTS of a blob whose place tells the class: easy to learn, different for each seed."""
    random = np.random.default_rng([label, seed])
    t = np.sort(random.integers(0, length_us, count))
    x, y = (random.normal(centre, 2.0, count).round().clip(0, SIDE - 1) for centre in (6 + 10 * label, 28 - 10 * label))
    return make_events(t, x.astype(int), y.astype(int), random.random(count) < 0.5)


def write_takes(root: Path, names: list[str], seconds: float = 10.0, rate: int = 4000) -> Path:
    """Long recordings by their paths; a cup is a blob on the left, anything else one on the right."""
    for number, name in enumerate(names):
        label = 0 if "cup" in name else 1
        events = digit_events(label, number, round(seconds * rate), round(seconds * 1e6))
        write_recording(placed(root / name), events, SensorSize(SIDE, SIDE))
    return root


def write_nmnist_file(path: Path, events: np.ndarray) -> None:
    """N-MNIST's five bytes an event: x, y, polarity bit and 23 bits of time."""
    placed(path).write_bytes(nmnist_records(events).tobytes())


def write_nmnist(root: Path, classes: int = 2, train: int = 8, test: int = 3) -> Path:
    """Train/<digit>/<id>.bin and Test/<digit>/<id>.bin."""
    for (split, count, first), label in product((("Train", train, 0), ("Test", test, 1000)), range(classes)):
        for number in range(count):
            path = root / split / str(label) / f"{number:05}.bin"
            write_nmnist_file(path, digit_events(label, first + number))
    return root


def small_config(root: Path, **changes: Any) -> TrainConfig:
    """Settings of a run of seconds on `write_nmnist(root)`."""
    options: dict[str, Any] = {
        "data": "nmnist", "root": str(root), "cache": str(root / "cache"), "output": str(root / "runs"), "steps": 3,
        "bin_us": 30_000, "height": 17, "width": 17, "network": "event-small", "epochs": 2, "batch_size": 4,
        "device": "cpu", "val_fraction": 0.25, "warmup_epochs": 0.0, **changes,
    }  # fmt: skip
    return TrainConfig(**options)


RANDOM = np.random.default_rng(0)


def idx(array: np.ndarray) -> bytes:
    """An IDX file of bytes: its head, then the values."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def write_mnist(root: Path, count: int = 12) -> None:
    """MNIST's four files, of an upright bar; the labels go round."""
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 6:22, 12:16] = 255
    for split in ("train", "t10k"):
        (root / f"{split}-images-idx3-ubyte").write_bytes(idx(images))
        (root / f"{split}-labels-idx1-ubyte").write_bytes(idx((np.arange(count) % 10).astype(np.uint8)))


def write_idx(folder: Path, train: int = 24, test: int = 6, *, zipped: bool = True) -> None:
    """Four IDX files; the class is the row of a bright bar."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", train), ("t10k", test)):
        labels = (np.arange(count) % 3).astype(np.uint8)
        images = RANDOM.integers(0, 40, (count, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels):
            image[6 * label + 4 : 6 * label + 8, 4:24] = 250
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            data = idx(array)
            path = folder / f"{split}-{name}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(data) if zipped else data)


def cifar_arrays(count: int, classes: int) -> tuple[np.ndarray, list[int]]:
    """CIFAR's rows [count, 3072] of one colour a class, and their labels."""
    labels = [n % classes for n in range(count)]
    images = np.stack([np.full((3, 32, 32), 20 * (label + 1), np.uint8) for label in labels])
    images[:, 0] //= 2
    return images.reshape(count, -1), labels


def write_cifar10(root: Path) -> None:
    """Five batches, a test batch and the names, as cifar-10-python.tar.gz unpacks."""
    folder = root / "cifar-10-batches-py"
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        images, labels = cifar_arrays(6, 3)
        placed(folder / name).write_bytes(pickle.dumps({"data": images, "labels": labels}, 2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["a", "b", "c"]}, 2))


def write_cifar100(root: Path) -> None:
    """Both splits and the names, as cifar-100-python.tar.gz unpacks."""
    images, labels = cifar_arrays(20, 4)
    split, names = {"data": images, "fine_labels": labels}, [f"thing {n}" for n in range(4)]
    for name, data in (("train", split), ("test", split), ("meta", {"fine_label_names": names})):
        placed(root / "cifar-100-python" / name).write_bytes(pickle.dumps(data, 2))


def take_any_cifar(patch: pytest.MonkeyPatch) -> None:
    """Let torchvision read generated files, whose MD5 sums are not those of the published ones."""
    patch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5=None: Path(path).is_file())  # noqa: ARG005


def write_pictures(root: Path, count: int = 8, splits: tuple[str, ...] = ("train", "val")) -> Path:
    """ImageNet's folders: <split>/<class>/<number>.JPEG, of two classes and several sizes."""
    for split, (label, name), number in product(splits, enumerate(("n01", "n02")), range(count)):
        picture = np.full((40 + number, 60, 3), 60 + 120 * label, np.uint8)
        placed(root / split / name / f"{number}.JPEG").write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
    return root


def write_stripes(root: Path) -> Path:
    """Two classes, <split>/<class>/<number>.png: horizontal and vertical stripes, with noise."""
    random = np.random.default_rng(0)
    for (part, count), label in product((("train", 48), ("test", 12)), ("across", "down")):
        for i in range(count):
            wave = 120 + 90 * np.sin(np.arange(32) * 1.2 + random.random() * 6)
            picture = np.tile(wave, (32, 1)) + random.normal(0, 25, (32, 32))
            picture = picture.T if label == "across" else picture
            cv2.imwrite(str(placed(root / part / label / f"{i}.png")), picture.clip(0, 255).astype(np.uint8))
    return root


def write_cifar10dvs(root: Path) -> Path:
    """CIFAR10-DVS as Tonic unpacks it: AEDAT 4 files of two of the ten classes."""
    for (label, name), number in product(enumerate(("airplane", "cat")), range(6)):
        path = placed(root / "CIFAR10DVS" / name / f"cifar10_{name}_{number}.aedat4")
        write_recording(path, digit_events(label, number), SensorSize(128, 128))
    return root


def write_pokerdvs(root: Path) -> Path:
    """POKER-DVS as Tonic unpacks it: arrays [events, 4] of t, x, y and p, of 20 ms."""
    for (part, first), (label, suit), number in product((("train", 0), ("test", 9)), enumerate(("cl", "he")), range(4)):
        events = digit_events(label, first + number, length_us=20_000)
        rows = np.stack([events[name].astype(np.int64) for name in "txyp"], 1)
        np.save(placed(root / "POKERDVS" / f"pips_{part}" / suit / f"{number}.npy"), rows)
    return root


def write_dvsgesture(root: Path) -> Path:
    """DVS128 Gesture as Tonic unpacks it: eleven classes, three users to train on and one to test; rows of ms."""
    for (folder, users), label in product((("ibmGestureTrain", 3), ("ibmGestureTest", 1)), range(11)):
        for user in range(users):
            events = digit_events(label % 3, user, length_us=1_600_000)
            rows = np.stack([events["x"], events["y"], events["p"], events["t"] // 1000], 1).astype(np.int64)
            light = "fluorescent" if user % 2 else "natural"
            np.save(placed(root / "DVSGesture" / folder / f"user{user:02}_{light}" / f"{label}.npy"), rows)
    return root


def write_ncaltech101(root: Path) -> Path:
    """N-Caltech101 as Tonic unpacks it: the background class and another, six files each."""
    for (label, name), number in product(enumerate(("BACKGROUND_Google", "accordion")), range(1, 7)):
        path = root / "NCALTECH101" / "Caltech101" / name / f"image_{number:04}.bin"
        write_nmnist_file(path, digit_events(label, number))
    return root


def write_asldvs(root: Path) -> Path:
    """ASL-DVS as Tonic unpacks it: MATLAB files of three letters by two people, rows counted from the bottom."""
    import scipy.io

    for (label, letter), number in product(enumerate("abc"), range(6)):
        events = digit_events(label, number)
        path = root / "ASLDVS" / f"Yin{number % 2 + 1}" / letter / f"{letter}_{number:04}.mat"
        columns = {"ts": events["t"], "x": events["x"], "y": 179 - events["y"], "pol": events["p"].astype(np.uint8)}
        scipy.io.savemat(placed(path), {k: v.reshape(-1, 1) for k, v in columns.items()})
    return root
