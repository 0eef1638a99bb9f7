"""Events centred on the thing they show, scaled to its extent and, for a whole recording, paced by its activity.

What few examples cannot teach is taken out before: where in the picture the thing is, how large, and how fast it went.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.dvs import Bin, DvsEncoder, OpenBin, StreamBinner, shown_in
from spikesight.encoders.events import EVENTS, Events, SensorSize
from spikesight.encoders.preprocess.values import array

EXTENT = 2.2  # half a side of the crop, by the mean distance of events from their medians
CELLS = 16  # a side of the grid that events are counted in
PACE = 0.5  # share of a recording's time that runs by its events in place of the clock
REMEMBERED = 0.95  # of the counts, from a live step to the next
PRIOR = 300.0  # events, spread evenly over the sensor, that a live stream begins with
FINEST = 128  # pixels of the sensor's longer side, of which a live crop is taken


def frame_of(x: NDArray[np.number], y: NDArray[np.number]) -> tuple[float, float, float]:
    """Middle and half side of the square around what events at these places show, in their unit."""
    (left, width), (top, height) = ((int(at.min()), (int(at.max()) - int(at.min()) + 1) / CELLS) for at in (x, y))
    column, row = ((x - left) / width).astype(np.int64), ((y - top) / height).astype(np.int64)
    cells = np.bincount(row * CELLS + column, minlength=CELLS**2).reshape(CELLS, CELLS)
    middle_x, middle_y, half = _around(cells, width, height)
    return left + middle_x, top + middle_y, half


def _around(cells: NDArray[np.number], width: float, height: float) -> tuple[float, float, float]:
    """Middle (x, y) and half side of the square around events counted in cells [R, C] of this width and height. A
    sensor's noise is spread evenly and a thing is not, so only what a cell has above the mean counts.
    """
    above = np.maximum(cells - cells.mean(), 0.0)
    if not above.any():
        above = np.ones(cells.shape)
    (x, spread_x), (y, spread_y) = _median(above.sum(0)), _median(above.sum(1))
    half = EXTENT * math.hypot(spread_x * width, spread_y * height)
    return x * width, y * height, max(half, 1.0)


def aligned(events: Events, size: tuple[int, int], length_us: int) -> Events:
    """A recording as if it filled [0, length_us) and a sensor of this (height, width), sorted; what is outside is lost.

    `events` are sorted by time. Fewer than two are no recording and give none.
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
    """A whole recording, aligned, as binary steps [T, 2, H, W], each showing what came in the last `shown` of them."""
    return steps_of(aligned(events, size, steps * bin_us), size, bin_us, steps, shown)


def steps_of(events: Events, size: tuple[int, int], bin_us: int, steps: int, shown: int = 1) -> NDArray[np.uint8]:
    """Aligned events as binary steps [T, 2, H, W], each showing what came in the last `shown` of them."""
    height, width = size
    return shown_in(DvsEncoder(SensorSize(width, height), size, bin_us, steps)(events, 0)[:, 0], shown)


class TrackingBinner(StreamBinner):
    """Bins of a stream that goes on, cropped to `size` (height, width) by the events of the last steps, weighted by
    their age. A closed bin's x is what came in the last `shown` ones; what was remembered then is what it would be of
    bins that stand alone and last as long.
    """

    def __init__(self, sensor: SensorSize, size: tuple[int, int], bin_us: int, steps: int, shown: int = 1) -> None:
        scale = min(1.0, FINEST / max(sensor.width, sensor.height))
        fine = max(1, round(sensor.height * scale)), max(1, round(sensor.width * scale))
        super().__init__(DvsEncoder(sensor, fine, bin_us, steps), shown=shown)
        self._size, self.fine, self.keep = size, fine, REMEMBERED ** (1 / shown)
        self.share = (1 - self.keep) / (1 - REMEMBERED)  # of a bin that lasts as long as it shows
        self._forget()

    def _forget(self) -> None:
        self._cells = np.full((CELLS, CELLS), PRIOR / CELLS**2)

    def snapshot(self) -> OpenBin:
        """All that the binner carries from packet to packet."""
        return replace(super().snapshot(), cells=self._cells.copy())

    def restore(self, carried: OpenBin) -> None:
        """Go on from a snapshot of such a binner. Raises ValueError where no stream leads there."""
        cells = array(carried.cells, self._cells.shape, np.float64, 0, 1e15)
        super().restore(replace(carried, cells=None))
        self._cells = cells

    def _close(self, bins: list[Bin]) -> None:
        super()._close(bins)
        if bins[-1].reset:
            self._forget()
        bins[-1] = replace(bins[-1], x=self._crop(bins[-1].x))

    def _crop(self, seen: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """One step of the sensor, uint8 [2, h, w], around the thing; binary [2, H, W]."""
        polarity, row, column = np.nonzero(seen)
        height, width = (-(-side // CELLS) for side in self.fine)
        found = np.bincount(row // height * CELLS + column // width, minlength=CELLS**2).reshape(CELLS, CELLS)
        self._cells = self._cells * self.keep + self.share * found
        x, y, half = _around(self._cells, width, height)
        u = np.floor(((column + 0.5 - x) / half + 1) / 2 * self._size[1]).astype(np.int64)
        v = np.floor(((row + 0.5 - y) / half + 1) / 2 * self._size[0]).astype(np.int64)
        inside = (u >= 0) & (u < self._size[1]) & (v >= 0) & (v < self._size[0])
        out = np.zeros((2, *self._size), np.uint8)
        out[polarity[inside], v[inside], u[inside]] = 1
        return out


def _median(weights: NDArray[np.float64]) -> tuple[float, float]:
    """Median of the positions 0.5, 1.5, ... with these weights [N], and the mean distance from it."""
    sums = np.cumsum(weights)
    at = int(np.searchsorted(sums, sums[-1] / 2))
    median = at + (sums[-1] / 2 - (sums[at] - weights[at])) / weights[at]
    positions = np.arange(len(weights)) + 0.5
    return median, float((np.abs(positions - median) * weights).sum() / sums[-1])
