"""Turn a sensor's events into network inputs: the one path for streams, recordings, uploads and evaluation."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.dvs import Bin, DvsEncoder, StreamBinner, beginning
from spikesight.encoders.emulator.frames import MovedFrames
from spikesight.encoders.events import Events, SensorSize, empty_events, joined
from spikesight.encoders.preprocess.crop import TrackingBinner, aligned_steps
from spikesight.encoders.preprocess.input_filter import InputFilter, bins_of
from spikesight.encoders.pyramid import AdaptiveAccumulation, Pyramid, pyramid_of, pyramid_of_frames, too_long
from spikesight.models.contract import Card, Contract
from spikesight.models.novelty.profile import ProfileWatch
from spikesight.models.steps import Input

LONGEST_SAMPLE = 2  # windows of T bins: a recording up to this long is one sample for a network of aligned events


def sensor_of(contract: Contract) -> SensorSize:
    """Return the sensor size of the network's training recordings. Raises ValueError for a model that takes images."""
    if contract.kind != "events":
        raise ValueError("this model takes images, not events")
    return SensorSize(contract.sensor_width, contract.sensor_height)


def encoder_for(contract: Contract, sensor: SensorSize) -> DvsEncoder:
    """Return the event encoder that feeds a network of this contract. Raises ValueError like `sensor_of`."""
    sensor_of(contract)
    return DvsEncoder(sensor, (contract.height, contract.width), contract.bin_us, contract.steps, contract.encoding)


def binner_for(contract: Contract, sensor: SensorSize) -> StreamBinner:
    """Return the binner that cuts a stream from `sensor` into network inputs. Raises ValueError like `sensor_of`."""
    encoder = encoder_for(contract, sensor)
    if contract.frame == "object":
        return TrackingBinner(sensor, encoder.size, contract.bin_us, contract.steps, contract.shown_bins)
    return StreamBinner(encoder, shown=contract.shown_bins)


def finds_in(card: Card, frame: SensorSize) -> bool:
    """Return whether the network looks for objects all over frames of this size."""
    return card.contract.task == "detection" and not too_long(frame)


@dataclass
class QuietReset:
    """Resets the membranes when events return after silence: before the first input that follows `steps` quiet inputs.

    An input is quiet if fewer than `active` of its values are non-zero.
    """

    active: float
    steps: int
    quiet: int = 0  # consecutive quiet inputs so far

    @classmethod
    def of(cls, card: Card) -> "QuietReset":
        """Return the rule for a new stream; it never resets if the model's novelty detector was not calibrated."""
        return cls(0.0 if card.novelty is None else float(card.novelty.active[-1]), card.contract.steps)

    def push(self, given: Input) -> Input:
        """Return the stream's next input, marked with a reset if it ends a silence."""
        if np.count_nonzero(given.x) < self.active:
            self.quiet += 1
            return given
        woken, self.quiet = self.quiet >= self.steps, 0
        return given._replace(reset=True) if woken else given


class InputPipeline:
    """Turns one sensor's events into network inputs: noise filter, binning, resets after silence.

    The inputs do not depend on how packets split the events. A camera that shows more than what the network reads gives
    a `pyramid` of its view. `raw`: neither filter nor view, whatever the contract says. `rest`: continue another
    pipeline's count of quiet inputs. `frames`: the size of a webcam's frames, of whose view `sensor` is the finest
    level (encoders/emulator/frames.py). Raises ValueError for a model that takes images.
    """

    def __init__(
        self,
        card: Card,
        sensor: SensorSize,
        *,
        raw: bool = False,
        rest: QuietReset | None = None,
        frames: SensorSize | None = None,
    ) -> None:
        contract, small = card.contract, sensor_of(card.contract)
        if contract.frame == "object":
            small = sensor  # alignment scales the events later
        elif contract.pooled:
            small = SensorSize(contract.width, contract.height)
        filter_us, detects = (0, False) if raw else (contract.filter_us, contract.task == "detection")
        self.contract, self.card = contract, card
        if frames is not None:
            self.filter, self.pyramid = InputFilter(sensor, sensor), pyramid_of_frames(frames)
        else:
            self.filter = InputFilter(sensor, small, filter_us, detects)
            self.pyramid = pyramid_of(sensor) if self.filter.view else None
        self._shown = deque[NDArray[np.uint8]](maxlen=contract.shown_bins)  # counts of the last bins of a full frame
        if self.pyramid is not None:
            self._held = AdaptiveAccumulation((2, self.pyramid.height, self.pyramid.width))
            encoder = DvsEncoder(sensor, self.pyramid.grid, contract.bin_us, contract.steps, "count")
            self.binner = StreamBinner(encoder)
        else:
            self.binner = binner_for(contract, self.filter.size)
        self.rest = QuietReset.of(card) if rest is None else rest
        self.watch = ProfileWatch(card.profile, contract.steps, contract.trained_us)

    def push(self, events: Events) -> list[Input]:
        """Return the inputs of the bins that a packet of events closes."""
        return self._inputs(bins_of(events, self.filter, self.binner))

    def advance(self, t_us: int) -> list[Input]:
        """Return the inputs of the bins that end by `t_us`, told that the source had no further events until then."""
        return self._inputs(self.binner.advance(t_us))

    def tick(self, now_us: int) -> list[Input]:
        """Return the inputs of the bins that end by `now_us`, on the events' clock."""
        return self._inputs(self.binner.tick(now_us))

    def flush(self) -> list[Input]:
        """Return the open bin's input at the end of the stream."""
        inputs = self._inputs(self.binner.flush())
        self.watch.end()
        return inputs

    def stream(self, packets: Iterable[Events]) -> Iterator[Input]:
        """Yield the inputs of a whole stream of packets, each as soon as its bin closes."""
        for packet in packets:
            yield from self.push(packet)
        yield from self.flush()

    def recording(self, packets: Iterable[Events]) -> Iterator[Input]:
        """Yield the inputs of a recording as `sample` or `stream` gives them; one empty input if it has no events."""
        first = None
        for first in self._recording(iter(packets)):
            yield first
        if first is None:
            yield Input(np.zeros(self.contract.shape, np.uint8), 0, self.contract.bin_us, 0, False)

    def _recording(self, packets: Iterator[Events]) -> Iterator[Input]:
        """Yield the inputs of a recording; none if no bin closes, because nothing is left of its events."""
        head = list[Events]()
        if self.contract.frame == "object":
            head = beginning(packets, self._longest_us)
            if (sample := self.sample(joined([empty_events(), *head]))) is not None:
                yield from sample
                return
        yield from self.stream(chain(head, packets))

    def sample(self, events: Events) -> list[Input] | None:
        """Return the T inputs of a recording short enough to be one sample of aligned events; None otherwise.

        `events`: the whole recording, sorted by time. Call before anything is pushed.
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

    def _view(self, b: Bin, pyramid: Pyramid) -> Input:
        """Return the input of a bin in which the network looks for things."""
        if b.reset:
            self._shown.clear()
            self._held.clear()
        self._shown.append(b.x)
        counts = b.x if len(self._shown) == 1 else np.minimum(np.sum(self._shown, 0), 255).astype(np.uint8)
        x = pyramid.canvas(counts)
        x = x if pyramid.moved else self._held.push(x)  # what is moved never holds still
        return Input(x, b.start_us, b.end_us, b.n_events, b.reset, pyramid=pyramid)

    @property
    def _longest_us(self) -> int:
        return LONGEST_SAMPLE * self.contract.steps * self.contract.bin_us

    def _inputs(self, bins: list[Bin]) -> list[Input]:
        if self.pyramid is not None:
            return [self._view(b, self.pyramid) for b in bins]
        for b in bins:
            self.watch.push(b.x, b.reset)
        return [self.rest.push(Input(b.x, b.start_us, b.end_us, b.n_events, b.reset)) for b in bins]


def still_inputs(card: Card, grey: NDArray[np.uint8]) -> list[Input]:
    """Return the inputs of T bins in which a still picture, uint8 [H, W], is moved before the pixels of its view."""
    frame = SensorSize(grey.shape[1], grey.shape[0])
    size = pyramid_of_frames(frame).finest
    small = cv2.resize(grey, (size.width, size.height), interpolation=cv2.INTER_AREA)
    camera, pipeline = MovedFrames(size), InputPipeline(card, size, frames=frame)
    times = range(0, (card.contract.steps + 1) * card.contract.bin_us, card.contract.bin_us)
    return list(pipeline.recording(camera.push(small, t_us) for t_us in times))
