"""Small generated data sets in the layouts of the real ones."""

from pathlib import Path

import numpy as np

from encoders.events import make_events
from training.config import TrainConfig

SIDE = 34


def digit_events(label: int, seed: int, count: int = 300, length_us: int = 90_000) -> np.ndarray:
    """EVENTS of a blob whose place tells the class: easy to learn, different for each seed."""
    random = np.random.default_rng([label, seed])
    t = np.sort(random.integers(0, length_us, count))
    x, y = (random.normal(centre, 2.0, count).round().clip(0, SIDE - 1) for centre in (6 + 10 * label, 28 - 10 * label))
    return make_events(t, x.astype(int), y.astype(int), random.random(count) < 0.5)


def write_nmnist_file(path: Path, events: np.ndarray) -> None:
    """N-MNIST's five bytes an event: x, y, polarity bit and 23 bits of time."""
    t = events["t"].astype(np.int64)
    columns = [events["x"], events["y"], events["p"].astype(np.int64) << 7 | t >> 16, t >> 8 & 255, t & 255]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.stack(columns, 1).astype(np.uint8).tobytes())


def write_nmnist(root: Path, classes: int = 2, train: int = 8, test: int = 3) -> Path:
    """Train/<digit>/<id>.bin and Test/<digit>/<id>.bin."""
    for split, count in (("Train", train), ("Test", test)):
        for label in range(classes):
            for number in range(count):
                seed = number + (1000 if split == "Test" else 0)
                write_nmnist_file(root / split / str(label) / f"{number:05}.bin", digit_events(label, seed))
    return root


def small_config(root: Path, **changes: object) -> TrainConfig:
    """Settings of a run of seconds on `write_nmnist(root)`."""
    options: dict[str, object] = {
        "data": "nmnist", "root": str(root), "cache": str(root / "cache"), "output": str(root / "runs"), "steps": 3,
        "bin_us": 30_000, "height": 17, "width": 17, "network": "event-small", "epochs": 2, "batch_size": 4,
        "device": "cpu", "val_fraction": 0.25, "warmup_epochs": 0.0, **changes,
    }  # fmt: skip
    return TrainConfig(**options)  # type: ignore[arg-type]
