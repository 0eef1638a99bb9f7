"""A window of events -> x_seq, whole or as a stream: the same bins however the stream is cut into packets."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders import kernels
from spikesight.encoders.binning import CEILINGS, add_counts, bin_events, check_bins, grid_for
from spikesight.encoders.events import BACK_US, Events, SensorSize, as_events, backward, on_sensor

BINS_AT_ONCE = 256  # bounds the memory of one long packet
Times = NDArray[np.int64]  # microseconds
NO_TIMES: Times = np.empty(0, np.int64)
Through = Callable[[Events], tuple[Events, Times]]
"""Events of one sensor -> those that are kept of them, on another, and the times of those that are missed."""


@dataclass(frozen=True)
class DvsEncoder:
    """Events -> uint8 [T, 1, 2, H, W], T bins of `bin_us` from the first event (or a given start)."""

    sensor: SensorSize
    size: tuple[int, int]  # (height, width) the network sees
    bin_us: int = 10_000
    steps: int = 10
    mode: str = "binary"

    def __post_init__(self) -> None:
        check_bins(self.bin_us, self.steps, self.mode)
        grid_for(self.sensor, self.size)

    def __call__(self, events: Events, start_us: int | None = None) -> NDArray[np.uint8]:
        """Events sorted by time -> [T, 1, 2, H, W]; no events give zeros. Raises EventsError (see bin_events)."""
        events = as_events(events)
        if start_us is None:
            start_us = int(events["t"][0]) if len(events) else 0
        x = bin_events(events, start_us, self.bin_us, self.steps, self.sensor, self.size, mode=self.mode)
        return x[:, np.newaxis]


@dataclass(frozen=True)
class Bin:
    """One closed bin: x uint8 [2, H, W] of the half-open [start_us, end_us).

    `n_events` counts the events of the interval that fell on the network's field of view, `n_missed` those that a
    window left out where much goes on. `reset` says that time jumped before this bin: membranes start anew.
    """

    x: NDArray[np.uint8]
    start_us: int
    end_us: int
    n_events: int
    reset: bool
    n_missed: int = 0
    held: tuple[NDArray[Any], ...] | None = None  # what several windows held (encoders/roi/tracks.py)


@dataclass(frozen=True)
class OpenBin:
    """All that a StreamBinner carries from packet to packet (its counters apart). Times are in microseconds."""

    origin: int | None  # start of the open bin; None before the first event and while idle
    last: int  # time of the newest event
    reset: bool  # the next bin to close is the first after a jump
    n_open: int  # events in the open bin
    open: NDArray[np.uint8]  # [2, H, W]
    since: NDArray[np.uint16] | None = None  # [2, H, W]: bins since each cell's last event; None where bins stand alone
    n_missed: int = 0  # in the open bin
    cells: NDArray[np.float64] | None = None  # [16, 16], where a binner that follows a thing counts its events


class StreamBinner:
    """Packets in, closed bins out. It holds no clock, no thread and no network state, only the open bin.

    Bins follow each other from the first event. The bins a stream gives depend on its events alone, not on how they
    were cut into packets, and not on tick(), which only closes bins earlier than the next event would:

    - An event at most `back_us` behind the newest time counts at that newest time.
    - One further behind is a clock restart: the open bin closes, and bins begin anew at the event, `reset` set.
    - After `gap_us` without events no more empty bins are made; the next event begins anew, `reset` set.

    Events outside the sensor are dropped. With `shown` above 1 a closed bin's x is what came in so many last bins,
    itself among them: 1 where any event fell.
    """

    def __init__(self, encoder: DvsEncoder, *, gap_us: int = 1_000_000, back_us: int = BACK_US, shown: int = 1) -> None:
        self.encoder, self.gap_us, self.back_us, self.shown = encoder, gap_us, back_us, shown
        self._grid = grid_for(encoder.sensor, encoder.size)
        self._origin: int | None = None  # start of the open bin; None before the first event and while idle
        self._last = 0  # time of the newest event
        self._reset = False  # the next bin to close is the first after a jump
        self._open = self._blank(1)[0]
        self._n_open = self._n_missed = 0
        self._since = None if shown == 1 else np.full(self._open.shape, shown, np.uint16)

    def push(self, packet: Events, through: Through | None = None) -> list[Bin]:
        """Take events as they arrived; the bins they close.

        With `through`, which maps them to another sensor, time goes by all of them, kept or not, and orders them.
        """
        bins: list[Bin] = []
        packet = as_events(packet)
        if through is None:
            packet, _, n_backward = on_sensor(packet, self.encoder.sensor)
        else:
            n_backward = backward(packet)
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
            newest = int(segment["t"][-1])
            self._add(*((segment, NO_TIMES) if through is None else through(segment)), newest, bins)
        return bins

    def _in_order(self, segment: Events) -> Events:
        """The events with those that are late at the newest time before them."""
        times = np.ascontiguousarray(segment["t"])
        ordered = np.maximum.accumulate(np.maximum(times, self._floor()))
        if (ordered != times).any():
            segment = segment.copy()
            segment["t"] = ordered
        return segment

    def look(self, t_us: int) -> list[Bin]:
        """Time goes on without events: bins begin at `t_us`, or go on to it, as at an event."""
        bins: list[Bin] = []
        self._begin(t_us, bins)
        self._last = max(self._last, t_us)
        self._close_until(t_us, bins)
        return bins

    def tick(self, now_us: int) -> list[Bin]:
        """Close the bins that end by `now_us` on the events' clock, at most `gap_us` beyond the newest event."""
        bins: list[Bin] = []
        if self._origin is None:
            return bins
        limit = self._last + self.gap_us
        self._close_until(min(now_us, limit), bins)
        if now_us > limit:
            self._stop(bins)
        return bins

    def flush(self) -> list[Bin]:
        """End of the stream: the open bin, if it holds events. A later event begins anew, `reset` set."""
        bins: list[Bin] = []
        if self._origin is not None:
            self._stop(bins)
        return bins

    def closes(self, t_us: int) -> int:
        """How many bins an event at `t_us` would close."""
        if self._origin is None:
            return 0
        end_us = min(t_us, self._last + self.gap_us, self._horizon())
        return max(0, (end_us - self._origin) // self.encoder.bin_us)

    def snapshot(self) -> OpenBin:
        """All that the binner carries from packet to packet."""
        since = None if self._since is None else self._since.copy()
        return OpenBin(self._origin, self._last, self._reset, self._n_open, self._open.copy(), since, self._n_missed)

    def restore(self, carried: OpenBin) -> None:
        """Go on from a snapshot of a binner with the same encoder. Raises ValueError where no stream leads there."""
        self._check(carried)
        self._origin, self._last, self._reset = carried.origin, carried.last, carried.reset
        self._n_open, self._open, self._n_missed = carried.n_open, carried.open.copy(), carried.n_missed
        self._since = None if carried.since is None else carried.since.copy()

    def _check(self, carried: OpenBin) -> None:
        """Raise ValueError unless the parts can be those of one stream."""
        origin, last, n_open, opened = carried.origin, carried.last, carried.n_open, carried.open
        if opened.shape != self._open.shape or opened.dtype != self._open.dtype:
            raise ValueError("the open bin is of another size")
        if int(opened.max(initial=0)) > CEILINGS[self.encoder.mode] or int(opened.sum()) > n_open:
            raise ValueError("the open bin holds more than its events")
        if (n_open > 0) != bool(opened.any()):
            raise ValueError("the open bin does not hold its events")
        if carried.cells is not None or (carried.since is None) != (self.shown == 1):
            raise ValueError("the bins show another stretch of time, or follow a thing")
        if carried.since is not None:
            if carried.since.shape != opened.shape or carried.since.dtype != np.uint16:
                raise ValueError("what the last bins held is of another size")
            if int(carried.since.max(initial=0)) > self.shown:
                raise ValueError("what the last bins held is older than what they show")
        if origin is None:
            if n_open or carried.n_missed or not (carried.reset or last == 0):
                raise ValueError("there are events, but no open bin")
        elif not origin - self.gap_us <= last < origin + self.encoder.bin_us or (
            (n_open or carried.n_missed) and last < origin
        ):
            raise ValueError("the open bin is not that of the newest event")

    def _floor(self) -> int:
        """The newest time so far: of an event, or of the bins that tick() closed."""
        return self._last if self._origin is None else max(self._last, self._origin)

    def _cuts(self, times: NDArray[np.int64]) -> list[int]:
        """Index 0, and where in a packet time jumps: the pieces between are in order but for small steps back."""
        first, high = int(times[0]), self._floor()
        if self._origin is None or self._jumps(first, self._last, high):
            high = first
        highest = np.maximum.accumulate(np.maximum(times, high))
        back, ahead = times[1:] < highest[:-1] - self.back_us, times[1:] - highest[:-1] > self.gap_us
        if not (back | ahead).any():
            return [0]
        cuts = [0]
        for index, t in enumerate(times.tolist()):  # one by one: rare, and each jump changes what follows
            if index and self._jumps(t, high, high):
                cuts.append(index)
                high = t
            high = max(high, t)
        return cuts

    def _jumps(self, t: int, newest: int, floor: int) -> bool:
        return t < floor - self.back_us or t - newest > self.gap_us

    def _begin(self, t: int, bins: list[Bin]) -> None:
        """Make ready for an event at `t`: go on, or begin anew there after a gap or a clock restart."""
        if self._origin is not None and (self._jumps(t, self._last, self._floor()) or t > self._horizon()):
            if t > self._last:
                self._close_until(self._last + self.gap_us, bins)
            self._stop(bins)
        if self._origin is None:
            self._origin = self._last = t

    def _stop(self, bins: list[Bin]) -> None:
        """Close what is open and wait for an event to begin anew."""
        if self._n_open or self._n_missed:
            self._close(bins)
        self._origin, self._reset = None, True

    def _add(self, events: Events, missed: Times, last: int, bins: list[Bin]) -> None:
        """Bin events whose times never fall, none before the open bin; close all bins before that of `last`."""
        assert self._origin is not None
        self._last = max(self._last, last)
        encoder = self.encoder
        while True:
            n = min((last - self._origin) // encoder.bin_us + 1, BINS_AT_ONCE)
            x = self._open[np.newaxis] if n == 1 else self._blank(n)
            x[0] = self._open
            counts = add_counts(events, self._origin, encoder.bin_us, self._grid, encoder.mode, x)
            counts[0] += self._n_open
            left = np.zeros(n, np.int64)
            if len(missed):
                left = np.diff(np.searchsorted(missed, self._origin + encoder.bin_us * np.arange(n + 1)))
            left[0] += self._n_missed
            for step in range(n):
                self._open, self._n_open, self._n_missed = x[step], int(counts[step]), int(left[step])
                if self._origin + encoder.bin_us > last:
                    return
                self._close(bins)

    def _horizon(self) -> int:
        """No event that goes on from the open bin is later, for the newest one lies in it or before it.

        So however the state came about, one event closes no more bins than a gap has.
        """
        assert self._origin is not None
        return self._origin + self.encoder.bin_us + self.gap_us

    def _close_until(self, end_us: int, bins: list[Bin]) -> None:
        if self._origin is not None:
            end_us = min(end_us, self._horizon())
        while self._origin is not None and self._origin + self.encoder.bin_us <= end_us:
            self._close(bins)

    def _close(self, bins: list[Bin]) -> None:
        assert self._origin is not None
        end = self._origin + self.encoder.bin_us
        bins.append(Bin(self._seen(), self._origin, end, self._n_open, self._reset, self._n_missed))
        self._origin, self._reset = end, False
        self._open, self._n_open, self._n_missed = self._blank(1)[0], 0, 0

    def _seen(self) -> NDArray[np.uint8]:
        """The closing bin, [2, H, W]: with `shown` above 1, cells with an event in so many last bins."""
        if self._since is None:
            return self._open
        if self._reset:
            self._since.fill(self.shown)
        x = np.empty_like(self._open)
        kernels.compiled("binning").turn(self._open.ravel(), self.shown, self._since.ravel(), x.ravel())
        return x

    def _blank(self, n: int) -> NDArray[np.uint8]:
        return np.zeros((n, 2, self._grid.height, self._grid.width), np.uint8)


def shown_in(x: NDArray[np.uint8], shown: int) -> NDArray[np.uint8]:
    """Binary steps [T, ...] as steps that each show what came in the last `shown` of them.

    >>> shown_in(np.array([1, 0, 0, 0], np.uint8), 2)
    array([1, 1, 0, 0], dtype=uint8)
    """
    if shown == 1:
        return x
    sums = np.cumsum(x, 0, dtype=np.int32)
    sums[shown:] -= sums[:-shown].copy()
    return (sums > 0).astype(np.uint8)


def progress_us(events: NDArray, bin_us: int, gap_us: int, back_us: int) -> NDArray[np.int64]:
    """How far a stream's bins get with each event, int64 [n]: an upper bound of bins closed is progress / bin_us.

    A step forward counts up to the gap after which no empty bins are made; a clock restart closes one bin.
    """
    steps = np.diff(events["t"], prepend=events["t"][:1])
    return np.cumsum(np.where(steps < -back_us, bin_us, np.clip(steps, 0, gap_us + bin_us)))


def beginning(packets: Iterator[NDArray], span_us: int) -> list[NDArray]:
    """The first packets, until they last longer than `span_us`."""
    head: list[NDArray] = []
    for packet in packets:
        if len(packet):
            head.append(packet)
            if packet["t"][-1] - head[0]["t"][0] > span_us:
                break
    return head
