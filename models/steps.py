"""What goes into a step of a stream and what comes out: inputs, outcomes, the read-out over them, answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spikesight.models.neurons.probe import Inside
from spikesight.models.neurons.state import State
from spikesight.models.novelty import KEPT, NOTHING, UNKNOWN, NoveltyDetector
from spikesight.models.novelty.alarm import Alarm
from spikesight.models.novelty.conformal import Commitment, Evidence, Trials
from spikesight.models.novelty.score import RECORDED, Judged, loops
from spikesight.models.statistics import softmax


class Input(NamedTuple):
    """What one step of one stream is fed."""

    x: np.ndarray  # [C, H, W], uint8 or float32
    start_us: int
    end_us: int
    n_events: int
    reset: bool  # start from zero state
    kind: int = RECORDED  # of input, by which `known` is judged
    n_missed: int = 0  # events where much goes on, and no drawing that a window could follow
    views: "tuple[View, ...]" = ()  # of a stream with several windows, each stepped by itself; x is that of the first

    def windows(self) -> "tuple[View, ...]":
        """What is stepped: the views, or the input itself as a view that has no place."""
        return self.views or (View(0, (0.0, 0.0, 0.0, 0.0), self),)


class View(NamedTuple):
    """What one window shows in a step."""

    id: int  # of what it follows, from 1 on: none comes twice in a stream; 0 for nothing
    box: tuple[float, float, float, float]  # left, top, width and height around it, in the frame's or sensor's pixels
    given: Input
    likeness: float = 1.0  # 0 to 1: how much it looks like a thing at all


class Step(NamedTuple):
    """What one step of N streams gives; of a run of T steps all but the state has T in front."""

    logits: Tensor  # [N, K]
    state: State  # after it
    layer_spikes: Tensor  # int64 [N, L]
    synops: Tensor  # int64 [N]
    fired: Tensor  # uint8 [N, F], a bit a neuron (models/networks/metering.py, packed); F = 0 where nobody probes
    rates: Tensor  # float32 [N, S], what `known` is judged by (models/novelty/rates.py); S = 0 for a model without it


@dataclass(frozen=True)
class Readout:
    """The mean of what each step gives (logits, and what `known` is judged by) over the last `steps` steps, so that a
    stream forgets what came before. A value.
    """

    steps: int
    recent: NDArray[np.float64] | None = None  # [n, V], the newest last, up to `steps` of them; None of none
    seen: int = 0

    def push(self, values: np.ndarray) -> "Readout":
        """The read-out after k more steps, values [k, V]."""
        recent = values if self.recent is None else np.concatenate([self.recent, values])
        return Readout(self.steps, recent[-self.steps :].astype(np.float64), self.seen + len(values))

    @cached_property
    def mean(self) -> np.ndarray | None:
        """Float64 [V]; None before the first step."""
        if self.recent is None:
            return None
        mean = np.zeros(self.recent.shape[1])
        loops().mean_of(self.recent, mean)
        return mean

    def probabilities(self) -> np.ndarray:
        """Softmax of the mean of logits, float64 [K]."""
        if self.mean is None:
            raise ValueError("no step was read yet")
        return softmax(self.mean)


class Object(NamedTuple):
    """One thing that a stream with several windows shows."""

    id: int  # the same as long as it is followed
    box: tuple[float, float, float, float]  # left, top, width and height, in the frame's or the sensor's pixels
    label: str  # a class, that does not flicker
    confidence: float  # its probability
    known: float | None
    committed: str | None


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The answer after one step; `fields` is its one way to JSON."""

    step: int  # 1, 2, ... since the last reset
    start_us: int
    end_us: int
    label: str  # the best class; "unknown" where known < 0.5, "nothing" where too few events came
    index: int  # of the best class, whatever the label
    probabilities: tuple[float, ...]  # of the classes, as if it were one of them
    known: float | None = None  # in [0, 1]: how familiar the input is (models/novelty); None: the model cannot tell
    committed: str | None = None  # the label that this window may be held for (models/novelty/conformal.py)
    set: tuple[str, ...] | None = None  # possible labels, the likeliest first; None: not calibrated at this bin
    risk: float | None = None  # the least error rate at which one label would be left
    shifted: bool | None = None  # the stream is not what was calibrated (models/novelty/alarm.py): nothing is committed
    n_events: int  # in this step's bin
    spikes: int  # of this step
    synops: int
    logits: tuple[float, ...]  # of this step alone
    latency_ms: float  # time the step took to compute
    objects: tuple[Object, ...] | None = None  # as they are read, of a stream that asked for them

    @property
    def confidence(self) -> float:
        """The probability of the best class."""
        return self.probabilities[self.index]

    def fields(self, *, logits: bool = False) -> dict[str, Any]:
        """By the wire's names, ready for JSON; with the step's logits where asked for. `step` and times come first.

        Shares have six significant digits; logits are those of the network, to the bit.
        """
        fields = {**vars(self), "confidence": self.confidence}
        fields["probabilities"] = tuple(map(rounded, self.probabilities))
        for name in ("confidence", "known", "risk"):
            fields[name] = fields[name] and rounded(fields[name])
        for name in ["latency_ms", "objects"] if logits else ["latency_ms", "objects", "logits"]:
            del fields[name]
        return fields if self.objects is None else fields | {"objects": [one._asdict() for one in self.objects]}


def rounded(share: float) -> float:
    """A share to six significant digits, as JSON has it."""
    return float(f"{share:.6g}")


FIRST, OTHER = 2.0, 4.0  # evidence, in nats of log odds, that the first label and a change of the label need
MARGIN = 0.1  # lead in probability below which a step is no evidence
LEAST_SHARE = 1e-3  # probabilities below this say no more than this
LULL = 0.25  # weight of a step with nothing to see: what is held still sends no events either
LEAST_INERTIA = 10  # steps


def label_rules(horizon: int) -> dict[str, float]:
    """The numbers by which a label is shown, of read-outs so many steps long: what other languages follow, too."""
    shown = {"kept": KEPT, "first": FIRST, "other": OTHER, "least": LEAST_SHARE, "lull": LULL, "margin": MARGIN}
    return {**shown, "inertia": max(horizon, LEAST_INERTIA)}


@dataclass(frozen=True)
class StableLabel:
    """The label to show: it appears when the evidence is there and stays until other evidence is. A value.

    Hypotheses are the K classes, "unknown" and "nothing". Each collects the log odds between it and the shown one, step
    by step and never below 0 (CUSUM, Page 1954), divided by the steps of a read-out, since its windows overlap; the one
    that reaches OTHER is shown next. Where no label is shown, nothing yet or "nothing", odds are those against the best
    other one, and FIRST is enough.

    smoothing  share of the old probabilities in [0, 1): m <- a m + (1 - a) p
    margin     lead in probability below which a step is no evidence
    inertia    steps that the evidence of one read-out is spread over
    """

    smoothing: float = 0.0
    margin: float = MARGIN
    inertia: int = LEAST_INERTIA
    mean: NDArray[np.float64] | None = None  # [K + 2]
    evidence: NDArray[np.float64] | None = None  # [K + 2]
    index: int | None = None  # of the shown hypothesis

    def push(self, judged: Judged) -> "StableLabel":
        """The value after one more step."""
        count = len(judged.probabilities) + 2
        none, mean, evidence = np.zeros(count), np.empty(count), np.empty(count)
        best = loops().weigh(
            judged.probabilities,
            -1.0 if judged.nothing else judged.known,
            none if self.mean is None else self.mean,
            none if self.evidence is None else self.evidence,
            -1 if self.index is None else self.index,
            0.0 if self.mean is None else self.smoothing,
            self.margin,
            self.inertia,
            LEAST_SHARE,
            LULL,
            mean,
            evidence,
        )
        if evidence[best] < (FIRST if self.index in (None, count - 1) else OTHER):
            return StableLabel(self.smoothing, self.margin, self.inertia, mean, evidence, self.index)
        return StableLabel(self.smoothing, self.margin, self.inertia, mean, none, best)

    def restarted(self) -> "StableLabel":
        """After a reset: the evidence begins anew, what is shown stays."""
        return StableLabel(self.smoothing, self.margin, self.inertia, index=self.index)

    def label(self, labels: Sequence[str]) -> str:
        """What is shown; empty before there was evidence of anything."""
        return "" if self.index is None else (*labels, UNKNOWN, NOTHING)[self.index]


class SessionError(ValueError):
    """Input that this stream cannot take."""


NO_RATES = np.zeros((1, 0), np.float32)


class Outcome(NamedTuple):
    """What the network made of k inputs of a stream, one after the other; mostly of one."""

    logits: NDArray[np.float32]  # [k, K]
    layer_spikes: list[int]  # of all k, as are synops and step_ms
    synops: int
    step_ms: float
    tick: int = 0  # which step of the scheduler this was
    finite: bool = True  # False: the values overflowed the network
    rates: NDArray[np.float32] = NO_RATES  # [k, S]
    views: "tuple[Outcome, ...]" = ()  # of an input with several views; the counts here are then their sums
    inside: Inside | None = None  # of the first view, where somebody probes


class Answer(NamedTuple):
    """A prediction, and what a viewer wants beside it."""

    prediction: Prediction
    steady: str  # the label to show, that does not flicker
    layer_spikes: list[int]
    reset: bool
    total_spikes: int  # since the last reset
    total_synops: int


class ConformalRule(NamedTuple):
    """What a stream commits to a label by."""

    trials: Trials
    error_rate: float  # in (0, 1): how often a label that it commits to may be wrong


class Track:
    """The read-out's side of a stream: outcomes in, answers out."""

    def __init__(
        self,
        labels: tuple[str, ...],
        horizon: int,
        novelty: NoveltyDetector | None = None,
        steady: StableLabel | None = None,
        rule: ConformalRule | None = None,
    ) -> None:
        self.labels, self.novelty = labels, novelty
        self.readout = Readout(horizon)  # of logits; where `known` is judged of rates, active inputs, missed events too
        self.width = len(labels) + (0 if novelty is None else novelty.width + 2)
        self.steady = replace(steady or StableLabel(), inertia=max(horizon, LEAST_INERTIA))
        self.rule, self.evidence, self.alarm = rule, Evidence(), Alarm()
        self.watched = rule is not None and novelty is not None and rule.trials.known.size > 0  # by the alarm
        self.spikes = self.synops = 0
        self.kind = RECORDED  # of the newest input
        self.prior = 1.0  # of `known`: by how much what is seen looks like a thing at all

    @property
    def seen(self) -> int:
        """Steps since the last reset."""
        return self.readout.seen

    @property
    def logits(self) -> NDArray[np.float64] | None:
        """The read-out's mean logits [K]; None before the first step."""
        mean = self.readout.mean
        return None if mean is None else mean[: len(self.labels)]

    def absorb(self, inputs: Sequence[Input], outcome: Outcome) -> None:
        """Take k steps into the read-out and the counts. Raises SessionError when the network overflowed."""
        if not outcome.finite:
            raise SessionError("the values are too large for this model")
        if inputs[0].reset:
            self.readout, self.steady = Readout(self.readout.steps), self.steady.restarted()
            self.spikes, self.synops, self.evidence = 0, 0, Evidence()
        values = outcome.logits
        if self.novelty is not None:
            seen = np.array([(np.count_nonzero(given.x), given.n_missed) for given in inputs], np.float32)
            values = np.concatenate([values, outcome.rates, seen], 1)
        k, trials = len(inputs), None if self.rule is None else self.rule.trials
        window = k if trials is None else len(trials.temperature)  # at whose end the alarm hears how familiar it was
        for begin, end in pairwise((0, *range(window - self.evidence.steps % window, k, window), k)):
            self.readout, self.kind = self.readout.push(values[begin:end]), inputs[end - 1].kind
            if trials is not None:
                self.evidence = self.evidence.push(trials, outcome.logits[begin:end], self.readout.seen)
                if self.watched and self.evidence.steps == window and not (judged := self.judge()).nothing:
                    self.alarm = self.alarm.push(trials.familiarity(judged.known, self.readout.seen))
        self.spikes += sum(outcome.layer_spikes)
        self.synops += outcome.synops

    def commitment(self, judged: Judged) -> Commitment | None:
        """The possible labels after the last step; what is unknown, nothing or shifted commits to none."""
        if self.rule is None:
            return None
        found = self.evidence.commitment(self.rule.trials, self.labels, self.rule.error_rate, self.readout.seen)
        silent = judged.nothing or judged.known < KEPT or self.alarm.on
        return found._replace(committed=None) if silent else found

    def judge(self) -> Judged:
        """What the steps of the read-out are taken for; at least one step was absorbed."""
        mean, classes = self.readout.mean, len(self.labels)
        assert mean is not None
        if self.novelty is None:
            return Judged(softmax(mean), 1.0, False)
        steps = min(self.readout.seen, self.readout.steps)
        judged = self.novelty.judge(mean[:-1], classes, steps, self.kind, float(mean[-1]))
        return judged if self.prior == 1 else judged._replace(known=self.prior * judged.known)

    def answer(self, given: Input, outcome: Outcome) -> Answer:
        """The answer after the step that was absorbed last, `given` its input."""
        judged = self.judge()
        self.steady = self.steady.push(judged)
        index = int(judged.probabilities.argmax())
        prediction = Prediction(
            step=self.readout.seen,
            start_us=given.start_us,
            end_us=given.end_us,
            label=NOTHING if judged.nothing else UNKNOWN if judged.known < KEPT else self.labels[index],
            index=index,
            probabilities=tuple(judged.probabilities.tolist()),
            known=None if self.novelty is None else judged.known,
            n_events=given.n_events,
            spikes=sum(outcome.layer_spikes),
            synops=outcome.synops,
            logits=tuple(outcome.logits[-1].tolist()),
            latency_ms=outcome.step_ms,
            shifted=self.alarm.on if self.watched else None,
            **commitment._asdict() if (commitment := self.commitment(judged)) else {},
        )
        shown = self.steady.label(self.labels)
        return Answer(prediction, shown, outcome.layer_spikes, given.reset, self.spikes, self.synops)

    def read(self, inputs: Sequence[Input], outcome: Outcome) -> Answer:
        """Absorb k steps and answer after the last."""
        self.absorb(inputs, outcome)
        return self.answer(inputs[-1], outcome)
