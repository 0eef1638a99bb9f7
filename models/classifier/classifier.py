"""The classifier: event encoder, network and labels, which predict step by step from events or a still image.

Classification of a stream is stateful: every bin of events is one step of the network, membrane potentials carry over
to the next step, and the read-out is the mean of the logits over the last T steps. Recordings, uploads and live streams
run the same steps, so splitting a recording into different packets gives the same logits, bit for bit. The exception is
a recording too short for a drawing to be found in it: the network sees its whole sensor.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from threading import RLock
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikesight.encoders.emulator.saccades import saccade_events
from spikesight.encoders.events import SensorSize
from spikesight.encoders.image import IMAGE_ENCODERS
from spikesight.encoders.preprocess.fit import fit_digit, fit_plain
from spikesight.encoders.sample import Sample
from spikesight.models.checkpoint import load
from spikesight.models.classifier.inputs import InputPipeline, sensor_of
from spikesight.models.classifier.objects import Objects, merged_outcome, outcomes
from spikesight.models.classifier.verdict import Verdict
from spikesight.models.contract import Card, CheckpointError
from spikesight.models.engine.engine import Engine, why_not
from spikesight.models.networks.metering import DenseMeter, Meter, dense_macs
from spikesight.models.networks.origin import Origin, origin_of
from spikesight.models.networks.taught import TaughtNetwork, Watch
from spikesight.models.networks.trace import title_of
from spikesight.models.neurons.layers import Neuron, at_pace, neuron_names
from spikesight.models.neurons.probe import EVERY_US, Inside, Map, Probe, brightness, thresholds_of
from spikesight.models.neurons.state import State, split_state, stack_states, zero_state
from spikesight.models.novelty.conformal import ERROR_RATE, Trials
from spikesight.models.novelty.rates import Rates
from spikesight.models.shipped import find, name_of, shipped
from spikesight.models.steps import Answer, ConformalRule, Input, Prediction, Step, Track


class Plain:
    """A network that one thread at a time steps while others wait, since the hooks count the spikes of the last pass.

    `layers`: how many neuron layers report rates; `macs`: an ANN's dense multiply-adds a step (its spikes are not
    counted), None for a spiking network.
    """

    def __init__(self, network: nn.Module, layers: int, macs: int | None) -> None:
        self.network, self._turn = network, RLock()
        self._meter = Meter(network) if macs is None else DenseMeter(macs)
        watch = Watch if isinstance(network, TaughtNetwork) else Rates
        self._rates = watch(network, layers) if layers else None  # type: ignore[arg-type]

    def at(self, span: float) -> nn.Module:
        """Return the network for steps of `span` times the trained length, sharing the weights."""
        with self._turn:  # not during a pass, which has hooks on the modules that are copied
            return at_pace(self.network, span)

    def size(self, name: str, x: Tensor, state: State) -> tuple[int, int, int]:
        """Return channels, rows and columns of a neuron layer for inputs like x [1, C, H, W]."""
        with self._turn:
            if name not in self._meter.sizes:
                self.step(x, state)
            return self._meter.sizes[name]

    @torch.inference_mode()
    def step(self, x: Tensor, state: State, probe: Sequence[bool] = ()) -> Step:
        """Step N streams, x [N, C, H, W], one by one, since dense kernels may sum in another order in larger batches.

        Firing neurons are recorded for all streams if any of `probe` is true.
        """
        states = split_state(state) or [state] * len(x)  # an ANN has no state
        steps = [self._step(x[n : n + 1], one, any(probe)) for n, one in enumerate(states)]
        logits, after, *others = zip(*steps)
        return Step(torch.cat(logits), stack_states(list(after)), *map(torch.cat, others))

    def _step(self, x: Tensor, state: State, probe: bool) -> Step:
        """Step one stream, x [1, C, H, W]."""
        with self._turn:
            self._meter.probe = probe
            logits, after = self.network(x[None].float(), state)
            counts = self._meter.read()
            rates = torch.zeros(1, 0) if self._rates is None else self._rates.read()[0]
        return Step(logits[0].float(), after, counts.layer_spikes, counts.synops, counts.fired, rates)


class Classifier:
    """A network ready to predict. It holds no state of any stream, so several threads may use it at once: with the
    engine in parallel, in PyTorch one after another. A copy is the classifier itself. A classifier loaded from a folder
    can be pickled: the pickle holds the folder's path, or a shipped model's name, and the bin length.

    `engine` and `ann_macs` (dense multiply-adds a step) are computed unless given.
    """

    folder: Path | None = None  # of the checkpoint; None if the network was not loaded from one

    def __init__(
        self, network: nn.Module, card: Card, name: str = "model", engine: Engine | None = None, ann_macs: int = 0
    ) -> None:
        self.network, self.card, self.name = network.eval(), card, name
        self.contract, self.labels, self.novelty = card.contract, card.labels, card.novelty
        self.origin: Origin = origin_of(self.network)
        shape, layers = self.contract.shape, 0 if self.novelty is None else self.novelty.layers
        reason = why_not(self.network)
        self.runs_on = f"PyTorch ({reason})" if reason else "the engine"
        if engine is None and not reason:
            engine = Engine(self.network, *shape[1:], rates=layers)
        self._engine = engine
        self._zero = zero_state(self.network, *shape) if self._engine is None else self._engine.initial_state()
        self.ann_macs = ann_macs or dense_macs(self.network, *shape)
        macs = self.ann_macs if self.origin == "ann" else None
        self.layer_names: tuple[str, ...] = neuron_names(self.network) if macs is None else ()
        self._plain = Plain(self.network, layers, macs) if self._engine is None else None
        if self.novelty is not None and self._rates_width() != self.novelty.width:
            raise CheckpointError("what `known` is judged by was made for another network: run `spikesight calibrate`")

    def _rates_width(self) -> int:
        """Return how many firing rates a step reports (`Step.rates`)."""
        if self._engine is not None:
            return self._engine.rates_width
        return self.step(torch.zeros(1, *self.contract.shape), self._zero).rates.shape[1]

    def at(self, bin_ms: float | None) -> "Classifier":
        """Return the model at bins of `bin_ms` (None: unchanged), weights shared. Raise ValueError out of range."""
        card = self.card if bin_ms is None else self.card.at(bin_ms)
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
        bin_ms = self.contract.bin_us / 1000 if self.contract.kind == "events" else None
        return _loaded, (self.name if any(own) else str(self.folder), bin_ms)

    @property
    def slow(self) -> bool:
        """Whether a spiking network runs in dense PyTorch because the engine does not support it."""
        return self._engine is None and self.origin != "ann"

    @classmethod
    def load(cls, folder: Path | str) -> "Classifier":
        """Load a checkpoint folder; the model is named after the folder (`name_of`). Raises CheckpointError."""
        network, card = load(folder)
        found = cls(network, card, name_of(Path(folder)))
        found.folder = Path(folder).resolve()
        return found

    def initial_state(self, n: int = 1) -> State:
        """Return the state of n streams before their first step. No step writes into the state that it is given."""
        if n == 1:
            return dict(self._zero)
        return {key: tensor.expand(n, *tensor.shape[1:]) for key, tensor in self._zero.items()}

    @property
    def trials(self) -> Trials | None:
        """Calibration of conformal commitments at this bin length; None if there is none."""
        conformal = self.card.conformal
        return None if conformal is None else conformal.trials.get(self.contract.bin_us)

    def track(self, error_rate: float = ERROR_RATE) -> Track:
        """Return the read-out of a new stream; `error_rate`: how often a label that it commits to may be wrong."""
        rule = None if self.trials is None else ConformalRule(self.trials, error_rate)
        return Track(self.labels, self.contract.horizon, self.novelty, rule)

    def readout(self, objects: int = 0, error_rate: float = ERROR_RATE) -> Track | Objects:
        """Return the read-out of a new stream as `track` does, or with `objects` > 0 one that reads each window."""
        if not objects:
            return self.track(error_rate)
        return Objects(self.labels, lambda: self.track(error_rate))

    def step(self, x: Tensor, state: State, probe: Sequence[bool] = ()) -> Step:
        """Run one step of N streams, x [N, C, H, W] (uint8 or float). `probe` [N]: streams whose firing neurons are
        recorded.

        A stream's results are bit for bit the same in any batch.
        """
        if self._engine is not None:
            made = self._engine.run(x[None], state, probe)
            return Step(made.logits[0], made.state, made.layer_spikes[0], made.synops[0], made.fired[0], made.rates[0])
        assert self._plain is not None
        return self._plain.step(x, state, probe)

    @cached_property
    def maps(self) -> tuple[Map, ...]:
        """Title, size and thresholds of each neuron layer for display, in `Step.fired`'s order; none for an ANN."""
        found: list[Map] = []
        for layer, name in enumerate(self.layer_names):
            neuron = cast(Neuron, self.network.get_submodule(name))
            if self._engine is not None:
                size = self._engine.size(layer)
            else:
                assert self._plain is not None
                size = self._plain.size(name, torch.zeros(1, *self.contract.shape), self._zero)
            found.append(Map(title_of(name, self.network), *size, thresholds_of(neuron, size[0])))
        return tuple(found)

    @property
    def probe_us(self) -> int:
        """Stream time in microseconds between two steps that are sent to clients that probe."""
        return max(EVERY_US, self.contract.bin_us)

    def inside(self, x: np.ndarray, result: Step, n: int, probe: Probe) -> Inside:
        """Return stream n's input x [C, H, W] as a picture, spikes, and membranes at the place that `probe` names."""
        membranes = None if isinstance(probe, bool) else self._membranes(result.state, n, *probe)
        return Inside(brightness(x), result.fired.numpy()[n], membranes)

    def _membranes(self, state: State, n: int, layer: int, row: int, column: int) -> NDArray[np.float32] | None:
        """Return stream n's membrane potentials [C] at a place of a layer; None outside the layer or without state."""
        if layer >= len(self.maps) or row >= self.maps[layer].height or column >= self.maps[layer].width:
            return None
        if self._engine is not None:
            return self._engine.membranes(state, n, layer, row, column)
        part = state.get(cast(Neuron, self.network.get_submodule(self.layer_names[layer])).key)
        return None if part is None else part[n].reshape(self.maps[layer][1:4])[:, row, column].float().numpy()

    @torch.inference_mode()
    def run(self, x_seq: Tensor, state: State) -> Step:
        """Run T steps of N streams, x_seq [T, N, C, H, W]; bit for bit the results of T calls of `step`."""
        if self._engine is not None:
            return self._engine.run(x_seq, state)
        results: list[Step] = []
        for x in x_seq:
            results.append(self.step(x, results[-1].state if results else state))
        logits, spikes, synops, fired, rates = (
            torch.stack(parts) for parts in zip(*((r.logits, *r[2:]) for r in results))
        )
        return Step(logits, results[-1].state, spikes, synops, fired, rates)

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

        For an event model the pixel model films the image moved by saccades; for an image model the image is encoded.
        """
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


def _loaded(where: str, bin_ms: float | None) -> Classifier:
    """Restore a pickled classifier: load this folder or shipped model, at bins of `bin_ms`."""
    return Classifier.load(find(where)).at(bin_ms)


class Stepper:
    """Runs one stream alone: keeps its membranes and its read-out, and answers one input after another."""

    def __init__(self, classifier: Classifier, track: Track | Objects | None = None) -> None:
        self.classifier = classifier
        self.states: dict[int, State] = {}  # by window id; 0 for a stream without windows
        self.track = track or classifier.track()

    def step(self, given: Input) -> Answer:
        """Run the next input and return its answer. Raises SessionError if the network overflowed."""
        result, took_s = self._run([given])
        return self.track.read([given], merged_outcome(given, list(outcomes(result, took_s))))

    def steps(self, inputs: Iterable[Input]) -> Iterator[Answer]:
        """Yield the answers that `step` gives, running up to T inputs in one call.

        This is faster for inputs that are all there already, and releases the interpreter for other threads.
        """
        for part in _runs(inputs, self.classifier.contract.steps):
            if part[0].views:
                yield self.step(part[0])
                continue
            result, took_s = self._run(part)
            for given, outcome in zip(part, outcomes(result, took_s / len(part), each_step=True)):
                yield self.track.read([given], outcome)

    def verdict(self, inputs: Iterable[Input]) -> Verdict:
        """Run a whole recording or image and return its answer; what fits one window needs no answers in between."""
        inputs, verdict = iter(inputs), Verdict(self.classifier.labels, self.classifier.contract.steps)
        head = list(islice(inputs, self.classifier.contract.steps + 1))
        if len(head) > self.classifier.contract.steps or isinstance(self.track, Objects):
            for answer in self.steps(chain(head, inputs)):
                verdict.push(answer)
            return verdict
        for part in _runs(head, len(head)):
            result, took_s = self._run(part)
            (whole,) = outcomes(result, took_s)
            verdict.push(self.track.read(part, whole), len(part))
        return verdict

    def _run(self, part: list[Input]) -> tuple[Step, float]:
        """Run one input, or several of a single window; return the results and the seconds taken."""
        windows = part[0].windows()
        known = {} if part[0].reset else self.states
        states = [
            known[one.id] if one.id in known and not one.given.reset else self.classifier.initial_state()
            for one in windows
        ]
        shown = np.stack([one.given.x for given in part for one in given.windows()])
        x_seq = torch.from_numpy(shown.reshape(len(part), len(windows), *shown.shape[1:]))
        begin = time.perf_counter()
        result = self.classifier.run(x_seq, states[0] if len(states) == 1 else stack_states(states))
        took_s = time.perf_counter() - begin
        parts = [result.state] if len(states) == 1 else split_state(result.state)
        self.states = {one.id: part for one, part in zip(windows, parts)}
        return result, took_s


def _runs(inputs: Iterable[Input], longest: int) -> Iterator[list[Input]]:
    """Group inputs into runs of up to `longest`, one call each; resets and inputs with several views start a run."""
    run = list[Input]()
    for given in inputs:
        if run and (len(run) == longest or given.reset or given.views or run[0].views):
            yield run
            run = []
        run.append(given)
    if run:
        yield run
