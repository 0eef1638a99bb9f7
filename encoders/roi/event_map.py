"""Events lately, counted in the cells of a sensor: the picture that a drawing is searched in."""

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders import kernels
from spikesight.encoders.dvs import Times
from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.preprocess.drawing import Drawing, Floats
from spikesight.encoders.preprocess.values import Values, array

MEMORY_US = 150_000  # time constant with which events are forgotten
MAP_SIDE = 160  # cells of the sensor's longer side, at most
WHITE_HZ = 15.0  # events a pixel a second that make a cell white
MOST = 2**31 - 1  # events in a cell
BESIDE = 0.05  # of a drawing's length: how far from its strokes a cell is near them


class EventMap:
    """Counts events in a sensor's cells [H, W] of `cell` x `cell` pixels, OFF events as `off`. `events` holds those up
    to the last update, fading with `memory_us`; those since then join them at the next one.
    """

    def __init__(self, sensor: SensorSize, side: int = MAP_SIDE, memory_us: int = MEMORY_US, off: int = 1) -> None:
        self.memory_us, self.off = memory_us, off
        self.cell = -(-max(sensor.width, sensor.height) // side)
        self.shape = (-(-sensor.height // self.cell), -(-sensor.width // self.cell))
        self.white = WHITE_HZ * (memory_us / 1e6) * self.cell**2  # events of a white cell
        self.events = np.zeros(self.shape, np.float32)
        self._fresh = np.zeros(self.shape, np.int32)

    def count(self, events: Events, begin: int, span_us: int) -> int:
        """Count the events from `begin` on that lie in its whole `span_us` of time; the index of the next one."""
        return kernels.compiled("roi").gather(events, begin, span_us, self.cell, self.off, self._fresh)

    def update(self) -> Floats:
        """Join the events since the last update; a copy of the map."""
        self.events += self._fresh
        self._fresh[:] = 0
        return self.events.copy()

    def fade(self, passed_us: int) -> None:
        """Forget as `passed_us` do."""
        self.events *= np.float32(np.exp(-passed_us / self.memory_us))

    def bright(self, events: Events, level: float) -> Times:
        """Times [N] of the events in cells of more than `level` (0 to 1, of white) at the last update."""
        return events["t"][np.abs(self.events[events["y"] // self.cell, events["x"] // self.cell]) > level * self.white]

    def picture(self, events: Floats) -> NDArray[np.uint8]:
        """A map as a grey picture [H, W], white where WHITE_HZ is reached."""
        return (events * (255 / self.white)).clip(0, 255).astype(np.uint8)

    def near(self, drawing: Drawing) -> NDArray[np.bool_]:
        """The cells [H, W] near the strokes of a drawing, which is placed in pixels and whose ink is in cells."""
        top, left = (round(v / self.cell) for v in (drawing.top, drawing.left))
        height, width = drawing.ink.shape
        strokes = np.zeros(self.shape, np.uint8)
        part = strokes[top : top + height, left : left + width]
        part[:] = drawing.ink[: part.shape[0], : part.shape[1]] > 0
        reach = max(1, round(BESIDE * max(height, width)))
        return cv2.dilate(strokes, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0

    def state(self) -> Values:
        """The state that is carried on, by name."""
        return {"map": self.events.copy(), "fresh": self._fresh.copy()}

    def restore(self, values: Values) -> None:
        """Go on from the state of a map of the same sensor. Raises ValueError."""
        fresh = array(values["fresh"], self.shape, np.int32, -MOST, MOST)
        self.events, self._fresh = self.checked(values["map"]), fresh

    def checked(self, events: object) -> Floats:
        """A copy of a map of this sensor. Raises ValueError for anything else."""
        return array(events, self.shape, np.float32, -MOST, MOST)
