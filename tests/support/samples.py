"""Pictures, random events and recordings of them."""

from pathlib import Path

import cv2
import numpy as np

from encoders.events import Events, SensorSize, make_events
from encoders.recordings.files import FORMATS, write_recording


def picture(suffix: str = ".png", size: tuple[int, int] = (40, 30), seed: int = 0) -> bytes:
    """An encoded image of (width, height)."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    return cv2.imencode(suffix, cv2.GaussianBlur(pixels, (0, 0), 3))[1].tobytes()


def some_events(n: int = 500, span_us: int = 95_000, seed: int = 0, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """Random EVENTS on a sensor of (width, height)."""
    random = np.random.default_rng(seed)
    t = np.sort(random.integers(0, span_us, n))
    return make_events(t, random.integers(0, size[0], n), random.integers(0, size[1], n), random.random(n) < 0.5)


def drawing(height: int, width: int, top: int, left: int, scale: int = 1) -> np.ndarray:
    """A light seven on dark."""
    image = np.zeros((height, width), np.uint8)
    cv2.line(image, (left, top), (left + 10 * scale, top), 255, 2 * scale)
    cv2.line(image, (left + 10 * scale, top), (left + 4 * scale, top + 18 * scale), 255, 2 * scale)
    return image


DAVIS = SensorSize(240, 180)
SIZES = {"nmnist": SensorSize(34, 34), "csv": DAVIS}


def random_events(n: int, size: SensorSize, span_us: int = 400_000, seed: int = 0, first_us: int = 0) -> Events:
    """Seeded events over the whole sensor, one of them in its last corner."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, span_us, n)) + first_us
    events = make_events(t, rng.integers(0, size.width, n), rng.integers(0, size.height, n), rng.integers(0, 2, n))
    events["x"][-1], events["y"][-1] = size.width - 1, size.height - 1  # formats without a header show the size
    return events


def written(folder: Path, name: str, n: int = 3000, **options: int) -> tuple[Path, Events, SensorSize]:
    """A recording of random events in the format `name`: its path, its events and its sensor."""
    size = SIZES.get(name, DAVIS)
    events = random_events(n, size, **options)
    path = folder / f"recording{FORMATS[name].suffixes[0]}"
    write_recording(path, events, size, name)
    return path, events, size


def from_eventcv(path: Path) -> Events:
    """What EventCV reads in a recording."""
    import eventcv

    table = eventcv.load(str(path), time_unit="us").numpy()
    return make_events(table[:, 2].astype(np.int64), table[:, 0], table[:, 1], table[:, 3])
