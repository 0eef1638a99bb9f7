"""The stage before the binning of a live stream or a recording: noise filtering, then tracking of the drawing."""

from spikesight.encoders.dvs import NO_TIMES, Bin, StreamBinner, Times
from spikesight.encoders.events import Events, Order, SensorSize, on_sensor
from spikesight.encoders.preprocess.filters import DRAWING_HZ, FROM_HZ, BackgroundActivity, HotPixels, NoiseGate
from spikesight.encoders.preprocess.pool import Pool, pools
from spikesight.encoders.preprocess.values import COUNT, TIME, Part, Values, number
from spikesight.encoders.roi.event_tracker import EventTracker
from spikesight.encoders.roi.window import FixedWindow, Window

LEAST_SIDE = 64  # pixels: a sensor with a shorter side shows nothing but the drawing, as that of N-MNIST


def shows_more(sensor: SensorSize) -> bool:
    """Return whether a sensor is large enough to show more than a drawing that fills it."""
    return min(sensor.width, sensor.height) >= LEAST_SIDE


class InputFilter(Part, n_events=COUNT, n_kept=COUNT, n_outside=COUNT):
    """Filters packets of a `sensor` and maps them to a sensor of `size`; packet borders do not matter.

    `small` is the sensor that the network was trained on. `filter_us`: correlation time of the background-activity
    filter, 0 for none. With a window, pixels that fire far too often in the first second are silenced (`HotPixels`);
    without a window, the filter acts only where there is noise (`NoiseGate`). `follow`: track the drawing
    (`EventTracker`) if the sensor shows more than the drawing; on a smaller sensor, filter from a lower noise rate on
    (DRAWING_HZ). `fixed`: a window of the user's, in place of tracking. `places`: if positive, the number of windows
    that are tracked at once; their sensors are stacked vertically. Without a window, a sensor with much finer pixels is
    summed to `small` (`Pool`); noise cancels in the sums, so there is no filter. `n_events`, `n_outside` and `n_kept`
    count events on the sensor, events off it (dropped), and events that passed the filters.
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
        self.sensor = sensor
        self.n_events = self.n_kept = self.n_outside = 0
        self._counted = 0, 0  # n_events and n_kept at the last `news`
        live = fixed is not None or places > 0 or (follow and shows_more(sensor))
        self._fixed = fixed and FixedWindow(sensor, small, fixed)
        self._tracker: EventTracker | None = None
        if live and fixed is None:
            self._tracker = EventTracker(sensor, small, places, drawn=follow and places > 0)
        self.windows = self._tracker if places else None
        self.pool = None if live or not pools(sensor, small) else Pool(sensor, small)
        self.order = Order()  # orders events that are filtered without a window
        self._filter: BackgroundActivity | NoiseGate | None = None
        if filter_us and self.pool is None:
            from_hz = DRAWING_HZ if follow else FROM_HZ
            self._filter = BackgroundActivity(sensor, filter_us) if live else NoiseGate(sensor, filter_us, from_hz)
        self._hot = HotPixels(sensor) if filter_us and live else None
        self.size = small if self.windowed or self.pool else sensor
        if self.windows is not None:
            self.size = self.windows.tall
        parts = {"filter": self._filter, "hot": self._hot, "window": self._tracker, "pool": self.pool}
        self.parts = {name: one for name, one in parts.items() if one is not None}

    @property
    def window(self) -> Window | None:
        """The window in the sensor's pixels; None without a tracker, for several windows, or while none is held."""
        return self._fixed.window if self._fixed else self._tracker and self._tracker.tracks.window

    @property
    def windowed(self) -> bool:
        """Whether only events in a window pass."""
        return self._fixed is not None or self._tracker is not None

    @property
    def plain(self) -> bool:
        """Whether all events pass unchanged."""
        return self._filter is None and not self.windowed and self.pool is None

    def state(self) -> Values:
        """Return the state that is carried from packet to packet, by name."""
        return super().state() | {"newest": self.order.newest}

    def restore(self, values: Values) -> None:
        super().restore(values)
        self._counted, self.order.newest = (self.n_events, self.n_kept), number(values["newest"], *TIME, None)

    def news(self) -> tuple[int, int]:
        """Return the numbers of events kept and of events filtered out since the last call."""
        came, kept = self.n_events - self._counted[0], self.n_kept - self._counted[1]
        self._counted = self.n_events, self.n_kept
        return kept, came - kept

    def __call__(self, events: Events) -> Events:
        return self.kept_and_missed(events)[0]

    def kept_and_missed(self, events: Events) -> tuple[Events, Times]:
        """Return the events of a packet that pass, and the times of active events missed while no drawing is held."""
        if self.plain:
            self.n_events, self.n_kept = self.n_events + len(events), self.n_kept + len(events)
            return events, NO_TIMES
        events, n_outside, _ = on_sensor(events, self.sensor)
        self.n_outside += n_outside
        self.n_events += len(events)
        if self._hot is not None:
            events = self._hot(events)
        if self._filter is not None:
            events = self._filter(events)
        self.n_kept += len(events)
        if self._tracker is not None:
            return self._tracker.kept_and_missed(events)
        if self._fixed is not None:
            return self._fixed(events), NO_TIMES
        return events if self.pool is None else self.pool(events), NO_TIMES


def bins_of(events: Events, input_filter: InputFilter, binner: StreamBinner) -> list[Bin]:
    """Filter a packet, add it to the binner, and return the bins that it closes.

    With a window, every event advances time, kept or not: a scene without a drawing gives empty bins. Without one,
    events are put in order before the filter; only a kept event opens the first bin, and any event closes bins.
    """
    if input_filter.plain:
        return binner.push(input_filter(events))
    if input_filter.windowed:
        return binner.push(events, input_filter.kept_and_missed)
    bins = list[Bin]()
    for ordered, anew in input_filter.order(events):
        bins += binner.flush() if anew else []
        bins += binner.push(input_filter(ordered))
        bins += binner.tick(int(ordered["t"][-1]))
    return bins
