"""Events of a sensor -> a network's inputs: one way for streams, recordings, uploads and evaluation."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from spikesight.encoders.dvs import Bin, DvsEncoder, StreamBinner, beginning
from spikesight.encoders.events import Events, SensorSize, empty_events, joined
from spikesight.encoders.roi.alignment import TrackingBinner, aligned_steps
from spikesight.encoders.roi.input_filter import InputFilter, bins_of, shows_more
from spikesight.encoders.roi.window import Window
from spikesight.encoders.roi.windows import EventWindows, FrameWindows, WindowsBinner
from spikesight.models.contract import Card, Contract
from spikesight.models.novelty.profile import Watch
from spikesight.models.novelty.score import CAMERA, RECORDED, WEBCAM
from spikesight.models.steps import Input, View

LONGEST_SAMPLE = 2  # a recording of up to so many windows is one sample to a network that takes aligned events


def sensor_of(contract: Contract) -> SensorSize:
    """The sensor of the recordings that the network was trained on. Raises ValueError for a model that takes images."""
    if contract.kind != "events":
        raise ValueError("this model takes images, not events")
    return SensorSize(contract.sensor_width, contract.sensor_height)


def encoder_for(contract: Contract, sensor: SensorSize) -> DvsEncoder:
    """The event encoder that feeds a network of this contract. Raises ValueError as `sensor_of`."""
    sensor_of(contract)
    return DvsEncoder(sensor, (contract.height, contract.width), contract.bin_us, contract.steps, contract.encoding)


def binner_for(contract: Contract, sensor: SensorSize) -> StreamBinner:
    """What cuts a stream of a sensor of this size into a network's inputs. Raises ValueError as `encoder_for`."""
    encoder = encoder_for(contract, sensor)
    if contract.frame == "object":
        return TrackingBinner(sensor, encoder.size, contract.bin_us, contract.steps, contract.shown_bins)
    return StreamBinner(encoder, shown=contract.shown_bins)


@dataclass
class Rest:
    """Membranes are left to rest while there is nothing to see: the first input behind `steps` quiet ones begins anew.

    Quiet is an input with fewer than `active` values that are not zero.
    """

    active: float
    steps: int
    quiet: int = 0  # inputs in a row

    @classmethod
    def of(cls, card: Card) -> "Rest":
        """For a new stream of this model; one that was not calibrated never rests, for it cannot tell nothing."""
        return cls(0.0 if card.novelty is None else float(card.novelty.active[-1]), card.contract.steps)

    def push(self, given: Input) -> Input:
        """The stream's next input, with a reset where it wakes the network."""
        if np.count_nonzero(given.x) < self.active:
            self.quiet += 1
            return given
        woken, self.quiet = self.quiet >= self.steps, 0
        return given._replace(reset=True) if woken else given


class InputPipeline:
    """Events of one sensor in, a network's inputs out: filter and window, then bins, reset where the network wakes.

    The inputs depend on the events alone, however they are cut into packets. `raw`: no filter and no window, whatever
    the contract says; `fixed`: the user's window. `rest` goes on from another pipeline's. With `places` an input has
    the views of up to so many windows; `windows` are those that frames came through, to whose sensors events belong.
    Raises ValueError for a model that takes images.
    """

    def __init__(
        self,
        card: Card,
        sensor: SensorSize,
        *,
        raw: bool = False,
        fixed: Window | None = None,
        rest: Rest | None = None,
        places: int = 0,
        windows: FrameWindows | None = None,
    ) -> None:
        contract, small = card.contract, sensor_of(card.contract)
        if contract.frame == "object" and fixed is None:
            small = sensor  # alignment brings its events to one size
        elif contract.pooled:
            small = SensorSize(contract.width, contract.height)
        filter_us, follow = (0, False) if raw else (contract.filter_us, contract.window == "drawing")
        self.contract, self.card = contract, card
        whole = places > 0 and windows is None and not shows_more(sensor)
        self.whole = (0.0, 0.0, float(sensor.width), float(sensor.height)) if whole else None  # the only window's box
        if windows is not None:
            self.filter = InputFilter(windows.tall, windows.tall)
        elif places and not whole:
            own = sensor_of(contract) if contract.frame == "sensor" else SensorSize(contract.width, contract.height)
            self.filter = InputFilter(sensor, own, filter_us, follow, places=places)
        else:
            self.filter = InputFilter(sensor, small, filter_us, follow, fixed)
        self.windows: FrameWindows | EventWindows | None = windows or self.filter.windows
        self.rests: dict[int, Rest] = {}  # of what the windows follow
        if self.windows is None:
            self.binner = binner_for(contract, self.filter.size)
        else:
            grid = places * contract.height, contract.width
            encoder = DvsEncoder(self.filter.size, grid, contract.bin_us, contract.steps, contract.encoding)
            self.binner = WindowsBinner(self.windows.tracks, encoder, contract.shown_bins)
        self._tracks = self.windows is None and fixed is None and self.filter.windowed
        self.rest = Rest.of(card) if rest is None else rest
        self.watch = Watch(card.profile, contract.steps, contract.trained_us)
        self.kind = CAMERA if self.filter.windowed else RECORDED  # of input

    def push(self, events: Events) -> list[Input]:
        """The inputs of the bins that a packet closes."""
        return self._inputs(bins_of(events, self.filter, self.binner))

    def look(self, t_us: int) -> list[Input]:
        """The source was looked at and nothing came: the inputs of the bins that end by `t_us`."""
        return self._inputs(self.binner.look(t_us))

    def tick(self, now_us: int) -> list[Input]:
        """The inputs of the bins that end by `now_us`, on the events' clock."""
        return self._inputs(self.binner.tick(now_us))

    def flush(self) -> list[Input]:
        """The open bin's input: the stream has ended."""
        inputs = self._inputs(self.binner.flush())
        self.watch.end()
        return inputs

    def stream(self, packets: Iterable[Events]) -> Iterator[Input]:
        """The inputs of a stream from its first packet to its end, each as soon as its bin closes."""
        for packet in packets:
            yield from self.push(packet)
        yield from self.flush()

    def recording(self, packets: Iterable[Events]) -> Iterator[Input]:
        """The inputs of a recording, as `sample` or `stream` gives them; an empty one where there are no events.

        Of one that ends before the drawing in it is found, those of the whole sensor.
        """
        packets, head = iter(packets), list[Events]()
        if self.windows is None and (self.contract.frame == "object" or self._tracks):
            head = beginning(packets, self._longest_us)
            if (sample := self.sample(joined([empty_events(), *head]))) is not None:
                yield from sample
                return
        if self._tracks and head and head[-1]["t"][-1] - head[0]["t"][0] <= self._longest_us:
            inputs = list(self.stream(head))
            if not any(given.x.any() for given in inputs):
                whole = InputPipeline(self.card, self.filter.sensor, raw=True)
                if seen := list(whole.stream(head)):  # none where all cancels out in the sums of a large sensor: noise
                    self.filter, self.watch, inputs = whole.filter, whole.watch, seen
            yield from inputs
            return
        first = None
        for first in self.stream(chain(head, packets)):
            yield first
        if first is None:
            yield Input(np.zeros(self.contract.shape, np.uint8), 0, self.contract.bin_us, 0, False)

    def sample(self, events: Events) -> list[Input] | None:
        """The T inputs of a recording that is one sample of a network that takes aligned events; None of any other.

        `events` are the recording's, sorted by time; nothing was pushed yet.
        """
        contract = self.contract
        if contract.frame != "object" or len(events) < 2 or events["t"][-1] - events["t"][0] > self._longest_us:
            return None
        size = contract.height, contract.width
        x_seq = aligned_steps(self.filter(events), size, contract.bin_us, contract.steps, contract.shown_bins)
        begin, length = int(events["t"][0]), int(events["t"][-1] - events["t"][0]) + 1
        edges = [begin + length * step // contract.steps for step in range(contract.steps + 1)]
        for x in x_seq:
            self.watch.push(x)
        self.watch.end()
        return [Input(x, a, b, int(np.count_nonzero(x)), False) for x, a, b in zip(x_seq, edges, edges[1:])]

    def _views(self, b: Bin) -> Input:
        """The input of a bin of several windows: those that follow something, or an empty one."""
        assert b.held is not None
        ids, boxes, likeness, going = b.held
        x = b.x.reshape(2, len(ids), self.contract.height, self.contract.width)
        rests, views = self.rests, list[View]()
        self.rests = {}
        for place in np.flatnonzero(ids).tolist() or [0]:
            identity = int(ids[place])
            shown = np.ascontiguousarray(x[:, place]) if identity else np.zeros(self.contract.shape, np.uint8)
            missed = 0 if identity else b.n_missed
            kind = WEBCAM if going[place] else self.kind
            given = Input(shown, b.start_us, b.end_us, int(shown.sum()), False, kind, missed)
            self.rests[identity] = rests.get(identity) or Rest.of(self.card)
            box = tuple(boxes[place].tolist())
            views.append(View(identity, box, self.rests[identity].push(given), float(likeness[place])))
        return views[0].given._replace(reset=b.reset, n_events=b.n_events, n_missed=b.n_missed, views=tuple(views))

    @property
    def _longest_us(self) -> int:
        return LONGEST_SAMPLE * self.contract.steps * self.contract.bin_us

    def _inputs(self, bins: list[Bin]) -> list[Input]:
        if self.windows is not None:
            return [self._views(b) for b in bins]
        inputs = self._whole_inputs(bins)
        return inputs if self.whole is None else [one._replace(views=(View(1, self.whole, one),)) for one in inputs]

    def _whole_inputs(self, bins: list[Bin]) -> list[Input]:
        for b in bins:
            self.watch.push(b.x, b.reset)
        return [
            self.rest.push(Input(b.x, b.start_us, b.end_us, b.n_events, b.reset, self.kind, b.n_missed)) for b in bins
        ]
