"""Events centred on the object they show, scaled to its extent and, for a whole recording, paced by its activity.

Few-shot examples cannot teach invariance to an object's position, size and speed, so these are normalised beforehand.
"""

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.dvs import DvsEncoder, StreamBinner, shown_in
from spikesight.encoders.events import EVENTS, Events, SensorSize
from spikesight.encoders.native.build import call

PACE = 0.5  # weight of the event index, against the clock, in the time of an aligned recording
REMEMBERED = 0.95  # decay factor of the cell counts per live step (`shown` bins)


def frame_of(events: Events) -> list[float]:
    """Return the centre (x, y) and half side of the square around the object that events show."""
    found = np.empty(3)
    call("follow_frame", np.ascontiguousarray(events), len(events), found)
    return found.tolist()


def aligned(events: Events, size: tuple[int, int], length_us: int) -> Events:
    """Return a recording stretched to [0, length_us) and a sensor of `size` (height, width), without events outside it.

    `events` must be sorted by time, as is the result. Fewer than two events give an empty result.
    """
    if len(events) < 2:
        return np.empty(0, EVENTS)
    height, width = size
    middle_x, middle_y, half = frame_of(events)
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


def fine_size(sensor: SensorSize) -> tuple[int, int]:
    """Return height and width of the reduced sensor image that a live crop is cut from."""
    found = np.empty(2, np.int64)
    call("follow_size", sensor.width, sensor.height, found)
    return int(found[0]), int(found[1])


class TrackingBinner(StreamBinner):
    """A binner for live streams whose bins are cropped to `size` (height, width) around the object in view, located by
    event counts that decay with age. A closed bin's x is 1 where an event fell in the last `shown` bins; the counts
    are those that non-overlapping bins of that duration would give.
    """

    def __init__(self, sensor: SensorSize, size: tuple[int, int], bin_us: int, steps: int, shown: int = 1) -> None:
        self.keep = REMEMBERED ** (1 / shown)
        self.share = (1 - self.keep) / (1 - REMEMBERED)  # corrects for events that count in `shown` bins
        encoder, follows = DvsEncoder(sensor, size, bin_us, steps), (self.keep, self.share)
        super().__init__(encoder, shown=shown, seen=fine_size(sensor), follows=follows)
