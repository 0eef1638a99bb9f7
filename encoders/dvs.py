"""Encode events as x_seq, a whole window or a stream; how packets cut the stream does not change the bins."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.binning import CEILINGS, bin_events, check_bins, grid_for
from spikesight.encoders.events import BACK_US, EVENTS, Events, SensorSize, as_events, count_backward, on_sensor
from spikesight.encoders.native.build import address, call, function

GAP_US = 1_000_000
"""After so long without events no more empty bins are made."""


@dataclass(frozen=True)
class DvsEncoder:
    """Encodes events as uint8 [T, 1, 2, H, W]: T bins of `bin_us` from the first event (or a given start)."""

    sensor: SensorSize
    size: tuple[int, int]  # (height, width) of the network's input
    bin_us: int = 10_000
    steps: int = 10
    mode: str = "binary"

    def __post_init__(self) -> None:
        check_bins(self.bin_us, self.steps, self.mode)
        grid_for(self.sensor, self.size)

    def __call__(self, events: Events, start_us: int | None = None) -> NDArray[np.uint8]:
        """Encode events sorted by time as [T, 1, 2, H, W]; zeros if there are none. Raises EventsError."""
        events = as_events(events)
        if start_us is None:
            start_us = int(events["t"][0]) if len(events) else 0
        x = bin_events(events, start_us, self.bin_us, self.steps, self.sensor, self.size, mode=self.mode)
        return x[:, np.newaxis]


@dataclass(frozen=True)
class Bin:
    """One closed bin: x uint8 [2, H, W] of the half-open interval [start_us, end_us).

    `n_events` counts the interval's events in the network's field of view. `reset`: time jumped before this bin, so
    membranes start from zero.
    """

    x: NDArray[np.uint8]
    start_us: int
    end_us: int
    n_events: int
    reset: bool


PUSH, REACH, TICK, STOP = range(4)  # as in encoders.cpp
NONE = (None, 0, None, 0)


class StreamBinner:
    """Cuts a stream of packets into bins. It has no clock, thread or network state, only the open bin.

    Bins follow each other from the first event. They depend on the events alone, not on how packets cut the stream, and
    not on tick(), which only closes bins earlier than the next event would (native/kernels/front.h):

    - An event at most BACK_US before the newest time counts at the newest time.
    - An earlier event means that the clock restarted: the open bin closes, and bins start anew there with `reset` set.
    - After GAP_US without events no more empty bins are made; bins start anew at the next event with `reset` set.

    Events outside the sensor are dropped. If `shown` > 1, the x of a bin is 1 where any event fell in the last `shown`
    bins, the bin included. With `follows`, x is a crop of a bin of the size `seen` (`preprocess.crop.TrackingBinner`).
    """

    def __init__(
        self,
        encoder: DvsEncoder,
        *,
        shown: int = 1,
        seen: tuple[int, int] | None = None,
        follows: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.encoder, (height, width) = encoder, encoder.size
        self._grid = grid_for(encoder.sensor, seen or encoder.size)
        sides = self._grid.width, width, height
        given = self._grid.table, *sides, encoder.bin_us, shown, CEILINGS[encoder.mode], *follows
        self._stream = np.zeros(call("stream_begin", None, *given), np.uint8)
        self._place = self._stream.ctypes.data  # NumPy takes a microsecond to tell it
        call("stream_begin", self._place, *given)

    def push(self, packet: Events, kept: Events | None = None) -> list[Bin]:
        """Add events in order of arrival; return the bins that they close.

        `kept`: those that count of a packet in order, on a sensor that they may be mapped to; all advance time.
        """
        sensor = self.encoder.sensor
        if kept is None:
            packet, _, n_backward = on_sensor(as_events(packet), sensor)
            counted = packet = np.ascontiguousarray(packet, EVENTS)
        else:
            packet, n_backward = np.ascontiguousarray(packet, EVENTS), count_backward(packet)
            counted = np.ascontiguousarray(on_sensor(kept, sensor)[0], EVENTS)
        return self._run(PUSH, n_backward == 0, address(packet), len(packet), address(counted), len(counted))

    def advance(self, t_us: int) -> list[Bin]:
        """Advance time to `t_us` without an event, as an event would; return the bins that this closes."""
        return self._run(REACH, t_us)

    def tick(self, now_us: int) -> list[Bin]:
        """Close and return bins that end by `now_us` (events' clock), at most GAP_US after the newest event."""
        return self._run(TICK, now_us)

    def flush(self) -> list[Bin]:
        """End the stream; return the open bin if it holds events. A later event starts anew with `reset` set."""
        return self._run(STOP)

    def closes(self, t_us: int) -> int:
        """Return how many bins an event at `t_us` would close."""
        return call("stream_run", self._place, REACH, t_us, *NONE, None, None)

    def _run(self, how: int, t_us: int = 0, *events: Any) -> list[Bin]:
        """Return the bins that close; `events`: the packet and what counts of it, with their lengths."""
        run, given = function("stream_run"), (self._place, how, t_us, *(events or NONE))
        most = run(*given, None, None)
        x, told = np.empty((most, 2, *self.encoder.size), np.uint8), np.empty((most, 4), np.int64)
        rows = told[: run(*given, address(x), address(told))].tolist()
        return [Bin(one, begin, end, n_events, reset == 1) for one, (begin, end, n_events, reset) in zip(x, rows)]


def shown_in(x: NDArray[np.uint8], shown: int) -> NDArray[np.uint8]:
    """Return binary steps [T, ...] such that each shows the events of the last `shown` steps.

    >>> shown_in(np.array([1, 0, 0, 0], np.uint8), 2)
    array([1, 1, 0, 0], dtype=uint8)
    """
    if shown == 1:
        return x
    sums = np.cumsum(x, 0, dtype=np.int32)
    sums[shown:] -= sums[:-shown].copy()
    return (sums > 0).astype(np.uint8)


def progress_us(events: NDArray, bin_us: int) -> NDArray[np.int64]:
    """Return how far a stream's bins advance by each event, int64 [n]; progress / bin_us bounds the bins closed.

    A step forward counts at most the gap after which no empty bins are made; a clock restart closes one bin.
    """
    steps = np.diff(events["t"], prepend=events["t"][:1])
    return np.cumsum(np.where(steps < -BACK_US, bin_us, np.clip(steps, 0, GAP_US + bin_us)))


def beginning(packets: Iterator[NDArray], span_us: int) -> list[NDArray]:
    """Take packets until they span more than `span_us`; return them."""
    head: list[NDArray] = []
    for packet in packets:
        if len(packet):
            head.append(packet)
            if packet["t"][-1] - head[0]["t"][0] > span_us:
                break
    return head
