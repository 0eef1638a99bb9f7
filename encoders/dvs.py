"""Encode events as x_seq, a whole window or a stream; how packets cut the stream does not change the bins."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.binning import add_counts, bin_events, check_bins, grid_for
from spikesight.encoders.events import BACK_US, Events, SensorSize, as_events, count_backward, on_sensor

BINS_AT_ONCE = 256  # bounds the memory that one long packet takes


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


class StreamBinner:
    """Cuts a stream of packets into bins. It has no clock, thread or network state, only the open bin.

    Bins follow each other from the first event. They depend on the events alone, not on how packets cut the stream, and
    not on tick(), which only closes bins earlier than the next event would:

    - An event at most `back_us` before the newest time counts at the newest time.
    - An earlier event means that the clock restarted: the open bin closes, and bins start anew there with `reset` set.
    - After `gap_us` without events no more empty bins are made; bins start anew at the next event with `reset` set.

    Events outside the sensor are dropped. If `shown` > 1, the x of a bin is 1 where any event fell in the last `shown`
    bins, the bin included.
    """

    def __init__(self, encoder: DvsEncoder, *, gap_us: int = 1_000_000, back_us: int = BACK_US, shown: int = 1) -> None:
        self.encoder, self.gap_us, self.back_us, self.shown = encoder, gap_us, back_us, shown
        self._grid = grid_for(encoder.sensor, encoder.size)
        self.origin: int | None = None  # start of the open bin; None before the first event and while idle
        self.last = 0  # time of the newest event
        self.reset = False  # the next bin to close is the first after a jump in time
        self.open = self._blank(1)[0]
        self.n_open = 0  # events in the open bin
        self.since = np.full(self.open.shape if shown > 1 else 0, shown, np.uint16)  # bins since a cell's last event

    def push(self, packet: Events, through: Callable[[Events], Events] | None = None) -> list[Bin]:
        """Add events in order of arrival; return the bins that they close.

        `through` filters the events and maps them to another sensor; dropped events still advance and order time.
        """
        bins: list[Bin] = []
        packet = as_events(packet)
        if through is None:
            packet, _, n_backward = on_sensor(packet, self.encoder.sensor)
        else:
            n_backward = count_backward(packet)
        if not len(packet):
            return bins
        first, last = int(packet["t"][0]), int(packet["t"][-1])
        in_order = last - first <= self.gap_us and not n_backward  # the common case
        cuts = [0] if in_order else self._cuts(np.ascontiguousarray(packet["t"]))
        for begin, end in zip(cuts, [*cuts[1:], len(packet)]):
            segment = packet[begin:end]
            self._begin(int(segment["t"][0]), bins)
            if not in_order or first < self._floor():
                segment = self._in_order(segment)
            self._add(segment if through is None else through(segment), int(segment["t"][-1]), bins)
        return bins

    def _in_order(self, segment: Events) -> Events:
        """Return the events with late ones moved to the newest time before them."""
        times = np.ascontiguousarray(segment["t"])
        ordered = np.maximum.accumulate(np.maximum(times, self._floor()))
        if (ordered != times).any():
            segment = segment.copy()
            segment["t"] = ordered
        return segment

    def advance(self, t_us: int) -> list[Bin]:
        """Advance time to `t_us` without an event, as an event would; return the bins that this closes."""
        bins: list[Bin] = []
        self._begin(t_us, bins)
        self.last = max(self.last, t_us)
        self._close_until(t_us, bins)
        return bins

    def tick(self, now_us: int) -> list[Bin]:
        """Close and return bins that end by `now_us` (events' clock), at most `gap_us` after the newest event."""
        bins: list[Bin] = []
        if self.origin is None:
            return bins
        limit = self.last + self.gap_us
        self._close_until(min(now_us, limit), bins)
        if now_us > limit:
            self._stop(bins)
        return bins

    def flush(self) -> list[Bin]:
        """End the stream; return the open bin if it holds events. A later event starts anew with `reset` set."""
        bins: list[Bin] = []
        if self.origin is not None:
            self._stop(bins)
        return bins

    def closes(self, t_us: int) -> int:
        """Return how many bins an event at `t_us` would close."""
        if self.origin is None:
            return 0
        end_us = min(t_us, self.last + self.gap_us, self._horizon())
        return max(0, (end_us - self.origin) // self.encoder.bin_us)

    def _floor(self) -> int:
        """Return the newest time so far: of an event, or of a bin that tick() closed."""
        return self.last if self.origin is None else max(self.last, self.origin)

    def _cuts(self, times: NDArray[np.int64]) -> list[int]:
        """Return index 0 and those where time jumps in a packet; between them, steps back are small."""
        first, high = int(times[0]), self._floor()
        if self.origin is None or self._jumps(first, self.last, high):
            high = first
        highest = np.maximum.accumulate(np.maximum(times, high))
        back, ahead = times[1:] < highest[:-1] - self.back_us, times[1:] - highest[:-1] > self.gap_us
        if not (back | ahead).any():
            return [0]
        cuts = [0]
        for index, t in enumerate(times.tolist()):  # rare, and each jump changes how later events are judged
            if index and self._jumps(t, high, high):
                cuts.append(index)
                high = t
            high = max(high, t)
        return cuts

    def _jumps(self, t: int, newest: int, floor: int) -> bool:
        return t < floor - self.back_us or t - newest > self.gap_us

    def _begin(self, t: int, bins: list[Bin]) -> None:
        """Prepare for an event at `t`: continue, or start anew there after a gap or a clock restart."""
        if self.origin is not None and (self._jumps(t, self.last, self._floor()) or t > self._horizon()):
            if t > self.last:
                self._close_until(self.last + self.gap_us, bins)
            self._stop(bins)
        if self.origin is None:
            self.origin = self.last = t

    def _stop(self, bins: list[Bin]) -> None:
        """Close the open bin and wait for an event to start anew."""
        if self.n_open:
            self._close(bins)
        self.origin, self.reset = None, True

    def _add(self, events: Events, last: int, bins: list[Bin]) -> None:
        """Bin events in order of time, none before the open bin; close all bins before the one that holds `last`."""
        assert self.origin is not None
        self.last = max(self.last, last)
        encoder = self.encoder
        while True:
            n = min((last - self.origin) // encoder.bin_us + 1, BINS_AT_ONCE)
            x = self.open[np.newaxis] if n == 1 else self._blank(n)
            if n > 1:
                x[0] = self.open
            counts = add_counts(events, self.origin, encoder.bin_us, self._grid, encoder.mode, x)
            counts[0] += self.n_open
            for step in range(n):
                self.open, self.n_open = x[step], int(counts[step])
                if self.origin + encoder.bin_us > last:
                    return
                self._close(bins)

    def _horizon(self) -> int:
        """Return the latest time of an event that continues from the open bin, which holds or follows the newest event.

        So whatever the state, one event closes no more bins than fit in a gap.
        """
        assert self.origin is not None
        return self.origin + self.encoder.bin_us + self.gap_us

    def _close_until(self, end_us: int, bins: list[Bin]) -> None:
        if self.origin is not None:
            end_us = min(end_us, self._horizon())
        while self.origin is not None and self.origin + self.encoder.bin_us <= end_us:
            self._close(bins)

    def _close(self, bins: list[Bin]) -> None:
        assert self.origin is not None
        end = self.origin + self.encoder.bin_us
        bins.append(Bin(self._seen(), self.origin, end, self.n_open, self.reset))
        self.origin, self.reset = end, False
        self.open, self.n_open = self._blank(1)[0], 0

    def _seen(self) -> NDArray[np.uint8]:
        """Return x of the closing bin, [2, H, W]: with `shown` > 1, cells with an event in that many last bins."""
        if self.shown == 1:
            return self.open
        if self.reset:
            self.since.fill(self.shown)
        self.since = np.minimum(self.since + 1, self.shown) * (self.open == 0)
        return (self.since < self.shown).view(np.uint8)

    def _blank(self, n: int) -> NDArray[np.uint8]:
        return np.zeros((n, 2, self._grid.height, self._grid.width), np.uint8)


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


def progress_us(events: NDArray, bin_us: int, gap_us: int, back_us: int) -> NDArray[np.int64]:
    """Return how far a stream's bins advance by each event, int64 [n]; progress / bin_us bounds the bins closed.

    A step forward counts at most the gap after which no empty bins are made; a clock restart closes one bin.
    """
    steps = np.diff(events["t"], prepend=events["t"][:1])
    return np.cumsum(np.where(steps < -back_us, bin_us, np.clip(steps, 0, gap_us + bin_us)))


def beginning(packets: Iterator[NDArray], span_us: int) -> list[NDArray]:
    """Take packets until they span more than `span_us`; return them."""
    head: list[NDArray] = []
    for packet in packets:
        if len(packet):
            head.append(packet)
            if packet["t"][-1] - head[0]["t"][0] > span_us:
                break
    return head
