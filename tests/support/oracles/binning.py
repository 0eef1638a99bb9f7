"""A stream of events to bins, event by event, and the crop around what moves."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.binning import CEILINGS
from spikesight.encoders.dvs import Bin, DvsEncoder
from spikesight.encoders.events import Events, SensorSize

GAP_US, BACK_US = 1_000_000, 100_000


def line(at: int, side: int, other: int, target: int, to_other: int) -> int:
    """Where a column or row of a side goes if side x other is cropped to the shape target x to_other; -1: nowhere."""
    crop = max(1, other * target // to_other if side * to_other > other * target else side)
    inside = at - (side - crop) // 2
    return inside * target // crop if 0 <= inside < crop else -1


class PlainBinner:
    """Cuts a stream of events into bins, as StreamBinner does."""

    def __init__(self, encoder: DvsEncoder, shown: int = 1) -> None:
        self.encoder, self.shown, self.bins = encoder, shown, list[Bin]()
        self.alone = list[NDArray[np.uint8]]()  # what fell in each of the last bins
        self.origin: int | None = None
        self.last, self.reset, self.x, self.n = 0, False, self._blank(), 0

    def push(self, events: Events) -> list[Bin]:
        (height, width), sensor = self.encoder.size, self.encoder.sensor
        for t, x, y, p in events.tolist():
            if not (0 <= x < sensor.width and 0 <= y < sensor.height):
                continue
            self._reach(t)
            column = line(x, sensor.width, sensor.height, width, height)
            row = line(y, sensor.height, sensor.width, height, width)
            if column >= 0 and row >= 0:
                self.x[int(p), row, column] = min(self.x[int(p), row, column] + 1, CEILINGS[self.encoder.mode])
                self.n += 1
        return self._made()

    def tick(self, now_us: int) -> list[Bin]:
        if self.origin is not None:
            limit = self.last + GAP_US
            self._until(min(now_us, limit))
            if now_us > limit:
                self._stop()
        return self._made()

    def flush(self) -> list[Bin]:
        self._stop()
        return self._made()

    def _reach(self, t: int) -> None:
        """Make the bin of time t the open one."""
        if self.origin is not None:
            jumps = t < max(self.last, self.origin) - BACK_US or t - self.last > GAP_US
            if jumps or t > self.origin + self.encoder.bin_us + GAP_US:
                if t > self.last:
                    self._until(self.last + GAP_US)
                self._stop()
        if self.origin is None:
            self.origin = self.last = t
        self.last = max(self.last, self.origin, t)
        self._until(self.last)

    def _until(self, end_us: int) -> None:
        assert self.origin is not None
        end_us = min(end_us, self.origin + self.encoder.bin_us + GAP_US)
        while self.origin + self.encoder.bin_us <= end_us:
            self._close()

    def _stop(self) -> None:
        if self.origin is not None and self.n:
            self._close()
        self.reset = self.reset or self.origin is not None
        self.origin = None

    def _close(self) -> None:
        assert self.origin is not None
        self.alone = [*([] if self.reset else self.alone), self.x][-self.shown :]
        seen = self.x if self.shown == 1 else (np.max(self.alone, 0) > 0).astype(np.uint8)
        end = self.origin + self.encoder.bin_us
        self.bins.append(Bin(seen, self.origin, end, self.n, self.reset))
        self.origin, self.reset, self.x, self.n = end, False, self._blank(), 0

    def _made(self) -> list[Bin]:
        made, self.bins = self.bins, []
        return made

    def _blank(self) -> NDArray[np.uint8]:
        return np.zeros((2, *self.encoder.size), np.uint8)


def around(crowd: NDArray[np.float64], width: float, height: float) -> tuple[float, float, float]:
    """Middle and half side of the square around what some cells [16, 16] of a width and height count."""
    mean, middles, spreads = summed(crowd / 256), list[float](), list[float]()
    above = np.maximum(crowd - mean, 0) if crowd.max() > mean else np.ones_like(crowd)
    for lines, cell in ((above.T, width), (above, height)):
        weights = np.array([summed(one) for one in lines])
        half, before = summed(weights) / 2, np.concatenate([[0], np.cumsum(weights)])
        at = int(np.searchsorted(before[1:], half))
        middle = at + (half - before[at]) / weights[at]
        middles.append(middle * cell)
        spreads.append(summed(np.abs(np.arange(16) + 0.5 - middle) * weights) / (2 * half) * cell)
    return middles[0], middles[1], max(2.2 * math.hypot(*spreads), 1.0)


def summed(values: NDArray[np.float64]) -> float:
    """The sum from the first to the last, as in C; NumPy's and Python's own are more exact."""
    return float(np.cumsum(values)[-1])


class PlainTracker(PlainBinner):
    """Bins cropped around what moves, by the counts of the last bins weighted by age, as TrackingBinner does."""

    def __init__(self, sensor: SensorSize, size: tuple[int, int], bin_us: int, steps: int, shown: int) -> None:
        scale = min(1.0, 128 / max(sensor.width, sensor.height))
        fine = max(1, round(sensor.height * scale)), max(1, round(sensor.width * scale))
        super().__init__(DvsEncoder(sensor, fine, bin_us, steps), shown)
        self.size, self.crowd = size, np.full((16, 16), 300 / 256)

    def _close(self) -> None:
        super()._close()
        (high, wide), keep = self.encoder.size, 0.95 ** (1 / self.shown)
        tall, broad = -(-high // 16), -(-wide // 16)
        if self.bins[-1].reset:
            self.crowd = np.full((16, 16), 300 / 256)
        polarity, row, column = np.nonzero(self.bins[-1].x)
        counts = np.zeros((16, 16))
        np.add.at(counts, (row // tall, column // broad), 1)
        self.crowd = self.crowd * keep + (1 - keep) / (1 - 0.95) * counts
        x, y, half = around(self.crowd, broad, tall)
        u = np.floor(((column + 0.5 - x) / half + 1) / 2 * self.size[1]).astype(int)
        v = np.floor(((row + 0.5 - y) / half + 1) / 2 * self.size[0]).astype(int)
        inside = (u >= 0) & (u < self.size[1]) & (v >= 0) & (v < self.size[0])
        out = np.zeros((2, *self.size), np.uint8)
        out[polarity[inside], v[inside], u[inside]] = 1
        self.bins[-1] = replace(self.bins[-1], x=out)
