"""A stream of packets -> windows of events, by time (sliding) or by number. No clock, no thread: tick() tells the time.

StreamBinner in dvs.py is what the classifier uses, bin by bin; these are for models that look at whole windows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.events import Events, EventsError, empty_events


@dataclass(frozen=True)
class Window:
    """Events of [start_us, end_us). `idle`: fewer than wanted. `early`: closed by their number."""

    events: Events
    start_us: int
    end_us: int
    idle: bool
    early: bool = False


class TimeWindows:
    """Windows of `length_us`, one each `hop_us`; the first begins at the first event.

    A window closes when an event at or past its end comes, or tick() says so, or when it holds `most` events: then the
    next begins where it closed. With fewer than `fewest` events it is idle. After `gap_us` without events, or when time
    steps back by more than `back_us`, the grid begins anew: no windows for the time between. Small steps back count at
    the newest time.
    """

    def __init__(
        self,
        length_us: int,
        hop_us: int | None = None,
        *,
        most: int | None = None,
        fewest: int = 1,
        gap_us: int = 1_000_000,
        back_us: int = 100_000,
    ) -> None:
        self.length_us, self.hop_us = length_us, hop_us or length_us
        if length_us < 1 or not 1 <= self.hop_us <= length_us or (most is not None and most < 1):
            raise EventsError("a window needs at least 1 us, a hop no longer than itself, and at least 1 event at most")
        self.most, self.fewest, self.gap_us, self.back_us = most, fewest, gap_us, back_us
        self._start: int | None = None
        self._newest = 0
        self._held = empty_events()

    def push(self, packet: Events) -> list[Window]:
        """Take events as they arrived; the windows they close."""
        closed: list[Window] = []
        for begin, end in self._runs(np.ascontiguousarray(packet["t"])):
            run = packet[begin:end].copy()
            first = int(run["t"][0])
            if self._start is not None and self._jumps(first, self._newest):
                closed += self.flush()
            if self._start is None:
                self._start = self._newest = first
            run["t"] = np.maximum.accumulate(np.maximum(run["t"], self._newest))
            self._newest = int(run["t"][-1])
            self._held = np.concatenate([self._held, run]) if len(self._held) else run
            self._close_until(self._newest, closed)
        return closed

    def tick(self, now_us: int) -> list[Window]:
        """Close the windows that end by `now_us`, at most `gap_us` beyond the newest event: a still scene has some."""
        closed: list[Window] = []
        if self._start is not None:
            self._close_until(min(now_us, self._newest + self.gap_us), closed)
        return closed

    def flush(self) -> list[Window]:
        """The open window as it is; the next event begins anew."""
        if self._start is None:
            return []
        start, held = self._start, self._held
        self._start, self._held = None, empty_events()
        return [self._window(held, start, start + self.length_us)] if len(held) else []

    def _runs(self, t: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Pieces of a packet without jumps of time."""
        if not len(t):
            return []
        first = int(t[0])
        high = first if self._start is None or self._jumps(first, self._newest) else max(first, self._newest)
        highest = np.maximum.accumulate(np.maximum(t, high))
        cuts = [0]
        if bool(((t[1:] < highest[:-1] - self.back_us) | (t[1:] - highest[:-1] > self.gap_us)).any()):
            for index, now in enumerate(t.tolist()):  # one by one: rare, and each jump changes what follows
                if index and self._jumps(now, high):
                    cuts.append(index)
                    high = now
                high = max(high, now)
        return list(zip(cuts, [*cuts[1:], len(t)]))

    def _jumps(self, t: int, newest: int) -> bool:
        return t < newest - self.back_us or t > newest + self.gap_us

    def _close_until(self, now_us: int, closed: list[Window]) -> None:
        while self._start is not None:
            end = self._start + self.length_us
            n = int(np.searchsorted(self._held["t"], end))
            if self.most is not None and n >= self.most:
                cut = int(self._held["t"][self.most - 1]) + 1
                closed.append(self._window(self._held[: self.most], self._start, cut, early=True))
                self._held = self._held[self.most :]
                self._start = min(cut, int(self._held["t"][0])) if len(self._held) else cut
                continue
            if end > now_us:
                return
            closed.append(self._window(self._held[:n], self._start, end))
            self._start += self.hop_us
            self._held = self._held[int(np.searchsorted(self._held["t"], self._start)) :]

    def _window(self, events: Events, start: int, end: int, *, early: bool = False) -> Window:
        return Window(events, start, end, len(events) < self.fewest, early)


class CountWindows:
    """Windows of `number` events, one each `hop` events; a window's times are those of its first and last event."""

    def __init__(self, number: int, hop: int | None = None) -> None:
        self.number, self.hop = number, hop or number
        if number < 1 or not 1 <= self.hop <= number:
            raise EventsError("a window needs at least 1 event, and a hop no longer than itself")
        self._held = empty_events()

    def push(self, packet: Events) -> list[Window]:
        """Take events as they arrived; the windows they fill."""
        self._held = np.concatenate([self._held, packet])
        closed: list[Window] = []
        begin = 0
        while begin + self.number <= len(self._held):
            events = self._held[begin : begin + self.number]
            closed.append(Window(events, int(events["t"][0]), int(events["t"][-1]) + 1, idle=False))
            begin += self.hop
        self._held = self._held[begin:]
        return closed
