"""A map of recent events, counted in cells of a sensor: the picture in which drawings are searched."""

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders import kernels
from spikesight.encoders.dvs import Times
from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.preprocess.drawing import Drawing, Floats

MEMORY_US = 150_000  # time constant with which event counts decay
MAP_SIDE = 160  # most cells along the sensor's longer side
WHITE_HZ = 15.0  # event rate, per pixel, of a cell that is white in the picture
BESIDE = 0.05  # in drawing lengths: cells up to this distance from a stroke are near it


class EventMap:
    """Event counts in a sensor's cells [H, W] of `cell` x `cell` pixels; an OFF event counts as `off`. `events` holds
    the counts at the last update, with decay time `memory_us`; newer events are `fresh` and join at the next update.
    """

    def __init__(self, sensor: SensorSize, side: int = MAP_SIDE, memory_us: int = MEMORY_US, off: int = 1) -> None:
        self.memory_us, self.off = memory_us, off
        self.cell = -(-max(sensor.width, sensor.height) // side)
        self.shape = (-(-sensor.height // self.cell), -(-sensor.width // self.cell))
        self.white = WHITE_HZ * (memory_us / 1e6) * self.cell**2  # decayed event count of a white cell
        self.events = np.zeros(self.shape, np.float32)
        self.fresh = np.zeros(self.shape, np.int32)

    def count(self, events: Events, begin: int, span_us: int) -> int:
        """Count events from index `begin` to the end of its `span_us` interval; return the index of the next event."""
        return kernels.compiled("roi").gather(events, begin, span_us, self.cell, self.off, self.fresh)

    def update(self, passed_us: int) -> Floats:
        """Let the map decay by the time since the last update, add the newer events, and return it."""
        self.events = (self.events * self._left(passed_us) + self.fresh).astype(np.float32)
        self.fresh[:] = 0
        return self.events

    def _left(self, passed_us: int) -> np.float32:
        return np.float32(np.exp(-passed_us / self.memory_us))

    def bright(self, events: Events, level: float, passed_us: int) -> Times:
        """Return times [N] of events in cells above `level` (a share of white), `passed_us` after the last update."""
        counts = self.events[events["y"] // self.cell, events["x"] // self.cell] * self._left(passed_us)
        return events["t"][np.abs(counts) > level * self.white]

    def picture(self, events: Floats) -> NDArray[np.uint8]:
        """Return a map as a grey picture uint8 [H, W], white where the event rate reaches WHITE_HZ."""
        return (events * (255 / self.white)).clip(0, 255).astype(np.uint8)

    def near(self, drawing: Drawing) -> NDArray[np.bool_]:
        """Return a mask [H, W] of cells near a drawing's strokes; its box is in sensor pixels, its ink in cells."""
        top, left = (round(v / self.cell) for v in (drawing.top, drawing.left))
        height, width = drawing.ink.shape
        strokes = np.zeros(self.shape, np.uint8)
        part = strokes[top : top + height, left : left + width]
        part[:] = drawing.ink[: part.shape[0], : part.shape[1]] > 0
        reach = max(1, round(BESIDE * max(height, width)))
        return cv2.dilate(strokes, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
