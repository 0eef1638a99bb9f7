"""Events centred on the object they show, scaled to its extent and, for a whole recording, paced by its activity.

Few-shot examples cannot teach invariance to an object's position, size and speed, so these are normalised beforehand.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.dvs import Bin, DvsEncoder, StreamBinner, shown_in
from spikesight.encoders.events import EVENTS, Events, SensorSize
from spikesight.encoders.native.build import call

CELLS = 16  # rows, and columns, of the grid in which events are counted
PACE = 0.5  # weight of the event index, against the clock, in the time of an aligned recording
REMEMBERED = 0.95  # decay factor of the cell counts per live step (`shown` bins)
FINEST = 128  # longest side, in pixels, of the reduced sensor image that a live crop is cut from


def frame_of(x: NDArray[np.number], y: NDArray[np.number]) -> tuple[float, float, float]:
    """Return the centre (x, y) and half side of the square around the object that events at pixels x, y [N] show."""
    (left, width), (top, height) = ((int(at.min()), (int(at.max()) - int(at.min()) + 1) / CELLS) for at in (x, y))
    column, row = ((x - left) / width).astype(np.int64), ((y - top) / height).astype(np.int64)
    cells, found = np.bincount(row * CELLS + column, minlength=CELLS**2).astype(np.float64), np.empty(3)
    call("follow_around", cells, width, height, found)
    middle_x, middle_y, half = found.tolist()
    return left + middle_x, top + middle_y, half


def aligned(events: Events, size: tuple[int, int], length_us: int) -> Events:
    """Return a recording stretched to [0, length_us) and a sensor of `size` (height, width), without events outside it.

    `events` must be sorted by time, as is the result. Fewer than two events give an empty result.
    """
    if len(events) < 2:
        return np.empty(0, EVENTS)
    height, width = size
    middle_x, middle_y, half = frame_of(events["x"], events["y"])
    x = np.floor(((events["x"] + 0.5 - middle_x) / half + 1) / 2 * width).astype(np.int64)
    y = np.floor(((events["y"] + 0.5 - middle_y) / half + 1) / 2 * height).astype(np.int64)
    clock = (events["t"] - events["t"][0]) / (events["t"][-1] - events["t"][0] + 1)
    share = (1 - PACE) * clock + PACE * np.arange(len(events)) / len(events)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    out = np.empty(int(inside.sum()), EVENTS)
    out["t"], out["p"] = (share[inside] * length_us).astype(np.int64), events["p"][inside]
    out["x"], out["y"] = x[inside], y[inside]
    return out


def aligned_steps(events: Events, size: tuple[int, int], bin_us: int, steps: int, shown: int = 1) -> NDArray[np.uint8]:
    """Align a whole recording; return binary steps [T, 2, H, W], each 1 where an event fell in the last `shown`."""
    return steps_of(aligned(events, size, steps * bin_us), size, bin_us, steps, shown)


def steps_of(events: Events, size: tuple[int, int], bin_us: int, steps: int, shown: int = 1) -> NDArray[np.uint8]:
    """Return aligned events as binary steps [T, 2, H, W], each 1 where an event fell in the last `shown` steps."""
    height, width = size
    return shown_in(DvsEncoder(SensorSize(width, height), size, bin_us, steps)(events, 0)[:, 0], shown)


class TrackingBinner(StreamBinner):
    """A binner for live streams whose bins are cropped to `size` (height, width) around the object in view, located by
    event counts that decay with age. A closed bin's x is 1 where an event fell in the last `shown` bins; the counts
    are those that non-overlapping bins of that duration would give.
    """

    def __init__(self, sensor: SensorSize, size: tuple[int, int], bin_us: int, steps: int, shown: int = 1) -> None:
        scale = min(1.0, FINEST / max(sensor.width, sensor.height))
        fine = max(1, round(sensor.height * scale)), max(1, round(sensor.width * scale))
        super().__init__(DvsEncoder(sensor, fine, bin_us, steps), shown=shown)
        self._size, self.fine, self.keep = size, fine, REMEMBERED ** (1 / shown)
        self.share = (1 - self.keep) / (1 - REMEMBERED)  # corrects for events that count in `shown` bins
        self._begun, self._cells = False, np.empty(CELLS**2)  # events of the last bins, weighted by their age

    def _close(self, bins: list[Bin]) -> None:
        super()._close(bins)
        seen, x = np.ascontiguousarray(bins[-1].x), np.empty((2, *self._size), np.uint8)
        reset, self._begun = bins[-1].reset or not self._begun, True
        call("follow_crop", self._cells, seen, *self.fine, *self._size, self.keep, self.share, reset, x)
        bins[-1] = replace(bins[-1], x=x)
