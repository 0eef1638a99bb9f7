"""One stream without its network: packets or frames become network inputs, network outcomes become answers.

There are no sockets, clocks, threads or network here. The network's owner steps the inputs in order with this stream's
membranes, alone or in a batch with other streams, and hands each outcome back.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders import kernels
from spikesight.encoders.dvs import progress_us
from spikesight.encoders.emulator.pixels import Emulator, PixelModel
from spikesight.encoders.events import SensorSize
from spikesight.encoders.roi.frame_tracker import FrameTracker
from spikesight.encoders.roi.tracks import MOST
from spikesight.encoders.roi.window import Window
from spikesight.encoders.sample import Sample
from spikesight.encoders.sources.chunks import Chunk
from spikesight.models.classifier.classifier import Classifier
from spikesight.models.classifier.inputs import InputPipeline, QuietReset, sensor_of
from spikesight.models.contract import Contract
from spikesight.models.novelty.conformal import ERROR_RATE
from spikesight.models.novelty.score import WEBCAM
from spikesight.models.steps import Answer, Input, Outcome, SessionError, View

MAX_FRAME_GAP_US = 1_000_000  # an image model's membranes are reset after a longer pause between frames
FRAME_US = 33_333  # frame interval at which a still image is shown
FEWEST_STEPS = 20  # for which a still image is shown with several windows: what is in them becomes familiar by then
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
        fixed: Window | None = None,
        objects: int = 0,
    ) -> None:
        """Open a stream. `raw`: neither filter nor window, whatever the contract says. `fixed`: the user's window.
        `objects`: how many things to look for, each in its own window. Raises SessionError.
        """
        self.classifier, self.raw, self.fixed, self.objects = classifier, raw, fixed, objects
        if objects:
            check_objects(classifier.contract, objects, alone=not raw and fixed is None)
        self._error_rate = error_rate  # kept when the stream moves to another network
        contract = classifier.contract
        self.takes_events = contract.kind == "events"
        own = sensor_of(contract) if self.takes_events else SensorSize(contract.width, contract.height)
        self.sensor = sensor or own
        self.track = classifier.readout(objects, error_rate)
        self.rest = QuietReset.of(classifier.card)
        follows = contract.window == "drawing" and not raw and fixed is None
        self._frames = 0
        several = objects > 0 and contract.frame == "sensor"
        self.tracker = FrameTracker(own, objects if several else 0) if several or follows else None
        self.pipeline = self._pipeline() if self.takes_events else None
        self.pixels = PixelModel()
        self.seen: NDArray = np.zeros(0, [("x", "<i2"), ("y", "<i2"), ("p", "?")])  # events of the last push or frame
        self._emulator: Emulator | None = None
        self._frame_us: int | None = None  # time of the last frame
        self._reset = False
        self._begun = False  # whether any input was returned

    def _pipeline(self) -> InputPipeline:
        shown = self.tracker if self._frames and self.tracker and not self.tracker.tracks.alone else None
        return InputPipeline(
            self.classifier.card, self.sensor, raw=self.raw, fixed=self.fixed, rest=self.rest, places=self.objects,
            windows=shown,
        )  # fmt: skip

    def switch_network(self, classifier: Classifier) -> None:
        """Switch to another network of the same contract: its read-out starts anew, what is before it stays."""
        self.classifier = classifier
        self.track = classifier.readout(self.objects, self._error_rate)
        self.rest = QuietReset.of(classifier.card)
        if self.pipeline is not None:
            self.pipeline.rest = self.rest

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape [C, H, W] of the inputs that the sensor's events give."""
        return self.classifier.contract.shape if self.pipeline is None else self.pipeline.shape

    @property
    def window(self) -> Window | None:
        """Part of the frame or sensor that the network sees, in pixels; None for all of it, or not found yet."""
        if self.tracker is not None and self._frames:
            return self.tracker.tracks.window
        return self.pipeline.filter.window if self.pipeline is not None else None

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
        self._frames += 1
        if self.tracker is not None:
            self._resize(self.tracker.tall)
            self.pipeline.kind = WEBCAM
            inputs = self.tick(self.tracker.resume(t_us))  # the bins of a pause show nothing
            inputs += self.push(self.tracker.push(image, t_us))
        else:
            gray = downsampled(luma(image))
            self._resize(SensorSize(gray.shape[1], gray.shape[0]))
            inputs = self.push(self._pixels().push(gray, t_us))
        return inputs + self._with_reset(self.pipeline.advance(t_us))

    def _pixels(self) -> Emulator:
        """Return the emulated pixels that film the frames, made at the first call."""
        self._emulator = self._emulator or Emulator(self.sensor, self.pixels)
        return self._emulator

    def _resize(self, sensor: SensorSize) -> None:
        """Set the sensor size; if it changed, start a new pipeline and emulator and mark a reset."""
        if sensor != self.sensor:
            self.sensor = sensor
            self.pipeline = self._pipeline()
            self._emulator, self._reset = None, self._begun or self.track.seen > 0

    def _encoded(self, image: NDArray[np.uint8], t_us: int) -> list[Input]:
        """Return an image model's inputs for a frame: one step, or T where the code spreads values over time."""
        if self.tracker is not None and not self.tracker.tracks.alone:
            return self._encoded_windows(image, t_us, self.tracker)
        x_seq = self.classifier.encode_image(image, seed=self._frames).numpy()[:, 0]
        whole = self.classifier.contract.encoding not in PER_FRAME
        start, reset = self._frame_us, False
        if start is None or self._reset or whole or not 0 < t_us - start <= MAX_FRAME_GAP_US:
            start, reset = t_us, True
        self._frame_us, self._reset = t_us, False
        self._frames += 1
        steps = x_seq if whole else x_seq[:1]
        return [Input(x, start, t_us, 0, reset and n == 0 and self._frames > 1) for n, x in enumerate(steps)]

    def _encoded_windows(self, image: NDArray[np.uint8], t_us: int, windows: FrameTracker) -> list[Input]:
        """Return an image model's input with one view for each drawing in a frame; an empty view if none."""
        _, start = windows.look(image, t_us)
        tracks, views = windows.tracks, list[View]()
        for place in np.flatnonzero(tracks.ids).tolist() or [0]:
            pixels = tracks.drawings[place].astype(np.uint8)
            x = self.classifier.encode_image(pixels, steps=1, seed=self._frames).numpy()[0, 0]
            box = tuple(tracks.boxes[place].tolist())
            likeness = float(tracks.likeness[place])
            views.append(View(int(tracks.ids[place]), box, Input(x, start, t_us, 0, False), likeness))
        self._frames += 1
        return self._with_reset([views[0].given._replace(views=tuple(views))])

    def reset(self) -> None:
        """Have the next input start from zero state."""
        self._reset = True

    def settings(self, threshold: float | None, noise_hz: float | None) -> None:
        """Set the pixels' contrast threshold and noise rate from the next frame on; None: unchanged."""
        if threshold is not None:
            self.pixels = replace(self.pixels, threshold_on=threshold, threshold_off=threshold)
        if noise_hz is not None:
            self.pixels = replace(self.pixels, noise_hz=noise_hz)
        if self._emulator is not None:
            self._emulator.retune(self.pixels)
        if self.tracker is not None:
            self.tracker.retune(threshold, noise_hz)

    def read(self, inputs: list[Input], outcome: Outcome) -> Answer:
        """Return the answer to one of this stream's inputs. Call in the order of the inputs."""
        return self.track.read(inputs, outcome)

    def _with_reset(self, inputs: list[Input]) -> list[Input]:
        """Set the reset that was requested on the first input."""
        if inputs and self._reset:
            inputs[0] = inputs[0]._replace(reset=True)
            self._reset = False
        self._begun = self._begun or bool(inputs)
        return inputs


def check_objects(contract: Contract, objects: int, alone: bool) -> None:
    """Raise SessionError unless this contract allows `objects` windows; `alone`: no raw and no fixed window."""
    if contract.frame == "object":
        raise SessionError("this model follows what moves: it tells one thing")
    if not (contract.window == "drawing" or (contract.still == "digit" and contract.encoding in PER_FRAME)):
        raise SessionError("this model looks at all of the picture: it cannot tell several objects")
    if not 1 <= objects <= MOST:
        raise SessionError(f"objects must lie between 1 and {MOST}")
    if not alone:
        raise SessionError("objects are looked for everywhere: not with raw, and not with a fixed window")


def inputs_of(session: Session, chunk: Chunk) -> list[Input]:
    """Return the network inputs that a source's chunk (a packet or a frame) completes."""
    if chunk.frame is not None:
        return session.frame(chunk.frame, chunk.t_us)
    assert chunk.packet is not None
    return [*session.push(chunk.packet), *session.tick(chunk.t_us)]


def inputs_of_several(classifier: Classifier, sample: Sample, objects: int) -> list[Input]:
    """Return the inputs of a recording or still image with up to `objects` windows; one empty input if there are none.
    Raises SessionError.
    """
    session, contract = Session(classifier, sample.size, objects=objects), classifier.contract
    if sample.pixels is None:
        assert sample.events is not None
        inputs = [*session.push(sample.events), *session.flush()]
        return inputs or classifier.inputs(replace(sample, events=sample.events[:0]))
    step_us = contract.bin_us if session.takes_events else FRAME_US
    frames = -(-max(contract.steps + 1, FEWEST_STEPS) * step_us // FRAME_US)
    return [given for n in range(frames) for given in session.frame(sample.pixels, n * FRAME_US)]


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
    binner = session.pipeline.binner
    bin_us = binner.encoder.bin_us
    if len(events) < steps * 1000 and kernels.compiled("readers").span(events) <= steps * bin_us:
        yield events  # the common case: a short packet
        return
    progress = progress_us(events, bin_us, binner.gap_us, binner.back_us)
    cuts = np.flatnonzero(np.diff(progress // (steps * bin_us))) + 1
    yield from np.split(events, cuts)
