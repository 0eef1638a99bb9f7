"""One stream without its network: packets or frames become network inputs, network outcomes become answers.

There are no sockets, clocks, threads or network here. The network's owner steps the inputs in order with this stream's
membranes, alone or in a batch with other streams, and hands each outcome back.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.dvs import progress_us
from spikesight.encoders.emulator.frames import MovedFrames
from spikesight.encoders.emulator.pixels import Emulator, PixelModel
from spikesight.encoders.events import SensorSize
from spikesight.encoders.pyramid import pyramid_of_frames
from spikesight.encoders.sources.chunks import Chunk
from spikesight.models.classifier.classifier import Classifier
from spikesight.models.classifier.inputs import InputPipeline, QuietReset, finds_in, sensor_of
from spikesight.models.classifier.tracker import MAX_DETECTIONS
from spikesight.models.contract import Card
from spikesight.models.novelty.conformal import ERROR_RATE
from spikesight.models.steps import Answer, Input, Outcome, SessionError

MAX_FRAME_GAP_US = 1_000_000  # an image model's membranes are reset after a longer pause between frames
FRAME_SIDE = 640  # pixels; larger frames are downsampled by a whole factor before the pixel model


class Session:
    """A live stream of one classifier: its open bin, its pixel model and its read-out."""

    def __init__(
        self,
        classifier: Classifier,
        sensor: SensorSize | None = None,
        *,
        error_rate: float = ERROR_RATE,
        raw: bool = False,
        objects: int = 0,
    ) -> None:
        """Open a stream. `raw`: neither filter nor view, whatever the contract says. `objects`: how many objects to
        look for. Raises SessionError.
        """
        self.classifier, self.raw, self.objects = classifier, raw, objects
        if objects:
            check_objects(classifier.card, objects, raw=raw)
        self._error_rate = error_rate  # kept when the stream moves to another network
        contract = classifier.contract
        self.takes_events = contract.kind == "events"
        own = sensor_of(contract) if self.takes_events else SensorSize(contract.width, contract.height)
        self.sensor = sensor or own  # whose events the pipeline takes
        self.readout = classifier.readout(objects, error_rate)
        self.rest = QuietReset.of(classifier.card)
        self.pipeline = self._pipeline() if self.takes_events else None
        self.pixels = PixelModel()  # of frames
        self.seen: NDArray = np.zeros(0, [("x", "<i2"), ("y", "<i2"), ("p", "?")])  # events of the last push or frame
        self._emulator: Emulator | MovedFrames | None = None
        self._filmed: tuple[int, int] | None = None  # height and width of the frames
        self._frame_us: int | None = None  # time of the last frame
        self._frames = 0
        self._reset = False
        self._begun = False  # whether any input was returned

    def _pipeline(self, frames: SensorSize | None = None) -> InputPipeline:
        return InputPipeline(self.classifier.card, self.sensor, raw=self.raw, rest=self.rest, frames=frames)

    def switch_network(self, classifier: Classifier) -> None:
        """Switch to another network of the same contract: its read-out starts anew, what is before it stays."""
        self.classifier = classifier
        self.readout = classifier.readout(self.objects, self._error_rate)
        self.rest = QuietReset.of(classifier.card)
        if self.pipeline is not None:
            self.pipeline.rest = self.rest

    @property
    def moved(self) -> bool:
        """Whether the frames are moved before the pixels, so that what holds still is seen."""
        return isinstance(self._emulator, MovedFrames)

    @property
    def ann_macs(self) -> int:
        """Multiply-adds of one step of an ANN that looks at all that this stream shows."""
        contract, pyramid = self.classifier.contract, self.pipeline and self.pipeline.pyramid
        larger = pyramid.height * pyramid.width / (contract.height * contract.width) if pyramid else 1.0
        return round(larger * self.classifier.ann_macs)

    def push(self, events: NDArray) -> list[Input]:
        """Add a packet; return the inputs of the bins that it closes. Raise SessionError for an image model."""
        if self.pipeline is None:
            raise SessionError("this model takes images, not events")
        self.seen = events
        return self._with_reset(self.pipeline.push(events))

    def tick(self, now_us: int) -> list[Input]:
        """Close the bins that end by `now_us` on the events' clock; return their inputs."""
        return [] if self.pipeline is None else self._with_reset(self.pipeline.tick(now_us))

    def flush(self) -> list[Input]:
        """End the stream: close the open bin and return its input."""
        return [] if self.pipeline is None else self._with_reset(self.pipeline.flush())

    def frame(self, image: NDArray[np.uint8], t_us: int) -> list[Input]:
        """Take a camera frame uint8 [H, W, 3] and return inputs: emulated events, or one step of an image model."""
        if self.pipeline is None:
            return self._encoded(image, t_us)
        grey = luma(image)
        if grey.shape != self._filmed:
            self._film(grey)
        inputs = list[Input]()
        if isinstance(self._emulator, MovedFrames):
            inputs = self.tick(self._emulator.begins(t_us))  # the bins of a pause show nothing
        else:
            grey = downsampled(grey)
        assert self._emulator is not None
        inputs += self.push(self._emulator.push(grey, t_us))
        return inputs + self._with_reset(self.pipeline.advance(t_us))

    def _film(self, grey: NDArray[np.uint8]) -> None:
        """Begin a new pipeline and emulator for frames like this one; the next input starts from zero state."""
        self._reset = self._begun or self.readout.seen > 0
        self._filmed, size = grey.shape, SensorSize(grey.shape[1], grey.shape[0])
        if finds_in(self.classifier.card, size) and not self.raw:
            self.sensor = pyramid_of_frames(size).finest
            self._emulator, self.pipeline = MovedFrames(self.sensor), self._pipeline(size)
        else:
            self.sensor = SensorSize(*downsampled(grey).shape[::-1])
            self._emulator, self.pipeline = Emulator(self.sensor), self._pipeline()
        self._emulator.retune(self.pixels)

    def _encoded(self, image: NDArray[np.uint8], t_us: int) -> list[Input]:
        """Return an image model's inputs for a frame: one step, or T where the code spreads values over time."""
        x_seq = self.classifier.encode_image(image, seed=self._frames).numpy()[:, 0]
        whole = self.classifier.contract.encoding not in PER_FRAME
        start, reset = self._frame_us, False
        if start is None or self._reset or whole or not 0 < t_us - start <= MAX_FRAME_GAP_US:
            start, reset = t_us, True
        self._frame_us, self._reset = t_us, False
        self._frames += 1
        steps = x_seq if whole else x_seq[:1]
        return [Input(x, start, t_us, 0, reset and n == 0 and self._frames > 1) for n, x in enumerate(steps)]

    def reset(self) -> None:
        """Have the next input start from zero state."""
        self._reset = True

    def settings(self, threshold: float | None, noise_hz: float | None) -> None:
        """Set the emulated pixels' contrast threshold and noise rate from the next frame on; None: unchanged."""
        if threshold is not None:
            self.pixels = replace(self.pixels, threshold_on=threshold, threshold_off=threshold)
        if noise_hz is not None:
            self.pixels = replace(self.pixels, noise_hz=noise_hz)
        if self._emulator is not None:
            self._emulator.retune(self.pixels)

    def read(self, inputs: list[Input], outcome: Outcome) -> Answer:
        """Return the answer to one of this stream's inputs. Call in the order of the inputs."""
        return self.readout.read(inputs, outcome)

    def _with_reset(self, inputs: list[Input]) -> list[Input]:
        """Set the reset that was requested on the first input."""
        if inputs and self._reset:
            inputs[0] = inputs[0]._replace(reset=True)
            self._reset = False
        self._begun = self._begun or bool(inputs)
        return inputs


def check_objects(card: Card, objects: int, raw: bool = False) -> None:
    """Raise SessionError unless this model can tell `objects` things."""
    if card.contract.task != "detection":
        raise SessionError("this model classifies one object: nmnist detects several")
    if not 1 <= objects <= MAX_DETECTIONS:
        raise SessionError(f"objects must lie between 1 and {MAX_DETECTIONS}")
    if raw:
        raise SessionError("objects are looked for everywhere: not with raw")


def inputs_of(session: Session, chunk: Chunk) -> list[Input]:
    """Return the network inputs that a source's chunk (a packet or a frame) completes."""
    if chunk.frame is not None:
        return session.frame(chunk.frame, chunk.t_us)
    assert chunk.packet is not None
    return [*session.push(chunk.packet), *session.tick(chunk.t_us)]


PER_FRAME = frozenset({"direct", "rate"})
"""Encodings in which one step holds the whole frame. The others spread a value over T steps."""


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert RGB or grey pixels to grey uint8 [H, W] (ITU-R BT.601 weights, in 256ths)."""
    if image.ndim == 2:
        return image
    weighted = image[..., 0] * np.uint32(77) + image[..., 1] * np.uint32(150) + image[..., 2] * np.uint32(29)
    return (weighted >> 8).astype(np.uint8)


def downsampled(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Downsample an image by a whole factor to at most FRAME_SIDE pixels a side."""
    factor = -(-max(gray.shape) // FRAME_SIDE)
    return gray if factor == 1 else np.ascontiguousarray(gray[::factor, ::factor])


def split_packet(events: NDArray, session: Session, steps: int) -> Iterator[NDArray]:
    """Split a packet into parts that close about `steps` bins at most: memory is bounded, bins stay the same."""
    if session.pipeline is None or not len(events):
        yield events
        return
    bin_us = session.pipeline.binner.encoder.bin_us
    if len(events) < steps * 1000 and np.ptp(events["t"]) <= steps * bin_us:
        yield events  # the common case: a short packet
        return
    progress = progress_us(events, bin_us)
    cuts = np.flatnonzero(np.diff(progress // (steps * bin_us))) + 1
    yield from np.split(events, cuts)
