"""The window on a drawing: a square of a sensor or frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders import kernels
from spikesight.encoders.events import EVENTS, MAX_SIDE, Events, SensorSize

ALL = np.ones((1, 1), np.uint8)  # one cell, which window 0 shows
SHARE = 20 / 34  # drawing's length by the window's side: as an MNIST digit on N-MNIST's sensor


@dataclass(frozen=True)
class Window:
    """A square in pixels; it may reach beyond the picture."""

    left: float
    top: float
    side: float


def around(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return windows [N, 3] (left, top, side) centred on boxes [N, 4] (left, top, width, height) of drawings."""
    sides = np.maximum(boxes[:, 2:].max(1, keepdims=True), 1.0) / SHARE
    return np.hstack([boxes[:, :2] + (boxes[:, 2:] - sides) / 2, sides])


def through(
    events: Events, windows: NDArray[np.float64], size: SensorSize, kept: NDArray[np.uint8] = ALL, cell: int = MAX_SIDE
) -> Events:
    """Return the events in windows [N, 3], mapped to N sensors of `size` stacked vertically.

    A window's square lies in the middle of its sensor. Bit n of `kept` marks the cells (`cell` pixels) window n shows.
    """
    side = min(size.width, size.height)
    beside = (size.width - side) // 2, (size.height - side) // 2
    out = np.empty(len(events) * len(windows), EVENTS)
    scaled = np.ascontiguousarray(windows[:, :2]), side / windows[:, 2]
    return out[: kernels.compiled("roi").share_out(events, kept, cell, *scaled, *beside, size.width, size.height, out)]
