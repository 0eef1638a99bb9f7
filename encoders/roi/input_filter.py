"""Everything in front of the bins of a live stream or a recording: noise is filtered, then the drawing is tracked."""

from spikesight.encoders.dvs import NO_TIMES, Bin, StreamBinner, Times
from spikesight.encoders.events import Events, Order, SensorSize, on_sensor
from spikesight.encoders.preprocess.filters import DRAWING_HZ, FROM_HZ, BackgroundActivity, HotPixels, NoiseGate
from spikesight.encoders.preprocess.pool import Pool, pools
from spikesight.encoders.preprocess.values import Values, integer, part, time_us, under
from spikesight.encoders.roi.event_tracker import EventTracker
from spikesight.encoders.roi.window import Window
from spikesight.encoders.roi.windows import EventWindows

LEAST_SIDE = 64  # sensors with a shorter side show the drawing alone, as those of N-MNIST


def shows_more(sensor: SensorSize) -> bool:
    """Whether a sensor is large enough to show more than one thing that fills it."""
    return min(sensor.width, sensor.height) >= LEAST_SIDE


class InputFilter:
    """Packets of a `sensor` in, events of a sensor of `size` out, whichever way the stream is cut.

    `small` is the sensor that the network was trained on. `filter_us`: correlation time of the background-activity
    filter, 0 for none; with a window, pixels that never rest in the first second are silent afterwards (`HotPixels`).
    Without one it acts where there is noise (`NoiseGate`). `follow`: track the drawing (`EventTracker`) where the
    sensor is large enough to show more than that; on a small one noise is filtered from a lower rate on (DRAWING_HZ).
    `fixed`: keep what lies in a window of the user's. With `places` so many windows are let through in place of one
    (`EventWindows`), their sensors one below the other. Without a window, a sensor of much finer pixels is summed to
    those of `small` (`Pool`), in which noise cancels: it needs no filter. Events off the sensor are dropped and counted
    in `n_outside`; `n_events` and `n_kept` count what came on the sensor and what the filter left of it.
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
        self.windows = EventWindows(sensor, small, places, drawn=follow) if places else None
        self._tracker = self.windows or (EventTracker(sensor, small, fixed) if live else None)
        self.pool = None if live or not pools(sensor, small) else Pool(sensor, small)
        self.order = Order()  # of what is filtered without a window
        self._filter: BackgroundActivity | NoiseGate | None = None
        if filter_us and self.pool is None:
            from_hz = DRAWING_HZ if follow else FROM_HZ
            self._filter = BackgroundActivity(sensor, filter_us) if live else NoiseGate(sensor, filter_us, from_hz)
        self._hot = HotPixels(sensor) if filter_us and live else None
        self.size = sensor if self._tracker is None and self.pool is None else small
        if self.windows is not None:
            self.size = self.windows.tall

    @property
    def window(self) -> Window | None:
        """The window in the sensor's pixels; None for all of it, or where there is no drawing yet."""
        return self._tracker.window if self._tracker else None

    @property
    def windowed(self) -> bool:
        """Whether only what lies in a window is let through."""
        return self._tracker is not None

    @property
    def plain(self) -> bool:
        """Whether all events are kept."""
        return self._filter is None and self._tracker is None and self.pool is None

    @property
    def _parts(self) -> dict[str, BackgroundActivity | NoiseGate | HotPixels | EventTracker | EventWindows | Pool]:
        """The parts that carry a state from packet to packet."""
        parts = {"filter": self._filter, "hot": self._hot, "window": self._tracker, "pool": self.pool}
        return {name: one for name, one in parts.items() if one is not None}

    def state(self) -> Values:
        """The state that is carried from packet to packet."""
        values: Values = {"n_events": self.n_events, "n_kept": self.n_kept, "n_outside": self.n_outside}
        values["newest"] = self.order.newest
        for name, one in self._parts.items():
            values |= under(name, one.state())
        return values

    def restore(self, values: Values) -> None:
        """Go on from the state of a filter made like this one. Raises ValueError or KeyError."""
        self.n_events, self.n_kept, self.n_outside = (integer(values[n]) for n in ("n_events", "n_kept", "n_outside"))
        self._counted = self.n_events, self.n_kept
        self.order.newest = None if values["newest"] is None else time_us(values["newest"])
        for name, one in self._parts.items():
            one.restore(part(name, values))

    def news(self) -> tuple[int, int]:
        """Events that were kept, and that were filtered out, since the last call."""
        came, kept = self.n_events - self._counted[0], self.n_kept - self._counted[1]
        self._counted = self.n_events, self.n_kept
        return kept, came - kept

    def __call__(self, events: Events) -> Events:
        return self.kept_and_missed(events)[0]

    def kept_and_missed(self, events: Events) -> tuple[Events, Times]:
        """Of a packet [N] the events that are kept, and the times of those that a tracker without a drawing misses."""
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
        return events if self.pool is None else self.pool(events), NO_TIMES


def bins_of(events: Events, input_filter: InputFilter, binner: StreamBinner) -> list[Bin]:
    """The bins that a packet closes, of the events that the filter keeps.

    With a window time goes by every event, kept or not: a scene without a drawing is steps without events. What is
    filtered otherwise is put in order before; its bins begin with what is kept, and close with what is not, too.
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
