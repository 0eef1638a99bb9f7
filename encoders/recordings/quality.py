"""Judge a recording while it is made: event rate, losses, hot pixels, saturation, flickering lamps."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.preprocess.filters import hot_pixels

MAINS_HZ = (100, 120)  # flicker of lamps on 50 and 60 Hz mains, which peak twice a period
AROUND_HZ = slice(60, 160)  # part of the spectrum with whose median a peak is compared
PEAK = 10.0  # least ratio of a peak to the median around it
DEPTH = 0.2  # least share of the rate that must swing for a lamp to be reported, despite other light
HOT = 0.02  # largest tolerated share of events from hot pixels
FULL = 0.5  # events per pixel in 10 ms, near the read-out limit of sensors of all sizes
FULL_TIME = 0.01  # largest tolerated share of the time near the limit


class Fault(NamedTuple):
    """A fault of a recording: a keyword for programs, and a sentence that says what to do."""

    kind: str
    says: str


class Quality:
    """A running judgement of one stream in constant memory; how packets cut the stream does not matter.

    Times must not fall. Flicker and saturation are judged on whole seconds from the first event on.
    """

    def __init__(self, size: SensorSize) -> None:
        self.n_events = 0
        self._pixels = np.zeros((size.height, size.width), np.int64)
        self._first = self._last = 0  # microseconds
        self._second = 0  # number of the open second
        self._all, self._on = np.zeros(1000, np.int64), np.zeros(1000, np.int64)  # events by ms of the open second
        self._power = np.zeros(501)  # power spectrum of the ON rate by Hz, summed over seconds
        self._on_events = self._on_squares = 0.0
        self._busiest = self._full = 0  # most events in 10 ms; number of such windows near the limit

    @property
    def seconds(self) -> float:
        """Time from the first event to the newest."""
        return (self._last - self._first) / 1e6

    @property
    def rate(self) -> float:
        """Mean rate in events per second."""
        return self.n_events / self.seconds if self.seconds else 0.0

    @property
    def busiest(self) -> int:
        """Largest number of events in 10 ms."""
        return max(self._busiest, int(self._windows().max()))

    def push(self, events: Events) -> None:
        """Add a packet of events, sorted and on the sensor."""
        if not len(events):
            return
        if not self.n_events:
            self._first = int(events["t"][0])
        self.n_events += len(events)
        self._last = int(events["t"][-1])
        np.add.at(self._pixels.reshape(-1), events["y"].astype(np.intp) * self._pixels.shape[1] + events["x"], 1)
        seconds = (events["t"] - self._first) // 1_000_000
        for part in np.split(events, np.flatnonzero(np.diff(seconds)) + 1):
            self._push_second(part)

    def _push_second(self, events: Events) -> None:
        """Add events of one second."""
        second, t = divmod(events["t"] - self._first, 1_000_000)
        if second[0] != self._second:
            self._close()
            self._second = int(second[0])
        ms = t // 1000
        self._all += np.bincount(ms, minlength=1000)
        self._on += np.bincount(ms[events["p"]], minlength=1000)

    def _close(self) -> None:
        """Add a complete second to the statistics, and begin another."""
        self._busiest = self.busiest
        self._full += int((self._windows() > FULL * self._pixels.size).sum())
        self._power += np.abs(np.fft.rfft(self._on)) ** 2
        self._on_events += float(self._on.sum())
        self._on_squares += float(self._on.sum()) ** 2
        self._all[:] = self._on[:] = 0

    def _windows(self) -> NDArray[np.int64]:
        """Return the events of the open second in windows of 10 ms."""
        return self._all.reshape(100, 10).sum(1)

    def flicker(self) -> tuple[int, float] | None:
        """Return (Hz, depth) of a lamp on mains, depth being the share of the ON rate that swings; None without one.

        The periodogram of N independent events is N, plus N^2 depth^2 / 4 for the swing (Bartlett 1963).
        """
        near = np.median(self._power[AROUND_HZ])
        for hz in MAINS_HZ:
            swing = max(0.0, self._power[hz] - self._on_events)
            depth = 2 * (swing / self._on_squares) ** 0.5 if self._on_squares else 0.0
            if depth > DEPTH and self._power[hz] > PEAK * near:
                return hz, depth
        return None

    def hot(self) -> NDArray[np.bool_]:
        """Return the mask [H, W] of pixels that fire far more than all others and than their neighbours."""
        return hot_pixels(self._pixels)

    def faults(self, n_dropped: int = 0) -> list[Fault]:
        """Return the faults so far; `n_dropped` events arrived but were lost before they could be written."""
        if self.seconds < 1:
            return []
        found = []
        if n_dropped:
            lost = n_dropped / (self.n_events + n_dropped)
            found.append(Fault("drops", f"{lost:.1%} of the events are lost: record fewer, or to a faster disk"))
        if (full := self._full / (100 * max(1, self._second))) > FULL_TIME:
            says = f"the sensor is near its limit {full:.0%} of the time: move it less, or let it see less"
            found.append(Fault("saturation", says))
        mask = self.hot()
        if (share := float(self._pixels[mask].sum()) / self.n_events) > HOT:
            says = f"{int(mask.sum())} hot pixels give {share:.0%} of the events: read them with --filter hot"
            found.append(Fault("hot pixels", says))
        if (lamp := self.flicker()) is not None:
            says = f"a lamp flickers at {lamp[0]} Hz, {lamp[1]:.0%} of the rate: take daylight, or another lamp"
            found.append(Fault("flicker", says))
        return found
