"""What goes into a step of a stream and what comes out: inputs, outcomes, the read-out over them, answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models.neurons.state import State


class Input(NamedTuple):
    """What one step of one stream is fed."""

    x: np.ndarray  # [C, H, W], uint8 or float32
    start_us: int
    end_us: int
    n_events: int
    reset: bool  # start from zero state


class Step(NamedTuple):
    """What one step of a batch of streams gives."""

    logits: Tensor  # [N, K]
    state: State  # after the step
    layer_spikes: Tensor  # int64 [N, L]
    synops: Tensor  # int64 [N]
    raster: Tensor  # uint8 [N, R]


@dataclass(frozen=True)
class Readout:
    """The mean of the logits over the last `steps` steps, so that a stream forgets what came before. A value."""

    steps: int
    recent: np.ndarray | None = None  # float64 [n, K], the newest last, n up to `steps`
    seen: int = 0

    def push(self, logits: np.ndarray) -> "Readout":
        """The read-out after k more steps, logits [k, K]."""
        new = logits.astype(np.float64)
        recent = new if self.recent is None else np.concatenate([self.recent, new])
        return Readout(self.steps, recent[-self.steps :], self.seen + len(new))

    @property
    def mean(self) -> np.ndarray | None:
        """Float64 [K]; None before the first step."""
        return None if self.recent is None else self.recent.sum(0) / len(self.recent)

    def probabilities(self) -> np.ndarray:
        """Softmax of the mean, float64 [K]."""
        mean = self.mean
        if mean is None:
            raise ValueError("no step was read yet")
        powers = np.exp(mean - mean.max())
        return powers / powers.sum()


@dataclass(frozen=True)
class Prediction:
    """The answer after one step."""

    start_us: int
    end_us: int
    label: str
    index: int
    probabilities: tuple[float, ...]
    step: int  # 1, 2, ... since the last reset
    n_events: int  # in this step's bin
    spikes: int  # of this step
    synops: int
    latency_ms: float  # time the step took to compute
    logits: tuple[float, ...]  # of this step alone


@dataclass(frozen=True)
class Steady:
    """Smoothing and hysteresis of a stream's label; a value.

    m <- a m + (1 - a) p with the smoothing a in [0, 1); the shown class changes to the best one only when
    m[best] - m[shown] > margin.
    """

    smoothing: float = 0.0
    margin: float = 0.0
    mean: NDArray[np.float64] | None = None  # [K]
    index: int | None = None

    def push(self, probabilities: NDArray[np.float64]) -> "Steady":
        """The value after one more step's probabilities [K]."""
        if self.mean is None or not self.smoothing:
            mean = probabilities
        else:
            mean = self.smoothing * self.mean + (1 - self.smoothing) * probabilities
        best = int(mean.argmax())
        keep = self.index is not None and mean[best] - mean[self.index] <= self.margin
        return Steady(self.smoothing, self.margin, mean, self.index if keep else best)

    def cleared(self) -> "Steady":
        """The same settings, nothing seen."""
        return Steady(self.smoothing, self.margin)


class SessionError(ValueError):
    """Input that this stream cannot take."""


class Outcome(NamedTuple):
    """What the network made of k inputs of a stream, one after the other; mostly of one."""

    logits: NDArray[np.float32]  # [k, K]
    layer_spikes: list[int]  # of all k, as are synops and step_ms
    synops: int
    raster: NDArray[np.uint8]  # [R] of a single input; not for use after several
    step_ms: float
    tick: int = 0  # which step of the scheduler this was
    finite: bool = True  # False: the values overflowed the network


class Answer(NamedTuple):
    """A prediction, and what a viewer wants beside it."""

    prediction: Prediction
    steady: str
    layer_spikes: list[int]
    raster: NDArray[np.uint8]  # [R]
    reset: bool
    total_spikes: int  # since the last reset
    total_synops: int


class Track:
    """The read-out's side of a stream: outcomes in, answers out."""

    def __init__(self, labels: tuple[str, ...], horizon: int, steady: Steady | None = None) -> None:
        self.labels = labels
        self.readout = Readout(horizon)
        self.steady = steady or Steady()
        self.spikes = self.synops = 0

    def absorb(self, inputs: Sequence[Input], outcome: Outcome) -> None:
        """Take k steps into the read-out and the counts. Raises SessionError when the network overflowed."""
        if not outcome.finite:
            raise SessionError("the values are too large for this model")
        if inputs[0].reset:
            self.readout, self.steady = Readout(self.readout.steps), self.steady.cleared()
            self.spikes = self.synops = 0
        self.readout = self.readout.push(outcome.logits)
        self.spikes += sum(outcome.layer_spikes)
        self.synops += outcome.synops

    def answer(self, given: Input, outcome: Outcome) -> Answer:
        """The answer after the step that was absorbed last, `given` its input."""
        probabilities = self.readout.probabilities()
        self.steady = self.steady.push(probabilities)
        index = int(probabilities.argmax())
        prediction = Prediction(
            given.start_us,
            given.end_us,
            self.labels[index],
            index,
            tuple(probabilities.tolist()),
            self.readout.seen,
            given.n_events,
            sum(outcome.layer_spikes),
            outcome.synops,
            outcome.step_ms,
            tuple(outcome.logits[-1].tolist()),
        )
        steady = self.labels[self.steady.index or 0]
        return Answer(prediction, steady, outcome.layer_spikes, outcome.raster, given.reset, self.spikes, self.synops)

    def read(self, inputs: Sequence[Input], outcome: Outcome) -> Answer:
        """Absorb k steps and answer after the last."""
        self.absorb(inputs, outcome)
        return self.answer(inputs[-1], outcome)
