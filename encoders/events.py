"""The project's event format: one dtype, one clock (microseconds), and one sanitiser at every input."""

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesight.encoders.native.build import address, function

EVENTS = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "?")])
"""One event: t in microseconds, x column, y row (0 is the top row), p polarity (True = ON). 13 bytes, packed."""

Events = NDArray[np.void]
"""A one-dimensional array of dtype EVENTS."""

MAX_SIDE = 2048
"""No sensor is larger; a larger size comes from a damaged file and is never allocated."""

BACK_US = 100_000
"""In a live stream an event may be late by this much. A larger step back is a clock restart."""

SORT_WITHIN_US = 10_000
"""In a file, steps back in time up to this are sorted. A larger step back is a clock restart."""

FAR_US = 1 << 60
"""Times further from zero (36,000 years) come from damaged data and are clipped to this, so sums cannot overflow."""

NAMES = {
    "t": "t|ts|times?|timestamps?",
    "x": "x|xs|x_coordinates?|u|col|column",
    "y": "y|ys|y_coordinates?|v|row",
    "p": "p|ps|pol|polarity|polarities|on|sign",
}
"""Names of the event fields in this and other libraries, as regular expressions."""


UNSORTED = "the events are not sorted by time; sort them, or pass them through sanitise()"


class EventsError(ValueError):
    """Events, or a sensor size, that break the rules above."""


@dataclass(frozen=True)
class SensorSize:
    """Width (columns) and height (rows) of a sensor, 1 to 2048 each. Raises EventsError outside that range."""

    width: int
    height: int

    def __post_init__(self) -> None:
        try:  # convert NumPy integers, whose products could overflow
            for name in ("width", "height"):
                object.__setattr__(self, name, operator.index(getattr(self, name)))
        except TypeError:
            raise EventsError(f"a sensor has whole pixels, not {self.width!r} by {self.height!r}") from None
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE):
            raise EventsError(f"a sensor of {self.width}x{self.height} is not within 1x1 to {MAX_SIDE}x{MAX_SIDE}")

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @classmethod
    def parse(cls, text: str) -> "SensorSize":
        """Parse `640x480`. Raises EventsError."""
        width, times, height = text.lower().partition("x")
        if not (times and width.strip().isdecimal() and height.strip().isdecimal()):
            raise EventsError(f"'{text}' is not a sensor size; write it as WIDTHxHEIGHT, for example 640x480")
        return cls(int(width), int(height))

    @classmethod
    def of(cls, size: "Size") -> "SensorSize":
        """Convert a SensorSize, (width, height), or text such as "640x480". Raises EventsError."""
        if isinstance(size, SensorSize):
            return size
        if isinstance(size, str):
            return cls.parse(size)
        try:
            width, height = size
        except (TypeError, ValueError):
            raise EventsError(f"a sensor's size is (width, height), such as (640, 480), not {size!r}") from None
        return cls(width, height)


Size = SensorSize | tuple[int, int] | str
"""A sensor's size as callers may pass it: `SensorSize(640, 480)`, `(640, 480)` or `"640x480"`."""


NMNIST_SENSOR = SensorSize(34, 34)


@dataclass(frozen=True)
class Counters:
    """Counts of a sanitiser: events off the sensor (dropped), steps back in time, and clock restarts among them."""

    n_outside: int = 0
    n_backward: int = 0
    n_restarts: int = 0

    def __add__(self, other: "Counters") -> "Counters":
        return Counters(
            self.n_outside + other.n_outside, self.n_backward + other.n_backward, self.n_restarts + other.n_restarts
        )


def empty_events() -> Events:
    """Return an empty array of events."""
    return np.empty(0, EVENTS)


def make_events(t: ArrayLike, x: ArrayLike, y: ArrayLike, p: ArrayLike) -> Events:
    """Join four sequences of equal length to events; a polarity above 0 is ON (bool, 0/1 and -1/+1 all work)."""
    times = np.asarray(t)
    events = np.empty(len(times), EVENTS)
    events["t"], events["x"], events["y"] = times, x, y
    events["p"] = np.asarray(p) > 0
    return events


def as_events(array: NDArray[Any], size: SensorSize | None = None) -> Events:
    """Convert a flat structured array to EVENTS; fields are found by name (NAMES), in any order and numeric type.

    This accepts the arrays of Tonic, Metavision, dv-processing and faery as they are. Every value must be a whole
    number, possibly as a float: times in microseconds, columns and rows from 0 to 2047, polarities bool, 0 and 1, or -1
    and 1. An array of dtype EVENTS is returned unchanged. With `size`, events must also be sorted by time and on that
    sensor. Raises EventsError.
    """
    if not isinstance(array, np.ndarray) or array.ndim != 1 or not array.dtype.names:
        what = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise EventsError(f"events are a flat structured array with fields t, x, y and p, not {what}")
    if array.dtype is EVENTS:
        events = array
    elif array.dtype == EVENTS:  # a record array, which compiled loops do not accept
        events = np.asarray(array).view(EVENTS)
    else:
        events = make_events(*(_numbers(array, key) for key in "txyp"))
    return events if size is None else check_events(events, size)


WITHIN = {"t": (-FAR_US, FAR_US), "x": (0, MAX_SIDE - 1), "y": (0, MAX_SIDE - 1), "p": (-1, 1)}


def _numbers(array: NDArray[Any], key: str) -> NDArray[Any]:
    """Return the field that is t, x, y or p by its name. Raises EventsError unless whole numbers within WITHIN."""
    names = [name for name in array.dtype.names or () if re.fullmatch(NAMES[key], name.lower())]
    if len(names) != 1:
        found = ", ".join(array.dtype.names or ())
        raise EventsError(f"events need one field {key}; their fields are {found}")
    column, name = array[names[0]], names[0]
    if column.ndim != 1 or column.dtype.kind not in "biuf":
        raise EventsError(f"the field {name} of events holds {column.dtype}, not a number each")
    if column.dtype.kind == "f" and not bool(np.isfinite(column).all()):
        raise EventsError(f"the field {name} of events holds numbers that are not finite")
    if column.dtype.kind == "f" and bool((column % 1 != 0).any()):
        hint = f" microseconds: of seconds, np.rint(1e6 * events['{name}'])" if key == "t" else " numbers"
        raise EventsError(f"the field {name} of events holds fractions; it takes whole{hint}")
    low, high = WITHIN[key]
    if len(column) and not (low <= column.min() and column.max() <= high):
        raise EventsError(
            f"the field {name} of events goes from {column.min()} to {column.max()}; it may from {low} to {high}"
        )
    return column


def joined(parts: Sequence[Events]) -> Events:
    """Concatenate arrays of events; a single one is returned as it is.

    It concatenates bytes, since numpy copies packed records field by field, many times slower.
    """
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([np.ascontiguousarray(part, EVENTS).view(np.uint8) for part in parts]).view(EVENTS)


def check_events(events: Events, size: SensorSize | None = None) -> Events:
    """Return the events. Raises EventsError for another dtype, times that fall, or an event off the sensor."""
    if events.dtype != EVENTS or events.ndim != 1:
        raise EventsError(f"expected a flat array of {EVENTS}, got {events.dtype} with {events.ndim} dimensions")
    width, height = (0xFFFF, 0xFFFF) if size is None else (size.width, size.height)
    n_outside, n_backward = _faults(events, width, height)
    if n_backward:
        raise EventsError(UNSORTED)
    if len(events) and not -4 * FAR_US <= events["t"][0] <= events["t"][-1] <= 4 * FAR_US:
        raise EventsError("some times lie further from zero than 2^62 microseconds, where sums of them overflow")
    if size is not None and n_outside:
        raise EventsError(f"some events lie outside the {size} sensor; pass them through sanitise()")
    return events


class Sanitiser:
    """Drops events off the sensor and puts times in order, packet after packet; `counters` sum up what was found.

    Within a packet, a step back of at most `sort_within_us` is sorted (stably); events that are late for a whole packet
    count at the newest time. A larger step is a clock restart: later times are shifted so that they continue from the
    time before the step, or, with `keep_restarts` (live sources, whose windows must see the restart), stay unchanged.
    The packets passed in are never changed.
    """

    def __init__(self, size: SensorSize, *, sort_within_us: int = SORT_WITHIN_US, keep_restarts: bool = False) -> None:
        self.size, self.sort_within_us, self.keep_restarts = size, sort_within_us, keep_restarts
        self.counters = Counters()
        self._last: int | None = None  # original time of the last event
        self._high = 0  # highest original time since the last restart
        self._newest = 0  # newest time returned
        self._shift = 0  # how much restarts have shifted times, microseconds

    def push(self, events: Events) -> Events:
        """Return the packet's events on the sensor, in order and, restarts apart, not before earlier packets."""
        events, n_outside, n_backward = on_sensor(events, self.size)
        if n_outside:
            self.counters += Counters(n_outside)
        if not len(events):
            return events
        first, last = int(events["t"][0]), int(events["t"][-1])
        behind = self._last is not None and first < self._last
        sane = first >= -FAR_US and last <= FAR_US
        if sane and not (n_backward or behind or self._shift) and (self._last is None or first >= self._high):
            self._last = self._high = self._newest = last
            return events
        return self._put_in_order(events, n_backward + behind)

    def _put_in_order(self, events: Events, n_backward: int) -> Events:
        t = np.clip(events["t"], -FAR_US, FAR_US)
        restarts = _restarts(t, None if self._last is None else self._high, self.sort_within_us)
        starts, anew = restarts if restarts[:1] == [0] else [0, *restarts], frozenset(restarts)  # noise has many
        out = events.copy()
        out["t"] = t
        for begin, end in zip(starts, [*starts[1:], len(t)]):
            segment = out[begin:end][np.argsort(t[begin:end], kind="stable")]
            lowest, highest = int(segment["t"][0]), int(segment["t"][-1])
            if begin in anew and not self.keep_restarts:
                self._shift = self._newest - lowest
            segment["t"] = np.minimum(segment["t"] + self._shift, 4 * FAR_US)
            if begin not in anew and self._last is not None:
                segment["t"] = np.maximum(segment["t"], self._newest)
                highest = max(highest, self._high)
            self._high, self._newest, self._last = highest, int(segment["t"][-1]), int(t[end - 1])
            out[begin:end] = segment
        self.counters += Counters(0, n_backward, len(restarts))
        return out


class Order:
    """Puts a live stream's events in order; how packets cut the stream does not matter.

    An event at most BACK_US late counts at the newest time before it; a later one is a clock restart and stays.
    """

    def __init__(self) -> None:
        self.newest: int | None = None  # time of the newest event returned

    def __call__(self, events: Events) -> list[tuple[Events, bool]]:
        """Split a packet into parts in which time never falls; True marks parts that begin with a clock restart."""
        if not len(events):
            return []
        if not count_backward(events) and (self.newest is None or events["t"][0] >= self.newest):
            self.newest = int(events["t"][-1])
            return [(events, False)]
        t = np.ascontiguousarray(events["t"])
        restarts = _restarts(t, self.newest, BACK_US)
        starts = restarts if restarts[:1] == [0] else [0, *restarts]
        return [(self._piece(events[a:b], a in restarts), a in restarts) for a, b in zip(starts, [*starts[1:], len(t)])]

    def _piece(self, events: Events, anew: bool) -> Events:
        floor = events["t"][0] if anew or self.newest is None else self.newest
        ordered = events.copy()
        ordered["t"] = np.maximum.accumulate(np.maximum(events["t"], floor))
        self.newest = int(ordered["t"][-1])
        return ordered


def sanitise(events: Events, size: SensorSize) -> tuple[Events, Counters]:
    """Pass one packet through a new Sanitiser; return the events and the counters."""
    sanitiser = Sanitiser(size)
    return sanitiser.push(events), sanitiser.counters


def on_sensor(events: Events, size: SensorSize) -> tuple[Events, int, int]:
    """Return the events on the sensor, the number of others, and how many of the former step back in time.

    The array itself is returned if all events are on the sensor.
    """
    n_outside, n_backward = _faults(events, size.width, size.height)
    if n_outside:
        events = chosen(events, _inside(events, size))
        n_backward = count_backward(events)
    return events, n_outside, n_backward


def count_backward(events: Events) -> int:
    """Return how many times are lower than the time before."""
    return _faults(events, 0xFFFF, 0xFFFF)[1]


def _faults(events: Events, width: int, height: int) -> tuple[int, int]:
    """Return how many events lie outside width x height, and how many times are lower than the time before."""
    n, events = len(events), np.ascontiguousarray(events, EVENTS)
    return divmod(function("events_faults")(address(events), n, width, height), n + 1)


def chosen(events: Events, keep: NDArray[np.bool_]) -> Events:
    """Return `events[keep]`, many times faster than numpy indexes packed records: as plain bytes."""
    return np.ascontiguousarray(events, EVENTS).view("V13")[keep].view(EVENTS)


def _inside(events: Events, size: SensorSize) -> NDArray[np.bool_]:
    x, y = events["x"], events["y"]
    return (x >= 0) & (x < size.width) & (y >= 0) & (y < size.height)


def _restarts(t: NDArray[np.int64], high: int | None, sort_within_us: int) -> list[int]:
    """Return where time falls over the limit below the highest since the last such index; `high` precedes t."""
    found: list[int] = []
    steps = np.flatnonzero(t[1:] < t[:-1]) + 1
    previous = 0
    for index in steps.tolist() if high is None else [0, *steps.tolist()]:
        if index:
            before = int(t[previous:index].max())
            high = before if high is None else max(high, before)
        if high is not None and high - int(t[index]) > sort_within_us:
            found.append(index)
            high = int(t[index])
        previous = index
    return found


def unwrap(fresh: NDArray[np.int64], bits: int, high: int) -> NDArray[np.int64]:
    """Return times of a clock with `bits` bits, wraps added; `high` is the last unwrapped time before, -1 if none.

    A step back of more than half the clock's range is a wrap.
    """
    if not len(fresh):
        return fresh
    period = 1 << bits
    begin = int(fresh[0]) if high < 0 else high
    steps = np.diff(fresh, prepend=begin % period)
    return fresh + period * (begin // period + np.cumsum(steps < -(period >> 1)))
