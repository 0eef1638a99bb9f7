"""The classifier: event encoder, network and labels, which predict step by step from events or a still image.

Classification of a stream is stateful: every bin of events is one step of the network, membrane potentials carry over
to the next step, and the read-out is the mean of the logits over the last T steps. Recordings, uploads and live streams
run the same steps, so splitting a recording into different packets gives the same logits, bit for bit.
"""

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from torch import Tensor, nn

from spikesight.encoders.emulator.saccades import saccade_events
from spikesight.encoders.events import SensorSize
from spikesight.encoders.image import IMAGE_ENCODERS
from spikesight.encoders.preprocess.fit import checked, fit_digit, fit_plain, to_grey
from spikesight.encoders.sample import Sample
from spikesight.models.checkpoint import load
from spikesight.models.classifier.inputs import InputPipeline, finds_in, sensor_of, still_inputs
from spikesight.models.classifier.readout import DetectionReadout, outcomes
from spikesight.models.classifier.runner import Runner
from spikesight.models.classifier.tracker import corner_of
from spikesight.models.classifier.verdict import Verdict
from spikesight.models.contract import Card, CheckpointError
from spikesight.models.engine.engine import Engine
from spikesight.models.networks.metering import dense_macs
from spikesight.models.networks.origin import Origin, origin_of
from spikesight.models.networks.output_cells import CELL_WINDOW, STRIDE
from spikesight.models.neurons.layers import neuron_names
from spikesight.models.neurons.probe import EVERY_US, Inside, Map, Probe, brightness, part_of
from spikesight.models.neurons.state import State
from spikesight.models.novelty.conformal import ERROR_RATE, Trials
from spikesight.models.shipped import name_of
from spikesight.models.steps import Answer, ConformalRule, Input, Outcome, Prediction, Step, StreamReadout

MOST_VIEWS = 8  # sizes of views for which what runs the network is kept


class Classifier:
    """A network ready to predict. It holds no state of any stream, so several threads may use it at once: with the
    engine in parallel, in PyTorch one after another.

    `engine` and `ann_macs` (dense multiply-adds a step) are computed unless given.
    """

    def __init__(
        self, network: nn.Module, card: Card, name: str = "model", engine: Engine | None = None, ann_macs: int = 0
    ) -> None:
        self.network, self.card, self.name = network.eval(), card, name
        self.contract, self.labels, self.novelty = card.contract, card.labels, card.novelty
        self.origin: Origin = origin_of(self.network)
        shape, layers = self.contract.shape, 0 if self.novelty is None else self.novelty.layers
        self.ann_macs = ann_macs or dense_macs(self.network, *shape)
        macs = self.ann_macs if self.origin == "ann" else None
        self._own = Runner(self.network, shape, layers=layers, macs=macs, engine=engine)
        self.layer_names: tuple[str, ...] = neuron_names(self.network) if macs is None else ()
        self._views = OrderedDict[tuple[int, ...], Runner]()
        self._making = Lock()
        if self.novelty is not None and self._own.rates_width != self.novelty.width:
            raise CheckpointError(
                "what `in_distribution` is judged by was made for another network: run `spikesight calibrate`"
            )

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it classifies, "recording" and "image" or one of both."""
        images = () if self.contract.still == "none" else ("image",)
        return ("recording", *images) if self.contract.kind == "events" else ("image",)

    @property
    def runs_on(self) -> str:
        """What runs the network, in words."""
        return f"PyTorch ({self._own.reason})" if self._own.reason else "the engine"

    def runner(self, shape: tuple[int, ...]) -> Runner:
        """Return what runs the network on inputs of this shape: its own, or that of a full frame
        (`encoders/pyramid.py`). Raises ValueError for another.
        """
        if shape == self.contract.shape:
            return self._own
        if not self.takes(shape):
            raise ValueError(f"an input must be {list(self.contract.shape)}")
        with self._making:
            found = self._views.pop(shape, None) or Runner(self.network, (shape[0], shape[1], shape[2]))
            self._views[shape] = found
            if len(self._views) > MOST_VIEWS:
                self._views.popitem(last=False)
        return found

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Return whether the network takes inputs of this shape."""
        if shape == self.contract.shape:
            return True
        whole = len(shape) == 3 and shape[0] == self.contract.channels and not any(side % STRIDE for side in shape[1:])
        return self.contract.task == "detection" and whole and min(shape[1:]) >= STRIDE * CELL_WINDOW

    def at(self, bin_ms: float | None) -> "Classifier":
        """Return the model at bins of `bin_ms` (None: unchanged), weights shared. Raise ValueError out of range."""
        card = self.card if bin_ms is None else self.card.at(bin_ms)
        if card is self.card:
            return self
        if self.contract.input_us:
            raise ValueError("take another bin from the model at its own")
        span = card.contract.span
        network, engine = self._own.at(span)
        return Classifier(network, card, self.name, engine, self.ann_macs)

    @property
    def slow(self) -> bool:
        """Whether a spiking network runs in dense PyTorch because the engine does not support it."""
        return self._own.engine is None and self.origin != "ann"

    @classmethod
    def load(cls, folder: Path | str) -> "Classifier":
        """Load a checkpoint folder; the model is named after the folder (`name_of`). Raises CheckpointError."""
        network, card = load(folder)
        return cls(network, card, name_of(Path(folder)))

    def initial_state(self, n: int = 1, shape: tuple[int, ...] = ()) -> State:
        """Return the state of n streams before their first step, for inputs of `shape`; (): the contract's. No step
        writes into the state that it is given.
        """
        return self.runner(shape or self.contract.shape).initial_state(n)

    @property
    def trials(self) -> Trials | None:
        """Calibration of conformal commitments at this bin length; None if there is none."""
        conformal = self.card.conformal
        return None if conformal is None else conformal.trials.get(self.contract.bin_us)

    def stream_readout(self, error_rate: float = ERROR_RATE) -> StreamReadout:
        """Return the read-out of a new stream that shows one object after another; `error_rate`: the share of them, of
        each class, that may be committed to wrongly.
        """
        steps, line = self.contract.steps, self.card.alarm
        rule = None if self.trials is None else ConformalRule(self.trials, error_rate, steps, line)
        return StreamReadout(self.labels, self.contract.horizon, self.novelty, rule)

    def readout(self, objects: int = 0, error_rate: float = ERROR_RATE) -> DetectionReadout:
        """Return the read-out of a new stream; with `objects` > 0 its answers always list objects."""
        return DetectionReadout(self.labels, self.stream_readout(error_rate), objects)

    def step(self, x: Tensor, state: State, probe: Sequence[bool] = ()) -> Step:
        """Run one step of N streams, x [N, C, H, W] (uint8 or float). `probe` [N]: streams whose firing neurons are
        recorded.

        A stream's results are bit for bit the same in any batch.
        """
        return self.runner(tuple(x.shape[1:])).step(x, state, probe)

    def maps(self) -> tuple[Map, ...]:
        """Title, size and thresholds of each neuron layer for display, in `Inside.fired`'s order; none for an ANN."""
        return self._own.maps

    @property
    def probe_us(self) -> int:
        """Stream time in microseconds between two steps that are sent to clients that probe."""
        return max(EVERY_US, self.contract.bin_us)

    def inside(self, given: Input, result: Step, n: int, probe: Probe) -> Inside:
        """Return stream n's input x [C, H, W] as a picture, spikes, and membranes at the place that `probe` names: in a
        view, of its likeliest place, as large as what the network reads.
        """
        runner, x, fired = self.runner(given.x.shape), given.x, result.fired.numpy()[n]
        if given.pyramid is not None:
            row, column = corner_of(given.pyramid, result.logits[n].numpy().reshape(-1, len(self.labels)))
            x = x[:, row : row + self.contract.height, column : column + self.contract.width]
            fired, probe = part_of(
                fired, probe, runner.maps, self.maps(), row / given.x.shape[1], column / given.x.shape[2]
            )
        membranes = None if isinstance(probe, bool) else runner.membranes(result.state, n, *probe)
        return Inside(brightness(x), fired, membranes)

    def run(self, x_seq: Tensor, state: State) -> Step:
        """Run T steps of N streams, x_seq [T, N, C, H, W]; bit for bit the results of T calls of `step`."""
        return self.runner(tuple(x_seq.shape[2:])).run(x_seq, state)

    def predict(self, inputs: Sequence[Input]) -> list[Prediction]:
        """Run the inputs of one stream from zero state; return one prediction for each input."""
        return [answer.prediction for answer in Stepper(self).steps(inputs)]

    def event_inputs(self, events: np.ndarray, sensor: SensorSize) -> list[Input]:
        """Return the bins of a recording (EVENTS sorted by time); one empty bin if it has no events.

        Raises ValueError for a model that takes images.
        """
        return list(self.packet_inputs([events], sensor))

    def packet_inputs(self, packets: Iterable[np.ndarray], sensor: SensorSize) -> Iterator[Input]:
        """Yield the bins of a recording given in packets, each as soon as it closes; past packets are not kept."""
        card = replace(self.card, profile=None)  # a recording needs no comparison with the training camera
        return InputPipeline(card, sensor).recording(packets)

    def image_inputs(self, image: np.ndarray, *, seed: int = 0) -> list[Input]:
        """Return the steps that show a still image, uint8 [H, W] or [H, W, 3] (RGB), to the network.

        For an event model the pixel model films the image moved by saccades: all of it, if the network finds objects in
        it, or else the drawing in it. For an image model the image is encoded. Raises ValueError if a still image has
        nothing for the model to tell.
        """
        if "image" not in self.kinds:
            raise ValueError("this model tells motions, and a picture has none: give it a recording, or choose another")
        height, width = checked(image).shape[:2]
        if finds_in(self.card, SensorSize(width, height)):
            return still_inputs(self.card, to_grey(image))
        if self.contract.kind == "events":
            sensor = sensor_of(self.contract)
            return self.event_inputs(saccade_events(image, sensor, self.contract.still, seed=seed), sensor)
        x_seq = self.encode_image(image, seed=seed).numpy()[:, 0]
        return [Input(x, t, t + 1, 0, False) for t, x in enumerate(x_seq)]

    def inputs(self, sample: Sample, *, seed: int = 0) -> list[Input]:
        """Return the network's inputs for a recording or still image. Raises ValueError if the model cannot take it."""
        if sample.pixels is not None:
            return self.image_inputs(sample.pixels, seed=seed)
        assert sample.events is not None
        assert sample.size is not None
        return self.event_inputs(sample.events, sample.size)

    def predict_events(self, events: np.ndarray, sensor: SensorSize) -> list[Prediction]:
        """Return one prediction for each bin of a recording; the last is the answer."""
        return self.predict(self.event_inputs(events, sensor))

    def predict_image(self, image: np.ndarray, *, seed: int = 0) -> list[Prediction]:
        """Return one prediction for each step of a still image; the last is the answer."""
        return self.predict(self.image_inputs(image, seed=seed))

    def encode_image(self, image: np.ndarray, *, steps: int | None = None, seed: int = 0) -> Tensor:
        """Encode a still image for an image model: x_seq [T, 1, C, H, W]. None: the contract's steps."""
        contract = self.contract
        fit = fit_digit if contract.still == "digit" else fit_plain
        pixels = torch.from_numpy(fit(image, contract.height, contract.width, contract.channels)).float() / 255
        if contract.mean and contract.encoding == "direct":
            mean, std = (pixels.new_tensor(v).view(-1, 1, 1) for v in (contract.mean, contract.std))
            pixels = (pixels - mean) / std
        encoder = IMAGE_ENCODERS[contract.encoding](steps or contract.steps)
        return encoder(pixels[None], generator=torch.Generator().manual_seed(seed))


class Stepper:
    """Runs one stream alone: keeps its membranes and its read-out, and answers one input after another."""

    def __init__(self, classifier: Classifier, track: StreamReadout | DetectionReadout | None = None) -> None:
        self.classifier = classifier
        self.state: State | None = None
        self.readout = track or classifier.readout()

    def step(self, given: Input) -> Answer:
        """Run the next input and return its answer. Raises SessionError if the network overflowed."""
        result, took_s = self._run([given])
        return self.readout.read([given], *outcomes(result, took_s))

    def steps(self, inputs: Iterable[Input]) -> Iterator[Answer]:
        """Yield the answers that `step` gives, running up to T inputs in one call.

        This is faster for inputs that are all there already, and releases the interpreter for other threads.
        """
        for part in _runs(inputs, self.classifier.contract.steps):
            result, took_s = self._run(part)
            for given, outcome in zip(part, outcomes(result, took_s / len(part), each_step=True)):
                yield self.readout.read([given], outcome)

    def verdict(self, inputs: Iterable[Input]) -> Verdict:
        """Run a whole recording or image and return its answer; what fits one window needs no answers in between."""
        inputs, verdict = iter(inputs), Verdict(self.classifier.labels, self.classifier.contract.steps)
        head = list(islice(inputs, self.classifier.contract.steps + 1))
        if len(head) > self.classifier.contract.steps or any(one.pyramid for one in head):
            for answer in self.steps(chain(head, inputs)):
                verdict.push(answer)
            return verdict
        for part, _, answer in self.windows(head):
            verdict.push(answer, len(part))
        return verdict

    def windows(self, inputs: Iterable[Input]) -> Iterator[tuple[list[Input], Outcome, Answer]]:
        """Yield windows of T inputs, shorter before a reset and at the end, with outcome and answer at their ends."""
        for part in _runs(inputs, self.classifier.contract.steps):
            result, took_s = self._run(part)
            (whole,) = outcomes(result, took_s)
            yield part, whole, self.readout.read(part, whole)

    def _run(self, part: list[Input]) -> tuple[Step, float]:
        """Run one input, or several; return the results and the seconds taken."""
        x_seq = torch.from_numpy(np.stack([given.x for given in part]))[:, None]
        state = None if part[0].reset else self.state
        state = self.classifier.initial_state(1, part[0].x.shape) if state is None else state
        begin = time.perf_counter()
        result = self.classifier.run(x_seq, state)
        self.state = result.state
        return result, time.perf_counter() - begin


def _runs(inputs: Iterable[Input], longest: int) -> Iterator[list[Input]]:
    """Group inputs into runs of up to `longest`, one call each; a reset starts a run."""
    run = list[Input]()
    for given in inputs:
        if run and (len(run) == longest or given.reset):
            yield run
            run = []
        run.append(given)
    if run:
        yield run
