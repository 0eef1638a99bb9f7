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
from spikesight.encoders.preprocess.drawing import in_picture
from spikesight.encoders.preprocess.fit import DIGIT_SIZE
from spikesight.encoders.roi.candidates import distinct
from spikesight.encoders.roi.tracks import Seen, Tracks

STEP_US = 4_000  # between two positions on the saccade path
LONGEST_US = 500_000  # after a longer pause between frames the pixels' state is reset
CLEAR = 0.5  # likeness that a single new drawing exceeds; a drawing that is held may fall below
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

    def restart(self, places: NDArray[np.bool_], light: NDArray[np.float32], t_us: int) -> None:
        """The pixels of these sensors [N] begin anew, before what is there at a time."""
        for place in np.flatnonzero(places).tolist():
            rows = slice(place * self.size.height, (place + 1) * self.size.height)
            self.pixels.restart(rows, self.view(light, t_us))

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
    """Tracks drawings in frames; returns emulated events of each, averaged and moved by saccades, on `places` sensors
    of `size` stacked vertically. Without `places`, the single likeliest drawing is tracked.
    """

    def __init__(self, size: SensorSize, places: int = 0) -> None:
        self.size, self.tracks = size, Tracks(places) if places else Tracks(1, CLEAR)
        self._emulator = DrawingEmulator(size, places or 1)
        self.tall = self._emulator.sensor
        self.t_us: int | None = None

    def retune(self, threshold: float | None, noise_hz: float | None) -> None:
        """Change pixel parameters (None: keep) from the next frame on; `threshold` is on the scale of PixelModel."""
        pixels = self._emulator.pixels
        changed = {} if noise_hz is None else {"noise_hz": noise_hz}
        if threshold is not None:
            scale = threshold / PixelModel().threshold_on
            changed |= {name: getattr(PIXELS, name) * scale for name in ("threshold_on", "threshold_off")}
        pixels.retune(replace(pixels.params, **changed))

    def resume(self, t_us: int) -> int:
        """Return the time of the frame before one at `t_us`. After a pause, or if the clock restarted, forget what was
        there; that time is then shortly before `t_us`.
        """
        if self.t_us is not None and 0 < t_us - self.t_us <= LONGEST_US:
            return self.t_us
        self.tracks.ids[:], self._emulator.pixels.now = 0, None
        return t_us - STEP_US

    def look(self, image: NDArray[np.uint8], t_us: int) -> tuple[NDArray[np.bool_], int]:
        """Track drawings in a frame uint8 [H, W, 3] or [H, W]; return which places [N] changed, and from when on."""
        start, self.t_us = self.resume(t_us), t_us
        before = self.tracks.ids.copy()
        found, scale = in_picture(image)
        self.tracks.update([Seen(one.drawing(scale)) for one in distinct(found, alone=self.tracks.alone)], t_us)
        return self.tracks.ids != before, start

    def push(self, image: NDArray[np.uint8], t_us: int) -> Events:
        """Add a frame; return the events since the frame before it, none while nothing is tracked."""
        changed, start = self.look(image, t_us)
        if not self.tracks.ids.any():
            self._emulator.pixels.now = None
            return empty_events()
        light, parts = self._emulator.light(self.tracks.drawings), [empty_events()]
        self._emulator.restart(changed, light, start)
        for t in (np.arange(start // STEP_US + 1, t_us // STEP_US + 1) * STEP_US).tolist():
            parts.append(self._emulator.pixels.push(self._emulator.view(light, t), t))
        return joined(parts)
