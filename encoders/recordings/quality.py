"""How good a recording is, while it is made: its rate, what was lost, hot pixels, saturation, lamps that flicker."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.preprocess.filters import hot_pixels

MAINS_HZ = (100, 120)  # lamps on 50 and 60 Hz are brightest twice a period
AROUND_HZ = slice(60, 160)  # what a peak is compared with
PEAK = 10.0  # times the middle of the spectrum around it
DEPTH = 0.2  # share of the rate that swings: a lamp is seen, not the sun beside it
HOT = 0.02  # share of all events that hot pixels may have
FULL = 0.5  # events a pixel in 10 ms: sensors of all sizes are near what they can read out
FULL_TIME = 0.01  # share of the time that it may be so


class Fault(NamedTuple):
    """A fault of a recording: a word for programs, and a sentence that says what to do."""

    kind: str
    says: str


class Quality:
    """A running verdict on one stream, in memory that does not grow. How the stream is cut does not matter.

    Times may not fall. Flicker and saturation are judged on whole seconds from the first event on.
    """

    def __init__(self, size: SensorSize) -> None:
        self.n_events = 0
        self._pixels = np.zeros((size.height, size.width), np.int64)
        self._first = self._last = 0  # microseconds
        self._second = 0  # the one that is open
        self._all, self._on = np.zeros(1000, np.int64), np.zeros(1000, np.int64)  # events of its milliseconds
        self._power = np.zeros(501)  # of the ON rate, by Hz, summed over seconds
        self._on_events = self._on_squares = 0.0
        self._busiest = self._full = 0  # most events of 10 ms; so many such windows were full

    @property
    def seconds(self) -> float:
        """From the first event to the newest."""
        return (self._last - self._first) / 1e6

    @property
    def rate(self) -> float:
        """Mean rate in events a second."""
        return self.n_events / self.seconds if self.seconds else 0.0

    @property
    def busiest(self) -> int:
        """The largest number of events in 10 ms."""
        return max(self._busiest, int(self._windows().max()))

    def push(self, events: Events) -> None:
        """Take a packet of events, sorted and on the sensor."""
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
        """Events of one second."""
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
        """Events of the open second by 10 ms."""
        return self._all.reshape(100, 10).sum(1)

    def flicker(self) -> tuple[int, float] | None:
        """(Hz, depth) of a lamp on mains: the share of the ON rate that swings with it. None where there is none.

        Of N independent events the periodogram is N plus N^2 depth^2 / 4 (Bartlett 1963).
        """
        near = np.median(self._power[AROUND_HZ])
        for hz in MAINS_HZ:
            swing = max(0.0, self._power[hz] - self._on_events)
            depth = 2 * (swing / self._on_squares) ** 0.5 if self._on_squares else 0.0
            if depth > DEPTH and self._power[hz] > PEAK * near:
                return hz, depth
        return None

    def hot(self) -> NDArray[np.bool_]:
        """Pixels [H, W] that fire far more than all and than those around them."""
        return hot_pixels(self._pixels)

    def faults(self, n_dropped: int = 0) -> list[Fault]:
        """The faults so far; `n_dropped` events came and were lost before they could be written."""
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
