"""Encoder, network and labels as one thing that predicts, step by step, from events or a still image.

A stream is classified statefully: every bin of events is one step of the network, membranes carry on, and the read-out
is the mean of the logits over the last T steps. The same steps run for a recording, an upload and a live stream, so any
cutting of a recording into packets gives the same logits, bit for bit.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from spikesight.encoders.dvs import Bin, DvsEncoder, StreamBinner, beginning
from spikesight.encoders.emulator.pixels import Emulator
from spikesight.encoders.emulator.saccades import saccade_events
from spikesight.encoders.events import SensorSize, empty_events, joined, make_events
from spikesight.encoders.image import IMAGE_ENCODERS
from spikesight.encoders.preprocess.fit import fit_digit, fit_plain
from spikesight.encoders.roi.alignment import TrackingBinner, aligned_steps
from spikesight.encoders.roi.frame_tracker import FrameTracker
from spikesight.encoders.roi.input_filter import InputFilter, bins_of
from spikesight.encoders.roi.window import Window
from spikesight.encoders.sample import Sample
from spikesight.models.checkpoint import fingerprint, load
from spikesight.models.contract import Card, CheckpointError, Contract
from spikesight.models.energy.metering import dense_macs
from spikesight.models.engine.autotune import calibrated
from spikesight.models.engine.engine import Engine, why_not
from spikesight.models.engine.plain import Plain
from spikesight.models.networks.origin import Origin, origin_of
from spikesight.models.neurons.layers import at_pace, neuron_names
from spikesight.models.neurons.state import State, zero_state
from spikesight.models.novelty import CAMERA, RECORDED
from spikesight.models.novelty.conformal import ERROR_RATE, Trials
from spikesight.models.shipped import find, name_of, shipped
from spikesight.models.steps import Answer, ConformalRule, Input, Outcome, Prediction, Rest, StableLabel, Step, Track


def encoder_for(contract: Contract, sensor: SensorSize) -> DvsEncoder:
    """The event encoder that feeds a network of this contract from a sensor of this size."""
    if contract.kind != "events":
        raise ValueError("this model takes images, not events")
    return DvsEncoder(sensor, (contract.height, contract.width), contract.bin_us, contract.steps, contract.encoding)


def binner_for(contract: Contract, sensor: SensorSize) -> StreamBinner:
    """What cuts a live stream from a sensor of this size into a network's inputs."""
    if contract.frame == "object":
        size = contract.height, contract.width
        return TrackingBinner(sensor, size, contract.bin_us, contract.steps, contract.shown_bins)
    return StreamBinner(encoder_for(contract, sensor), shown=contract.shown_bins)


LONGEST_SAMPLE = 2  # a recording of up to so many windows is one sample to a network that takes aligned events


def aligned_sample(contract: Contract, events: np.ndarray, sight: InputFilter) -> np.ndarray | None:
    """uint8 [T, 2, H, W] of a recording that is one sample of a network that takes aligned events; None of any other.

    `events` are sorted by time; `sight` has seen nothing yet.
    """
    longest = LONGEST_SAMPLE * contract.steps * contract.bin_us
    if contract.frame != "object" or len(events) < 2 or events["t"][-1] - events["t"][0] > longest:
        return None
    size = contract.height, contract.width
    return aligned_steps(sight(events), size, contract.bin_us, contract.steps, contract.shown_bins)


def _flushed(binner: StreamBinner) -> Iterator[Bin]:
    """The last bin, asked for when all others have been drawn."""
    yield from binner.flush()


def input_filter_for(
    contract: Contract, sensor: SensorSize, *, raw: bool = False, fixed: Window | None = None
) -> InputFilter:
    """What a network of this contract is shown of a sensor: filter and window, or all of it where `raw` is wished."""
    small = SensorSize(contract.sensor_width, contract.sensor_height)
    if contract.frame == "object" and fixed is None:
        small = sensor  # alignment brings its events to one size
    if raw:
        return InputFilter(sensor, small, fixed=fixed)
    return InputFilter(sensor, small, contract.filter_us, follow=contract.window == "drawing", fixed=fixed)


class Classifier:
    """A network ready to predict. Holds no stream's state and may be used by several threads at once: with the engine
    they run side by side, in PyTorch one after another. A copy is the classifier itself; one that was loaded from a
    folder may be pickled, which keeps the folder's path, or a shipped model's name, and the bin.

    `engine` is the network's, and `ann_macs` its dense multiply-adds a step, where they are there already.
    """

    folder: Path | None = None  # it was loaded from

    def __init__(
        self, network: nn.Module, card: Card, name: str = "model", engine: Engine | None = None, ann_macs: int = 0
    ) -> None:
        self.network, self.card, self.name = network.eval(), card, name
        self.contract, self.labels, self.known = card.contract, card.labels, card.known
        self.origin: Origin = origin_of(self.network)
        shape, layers = self.contract.shape, 0 if self.known is None else self.known.layers
        reason = why_not(self.network)
        self.runs_on = f"PyTorch ({reason})" if reason else "the engine"
        if engine is None and not reason:
            calibrated()
            engine = Engine(self.network, *shape[1:], rates=layers)
        self._engine = engine
        self._zero = zero_state(self.network, *shape) if self._engine is None else self._engine.initial_state()
        self.ann_macs = ann_macs or dense_macs(self.network, *shape)
        macs = self.ann_macs if self.origin == "ann" else None
        self.layer_names: tuple[str, ...] = neuron_names(self.network) if macs is None else ()
        self._plain = Plain(self.network, layers, macs) if self._engine is None else None
        if self.known is not None and self._rates_width() != self.known.width:
            raise CheckpointError("what `known` is judged by was made for another network: run `spikesight calibrate`")

    def _rates_width(self) -> int:
        """How many rates a step gives."""
        if self._engine is not None:
            return self._engine.rates_width
        return self.step(torch.zeros(1, *self.contract.shape), self._zero).rates.shape[1]

    def at(self, bin_ms: float) -> "Classifier":
        """The same model at bins of `bin_ms`, its weights shared. Raises ValueError outside of the contract's range."""
        card = self.card.at(bin_ms)
        if card is self.card:
            return self
        if self.contract.input_us:
            raise ValueError("take another bin from the model at its own")
        span = card.contract.span
        engine = None if self._engine is None else self._engine.at(span)
        network = at_pace(self.network, span) if self._plain is None else self._plain.at(span)
        twin = Classifier(network, card, self.name, engine, self.ann_macs)
        twin.folder = self.folder
        return twin

    def __deepcopy__(self, _: object = None) -> "Classifier":
        return self

    __copy__ = __deepcopy__

    def __reduce__(self) -> tuple[object, ...]:
        if self.folder is None:
            raise TypeError(f"{self.name} was not loaded from a folder: save it, load it from there, and pickle that")
        own = (path for name, path in shipped().items() if name == self.name and path.resolve() == self.folder)
        return _loaded, (self.name if any(own) else str(self.folder), self.contract.bin_us / 1000)

    @property
    def slow(self) -> bool:
        """Whether spikes are computed by dense PyTorch, for want of the engine."""
        return self._engine is None and self.origin != "ann"

    @classmethod
    def load(cls, folder: Path | str) -> "Classifier":
        """From a checkpoint folder, whose name is the model's (`name_of`). Raises CheckpointError."""
        network, card = load(folder)
        found = cls(network, card, name_of(Path(folder)))
        found.folder = Path(folder).resolve()
        return found

    @cached_property
    def fingerprint(self) -> str:
        """Of weights, contract and classes: what a stream's state belongs to, whatever the model is called."""
        return fingerprint(self.network, self.card)

    def warm_up(self) -> None:
        """Do everything once, so that compiled kernels are loaded before somebody waits for them."""
        picture = np.full((240, 320), 220, np.uint8)  # strokes on paper, for whatever looks for a drawing
        picture[60:180, 120:132] = picture[168:180, 120:200] = 30
        if self.contract.kind == "events":
            own, camera = SensorSize(self.contract.sensor_width, self.contract.sensor_height), SensorSize(320, 240)
            t = np.arange(0, 4 * self.contract.bin_us, 1000)
            self.event_inputs(make_events(t, t % own.width, t % own.height, t % 2), own)
            film = [(np.roll(picture, 2 * n, 1), n * 33_000) for n in range(8)]
            for pixels, size in ((Emulator(camera), camera), (FrameTracker(own), own)):
                self.event_inputs(joined([pixels.push(*frame) for frame in film]), size)
        self.predict(self.image_inputs(picture)[:1])

    def initial_state(self, n: int = 1) -> State:
        """The state of n streams before their first step."""
        return {key: tensor.expand(n, *tensor.shape[1:]).clone() for key, tensor in self._zero.items()}

    @property
    def trials(self) -> Trials | None:
        """What commitments at this bin are judged by; None where nothing was calibrated for it."""
        conformal = self.card.conformal
        return None if conformal is None else conformal.trials.get(self.contract.bin_us)

    def track(self, steady: StableLabel | None = None, error_rate: float = ERROR_RATE) -> Track:
        """The read-out's side of a new stream, which commits itself where it errs at most so often."""
        promise = None if self.trials is None else ConformalRule(self.trials, error_rate)
        return Track(self.labels, self.contract.horizon, self.known, steady, promise)

    def rest(self) -> Rest:
        """What wakes the network in a new stream of events; never, for a model that does not know what nothing is."""
        active = 0.0 if self.known is None else float(self.known.active[-1])
        return Rest(active, self.contract.horizon)

    def step(self, x: Tensor, state: State) -> Step:
        """One step of N streams: x [N, C, H, W] (uint8 or float) and their states.

        A stream's results are the same, bit for bit, alone and in any company.
        """
        if self._engine is not None:
            result = self._engine.run(x[None], state)
            return Step(result.logits[0], *result[1:5], result.rates[0])
        assert self._plain is not None
        return self._plain.step(x, state)

    @torch.inference_mode()
    def run(self, x_seq: Tensor, state: State) -> Step:
        """T steps of N streams at once, x_seq [T, N, C, H, W]: the results of T calls of `step`, bit for bit.

        Logits are [T, N, K], rates [T, N, S]; spikes and synaptic operations are summed over the steps; the raster is
        not for use.
        """
        if self._engine is not None:
            return Step(*self._engine.run(x_seq, state))
        results: list[Step] = []
        for x in x_seq:
            results.append(self.step(x, results[-1].state if results else state))
        last = results[-1]
        spikes, synops = sum(r.layer_spikes for r in results), sum(r.synops for r in results)
        logits, rates = (torch.stack(parts) for parts in zip(*((r.logits, r.rates) for r in results)))
        return Step(logits, last.state, spikes, synops, last.raster, rates)  # type: ignore[arg-type]

    def predict(self, inputs: Sequence[Input]) -> list[Prediction]:
        """Run the inputs of one stream one after another, from zero state; one prediction each."""
        stepper = Stepper(self)
        return [stepper.step(given).prediction for given in inputs]

    def event_inputs(self, events: np.ndarray, sensor: SensorSize, sight: InputFilter | None = None) -> list[Input]:
        """The bins of a recording (EVENTS sorted by time); one empty bin when it has no events.

        `sight` is one of `input_filter_for` this sensor, the contract's without.

        Raises ValueError for a model that takes images.
        """
        return list(self.packet_inputs([events], sensor, sight))

    def packet_inputs(
        self, packets: Iterable[np.ndarray], sensor: SensorSize, sight: InputFilter | None = None
    ) -> Iterator[Input]:
        """The same of a recording in pieces, each bin as soon as it closes: nothing of the past is held."""
        contract = self.contract
        if contract.kind != "events":
            raise ValueError("this model takes images, not events")
        sight = sight or input_filter_for(contract, sensor)
        packets, head = iter(packets), list[np.ndarray]()
        if contract.frame == "object":  # a short recording is one sample
            head = beginning(packets, LONGEST_SAMPLE * contract.steps * contract.bin_us)
            events = joined([empty_events(), *head])
            if (sample := aligned_sample(contract, events, sight)) is not None:
                begin, length = int(events["t"][0]), int(events["t"][-1] - events["t"][0]) + 1
                edges = [begin + length * step // contract.steps for step in range(contract.steps + 1)]
                for x, start, end in zip(sample, edges, edges[1:]):
                    yield Input(x, start, end, int(np.count_nonzero(x)), False)
                return
        binner = binner_for(contract, sight.size)
        rest, closed = self.rest(), False
        bins = chain.from_iterable(bins_of(packet, sight, binner) for packet in chain(head, packets))
        kind = CAMERA if sight.windowed else RECORDED
        for b in chain(bins, _flushed(binner)):
            closed = True
            yield rest.push(Input(b.x, b.start_us, b.end_us, b.n_events, b.reset, kind, b.n_missed))
        if not closed:
            yield Input(np.zeros(contract.shape, np.uint8), 0, contract.bin_us, 0, False)

    def image_inputs(self, image: np.ndarray, *, seed: int = 0) -> list[Input]:
        """The steps that show a still image, uint8 [H, W] or [H, W, 3] (RGB), to the network.

        An event model sees the image moved by saccades through the pixel model; an image model sees its encoding.
        """
        if self.contract.kind == "events":
            sensor = SensorSize(self.contract.sensor_width, self.contract.sensor_height)
            return self.event_inputs(saccade_events(image, sensor, self.contract.still, seed=seed), sensor)
        x_seq = self.encode_image(image, seed=seed).numpy()[:, 0]
        return [Input(x, t, t + 1, 0, False) for t, x in enumerate(x_seq)]

    def inputs(self, sample: Sample, *, seed: int = 0) -> list[Input]:
        """The network's inputs for a recording or a still image. Raises ValueError where the model cannot take it."""
        if sample.pixels is not None:
            return self.image_inputs(sample.pixels, seed=seed)
        assert sample.events is not None
        assert sample.size is not None
        return self.event_inputs(sample.events, sample.size)

    def predict_events(self, events: np.ndarray, sensor: SensorSize) -> list[Prediction]:
        """One prediction a bin of a recording, the last one the answer."""
        return self.predict(self.event_inputs(events, sensor))

    def predict_image(self, image: np.ndarray, *, seed: int = 0) -> list[Prediction]:
        """One prediction a step for a still image, the last one the answer."""
        return self.predict(self.image_inputs(image, seed=seed))

    def encode_image(
        self, image: np.ndarray, *, encoding: str | None = None, steps: int | None = None, seed: int = 0
    ) -> Tensor:
        """x_seq [T, 1, C, H, W] of a still image by the contract's code and steps, or others; for image models."""
        contract = self.contract if encoding is None else replace(self.contract, encoding=encoding)
        fit = fit_digit if contract.still == "digit" else fit_plain
        pixels = torch.from_numpy(fit(image, contract.height, contract.width, contract.channels)).float() / 255
        if contract.mean and contract.encoding == "direct":
            mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (contract.mean, contract.std))
            pixels = (pixels - mean) / std
        encoder = IMAGE_ENCODERS[contract.encoding](steps or contract.steps)
        return encoder(pixels[None], generator=torch.Generator().manual_seed(seed))


def _loaded(where: str, bin_ms: float) -> Classifier:
    """What a pickle stands for: the model of this folder or shipped name, at a bin."""
    found = Classifier.load(find(where))
    return found.at(bin_ms) if found.contract.kind == "events" else found


class Stepper:
    """One stream stepped by itself: its membranes, its read-out, an answer for each input in turn."""

    def __init__(self, classifier: Classifier, track: Track | None = None) -> None:
        self.classifier, self.state = classifier, classifier.initial_state()
        self.track = track or classifier.track()

    def step(self, given: Input) -> Answer:
        """The next input through the network. Raises SessionError when the network overflowed."""
        if given.reset:
            self.state = self.classifier.initial_state()
        begin = time.perf_counter()
        result = self.classifier.step(torch.from_numpy(np.ascontiguousarray(given.x))[None], self.state)
        took_ms = (time.perf_counter() - begin) * 1e3
        self.state = result.state
        outcome = Outcome(
            result.logits.numpy(),
            result.layer_spikes[0].tolist(),
            int(result.synops[0]),
            result.raster[0].numpy(),
            took_ms,
            rates=result.rates.numpy(),
        )
        return self.track.read([given], outcome)
