"""A large sensor's events as those of a small one, each of whose pixels covers many of the large one's.

A large pixel holds the sum of its events' signs; when that reaches its area, all its pixels have changed by one
threshold in the mean, and it fires once. If a single event lit a whole cell of the network's grid, texture and noise
would light most of them; so noise cancels, and what is left is what a sensor of large pixels sees. It is the integrator
of Ghosh et al. ("Insect-inspired spatio-temporal downsampling of event-based input", ICONS 2023) whose threshold is the
area and whose clock is the events'.
"""

import numpy as np

from spikesight.encoders import kernels
from spikesight.encoders.binning import NOWHERE, grid_for
from spikesight.encoders.events import EVENTS, Events, SensorSize
from spikesight.encoders.preprocess.values import Values, array

LEAST = 2  # pixels along the side of a large one; between sensors closer in size nothing is summed


def pools(sensor: SensorSize, size: SensorSize) -> bool:
    """Whether a sensor is so much larger than one of `size` that its events are summed."""
    return min(sensor.width // size.width, sensor.height // size.height) >= LEAST


class Pool:
    """Packets of a `sensor` in, events of a sensor of `size` out; the same however the stream is cut.

    The middle of the sensor with the aspect ratio of `size` is seen. Packets are sorted, and on the sensor.
    """

    def __init__(self, sensor: SensorSize, size: SensorSize) -> None:
        grid = grid_for(sensor, (size.height, size.width))
        seen = grid.rows != NOWHERE
        self._columns = grid.columns
        self._rows = np.where(seen, grid.rows // np.uint32(size.width), grid.rows)
        across = np.bincount(grid.columns[grid.columns != NOWHERE], minlength=size.width)
        down = np.bincount(self._rows[seen], minlength=size.height)
        self._area = np.outer(down, across).astype(np.int64)
        self.level = np.zeros_like(self._area)  # int64 [H, W]; all that is carried from packet to packet

    def __call__(self, events: Events) -> Events:
        fired = np.empty(len(events), EVENTS)
        n = kernels.compiled("filters").pool(events, self._columns, self._rows, NOWHERE, self._area, self.level, fired)
        return fired[:n].copy()

    def state(self) -> Values:
        """The state that is carried from packet to packet."""
        return {"level": self.level.copy()}

    def restore(self, values: Values) -> None:
        """Go on from the state of a pool of the same sensors. Raises ValueError where no stream leads there."""
        most = int(self._area.max())
        level = array(values["level"], self.level.shape, self.level.dtype, -most, most)
        if (abs(level) >= self._area).any():
            raise ValueError("the sums are not those of large pixels that have not fired")
        self.level = level
