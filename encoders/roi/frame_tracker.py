"""Conversion of a webcam's frames to events: the drawing is tracked, and moved by saccades in front of a pixel model.

The drawing is found in every frame, normalised in size and place (`preprocess.fit.centred`) and averaged over frames,
which removes shake, changes of light and camera noise. It is then moved in front of an event-camera pixel model along
the path of N-MNIST's recordings, repeating three saccades in 310 ms (fixational eye movements; Orchard et al. 2015).
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

STEP_US = 4_000  # between two positions on the saccade path
LONGEST_US = 500_000  # after a longer pause between frames the pixels' state is reset
FRESH = 0.3  # weight of the newest frame in the average
CLEAR = 0.5  # least likeness of a new drawing; a drawing that is held may fall below
PIXELS = PixelModel(
    NMNIST.threshold_on, NMNIST.threshold_off, NMNIST.sigma, 20.0, round(NMNIST.refractory_us), 0.0,
    cutoff_hz=NMNIST.cutoff_hz,
)  # fmt: skip


class DrawingEmulator:
    """Event-camera emulator that sees drawings moved by saccades, on `places` sensors of `size` stacked vertically."""

    def __init__(self, size: SensorSize, places: int = 1) -> None:
        self.size, self.sensor = size, SensorSize(size.width, places * size.height)
        self._unit = min(size.width, size.height) / 34
        self._path = NMNIST.corner(self._unit)
        self.pixels = Emulator(self.sensor, PIXELS)

    def retune(self, threshold: float | None, noise_hz: float | None) -> None:
        """Change pixel parameters (None: keep) from the next frame on; `threshold` is on the scale of PixelModel."""
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
        """Return drawings [N, 28, 28] (0 to 255 ink) as light [N * H, W]: dark on a bright screen with stray light, as
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
        """Return the frame uint8 [N * H, W] that the sensors see at `t_us`: `light` shifted along the saccade path."""
        x, y = self._path[:, t_us // 1000 % self._path.shape[1]]
        x, y = x + (self.size.width - 34 * self._unit) / 2, y + (self.size.height - 34 * self._unit) / 2
        matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
        view = cv2.warpAffine(light, matrix, light.shape[::-1], borderMode=cv2.BORDER_CONSTANT, borderValue=255)
        return view.astype(np.uint8)


class FrameTracker:
    """Tracks one drawing in frames; returns emulated events of the drawing, on a sensor of `size`."""

    def __init__(self, size: SensorSize) -> None:
        self.size = size
        self._emulator = DrawingEmulator(size)
        self._held = Hysteresis()
        self._drawing: NDArray[np.float32] | None = None  # [28, 28], 0 to 255 ink
        self._t_us: int | None = None

    @property
    def window(self) -> Window | None:
        """The window around the drawing, in pixels of the frame; None if no drawing is held."""
        return self._held.window

    def retune(self, threshold: float | None, noise_hz: float | None) -> None:
        """Change pixel parameters from the next frame on (`DrawingEmulator.retune`)."""
        self._emulator.retune(threshold, noise_hz)

    def state(self) -> Values:
        """Return the state that is carried from frame to frame, without the pixel parameters."""
        drawing = None if self._drawing is None else self._drawing.copy()
        values: Values = {"drawing": drawing, "t_us": self._t_us}
        return values | under("hold", self._held.state()) | under("pixels", self._emulator.pixels.carried())

    def restore(self, values: Values) -> None:
        """Continue from the state of a tracker of the same size and pixels. Raises ValueError if a value is invalid."""
        drawing, t_us = values["drawing"], values["t_us"]
        self._drawing = None if drawing is None else array(drawing, (DIGIT_SIZE, DIGIT_SIZE), np.float32, 0, 255)
        self._t_us = None if t_us is None else time_us(t_us)
        self._held.restore(part("hold", values))
        self._emulator.pixels.restore(part("pixels", values))

    def push(self, image: NDArray[np.uint8], t_us: int) -> Events:
        """Add a frame, uint8 [H, W, 3] or [H, W]; return the events since the last one, none without a drawing."""
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
        """Return a drawing [28, 28] averaged with earlier frames; if the window is new (`anew`), the drawing alone."""
        held = self._drawing
        return new if anew or held is None else (held + FRESH * (new - held)).astype(np.float32)
