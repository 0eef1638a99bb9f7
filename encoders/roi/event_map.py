"""A map of recent events, counted in cells of a sensor: the picture in which drawings are searched."""

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders import kernels
from spikesight.encoders.dvs import Times
from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.preprocess.drawing import Drawing, Floats
from spikesight.encoders.preprocess.values import Values, array

MEMORY_US = 150_000  # time constant with which event counts decay
MAP_SIDE = 160  # most cells along the sensor's longer side
WHITE_HZ = 15.0  # event rate, per pixel, of a cell that is white in the picture
MOST = 2**31 - 1  # largest event count of a cell
BESIDE = 0.05  # in drawing lengths: cells up to this distance from a stroke are near it


class EventMap:
    """Event counts in a sensor's cells [H, W] of `cell` x `cell` pixels; an OFF event counts as `off`. `events` holds
    the counts up to the last update, with decay time `memory_us`; newer events join at the next update.
    """

    def __init__(self, sensor: SensorSize, side: int = MAP_SIDE, memory_us: int = MEMORY_US, off: int = 1) -> None:
        self.memory_us, self.off = memory_us, off
        self.cell = -(-max(sensor.width, sensor.height) // side)
        self.shape = (-(-sensor.height // self.cell), -(-sensor.width // self.cell))
        self.white = WHITE_HZ * (memory_us / 1e6) * self.cell**2  # decayed event count of a white cell
        self.events = np.zeros(self.shape, np.float32)
        self._fresh = np.zeros(self.shape, np.int32)

    def count(self, events: Events, begin: int, span_us: int) -> int:
        """Count events from index `begin` to the end of its `span_us` interval; return the index of the next event."""
        return kernels.compiled("roi").gather(events, begin, span_us, self.cell, self.off, self._fresh)

    def update(self) -> Floats:
        """Add the events since the last update to the map; return a copy of the map."""
        self.events += self._fresh
        self._fresh[:] = 0
        return self.events.copy()

    def fade(self, passed_us: int) -> None:
        """Decay the map by `passed_us` microseconds."""
        self.events *= np.float32(np.exp(-passed_us / self.memory_us))

    def bright(self, events: Events, level: float) -> Times:
        """Return times [N] of events in cells that were above `level` (a share of white) at the last update."""
        return events["t"][np.abs(self.events[events["y"] // self.cell, events["x"] // self.cell]) > level * self.white]

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

    def state(self) -> Values:
        """Return the state that is carried from packet to packet, by name."""
        return {"map": self.events.copy(), "fresh": self._fresh.copy()}

    def restore(self, values: Values) -> None:
        """Continue from the state of a map of the same sensor. Raises ValueError if a value is invalid."""
        fresh = array(values["fresh"], self.shape, np.int32, -MOST, MOST)
        self.events, self._fresh = self.checked(values["map"]), fresh

    def checked(self, events: object) -> Floats:
        """Return a copy of a map of this sensor. Raises ValueError for anything else."""
        return array(events, self.shape, np.float32, -MOST, MOST)
