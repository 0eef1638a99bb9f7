"""Downsampling of a large sensor's events to a small sensor, each of whose pixels covers many fine pixels.

A coarse pixel sums the signs of its events. When the sum reaches its area in fine pixels, these have changed by one
threshold on average, and the coarse pixel fires once. Noise cancels in the sums; if each event lit a whole cell of the
network's grid instead, texture and noise would light most cells. This is the integrator of Ghosh et al.
("Insect-inspired spatio-temporal downsampling of event-based input", ICONS 2023), with the area as threshold and the
events' clock as time.
"""

import numpy as np

from spikesight.encoders import kernels
from spikesight.encoders.binning import NOWHERE, grid_for
from spikesight.encoders.events import EVENTS, Events, SensorSize

LEAST = 2  # least fine pixels along a coarse pixel's side; sensors closer in size are not summed


def pools(sensor: SensorSize, size: SensorSize) -> bool:
    """Return whether a sensor is so much larger than `size` (by LEAST in both sides) that its events are summed."""
    return min(sensor.width // size.width, sensor.height // size.height) >= LEAST


class Pool:
    """Downsamples packets of a `sensor` to events of a sensor of `size`; packet borders do not matter.

    Only the largest centred crop with the aspect ratio of `size` is used. Packets must be sorted and on the sensor.
    """

    def __init__(self, sensor: SensorSize, size: SensorSize) -> None:
        grid = grid_for(sensor, (size.height, size.width))
        seen = grid.rows != NOWHERE
        self._columns = grid.columns
        self._rows = np.where(seen, grid.rows // np.uint32(size.width), grid.rows)
        across = np.bincount(grid.columns[grid.columns != NOWHERE], minlength=size.width)
        down = np.bincount(self._rows[seen], minlength=size.height)
        self._area = np.outer(down, across).astype(np.int64)
        self.level = np.zeros_like(self._area)  # int64 [H, W], sums of signs; the only state between packets

    def __call__(self, events: Events) -> Events:
        fired = np.empty(len(events), EVENTS)
        n = kernels.compiled("filters").pool(events, self._columns, self._rows, NOWHERE, self._area, self.level, fired)
        return fired[:n].copy()
