"""The window on a drawing: a square of a sensor or frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
