"""The stage before the binning of a live stream or a recording: noise filtering, then tracking of the drawing."""

from collections.abc import Iterator

import numpy as np

from spikesight.encoders.dvs import NO_TIMES, Bin, StreamBinner, Stretch
from spikesight.encoders.events import Events, Order, SensorSize, joined, on_sensor
from spikesight.encoders.preprocess.filters import DRAWING_HZ, FROM_HZ, BackgroundActivity, HotPixels, NoiseGate
from spikesight.encoders.preprocess.pool import Pool, pools
from spikesight.encoders.roi.event_tracker import EventTracker
from spikesight.encoders.roi.window import Window, through

LEAST_SIDE = 64  # pixels: a sensor with a shorter side shows nothing but the drawing, as that of N-MNIST


def shows_more(sensor: SensorSize) -> bool:
    """Return whether a sensor is large enough to show more than a drawing that fills it."""
    return min(sensor.width, sensor.height) >= LEAST_SIDE


class InputFilter:
    """Filters packets of a `sensor` and maps them to a sensor of `size`; packet borders do not matter.

    `small` is the sensor that the network was trained on. `filter_us`: correlation time of the background-activity
    filter, 0 for none. With a window, pixels that fire far too often in the first second are silenced (`HotPixels`);
    without a window, the filter acts only where there is noise (`NoiseGate`). `follow`: track the drawing
    (`EventTracker`) if the sensor shows more than the drawing; on a smaller sensor, filter from a lower noise rate on
    (DRAWING_HZ). `fixed`: a window of the user's, in place of tracking. `places`: if positive, the number of windows
    that are tracked at once; their sensors are stacked vertically. `windowed`: whether only events in a window pass.
    Without one, a sensor with much finer pixels is summed to `small` (`Pool`); noise cancels in the sums, so there is
    no filter. `n_events`, `n_outside` and `n_kept` count events on the sensor, events off it (dropped), and events that
    passed the filters.
    """

    def __init__(
        self,
        sensor: SensorSize,
        small: SensorSize,
        filter_us: int = 0,
        follow: bool = False,
        fixed: Window | None = None,
        places: int = 0,
    ) -> None:
        self.sensor, self.fixed = sensor, fixed
        self.n_events = self.n_kept = self.n_outside = 0
        self._counted = 0, 0  # n_events and n_kept at the last `news`
        self.order = Order()  # orders events that are filtered without a window
        self.windowed = fixed is not None or places > 0 or (follow and shows_more(sensor))
        self._tracker = self.pool = self._hot = self._filter = None
        if self.windowed and fixed is None:
            self._tracker = EventTracker(sensor, small, places, drawn=follow and places > 0)
        elif not self.windowed and pools(sensor, small):
            self.pool = Pool(sensor, small)
        if filter_us and self.windowed:
            self._hot, self._filter = HotPixels(sensor), BackgroundActivity(sensor, filter_us)
        elif filter_us and not self.pool:
            self._filter = NoiseGate(sensor, filter_us, DRAWING_HZ if follow else FROM_HZ)
        self.windows = self._tracker if places else None
        self.size = self.windows.tall if self.windows else small if self.windowed or self.pool else sensor

    @property
    def window(self) -> Window | None:
        """The window in the sensor's pixels; None without a tracker, for several windows, or while none is held."""
        return self._tracker.tracks.window if self._tracker else self.fixed

    @property
    def plain(self) -> bool:
        """Whether all events pass unchanged."""
        return not (self.windowed or self._filter or self.pool)

    def news(self) -> tuple[int, int]:
        """Return the numbers of events kept and of events filtered out since the last call."""
        came, kept = self.n_events - self._counted[0], self.n_kept - self._counted[1]
        self._counted = self.n_events, self.n_kept
        return kept, came - kept

    def __call__(self, events: Events) -> Events:
        """Return the events of a packet that pass."""
        return joined([kept for kept, _, _ in self.stretches(events)])

    def stretches(self, events: Events) -> Iterator[Stretch]:
        """Yield for each stretch of a packet the events that pass, times of active events that were missed while no
        drawing is held, and its last time.
        """
        newest = int(events["t"][-1]) if len(events) else 0
        if not self.plain:
            events, n_outside, _ = on_sensor(events, self.sensor)
            self.n_outside += n_outside
        self.n_events += len(events)
        events = self._hot(events) if self._hot else events
        events = self._filter(events) if self._filter else events
        self.n_kept += len(events)
        if self._tracker is not None:
            yield from self._tracker.stretches(events)
            events = events[:0]
        elif self.fixed is not None:
            window = np.array([[self.fixed.left, self.fixed.top, self.fixed.side]], float)
            events = through(events, window, self.size)
        elif self.pool is not None:
            events = self.pool(events)
        yield events, NO_TIMES, newest


def bins_of(events: Events, input_filter: InputFilter, binner: StreamBinner) -> list[Bin]:
    """Filter a packet, add it to the binner, and return the bins that it closes.

    With a window, every event advances time, kept or not: a scene without a drawing gives empty bins. Without one,
    events are put in order before the filter; only a kept event opens the first bin, and any event closes bins.
    """
    if input_filter.plain:
        return binner.push(input_filter(events))
    if input_filter.windowed:
        return binner.push(events, input_filter.stretches)
    bins = list[Bin]()
    for ordered, anew in input_filter.order(events):
        bins += binner.flush() if anew else []
        bins += binner.push(input_filter(ordered))
        bins += binner.tick(int(ordered["t"][-1]))
    return bins
