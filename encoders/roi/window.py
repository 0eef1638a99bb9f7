"""The window on a drawing: a square of a sensor or a frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders import kernels
from spikesight.encoders.events import EVENTS, Events, SensorSize

SHARE = 20 / 34  # of the window's side that a drawing takes, as a digit of MNIST of N-MNIST's sensor


@dataclass(frozen=True)
class Window:
    """A square in pixels; it may reach beyond the picture."""

    left: float
    top: float
    side: float


def around(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Windows [N, 3] (left, top, side) with drawings of these boxes [N, 4] (left, top, width, height) in the middle."""
    sides = np.maximum(boxes[:, 2:].max(1, keepdims=True), 1.0) / SHARE
    return np.hstack([boxes[:, :2] + (boxes[:, 2:] - sides) / 2, sides])


def through(
    events: Events, windows: NDArray[np.float64], kept: NDArray[np.uint8], cell: int, size: SensorSize
) -> Events:
    """What is seen through windows [N, 3], in pixels of sensors of `size` that lie one below the other.

    A window's square lies in the middle of its sensor. It shows the cells of so many pixels whose bit is set in `kept`.
    """
    side = min(size.width, size.height)
    beside = (size.width - side) // 2, (size.height - side) // 2
    out = np.empty(len(events) * len(windows), EVENTS)
    scaled = np.ascontiguousarray(windows[:, :2]), side / windows[:, 2]
    return out[: kernels.compiled("roi").share_out(events, kept, cell, *scaled, *beside, size.width, size.height, out)]


class FixedWindow:
    """Packets of a `sensor` in, events of a sensor of `size` out: all that lies in a window of the user's."""

    def __init__(self, sensor: SensorSize, size: SensorSize, window: Window) -> None:
        self.window, self.size = window, size
        self._windows = np.array([[window.left, window.top, window.side]], np.float64)
        self._cell = max(sensor.width, sensor.height)

    def __call__(self, events: Events) -> Events:
        return through(events, self._windows, np.ones((1, 1), np.uint8), self._cell, self.size)
