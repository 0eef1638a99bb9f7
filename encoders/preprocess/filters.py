"""Noise filters for event streams. What they keep does not depend on how the stream is cut into packets.

A filter is an object with state. Calling it with a packet (sorted by time, all on the sensor) returns the kept events.
"""

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders import kernels
from spikesight.encoders.events import EVENTS, Events, EventsError, SensorSize, joined

NEVER_US = -(2**62)
GATE_US = 5_000  # interval over which NoiseGate measures the rate of lone events
GATE_FRESH = 0.15  # weight of the newest interval in the averaged rate
FROM_HZ = 4.0  # rate of lone events, per pixel, above which NoiseGate filters
DRAWING_HZ = 2.5  # the same for a small sensor that sees a drawing
STRICT_HZ = 7.0  # the same for the stricter filter
WIDE, NEEDED = 4, 3  # strict filter: factor of the correlation time, and active neighbours (chosen by validation)
LONELY = 3  # a hot pixel has more than so many times the events of its neighbours


class BackgroundActivity:
    """Keeps an event only if one of its eight neighbours had an event at most `time_us` before (Delbruck 2008).

    `last`, int64 [H + 2, W + 2], holds times of the pixels' last events, with a border of one pixel that never fires.
    If the clock restarts, all earlier events are forgotten.
    """

    def __init__(self, size: SensorSize, time_us: int = 10_000) -> None:
        self.time_us = _positive("correlation time", time_us)
        self.last = np.full((size.height + 2, size.width + 2), NEVER_US, np.int64)
        self.newest = NEVER_US  # time of the newest event

    def __call__(self, events: Events) -> Events:
        self._go_on(events)
        return marked("background", events, self.last, self.time_us)

    def _go_on(self, events: Events) -> None:
        """Advance to the newest time of a packet; call it before the packet is filtered."""
        if len(events):
            if events["t"][0] < self.newest:
                self.last.fill(NEVER_US)
            self.newest = int(events["t"][-1])


class NoiseGate(BackgroundActivity):
    """A background-activity filter that acts only if the stream is noisy, and more strictly if it is very noisy.

    An event is lone if none of its eight neighbours had an event at most `time_us` before. While the rate of lone
    events per pixel is above `from_hz`, they are dropped (as by BackgroundActivity). Above `strict_hz`, where noise
    events have noisy neighbours, those with fewer than NEEDED neighbours active within WIDE * `time_us` are dropped.

    The rate is measured over intervals of GATE_US of the events' clock and averaged exponentially. Clean N-MNIST
    recordings have a median of 2.5 lone events per pixel and second, and at most 3.8 during 98 % of the time: with
    FROM_HZ they pass unchanged after the first interval.
    """

    def __init__(self, size: SensorSize, time_us: int, from_hz: float = FROM_HZ, strict_hz: float = STRICT_HZ) -> None:
        super().__init__(size, WIDE * _positive("correlation time", time_us))
        self._rule = time_us, self.time_us, NEEDED, from_hz, strict_hz
        self._interval = GATE_US, size.width * size.height * GATE_US * 1e-6, GATE_FRESH
        self.rate_hz: float | None = None
        self.lone = 0  # lone events in the newest interval

    def __call__(self, events: Events) -> Events:
        if not len(events):
            return events
        newest = int(events["t"][0]) if self.newest == NEVER_US else self.newest
        self._go_on(events)
        rate_hz, keep = -1.0 if self.rate_hz is None else self.rate_hz, np.zeros(len(events), bool)
        rate_hz, self.lone = kernels.compiled("filters").gate(
            events, self.last, newest, self._rule, self._interval, rate_hz, self.lone, keep
        )
        self.rate_hz = None if rate_hz < 0 else rate_hz
        return chosen(events, keep)


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
            return marked("unmasked", events, self.mask)
        end = int(np.searchsorted(events["t"], self.first + self.learn_us))
        learned, rest = events[:end], events[end:]
        np.add.at(self.counts, (learned["y"], learned["x"]), np.uint32(1))  # quick if of one type
        if not len(rest):
            return events
        self.mask, self.learning = hot_pixels(self.counts, self.deviations), False
        self.counts[:] = 0
        return joined([learned, marked("unmasked", rest, self.mask)])


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


def chosen(events: Events, keep: NDArray[np.bool_]) -> Events:
    """Return `events[keep]`, many times faster than numpy indexes packed records."""
    out = np.empty(len(events), EVENTS)
    return out[: kernels.compiled("filters").chosen(events, keep, out)]


def marked(loop: str, events: Events, *given: object) -> Events:
    """Return the events that a loop of `kernels.filters` marks, `given` its other arguments."""
    keep = np.zeros(len(events), bool)
    getattr(kernels.compiled("filters"), loop)(events, *given, keep)
    return chosen(events, keep)


def _positive(what: str, value: int) -> int:
    if value < 1:
        raise EventsError(f"the {what} must be at least one microsecond, not {value}")
    return value
