"""Pictures, random events and recordings of them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.sources.samples import events_of
from tests.support.inputs.textures import texture

DESK = cv2.cvtColor(texture((480, 640), np.random.default_rng(5)), cv2.COLOR_GRAY2RGB)


def picture(suffix: str = ".png", size: tuple[int, int] = (40, 30), seed: int = 0) -> bytes:
    """An encoded image of (width, height)."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    return cv2.imencode(suffix, cv2.GaussianBlur(pixels, (0, 0), 3))[1].tobytes()


def some_events(n: int = 500, span_us: int = 95_000, seed: int = 0, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """Random EVENTS on a sensor of (width, height)."""
    random = np.random.default_rng(seed)
    t = np.sort(random.integers(0, span_us, n))
    return make_events(t, random.integers(0, size[0], n), random.integers(0, size[1], n), random.random(n) < 0.5)


def turns(names: list[str], laps: int) -> Events:
    """Shipped samples one after another, each so many times."""
    parts, begin_us = [], 0
    for name in [name for name in names for _ in range(laps)]:
        part = events_of(name).copy()
        part["t"] += begin_us - part["t"][0]
        begin_us = int(part["t"][-1]) + 2000
        parts.append(part)
    return np.concatenate(parts)


def seven() -> np.ndarray:
    """A 7, light on dark, uint8 [28, 28]."""
    picture = np.zeros((28, 28), np.uint8)
    cv2.putText(picture, "7", (6, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2, cv2.LINE_AA)
    return picture


def drawing(height: int, width: int, top: int, left: int, scale: int = 1) -> np.ndarray:
    """A light seven on dark."""
    image = np.zeros((height, width), np.uint8)
    cv2.line(image, (left, top), (left + 10 * scale, top), 255, 2 * scale)
    cv2.line(image, (left + 10 * scale, top), (left + 4 * scale, top + 18 * scale), 255, 2 * scale)
    return image


DAVIS = SensorSize(240, 180)


def random_events(n: int, size: SensorSize, span_us: int = 400_000, seed: int = 0, first_us: int = 0) -> Events:
    """Seeded events over the whole sensor, one of them in its last corner."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, span_us, n)) + first_us
    events = make_events(t, rng.integers(0, size.width, n), rng.integers(0, size.height, n), rng.integers(0, 2, n))
    events["x"][-1], events["y"][-1] = size.width - 1, size.height - 1  # formats without a header show the size
    return events


def at(*t: int) -> Events:
    """Events of one pixel at these times."""
    return make_events(t, [1] * len(t), [2] * len(t), [1] * len(t))


def from_eventcv(path: Path) -> Events:
    """What EventCV reads in a recording."""
    eventcv = pytest.importorskip("eventcv")

    table = eventcv.load(str(path), time_unit="us").numpy()
    return make_events(table[:, 2].astype(np.int64), table[:, 0], table[:, 1], table[:, 3])


def empty_desk(turn: float) -> np.ndarray:
    """Nothing but a desk, which does not move; uint8 [480, 640, 3] of a moment."""
    return grainy(DESK, turn)


def grainy(picture: np.ndarray, turn: float) -> np.ndarray:
    """With a sensor's noise."""
    noise = np.random.default_rng(round(1000 * turn)).normal(0, 4, (480, 640, 1))
    return (picture + noise).clip(0, 255).astype(np.uint8)
