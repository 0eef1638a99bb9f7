"""Examples as they are cut from a recording or a stream: windows of STEPS inputs."""

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import SensorSize
from spikesight.models.steps import Input
from spikesight.service.page.colours import COLOURS

SENSOR = SensorSize(320, 240)
STEPS, BIN_US = 10, 31_000  # of an example
LEAST_ACTIVE = 60  # lit places in all steps of an example together
GROUND, BRIGHTER, DARKER = np.array([COLOURS[f"event-{name}"] for name in ("ground", "on", "off")], np.float32)  # RGB


def moves(window: list[Input]) -> bool:
    """Whether enough happens in an example to learn from it."""
    return sum(int(np.count_nonzero(given.x)) for given in window) >= LEAST_ACTIVE


def frames_of(window: list[Input]) -> NDArray[np.uint8]:
    """The inputs of an example as one array, uint8 [T, 1, 2, H, W]."""
    return np.stack([given.x for given in window])[:, None]


class WindowCutter:
    """Cuts consecutive inputs into examples of so many `steps`; an unfinished one is lost at a reset and at the end.

    Each input holds the events of the last `shown_bins` bins, so every `shown_bins`-th is taken.
    """

    def __init__(self, shown_bins: int = 1, steps: int = STEPS) -> None:
        self._shown_bins, self._bins, self._steps = shown_bins, 0, steps
        self._open: list[Input] = []

    def push(self, given: Input) -> list[Input] | None:
        """The example that this input completes, or None."""
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
    """The examples of a recording."""
    cutter = WindowCutter()
    return [window for given in inputs if (window := cutter.push(given)) is not None]


def picture_of(steps: NDArray[np.uint8]) -> bytes:
    """Steps with OFF and with ON events [2, H, W] as a PNG: blue where it became brighter, orange where darker."""
    off, on = steps.astype(np.float32)
    level = np.minimum(1, (on + off) / max(1.0, float(np.quantile(on + off, 0.98))))[..., None] ** 0.6
    share = (on / np.maximum(1, on + off))[..., None]
    rgb = GROUND + level * (DARKER + share * (BRIGHTER - DARKER) - GROUND)
    return cv2.imencode(".png", rgb[..., ::-1].astype(np.uint8))[1].tobytes()
