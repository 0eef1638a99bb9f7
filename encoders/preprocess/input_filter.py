"""The stage before the binning of a live stream or a recording: noise filtering, and sums of fine pixels."""

from spikesight.encoders.dvs import Bin, StreamBinner
from spikesight.encoders.events import Events, Order, SensorSize, on_sensor
from spikesight.encoders.preprocess.filters import (
    DRAWING_HZ,
    FROM_HZ,
    BackgroundActivity,
    HotPixels,
    NoiseGate,
    Pool,
    pools,
)
from spikesight.encoders.pyramid import shows_more


class InputFilter:
    """Filters packets of a `sensor` and maps them to a sensor of `size`; packet borders do not matter.

    `small` is the sensor that the network was trained on. `filter_us`: correlation time of the background-activity
    filter, 0 for none. `detects`: the network detects objects in the full frame (`view`) of a sensor that shows more
    than one (`shows_more`), where pixels that fire far too often in the first second are silenced (`HotPixels`).
    Elsewhere the filter acts where there is noise (`NoiseGate`), for a detector from a lower rate on (DRAWING_HZ).
    Without a full frame, a sensor with much finer pixels is summed to `small` (`Pool`); noise cancels in the sums, so
    there is no filter. `n_events`, `n_outside` and `n_kept` count events on the sensor, events off it (dropped), and
    events that passed the filters.
    """

    def __init__(
        self,
        sensor: SensorSize,
        small: SensorSize,
        filter_us: int = 0,
        detects: bool = False,
    ) -> None:
        self.sensor = sensor
        self.n_events = self.n_kept = self.n_outside = 0
        self._counted = 0, 0  # n_events and n_kept at the last `news`
        self.order = Order()  # orders events that are filtered outside a full frame
        self.view = detects and shows_more(sensor)
        self.pool = self._hot = self._filter = None
        if not self.view and pools(sensor, small):
            self.pool = Pool(sensor, small)
        if filter_us and self.view:
            self._hot, self._filter = HotPixels(sensor), BackgroundActivity(sensor, filter_us)
        elif filter_us and not self.pool:
            self._filter = NoiseGate(sensor, filter_us, DRAWING_HZ if detects else FROM_HZ)
        self.size = small if self.pool else sensor

    @property
    def plain(self) -> bool:
        """Whether all events pass unchanged."""
        return not (self.view or self._filter or self.pool)

    def news(self) -> tuple[int, int]:
        """Return the numbers of events kept and of events filtered out since the last call."""
        came, kept = self.n_events - self._counted[0], self.n_kept - self._counted[1]
        self._counted = self.n_events, self.n_kept
        return kept, came - kept

    def __call__(self, events: Events) -> Events:
        """Return the events of a packet that pass."""
        if not self.plain:
            events, n_outside, _ = on_sensor(events, self.sensor)
            self.n_outside += n_outside
        self.n_events += len(events)
        events = self._hot(events) if self._hot else events
        events = self._filter(events) if self._filter else events
        self.n_kept += len(events)
        return events if self.pool is None else self.pool(events)


def bins_of(events: Events, input_filter: InputFilter, binner: StreamBinner) -> list[Bin]:
    """Filter a packet, add it to the binner, and return the bins that it closes.

    Events are put in order before the filter. In a full frame every event advances time, kept or not. Elsewhere only a
    kept event opens the first bin, and any event closes bins.
    """
    if input_filter.plain:
        return binner.push(input_filter(events))
    bins = list[Bin]()
    for ordered, anew in input_filter.order(events):
        bins += binner.flush() if anew else []
        kept = input_filter(ordered)
        if input_filter.view:
            bins += binner.push(ordered, kept)
        else:
            bins += binner.push(kept) + binner.tick(int(ordered["t"][-1]))
    return bins
