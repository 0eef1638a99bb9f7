"""A webcam's frames as events: the drawing is tracked, and moved before a pixel model as by the saccades of an eye.

The drawing is found in every frame, brought to one size and place (`preprocess.centred`) and averaged, so that shake,
light and the camera's noise are gone. Then it is moved before the pixel model along the path of N-MNIST's recordings,
three saccades in 310 ms, over and over (fixational eye movements; Orchard et al. 2015).
"""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.emulator.pixels import Emulator, PixelModel
from spikesight.encoders.emulator.saccades import NMNIST
from spikesight.encoders.events import Events, SensorSize, empty_events, joined
from spikesight.encoders.preprocess.drawing import find_drawing
from spikesight.encoders.preprocess.fit import DIGIT_SIZE, centred
from spikesight.encoders.preprocess.values import Values, array, part, time_us, under
from spikesight.encoders.roi.window import Hysteresis, Window

STEP_US = 4_000  # between two positions on the path
LONGEST_US = 500_000  # after a longer pause the pixels begin anew
FRESH = 0.3  # weight of the newest frame
CLEAR = 0.5  # likeness of a drawing that is taken up; one that is held may look less like one
PIXELS = PixelModel(
    NMNIST.threshold_on, NMNIST.threshold_off, NMNIST.sigma, 20.0, round(NMNIST.refractory_us), 0.0,
    cutoff_hz=NMNIST.cutoff_hz,
)  # fmt: skip


class DrawingEmulator:
    """Drawings moved by saccades before emulated pixels: of `places` sensors of `size`, one below the other."""

    def __init__(self, size: SensorSize, places: int = 1) -> None:
        self.size, self.sensor = size, SensorSize(size.width, places * size.height)
        self._unit = min(size.width, size.height) / 34
        self._path = NMNIST.corner(self._unit)
        self.pixels = Emulator(self.sensor, PIXELS)

    def retune(self, threshold: float | None, noise_hz: float | None) -> None:
        """Other pixels from the next frame on; a threshold is meant for those of PixelModel, and scaled."""
        pixels = self.pixels.params
        if threshold is not None:
            scale = threshold / PixelModel().threshold_on
            pixels = replace(
                pixels, threshold_on=PIXELS.threshold_on * scale, threshold_off=PIXELS.threshold_off * scale
            )
        if noise_hz is not None:
            pixels = replace(pixels, noise_hz=noise_hz)
        self.pixels.retune(pixels)

    def light(self, drawings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Drawings [N, 28, 28] of 0 to 255 ink as light [N * H, W]: dark on a bright screen with some stray light, as
        in N-MNIST's recordings.
        """
        side = round(DIGIT_SIZE * self._unit)
        light = np.full((len(drawings) * self.size.height, self.size.width), 255, np.float32)
        for place, ink in enumerate(drawings):
            if ink.any():
                one = (255 - ink.clip(0, 255) + NMNIST.floor) * (255 / (255 + NMNIST.floor))
                one = cv2.resize(one, (side, side), interpolation=cv2.INTER_LINEAR)
                top = place * self.size.height
                light[top : top + side, :side] = cv2.GaussianBlur(one, (0, 0), NMNIST.blur_px * self._unit)
        return light

    def view(self, light: NDArray[np.float32], t_us: int) -> NDArray[np.uint8]:
        """The frame uint8 [N * H, W] before the sensors at a time."""
        x, y = self._path[:, t_us // 1000 % self._path.shape[1]]
        x, y = x + (self.size.width - 34 * self._unit) / 2, y + (self.size.height - 34 * self._unit) / 2
        matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
        view = cv2.warpAffine(light, matrix, light.shape[::-1], borderMode=cv2.BORDER_CONSTANT, borderValue=255)
        return view.astype(np.uint8)


class FrameTracker:
    """Frames in, events of a sensor of `size` out, of the drawing in the `window`."""

    def __init__(self, size: SensorSize) -> None:
        self.size = size
        self._emulator = DrawingEmulator(size)
        self._held = Hysteresis()
        self._drawing: NDArray[np.float32] | None = None  # [28, 28], 0 to 255 ink
        self._t_us: int | None = None

    @property
    def window(self) -> Window | None:
        """The window around the drawing, in pixels of the frame; None where there is no drawing."""
        return self._held.window

    def retune(self, threshold: float | None, noise_hz: float | None) -> None:
        """Other pixels from the next frame on (`DrawingEmulator.retune`)."""
        self._emulator.retune(threshold, noise_hz)

    def state(self) -> Values:
        """The state that is carried from frame to frame; the pixels' settings apart."""
        drawing = None if self._drawing is None else self._drawing.copy()
        values: Values = {"drawing": drawing, "t_us": self._t_us}
        return values | under("hold", self._held.state()) | under("pixels", self._emulator.pixels.carried())

    def restore(self, values: Values) -> None:
        """Go on from the state of a tracker of the same size and pixels. Raises ValueError."""
        drawing, t_us = values["drawing"], values["t_us"]
        self._drawing = None if drawing is None else array(drawing, (DIGIT_SIZE, DIGIT_SIZE), np.float32, 0, 255)
        self._t_us = None if t_us is None else time_us(t_us)
        self._held.restore(part("hold", values))
        self._emulator.pixels.restore(part("pixels", values))

    def push(self, image: NDArray[np.uint8], t_us: int) -> Events:
        """The events since the frame before this one, uint8 [H, W, 3] or [H, W]; none while there is no drawing."""
        before = self.window
        found = find_drawing(image)
        if found is None or not (self._held.holds(found) or found.likeness >= CLEAR):
            self._held.drop_if_silent(t_us)
        elif self._held.see(found, t_us):
            self._drawing = self._blend(centred(found.ink * 255).astype(np.float32), anew=before != self.window)
        if self.window is None:
            self._drawing = None
        start, self._t_us = self._t_us, t_us
        if self._drawing is None:
            self._emulator.pixels.state = None
            return empty_events()
        light = self._emulator.light(self._drawing[None])
        if before != self.window or start is None or not 0 < t_us - start <= LONGEST_US:
            self._emulator.pixels.state = None
            start = t_us - STEP_US
        times = np.arange(start // STEP_US + 1, t_us // STEP_US + 1) * STEP_US
        parts = [self._emulator.pixels.push(self._emulator.view(light, int(t)), int(t)) for t in times]
        return joined([empty_events(), *parts])

    def _blend(self, new: NDArray[np.float32], anew: bool) -> NDArray[np.float32]:
        """A drawing [28, 28] averaged with those of the frames before, unless the window is `anew`."""
        held = self._drawing
        return new if anew or held is None else (held + FRESH * (new - held)).astype(np.float32)
