"""Events as the project sees them: one dtype, one clock (microseconds), one sanitiser at every entrance."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

EVENTS = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "?")])
"""One event: t in microseconds, x column, y row (0 is the top row), p polarity (True = ON). 13 bytes, packed."""

Events = NDArray[np.void]
"""A one-dimensional array of dtype EVENTS."""

MAX_SIDE = 2048
"""No sensor is larger; a size beyond this comes from a damaged file and is never allocated."""

SORT_WITHIN_US = 10_000
"""A file's time may step back this far and is sorted; a larger step is a clock restart."""


class EventsError(ValueError):
    """Events, or a sensor size, that break the rules above."""


@dataclass(frozen=True)
class SensorSize:
    """Width (columns) and height (rows) of a sensor, 1 to 2048 each. Raises EventsError outside that."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE):
            raise EventsError(f"a sensor of {self.width}x{self.height} is not within 1x1 to {MAX_SIDE}x{MAX_SIDE}")

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @classmethod
    def parse(cls, text: str) -> "SensorSize":
        """`640x480` -> SensorSize(640, 480)."""
        width, times, height = text.lower().partition("x")
        if not (times and width.strip().isdigit() and height.strip().isdigit()):
            raise EventsError(f"'{text}' is not a sensor size; write it as WIDTHxHEIGHT, for example 640x480")
        return cls(int(width), int(height))


@dataclass(frozen=True)
class Counters:
    """What the sanitiser met: events off the sensor (dropped), steps back in time, and clock restarts among them."""

    n_outside: int = field(default=0)
    n_backward: int = field(default=0)
    n_restarts: int = field(default=0)

    def __add__(self, other: "Counters") -> "Counters":
        return Counters(
            self.n_outside + other.n_outside, self.n_backward + other.n_backward, self.n_restarts + other.n_restarts
        )


def empty_events(n: int = 0) -> Events:
    """`n` zeroed events."""
    return np.zeros(n, EVENTS)


def make_events(t: ArrayLike, x: ArrayLike, y: ArrayLike, p: ArrayLike) -> Events:
    """Four sequences of equal length as one array; a polarity above 0 is ON (bool, 0/1 and -1/+1 all work)."""
    times = np.asarray(t)
    events = np.empty(len(times), EVENTS)
    events["t"], events["x"], events["y"] = times, x, y
    events["p"] = np.asarray(p) > 0
    return events


def check_events(events: Events, size: SensorSize | None = None) -> Events:
    """The same array, or EventsError: dtype EVENTS, one dimension, t never falling, and all on the sensor if given."""
    if events.dtype != EVENTS or events.ndim != 1:
        raise EventsError(f"expected a flat array of {EVENTS}, got {events.dtype} with {events.ndim} dimensions")
    if len(events) and bool((events["t"][1:] < events["t"][:-1]).any()):
        raise EventsError("the events are not sorted by time; sort them, or pass them through sanitise()")
    if size is not None and not bool(_inside(events, size).all()):
        raise EventsError(f"some events lie outside the {size} sensor; pass them through sanitise()")
    return events


def sanitise(
    events: Events, size: SensorSize, *, sort_within_us: int = SORT_WITHIN_US, keep_restarts: bool = False
) -> tuple[Events, Counters]:
    """Drop events off the sensor and put time in order; count both. The input is never changed.

    A step back of at most `sort_within_us` is sorted (stably). A larger one is a clock restart: what follows is moved
    so that it goes on from the time before the step, or, with `keep_restarts` (live sources, whose windows must see the
    restart), stays as it is, in order on either side of the step.
    """
    inside = _inside(events, size)
    n_outside = len(events) - int(np.count_nonzero(inside))
    if n_outside:
        events = events[inside]
    t = np.ascontiguousarray(events["t"])
    steps = np.flatnonzero(t[1:] < t[:-1]) + 1
    if not len(steps):
        return events, Counters(n_outside)
    segment_starts = _restarts(t, steps, sort_within_us)
    out = events.copy()
    shift = 0
    for begin, end in zip(segment_starts, [*segment_starts[1:], len(t)]):
        segment = events[begin:end][np.argsort(t[begin:end], kind="stable")]
        if begin and not keep_restarts:
            shift = max(0, int(out["t"][begin - 1]) - int(segment["t"][0]))
            segment["t"] += shift
        out[begin:end] = segment
    return out, Counters(n_outside, len(steps), len(segment_starts) - 1)


def _inside(events: Events, size: SensorSize) -> NDArray[np.bool_]:
    x, y = events["x"].view(), events["y"].view()
    return (x >= 0) & (x < size.width) & (y >= 0) & (y < size.height)


def _restarts(t: NDArray[np.int64], steps: NDArray[np.intp], sort_within_us: int) -> list[int]:
    """Where segments begin: index 0, and each step that falls more than the limit below the segment's highest time."""
    starts = [0]
    high = int(t[0])
    previous = 0
    for index in steps.tolist():
        high = max(high, int(t[previous:index].max()))
        if high - int(t[index]) > sort_within_us:
            starts.append(index)
            high = int(t[index])
        previous = index
    return starts
