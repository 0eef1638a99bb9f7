"""Values that flow through a stream: inputs, outcomes of the network, the read-out over them, and answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spikesight.encoders.pyramid import Pyramid
from spikesight.models.neurons.probe import Inside
from spikesight.models.neurons.state import State
from spikesight.models.novelty import KEPT, NOTHING, UNKNOWN, NoveltyDetector
from spikesight.models.novelty.alarm import Alarm
from spikesight.models.novelty.conformal import Commitment, Trials
from spikesight.models.novelty.score import Judged
from spikesight.models.statistics import softmax


class Input(NamedTuple):
    """The network input of one step of one stream."""

    x: np.ndarray  # [C, H, W], uint8 or float32
    start_us: int
    end_us: int
    n_events: int
    reset: bool  # whether to start from zero state
    pyramid: Pyramid | None = None  # of which x is the canvas; None: x shows one object

    def whole(self, shape: tuple[int, int, int]) -> np.ndarray:
        """Return x as an input of this shape [C, H, W] to a network of one object; of a full frame, all of it."""
        if self.pyramid is None:
            return self.x
        x = self.pyramid.level(self.x, max(shape[1:]))
        rows, columns = (np.arange(n) * side // n for n, side in zip(shape[1:], x.shape[1:]))
        return x[:, rows[:, None], columns]


class Step(NamedTuple):
    """Results of one step of N streams; after a run of T steps all tensors except the state have T in front."""

    logits: Tensor  # [N, K]
    state: State  # after the step
    layer_spikes: Tensor  # int64 [N, L]
    synops: Tensor  # int64 [N]
    fired: Tensor  # uint8 [N, F], a bit for each neuron (metering.py, packed); F = 0 unless probed
    rates: Tensor  # float32 [N, S], firing rates for `in_distribution` (models/novelty/rates.py); S = 0 without it


@dataclass(frozen=True)
class SlidingMean:
    """The running mean of each step's values (logits, and what `in_distribution` is judged by) over the last `steps`
    steps, so that a stream forgets what came before. Immutable.
    """

    steps: int
    recent: NDArray[np.float64] | None = None  # [n, V], n <= steps, the newest last; None before the first step
    seen: int = 0

    def push(self, values: np.ndarray) -> "SlidingMean":
        """Return the read-out after k more steps, values [k, V]."""
        recent = values if self.recent is None else np.concatenate([self.recent, values])
        return SlidingMean(self.steps, recent[-self.steps :].astype(np.float64), self.seen + len(values))

    @cached_property
    def mean(self) -> np.ndarray | None:
        """Mean of the last steps, float64 [V]; None before the first step."""
        return None if self.recent is None else self.recent.mean(0)


class Detection(NamedTuple):
    """An object found in a stream."""

    id: int  # constant while the object is followed
    box: tuple[float, float, float, float]  # left, top, width and height, in the frame's or the sensor's pixels
    label: str  # a class; the stable label of the object
    confidence: float  # probability of the class
    in_distribution: float | None
    commitment: Commitment | None

    def fields(self) -> dict[str, Any]:
        """Return a dictionary ready for JSON."""
        return {**self._asdict(), "commitment": self.commitment and self.commitment.fields()}


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The answer after one step; `fields` converts it for JSON."""

    step: int  # 1, 2, ... since the last reset
    start_us: int
    end_us: int
    label: str  # what is shown: a class, "unknown" (out of distribution) or "nothing" (too few events); "" before there
    # is evidence. Of a step, by `StableLabel`; of a whole recording, by models/classifier/verdict.py
    top1: str  # the class with the highest probability in this step, whatever the label
    index: int  # of `top1` among the classes
    probabilities: tuple[float, ...]  # of the classes, given that the input shows one of them
    in_distribution: float | None = (
        None  # in [0, 1]: how familiar the input is (models/novelty); None: the model cannot tell
    )
    commitment: Commitment | None = None  # to what is seen now; None: not calibrated at this bin
    n_events: int  # events in this step's bin
    spikes: int  # of all neurons in this step
    synops: int
    logits: tuple[float, ...]  # of this step alone
    latency_ms: float  # time the step took to compute
    objects: tuple[Detection, ...] | None = None  # in reading order; None unless the stream looks for several objects

    @property
    def confidence(self) -> float:
        """Probability of the best class."""
        return self.probabilities[self.index]

    def fields(self, *, logits: bool = False) -> dict[str, Any]:
        """Return a dictionary ready for JSON, keyed by the names of the wire format; `logits`: include them.

        Probabilities are rounded to six significant digits; logits are exact.
        """
        fields = {**vars(self), "confidence": self.confidence}
        fields["probabilities"] = tuple(map(rounded, self.probabilities))
        for name in ("confidence", "in_distribution"):
            fields[name] = fields[name] and rounded(fields[name])
        fields["commitment"] = self.commitment and self.commitment.fields()
        for name in ["latency_ms", "objects"] if logits else ["latency_ms", "objects", "logits"]:
            del fields[name]
        return fields if self.objects is None else fields | {"objects": [one.fields() for one in self.objects]}


def rounded(share: float) -> float:
    """Round a number to six significant digits, as in JSON."""
    return float(f"{share:.6g}")


FIRST, OTHER = 2.0, 4.0  # evidence, in nats of log odds, that the first label and a change of label need
MARGIN = 0.1  # lead in probability below which a step does not count as evidence
LEAST_SHARE = 1e-3  # smaller probabilities are raised to this value
LULL = 0.25  # weight of a step with nothing to see: an object held still sends no events either
LEAST_INERTIA = 10  # steps, smallest `inertia`


def label_rules(horizon: int) -> dict[str, float]:
    """Return `StableLabel`'s constants for a read-out of `horizon` steps, for implementations in other languages."""
    shown = {"kept": KEPT, "first": FIRST, "other": OTHER, "least": LEAST_SHARE, "lull": LULL, "margin": MARGIN}
    return {**shown, "inertia": max(horizon, LEAST_INERTIA)}


@dataclass(frozen=True)
class StableLabel:
    """The label to show, which does not flicker: it changes only when enough evidence speaks for another. Immutable.

    Hypotheses are the K classes, "unknown" and "nothing". Each accumulates its log odds against the shown hypothesis,
    step by step and never below 0 (CUSUM, Page 1954), divided by the steps of a read-out, since read-outs overlap. The
    first hypothesis to reach OTHER is shown next. While no label is shown, or "nothing", the odds are against the best
    other hypothesis, and FIRST is enough.

    `inertia`: steps over which the evidence of one read-out is spread.
    """

    inertia: int = LEAST_INERTIA
    evidence: NDArray[np.float64] | None = None  # [K + 2]
    index: int | None = None  # of the shown hypothesis; None before the first

    def push(self, judged: Judged) -> "StableLabel":
        """Return the label's state after one more step."""
        classes = len(judged.probabilities)
        share = np.zeros(classes + 2)
        if judged.nothing:
            share[-1] = 1.0
        else:
            share[:classes], share[classes] = judged.in_distribution * judged.probabilities, 1 - judged.in_distribution
        none = self.index is None or self.index > classes  # after "nothing" as after none: any input beats that
        second, most = np.partition(share, -2)[-2:]
        rival = np.where(share == most, second, most) if none else share[self.index]
        gained = np.log(np.maximum(share, LEAST_SHARE) / np.maximum(rival, LEAST_SHARE)) / self.inertia
        gained[(gained > 0) & (share - rival <= MARGIN)] = 0.0
        if self.index is not None:
            gained[self.index] = 0.0
        gained[-1] *= LULL if gained[-1] > 0 else 1.0
        evidence = np.maximum(gained + (0.0 if self.evidence is None else self.evidence), 0.0)
        best = int(evidence.argmax())
        if evidence[best] < (FIRST if none else OTHER):
            return StableLabel(self.inertia, evidence, self.index)
        return StableLabel(self.inertia, None, best)

    def restarted(self) -> "StableLabel":
        """Return the state after a reset: the evidence starts anew, the shown label stays."""
        return StableLabel(self.inertia, index=self.index)

    def label(self, labels: Sequence[str]) -> str:
        """Return the shown label; empty before there was enough evidence for any."""
        return "" if self.index is None else (*labels, UNKNOWN, NOTHING)[self.index]


class SessionError(ValueError):
    """An input or setting that this stream does not accept."""


NO_RATES = np.zeros((1, 0), np.float32)


class Outcome(NamedTuple):
    """The network's results for k consecutive inputs of a stream; usually k = 1."""

    logits: NDArray[np.float32]  # [k, K]
    layer_spikes: list[int]  # summed over the k inputs, as are synops and step_ms
    synops: int
    step_ms: float
    tick: int = 0  # number of the scheduler's step
    finite: bool = True  # False: the values overflowed the network
    rates: NDArray[np.float32] = NO_RATES  # [k, S]
    inside: Inside | None = None  # input, spikes and membranes, if a client probes

    def each(self, inputs: Sequence[Input]) -> "Iterator[tuple[list[Input], Outcome]]":
        """Yield each of the k inputs with its outcome; the first has the counts of all."""
        for n, given in enumerate(inputs):
            counts = (self.layer_spikes, self.synops, self.step_ms) if not n else ([0] * len(self.layer_spikes), 0, 0.0)
            yield [given], Outcome(self.logits[n : n + 1], *counts, self.tick, self.finite, self.rates[n : n + 1])


class Answer(NamedTuple):
    """A prediction, and what a viewer shows beside it."""

    prediction: Prediction
    step_label: str  # of this step alone, which may flicker: a class, "unknown" or "nothing"
    layer_spikes: list[int]
    reset: bool
    total_spikes: int  # since the last reset
    total_synops: int


class ConformalRule(NamedTuple):
    """The calibration and the error rate by which a stream commits to labels."""

    trials: Trials
    error_rate: float  # in (0, 1): share of the objects of each class that may be committed to wrongly
    window: int  # steps after which the alarm gets the familiarity
    threshold: float | None = None  # level above which the alarm is raised; None: there is no alarm


class StreamReadout:
    """The read-out of one stream: takes outcomes of the network and returns answers."""

    def __init__(
        self,
        labels: tuple[str, ...],
        horizon: int,
        novelty: NoveltyDetector | None = None,
        rule: ConformalRule | None = None,
    ) -> None:
        self.labels, self.novelty = labels, novelty
        self.readout = SlidingMean(horizon)  # of logits, rates (with a novelty detector), active inputs
        self.width = len(labels) + (0 if novelty is None else novelty.width) + 1
        self.stable = StableLabel(max(horizon, LEAST_INERTIA))
        self.rule, self.alarm = rule, Alarm()
        self.held: Commitment | None = None  # of the last step
        # the line of the alarm; None: it does not run
        self.threshold = rule.threshold if rule is not None and novelty is not None and rule.trials.known.size else None
        self.spikes = self.synops = 0

    @property
    def seen(self) -> int:
        """Number of steps since the last reset."""
        return self.readout.seen

    @property
    def logits(self) -> NDArray[np.float64] | None:
        """Mean logits [K] of the read-out; None before the first step."""
        mean = self.readout.mean
        return None if mean is None else mean[: len(self.labels)]

    def absorb(self, inputs: Sequence[Input], outcome: Outcome) -> None:
        """Add k steps to the read-out and the counts. Raises SessionError if the network overflowed."""
        if not outcome.finite:
            raise SessionError("the values are too large for this model")
        if inputs[0].reset:
            self.readout, self.stable = SlidingMean(self.readout.steps), self.stable.restarted()
            self.spikes, self.synops, self.held = 0, 0, None
        seen = np.array([[np.count_nonzero(given.x)] for given in inputs], np.float32)
        rates = () if self.novelty is None else (outcome.rates,)
        values = np.concatenate([outcome.logits, *rates, seen], 1)
        k, window = len(inputs), len(inputs) if self.rule is None else self.rule.window
        for begin, end in pairwise((0, *range(window - self.readout.seen % window, k, window), k)):
            self.readout = self.readout.push(values[begin:end])
            if self.rule is None or self.threshold is None or self.readout.seen % window:
                continue
            if not (judged := self.judge()).nothing:
                self.alarm = self.alarm.push(self.rule.trials.familiarity(judged.in_distribution), self.threshold)
        self.spikes += sum(outcome.layer_spikes)
        self.synops += outcome.synops

    def commitment(self, label: str, logits: Sequence[float], end_us: int) -> Commitment | None:
        """Return what the last step commits to: its label is `label`, its logits are [K]. A stream commits to nothing
        while it is shifted, unknown or nothing. The label may differ from a class that the read-out still shows.
        """
        if self.rule is None:
            return None
        found = self.rule.trials.commitment(logits, self.labels, self.rule.error_rate)
        found = found._replace(shifted=None if self.threshold is None else self.alarm.on)
        if found.label is None or found.shifted or label not in self.labels:
            return found.withdrawn()
        before = self.held if self.held is not None and self.held.label == found.label else None
        return found._replace(at_us=end_us if before is None else before.at_us)

    def judge(self) -> Judged:
        """Return probabilities, familiarity and whether there is nothing to see; needs at least one step."""
        mean, classes = self.readout.mean, len(self.labels)
        assert mean is not None
        if self.novelty is None:  # no line to judge by: nothing is what has no event at all
            return Judged(softmax(mean[:classes]), 1.0, not mean[-1])
        return self.novelty.judge(mean, classes, min(self.readout.seen, self.readout.steps))

    def answer(self, inputs: Sequence[Input], outcome: Outcome) -> Answer:
        """Return the answer after the steps added last, whose inputs are `inputs`."""
        judged = self.judge()
        self.stable = self.stable.push(judged)
        index = int(judged.probabilities.argmax())
        label = NOTHING if judged.nothing else UNKNOWN if judged.in_distribution < KEPT else self.labels[index]
        logits = tuple(outcome.logits[-1].tolist())
        self.held = self.commitment(label, logits, inputs[-1].end_us)
        prediction = Prediction(
            step=self.readout.seen,
            start_us=inputs[0].start_us,
            end_us=inputs[-1].end_us,
            label=self.stable.label(self.labels),
            top1=self.labels[index],
            index=index,
            probabilities=tuple(judged.probabilities.tolist()),
            in_distribution=None if self.novelty is None else judged.in_distribution,
            n_events=sum(given.n_events for given in inputs),
            spikes=sum(outcome.layer_spikes),
            synops=outcome.synops,
            logits=logits,
            latency_ms=outcome.step_ms,
            commitment=self.held,
        )
        return Answer(prediction, label, outcome.layer_spikes, inputs[-1].reset, self.spikes, self.synops)

    def read(self, inputs: Sequence[Input], outcome: Outcome) -> Answer:
        """Add k steps and return the answer after the last of them."""
        self.absorb(inputs, outcome)
        return self.answer(inputs, outcome)
