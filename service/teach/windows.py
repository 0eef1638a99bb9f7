"""Windows of STEPS inputs, cut from a recording or a stream as examples."""

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import SensorSize
from spikesight.models.steps import Input
from spikesight.service.page.colours import COLOURS

SENSOR = SensorSize(320, 240)
STEPS, BIN_US = 10, 31_000  # steps of an example, and their length
LEAST_ACTIVE = 60  # least active cells of an example, over all steps
GROUND, BRIGHTER, DARKER = np.array([COLOURS[f"event-{name}"] for name in ("ground", "on", "off")], np.float32)  # RGB


def moves(window: list[Input]) -> bool:
    """Return whether enough moves in a window to learn from it."""
    return sum(int(np.count_nonzero(given.x)) for given in window) >= LEAST_ACTIVE


def frames_of(window: list[Input]) -> NDArray[np.uint8]:
    """Return the inputs of a window as one array, uint8 [T, 1, 2, H, W]."""
    return np.stack([given.x for given in window])[:, None]


class WindowCutter:
    """Cuts consecutive inputs into windows of `steps`; an unfinished window is dropped at a reset and at the end.

    Each input holds the events of the last `shown_bins` bins, so only every `shown_bins`-th input is used.
    """

    def __init__(self, shown_bins: int = 1, steps: int = STEPS) -> None:
        self._shown_bins, self._bins, self._steps = shown_bins, 0, steps
        self._open: list[Input] = []

    def push(self, given: Input) -> list[Input] | None:
        """Add an input; return the window that it completes, or None."""
        if given.reset:
            self._open, self._bins = [], 0
        self._bins += 1
        if self._bins % self._shown_bins == 0:
            self._open.append(given)
        if len(self._open) < self._steps:
            return None
        window, self._open = self._open, []
        return window


def windows_of(inputs: list[Input]) -> list[list[Input]]:
    """Return the windows of a recording."""
    cutter = WindowCutter()
    return [window for given in inputs if (window := cutter.push(given)) is not None]


def picture_of(steps: NDArray[np.uint8]) -> bytes:
    """Draw the sum of steps, OFF and ON [2, H, W], as a PNG: blue where it became brighter, orange where darker."""
    off, on = steps.astype(np.float32)
    level = np.minimum(1, (on + off) / max(1.0, float(np.quantile(on + off, 0.98))))[..., None] ** 0.6
    share = (on / np.maximum(1, on + off))[..., None]
    rgb = GROUND + level * (DARKER + share * (BRIGHTER - DARKER) - GROUND)
    return cv2.imencode(".png", rgb[..., ::-1].astype(np.uint8))[1].tobytes()
