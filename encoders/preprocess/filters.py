"""Noise filters for event streams, and sums of fine pixels. What they keep does not depend on how packets cut a stream.

A filter is an object with state. Calling it with a packet (sorted by time, all on the sensor) returns the kept events.
"""

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import EVENTS, Events, EventsError, SensorSize, chosen, joined
from spikesight.encoders.native.build import call

FROM_HZ = 4.0  # rate of lone events, per pixel, above which NoiseGate filters
DRAWING_HZ = 2.5  # the same for a small sensor that sees a drawing
ALWAYS = -1.0  # the same: it filters without measuring a rate
LONELY = 3  # a hot pixel has more than so many times the events of its neighbours


class Front:
    """The stages of native/kernels/front.h for packets that are sorted and on the `sensor`, and their state: its events
    summed to a sensor of `size`, or filtered.
    """

    def __init__(self, sensor: SensorSize, size: SensorSize, time_us: int = 0, from_hz: float = 0.0) -> None:
        self._front = np.zeros(call("front_bytes"), np.uint8)
        self._level = np.zeros((size.height, size.width), np.int32)  # sums of signs
        self._fired = np.empty((size.height + 2, size.width + 2), np.int64)  # times of last events, and a border
        memory = (None, self._fired) if time_us else (self._level, None)
        sides = sensor.width, sensor.height, size.width, size.height
        call("front_begin", self._front, *sides, time_us, from_hz, *memory)
        self._place = self._front.ctypes.data  # NumPy takes a microsecond to tell it

    def __call__(self, events: Events) -> Events:
        """Return the events that pass."""
        events, passed = np.ascontiguousarray(events, EVENTS), np.empty(len(events), EVENTS)
        return passed[: call("front_pass", self._place, events, len(events), passed)]


def pools(sensor: SensorSize, size: SensorSize) -> bool:
    """Return whether both sides of a sensor have so many more pixels than `size` that its events are summed."""
    return bool(call("front_sums", sensor.width, sensor.height, size.width, size.height))


class Pool(Front):
    """Sums packets of a large sensor to events of a sensor of `size`, each of whose pixels covers many fine pixels.

    A coarse pixel sums the signs of its events. When the sum reaches its area in fine pixels, these have changed by one
    threshold on average, and the coarse pixel fires once. Noise cancels in the sums; if each event lit a whole cell of
    the network's grid instead, texture and noise would light most cells. This is the integrator of Ghosh et al.
    ("Insect-inspired spatio-temporal downsampling of event-based input", ICONS 2023), with the area as threshold and
    the events' clock as time. Only the largest centred crop with the aspect ratio of `size` is used.
    """


class NoiseGate(Front):
    """A background-activity filter that acts only if the stream is noisy, and more strictly if it is very noisy.

    An event is lone if none of its eight neighbours had an event at most `time_us` before (Delbruck 2008). While the
    rate of lone events per pixel is above `from_hz`, they are dropped. Above 7 Hz, where noise events have noisy
    neighbours, those with fewer than three neighbours active within four times the time are dropped (chosen by
    validation). If the clock restarts, all earlier events are forgotten.

    The rate is measured over intervals of 5 ms of the events' clock and averaged exponentially. Clean N-MNIST
    recordings have a median of 2.5 lone events per pixel and second, and at most 3.8 during 98 % of the time: with
    FROM_HZ they pass unchanged after the first interval.
    """

    def __init__(self, size: SensorSize, time_us: int, from_hz: float = FROM_HZ) -> None:
        super().__init__(size, size, _positive("correlation time", time_us), from_hz)


class BackgroundActivity(NoiseGate):
    """Keeps an event only if one of its eight neighbours had an event at most `time_us` before (Delbruck 2008)."""

    def __init__(self, size: SensorSize, time_us: int = 10_000) -> None:
        super().__init__(size, time_us, ALWAYS)


class HotPixels:
    """Learns hot pixels from event counts over the first `learn_us`, while all events pass; then drops their events.

    A hot pixel's count is above the sensor's mean + `deviations` standard deviations, and above LONELY times the third
    largest count of its 3x3 neighbourhood: an edge that never rests is not hot. `mask` [H, W] is True for hot pixels.
    """

    def __init__(self, size: SensorSize, learn_us: int = 1_000_000, deviations: float = 6.0) -> None:
        self.learn_us, self.deviations = _positive("learning time", learn_us), deviations
        self.mask = np.zeros((size.height, size.width), bool)
        self.counts = np.zeros(self.mask.shape, np.uint32)  # zero once hot pixels are known
        self.first, self.learning = None, True

    def __call__(self, events: Events) -> Events:
        if not len(events):
            return events
        self.first = int(events["t"][0]) if self.first is None else self.first
        if not self.learning:
            return self._unmasked(events)
        end = int(np.searchsorted(events["t"], self.first + self.learn_us))
        learned, rest = events[:end], events[end:]
        np.add.at(self.counts.ravel(), self._pixels(learned), np.uint32(1))  # quick if flat, and of one type
        if not len(rest):
            return events
        self.mask, self.learning = hot_pixels(self.counts, self.deviations), False
        self.counts[:] = 0
        kept = self._unmasked(rest)
        return events if kept is rest else joined([learned, kept])

    def _unmasked(self, events: Events) -> Events:
        hot = self.mask.ravel()[self._pixels(events)]
        return chosen(events, ~hot) if hot.any() else events

    def _pixels(self, events: Events) -> NDArray[np.int64]:
        return events["y"].astype(np.int64) * self.mask.shape[1] + events["x"]


def hot_pixels(counts: NDArray[np.integer], deviations: float = 6.0) -> NDArray[np.bool_]:
    """Return a mask [H, W] of the hot pixels in event counts [H, W]; for the criterion see HotPixels."""
    limit = counts.mean() + deviations * counts.std()
    rows, columns = np.nonzero(counts > limit)
    down, right = np.divmod(np.arange(9), 3)
    squares = np.pad(counts, 1)[rows[:, None] + down, columns[:, None] + right]
    third = np.partition(squares, 6)[:, 6]
    mask = np.zeros(counts.shape, bool)
    mask[rows, columns] = counts[rows, columns] > LONELY * third
    return mask


def _positive(what: str, value: int) -> int:
    if value < 1:
        raise EventsError(f"the {what} must be at least one microsecond, not {value}")
    return value
