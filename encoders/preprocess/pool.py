"""Downsampling of a large sensor's events to a small sensor, each of whose pixels covers many fine pixels.

A coarse pixel sums the signs of its events. When the sum reaches its area in fine pixels, these have changed by one
threshold on average, and the coarse pixel fires once. Noise cancels in the sums; if each event lit a whole cell of the
network's grid instead, texture and noise would light most cells. This is the integrator of Ghosh et al.
("Insect-inspired spatio-temporal downsampling of event-based input", ICONS 2023), with the area as threshold and the
events' clock as time.
"""

from spikesight.encoders.events import SensorSize
from spikesight.encoders.preprocess.filters import Front

LEAST = 2  # least fine pixels along a coarse pixel's side; sensors closer in size are not summed


def pools(sensor: SensorSize, size: SensorSize) -> bool:
    """Return whether a sensor is so much larger than `size` (by LEAST in both sides) that its events are summed."""
    return min(sensor.width // size.width, sensor.height // size.height) >= LEAST


class Pool(Front):
    """Downsamples packets of a `sensor` to events of a sensor of `size`; packet borders do not matter.

    Only the largest centred crop with the aspect ratio of `size` is used. Packets must be sorted and on the sensor.
    """

    def __init__(self, sensor: SensorSize, size: SensorSize) -> None:
        super().__init__(sensor, size)
