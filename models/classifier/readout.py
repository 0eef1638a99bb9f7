"""Read out a stream: the one object that fills what is seen, or the objects that the network finds in a full frame."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spikesight.models.classifier.tracker import MAX_DETECTIONS, Tracker
from spikesight.models.novelty import NOTHING, UNKNOWN
from spikesight.models.steps import (
    Answer,
    Detection,
    Input,
    Outcome,
    Prediction,
    SessionError,
    Step,
    StreamReadout,
    rounded,
)


def outcomes(result: Step, took_s: float, tick: int = 0, *, each_step: bool = False) -> Iterator[Outcome]:
    """Yield each stream's Outcome of one or several steps; with `each_step`, the only stream's of each
    step, `took_s` being the time of one step.
    """
    parts = [part.numpy() for part in (result.logits, result.layer_spikes, result.synops, result.rates)]
    parts = parts if result.logits.ndim == 3 else [part[None] for part in parts]  # an axis for the step
    logits, spikes, synops, rates = (part.swapaxes(0, 1) if each_step else part for part in parts)
    finite = np.logical_and.reduce(np.isfinite(logits), axis=(0, 2))
    for n, (fired, done) in enumerate(zip(spikes.sum(0).tolist(), synops.sum(0).tolist())):
        yield Outcome(logits[:, n], fired, done, took_s * 1e3, tick, bool(finite[n]), rates[:, n])


class DetectionReadout:
    """The read-out of a stream: takes outcomes, returns answers. `one` reads a stream that shows one thing.

    In a full frame (`Input.pyramid`) the answers list all objects that are found, and their own label is that of the
    leading one: the surest, until another is clearly surer. `most`: objects to find; if positive, the answers of a
    stream that shows one object list it, too, in a box around all that the network sees.
    """

    def __init__(self, labels: tuple[str, ...], one: StreamReadout, most: int = 0) -> None:
        self.labels, self.one, self._listed = labels, one, most > 0
        self.tracker = Tracker(len(labels), most or MAX_DETECTIONS)
        self._steps = self.spikes = self.synops = 0

    @property
    def seen(self) -> int:
        """Number of steps since the last reset."""
        return self._steps or self.one.seen

    @property
    def logits(self) -> NDArray[np.float64] | None:
        """Mean logits [K] of the read-out; None before the first step, and in a full frame."""
        return self.one.logits

    def read(self, inputs: Sequence[Input], outcome: Outcome) -> Answer:
        """Return the answer after one step or several. Raises SessionError if the network overflowed."""
        if inputs[0].pyramid is not None:
            if len(inputs) == 1:
                return self._look(inputs[0], outcome)
            *_, last = (self._look(given, made) for (given,), made in outcome.each(inputs))
            prediction = replace(
                last.prediction, start_us=inputs[0].start_us, n_events=sum(given.n_events for given in inputs),
                spikes=sum(outcome.layer_spikes), synops=outcome.synops, latency_ms=outcome.step_ms,
            )  # fmt: skip
            return last._replace(prediction=prediction, layer_spikes=outcome.layer_spikes)
        answer = self.one.read(inputs, outcome)
        if not self._listed:
            return answer
        p, (height, width) = answer.prediction, inputs[-1].x.shape[1:]
        box, known = (0.0, 0.0, float(width), float(height)), p.in_distribution and rounded(p.in_distribution)
        alone = Detection(1, box, p.label, rounded(p.confidence), known, p.commitment)
        return answer._replace(prediction=replace(p, objects=(alone,) if p.label in self.labels else ()))

    def _look(self, given: Input, outcome: Outcome) -> Answer:
        """Read out one step of a full frame."""
        if not outcome.finite:
            raise SessionError("the values are too large for this model")
        if given.reset:
            self._steps = self.spikes = self.synops = 0
        told, labels = self.tracker.update(given, outcome.logits[-1]), (*self.labels, UNKNOWN, NOTHING)
        spikes = sum(outcome.layer_spikes)
        self._steps, self.spikes, self.synops = self._steps + 1, self.spikes + spikes, self.synops + outcome.synops
        objects = tuple(
            Detection(int(number), (left, top, width, height), labels[int(label)], rounded(share), rounded(known), None)
            for number, label, share, known, left, top, width, height in told.things
        )
        prediction = Prediction(
            step=self._steps, start_us=given.start_us, end_us=given.end_us, label=labels[told.label],
            top1=self.labels[told.best], index=told.best, probabilities=tuple(told.probabilities),
            in_distribution=told.in_distribution, n_events=given.n_events, spikes=spikes,
            synops=outcome.synops, logits=tuple(told.logits), latency_ms=outcome.step_ms, objects=objects,
        )  # fmt: skip
        return Answer(prediction, labels[told.step_label], outcome.layer_spikes, given.reset, self.spikes, self.synops)
