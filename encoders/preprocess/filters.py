"""Filters of event streams: what they keep does not depend on how the stream is cut into packets.

A filter is an object with state; calling it with a packet (sorted, on the sensor) gives the events it keeps.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders import kernels
from spikesight.encoders.events import EVENTS, Events, EventsError, SensorSize, joined
from spikesight.encoders.preprocess.values import Values, array, integer, part, real, time_us, under

NEVER_US = -(2**62)
GATE_US = 5_000
GATE_FRESH = 0.15  # weight of the newest interval
FROM_HZ = 4.0  # lone events a pixel a second from which noise is filtered
DRAWING_HZ = 2.5  # the same before a small sensor that sees a drawing
STRICT_HZ = 7.0  # and from which it is filtered strictly
WIDE, NEEDED = 4, 3  # of the correlation time, and of the pixels around an event: chosen on validation recordings
MOST_COUNTED = 2**32 - 1  # events of a pixel
LONELY = 3  # times the events of the pixels around it that a hot pixel has


class Refractory:
    """A pixel is silent for `time_us` after an event it passed (either polarity)."""

    def __init__(self, size: SensorSize, time_us: int = 1_000) -> None:
        self.time_us = _positive("refractory time", time_us)
        self._last = np.full((size.height, size.width), NEVER_US, np.int64)

    def __call__(self, events: Events) -> Events:
        keep = np.zeros(len(events), bool)
        kernels.compiled("filters").refractory(events, self._last, self.time_us, keep)
        return chosen(events, keep)


class Recent:
    """When each pixel of a sensor fired last: int64 [H + 2, W + 2], with one pixel of border, in which nothing fires.

    Older than `longest_us` is as never. A clock that begins anew knows nothing of the times before.
    """

    def __init__(self, size: SensorSize, longest_us: int) -> None:
        self.longest_us = longest_us
        self.last = np.full((size.height + 2, size.width + 2), NEVER_US, np.int64)
        self.newest: int | None = None  # time of the newest event

    def go_on(self, events: Events) -> None:
        """Take the time of a packet of one event at least, before it is filtered."""
        if self.newest is not None and events["t"][0] < self.newest:
            self.last.fill(NEVER_US)
        self.newest = int(events["t"][-1])

    def state(self) -> Values:
        """How long ago each pixel fired, and the newest time."""
        ages = np.minimum((self.newest or 0) - self.last[1:-1, 1:-1], self.longest_us + 1)
        return {"newest": self.newest, "ages": ages.astype(self._ages)}

    def restore(self, values: Values) -> None:
        """Go on from a state. Raises ValueError."""
        newest = None if values["newest"] is None else time_us(values["newest"])
        shape, never = (self.last.shape[0] - 2, self.last.shape[1] - 2), self.longest_us + 1
        ages = array(values["ages"], shape, self._ages, never if newest is None else 0, never)
        self.newest = newest
        self.last[1:-1, 1:-1] = np.where(ages > self.longest_us, NEVER_US, (newest or 0) - ages.astype(np.int64))

    @property
    def _ages(self) -> np.dtype:
        return np.dtype(np.uint16 if self.longest_us < 0xFFFF else np.uint32)


class BackgroundActivity(Recent):
    """Keep an event only if one of the eight pixels around it had an event at most `time_us` ago (Delbruck 2008)."""

    def __init__(self, size: SensorSize, time_us: int = 10_000) -> None:
        super().__init__(size, _positive("correlation time", time_us))

    def __call__(self, events: Events) -> Events:
        if not len(events):
            return events
        self.go_on(events)
        keep = np.zeros(len(events), bool)
        kernels.compiled("filters").background(events, self.last, self.longest_us, keep)
        return chosen(events, keep)


class NoiseGate:
    """A filter where there is noise, and a stricter one where there is much: by the rate of lone events.

    An event is lone if none of the eight pixels around it had an event at most `time_us` ago. While lone ones come at
    more than `from_hz` a pixel a second, they are dropped (as by BackgroundActivity); from `strict_hz` on all are that
    have fewer than NEEDED such pixels with an event at most WIDE times `time_us` ago: noise then meets noise.

    The rate is that of whole intervals of GATE_US of the events' clock, each averaged with what was before. A clean
    recording of N-MNIST has 2.5 lone events a pixel a second in the median, 3.8 at most in 98 % of the time: from
    FROM_HZ on it is left as it is after its first interval.
    """

    def __init__(self, size: SensorSize, time_us: int, from_hz: float = FROM_HZ, strict_hz: float = STRICT_HZ) -> None:
        self.size, self.time_us = size, _positive("correlation time", time_us)
        self.from_hz, self.strict_hz = from_hz, strict_hz
        self._recent = Recent(size, WIDE * self.time_us)
        self._rate_hz: float | None = None
        self._lone = 0  # in the newest interval

    def __call__(self, events: Events) -> Events:
        if not len(events):
            return events
        newest = int(events["t"][0]) if self._recent.newest is None else self._recent.newest
        self._recent.go_on(events)
        rate_hz, keep = -1.0 if self._rate_hz is None else self._rate_hz, np.zeros(len(events), bool)
        rule = self.time_us, WIDE * self.time_us, NEEDED, self.from_hz, self.strict_hz
        interval = GATE_US, self.size.width * self.size.height * GATE_US * 1e-6, GATE_FRESH
        rate_hz, self._lone = kernels.compiled("filters").gate(
            events, self._recent.last, newest, rule, interval, rate_hz, self._lone, keep
        )
        self._rate_hz = None if rate_hz < 0 else rate_hz
        return chosen(events, keep)

    def state(self) -> Values:
        """The state that is carried from packet to packet."""
        return {"rate_hz": self._rate_hz, "lone": self._lone} | under("recent", self._recent.state())

    def restore(self, values: Values) -> None:
        """Go on from the state of a gate of the same sensor. Raises ValueError."""
        rate_hz = None if values["rate_hz"] is None else real(values["rate_hz"], 0, 1e15)
        lone = integer(values["lone"])
        self._recent.restore(part("recent", values))
        self._rate_hz, self._lone = rate_hz, lone


class HotPixels:
    """Learn for `learn_us` which pixels fire far more than all (above mean + `deviations` standard deviations) and than
    those around them (above LONELY times the third of 3x3: an edge that is never still is no hot pixel).

    While it learns everything passes; then the hot pixels are silent. `mask` [H, W] holds them.
    """

    def __init__(self, size: SensorSize, learn_us: int = 1_000_000, deviations: float = 6.0) -> None:
        self.learn_us, self.deviations = _positive("learning time", learn_us), deviations
        self.mask = np.zeros((size.height, size.width), bool)
        self._counts: NDArray[np.int64] | None = np.zeros(self.mask.shape, np.int64)
        self._first: int | None = None

    def __call__(self, events: Events) -> Events:
        if not len(events):
            return events
        self._first = int(events["t"][0]) if self._first is None else self._first
        if self._counts is None:
            return self._cool(events)
        end = int(np.searchsorted(events["t"], self._first + self.learn_us))
        learned, rest = events[:end], events[end:]
        np.add.at(self._counts, (learned["y"], learned["x"]), 1)
        if not len(rest):
            return events
        self.mask, self._counts = hot_pixels(self._counts, self.deviations), None
        return joined([learned, self._cool(rest)])

    def state(self) -> Values:
        """The state that is carried from packet to packet: the counts while it learns, the mask afterwards."""
        learning = self._counts is not None
        counts = None if self._counts is None else np.minimum(self._counts, MOST_COUNTED).astype(np.uint32)
        return {"first": self._first, "counts": counts, "mask": None if learning else self.mask.copy()}

    def restore(self, values: Values) -> None:
        """Go on from the state of one of the same sensor. Raises ValueError."""
        first = None if values["first"] is None else time_us(values["first"])
        if (values["counts"] is None) == (values["mask"] is None) or (first is None and values["counts"] is None):
            raise ValueError("hot pixels are learnt, or known")
        if values["counts"] is None:
            self.mask, self._counts = array(values["mask"], self.mask.shape, bool), None
        else:
            most = 0 if first is None else MOST_COUNTED
            self._counts = array(values["counts"], self.mask.shape, np.uint32, 0, most).astype(np.int64)
        self._first = first

    def _cool(self, events: Events) -> Events:
        """The events of pixels that are not hot."""
        keep = np.empty(len(events), bool)
        kernels.compiled("filters").unmasked(events, self.mask, keep)
        return chosen(events, keep)


def hot_pixels(counts: NDArray[np.int64], deviations: float = 6.0) -> NDArray[np.bool_]:
    """Which pixels of an image of event counts [H, W] are hot; see HotPixels."""
    limit = counts.mean() + deviations * counts.std()
    rows, columns = np.nonzero(counts > limit)
    down, right = np.divmod(np.arange(9), 3)
    squares = np.pad(counts, 1)[rows[:, None] + down, columns[:, None] + right]
    third = np.partition(squares, 6)[:, 6]
    mask = np.zeros(counts.shape, bool)
    mask[rows, columns] = counts[rows, columns] > LONELY * third
    return mask


def chosen(events: Events, keep: NDArray[np.bool_]) -> Events:
    """`events[keep]`; numpy picks packed records many times more slowly."""
    out = np.empty(len(events), EVENTS)
    return out[: kernels.compiled("filters").chosen(events, keep, out)]


def _positive(what: str, value: int) -> int:
    if value < 1:
        raise EventsError(f"the {what} must be at least one microsecond, not {value}")
    return value


Filter = Callable[[Events], Events]

FILTERS: dict[str, Callable[..., Filter]] = {
    "refractory": Refractory,
    "background": BackgroundActivity,
    "hot": HotPixels,
    "on": lambda *_: lambda events: events[events["p"]],
    "off": lambda *_: lambda events: events[~events["p"]],
}
"""Filters by name, made for a sensor, and a time in microseconds if one is given."""


def parse_filters(names: Iterable[str], size: SensorSize) -> Callable[[Iterable[Events]], Iterator[Events]]:
    """`["hot", "refractory=2000"]` -> a function that passes packets through all of them. Raises EventsError."""
    chain: list[Filter] = []
    for given in names:
        name, equals, text = given.partition("=")
        if name not in FILTERS or (equals and not text.isdecimal()):
            raise EventsError(
                f"'{given}' is no filter; choose from {', '.join(FILTERS)}, with =MICROSECONDS if you like"
            )
        chain.append(FILTERS[name](size, *([int(text)] if equals else [])))

    def passed(parts: Iterable[Events]) -> Iterator[Events]:
        for events in parts:
            kept = events
            for one in chain:
                kept = one(kept)
            yield kept

    return passed
