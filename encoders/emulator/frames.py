"""A webcam's frames as events: what is seen is moved by saccades in front of an event camera's pixels.

A webcam sees some 30 frames a second, and what holds still before it would give no events. So the whole frame is moved
as the eye moves (fixational eye movements; Orchard et al. 2015), along the path of N-MNIST's recordings, which repeats
every 310 ms. The pixels are those of the finest level of the view's pyramid (encoders/pyramid.py).
"""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.emulator.pixels import Emulator, PixelModel
from spikesight.encoders.emulator.saccades import NMNIST
from spikesight.encoders.events import Events, SensorSize, empty_events, joined
from spikesight.encoders.pyramid import FINEST

STEP_US = 4_000  # between two positions on the path
LONGEST_US = 500_000  # after a longer pause between frames the pixels begin anew
REACH = 1.5 / FINEST  # of the path, by that of N-MNIST's, for each pixel of the longer side
PARTS = 32  # of a pixel, to which a frame's place on the path is rounded
PIXELS = PixelModel(
    NMNIST.threshold_on, NMNIST.threshold_off, NMNIST.sigma, 20.0, round(NMNIST.refractory_us), 0.0,
    cutoff_hz=NMNIST.cutoff_hz,
)  # fmt: skip


class MovedFrames:
    """Turns grey frames into events of pixels `size`, before which they are moved by saccades."""

    def __init__(self, size: SensorSize) -> None:
        self.size, self.pixels = size, Emulator(size, PIXELS)
        path = NMNIST.corner(REACH * max(size.width, size.height))
        self.path = np.rint(PARTS * (path - path.mean(1, keepdims=True))).astype(int)  # [2, ms]: x and y, in PARTS
        self._last_us: int | None = None

    def retune(self, params: PixelModel) -> None:
        """Take a PixelModel's noise, and its threshold by the usual one, from the next frame on."""
        scale = params.threshold_on / PixelModel().threshold_on
        on, off = PIXELS.threshold_on * scale, PIXELS.threshold_off * scale
        self.pixels.retune(replace(PIXELS, threshold_on=on, threshold_off=off, noise_hz=params.noise_hz))

    def begins(self, t_us: int) -> int:
        """Return from when on a frame at `t_us` is seen: the time of the one before it. After a pause, or if the clock
        restarted, the pixels begin anew, shortly before `t_us`.
        """
        if self._last_us is not None and 0 < t_us - self._last_us <= LONGEST_US:
            return self._last_us
        self.pixels.now = None
        return t_us - STEP_US

    def push(self, grey: NDArray[np.uint8], t_us: int) -> Events:
        """Add a frame uint8 [H, W] of any size; return the events since the frame before it."""
        begin, self._last_us = self.begins(t_us), t_us
        small = cv2.resize(grey, (self.size.width, self.size.height), interpolation=cv2.INTER_AREA)
        parts = [empty_events()]
        for t in range(begin // STEP_US * STEP_US + STEP_US, t_us + 1, STEP_US):
            x, y = self.path[:, t // 1000 % self.path.shape[1]].tolist()
            parts.append(self.pixels.push(moved(small, x, y), t))
        return joined(parts)


def moved(grey: NDArray[np.uint8], x: int, y: int) -> NDArray[np.uint8]:
    """Return a frame uint8 [H, W] moved right by `x` and down by `y` PARTS of a pixel, its border repeated: between
    four pixels each value is interpolated, in whole numbers, so that it is the same anywhere.
    """
    (left, right), (top, down) = divmod(-x, PARTS), divmod(-y, PARTS)
    rows, columns = (
        np.clip(np.arange(first, first + length + 1), 0, length - 1) for first, length in zip((top, left), grey.shape)
    )
    near = grey[rows[:, None], columns].astype(np.int32)
    across = near[:, :-1] * (PARTS - right) + near[:, 1:] * right
    return ((across[:-1] * (PARTS - down) + across[1:] * down + PARTS**2 // 2) // PARTS**2).astype(np.uint8)
