"""Draw the shipped recordings: digits filmed in three saccades and moving shapes, through our own pixel model.

`python corpora/draw_samples.py` writes NAME.raw (EVT 3.0) and index.json to encoders/sources/samples; the same code
and seeds give the same bytes.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np

from spikesight.encoders.emulator.pixels import Emulator, PixelModel
from spikesight.encoders.emulator.saccades import saccade_events
from spikesight.encoders.events import EVENTS, SensorSize
from spikesight.encoders.recordings.files import write_recording
from spikesight.encoders.recordings.format import SAMPLES

DIGIT_SENSOR = SensorSize(34, 34)
SHAPE_SENSOR = SensorSize(64, 64)
FRAME_US = 4_000

DIGITS: dict[str, list[list[tuple[float, float]]]] = {
    "0": [
        [(0.5, 0.05), (0.3, 0.1), (0.17, 0.32), (0.17, 0.64), (0.3, 0.88), (0.5, 0.95)],
        [(0.5, 0.95), (0.7, 0.88), (0.83, 0.64), (0.83, 0.32), (0.7, 0.1), (0.5, 0.05)],
    ],
    "2": [
        [(0.2, 0.26), (0.4, 0.07), (0.72, 0.12), (0.78, 0.36), (0.5, 0.66), (0.18, 0.9)],
        [(0.18, 0.9), (0.84, 0.88)],
    ],
    "3": [
        [(0.2, 0.16), (0.5, 0.05), (0.78, 0.2), (0.66, 0.42), (0.42, 0.47)],
        [(0.42, 0.47), (0.74, 0.56), (0.8, 0.8), (0.5, 0.95), (0.18, 0.84)],
    ],
    "4": [[(0.36, 0.08), (0.24, 0.34), (0.2, 0.56), (0.82, 0.54)], [(0.72, 0.1), (0.68, 0.5), (0.64, 0.94)]],
    "5": [
        [(0.8, 0.08), (0.3, 0.1)],
        [(0.3, 0.1), (0.24, 0.44), (0.56, 0.42), (0.8, 0.62), (0.68, 0.88), (0.4, 0.94), (0.18, 0.84)],
    ],
    "7": [[(0.16, 0.12), (0.84, 0.1)], [(0.84, 0.1), (0.62, 0.46), (0.44, 0.94)]],
}
"""Strokes through points (x, y) of the unit square; a stroke is smooth, a new stroke starts with a corner."""

SHAPES: dict[str, tuple[str, int]] = {"circle, to the right": ("circle", 1), "square, to the left": ("square", -1)}


def smooth(points: list[tuple[float, float]], n: int = 24) -> np.ndarray:
    """Return a Catmull-Rom curve through the points, float64 [m, 2]."""
    p = np.array([points[0], *points, points[-1]])
    t = np.linspace(0, 1, n, endpoint=False)[:, None]
    parts = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(p, p[1:], p[2:], p[3:])
    ]
    return np.concatenate([*parts, p[-1:]])


def digit(name: str) -> np.ndarray:
    """Draw a digit, uint8 [160, 160]: white strokes on black, a little slanted like handwriting."""
    image = np.zeros((160, 160), np.uint8)
    for stroke in DIGITS[name]:
        points = smooth(stroke)
        points = np.stack([30 + 100 * (points[:, 0] + 0.12 * (0.5 - points[:, 1])), 20 + 120 * points[:, 1]], 1)
        cv2.polylines(image, [np.round(points * 16).astype(np.int32)], False, 255, 13, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(image, (0, 0), 2)


def shape_frame(kind: str, x: float, y: float) -> np.ndarray:
    """Draw one bright shape on grey, uint8 [64, 64], placed with subpixel precision."""
    image = np.full((256, 256), 60, np.uint8)
    centre = (round(4 * x), round(4 * y))
    if kind == "circle":
        cv2.circle(image, centre, 44, 200, -1, cv2.LINE_AA)
    else:
        cv2.rectangle(image, (centre[0] - 40, centre[1] - 40), (centre[0] + 40, centre[1] + 40), 200, -1, cv2.LINE_AA)
    return cv2.resize(image, (SHAPE_SENSOR.width, SHAPE_SENSOR.height), interpolation=cv2.INTER_AREA)


def shape(kind: str, direction: int, seconds: float = 0.8, seed: int = 0) -> np.ndarray:
    """Return the EVENTS of a shape that crosses the picture."""
    emulator = Emulator(SHAPE_SENSOR, PixelModel(), seed=seed)
    packets = []
    for n in range(round(seconds * 1e6 / FRAME_US)):
        t_us = n * FRAME_US
        along = t_us / (seconds * 1e6)
        x = 12 + 40 * (along if direction > 0 else 1 - along)
        packets.append(emulator.push(shape_frame(kind, x, 32 + 3 * np.sin(5 * along)), t_us))
    return np.concatenate(packets)


def write(name: str, label: str, size: SensorSize, events: np.ndarray) -> dict[str, object]:
    """Write one recording, with times from 0, and return its entry of the index."""
    events = events[np.argsort(events["t"], kind="stable")].astype(EVENTS)
    events["t"] -= events["t"][0]
    write_recording(SAMPLES / f"{name}.raw", events, size)
    duration_us = int(events["t"][-1]) + 1
    return {"name": name, "width": size.width, "height": size.height, "label": label, "duration_us": duration_us}


def main() -> None:
    """Write all recordings and the index."""
    index = [
        write(
            f"digit-{name}", f"digit {name}", DIGIT_SENSOR, saccade_events(digit(name), DIGIT_SENSOR, "digit", seed=1)
        )
        for name in DIGITS
    ]
    for label, (kind, direction) in SHAPES.items():
        index.append(write(f"{kind}", label, SHAPE_SENSOR, shape(kind, direction)))
    (SAMPLES / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
