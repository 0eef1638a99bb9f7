"""The window on a drawing: a square of a sensor or frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import Events, SensorSize

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


def through(events: Events, window: Window, size: SensorSize) -> Events:
    """Return the events in a window, mapped to a sensor of `size`, in whose middle the window's square lies."""
    side = min(size.width, size.height)
    scale = side / window.side
    x = np.floor((events["x"] - window.left) * scale) + (size.width - side) // 2
    y = np.floor((events["y"] - window.top) * scale) + (size.height - side) // 2
    inside = (x >= 0) & (x < size.width) & (y >= 0) & (y < size.height)
    out = events[inside]
    out["x"], out["y"] = x[inside], y[inside]
    return out
