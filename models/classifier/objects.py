"""Read out a stream: the one thing that fills what is seen, or the things that the network finds in a view."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.models.classifier.finder import MOST, Finder, Part, Spotted, distinct
from spikesight.models.novelty import NOTHING, UNKNOWN
from spikesight.models.steps import Answer, Input, Object, Outcome, SessionError, Step, Track, rounded

AHEAD = 0.2  # how much surer another thing must be to replace the leading one


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


class Found(NamedTuple):
    """A thing's answer after a step, and how sure it is, 0 to 1."""

    part: Part
    answer: Answer
    sure: float

    def object(self) -> Object:
        p = self.answer.prediction
        known = p.known and rounded(p.known)
        return Object(self.part.id, self.part.box, self.answer.steady, rounded(p.confidence), known, p.commitment)


class Objects:
    """The read-out of a stream: takes outcomes, returns answers. `one` reads a stream that shows one thing.

    In a view (`Input.pyramid`) the answers list all things that are found, and their own label is that of the leading
    one: the surest, until another is clearly surer. `most`: things to find; if positive, the answers of a stream that
    shows one thing list it, too, in a box around all that the network sees.
    """

    def __init__(self, labels: tuple[str, ...], one: Track, most: int = 0) -> None:
        self.labels, self.one, self._listed = labels, one, most > 0
        self.finder = Finder(len(labels), most or MOST)
        self.spotted: dict[int, Spotted] = {}  # read-outs of the last step's things, by id
        self.leading = self._steps = self.spikes = self.synops = 0

    @property
    def seen(self) -> int:
        """Number of steps since the last reset."""
        return self._steps or self.one.seen

    @property
    def logits(self) -> NDArray[np.float64] | None:
        """Mean logits [K] of the read-out; None before the first step, and in a view."""
        return self.one.logits

    def read(self, inputs: Sequence[Input], outcome: Outcome) -> Answer:
        """Return the answer after one step or several. Raises SessionError if the network overflowed."""
        if inputs[0].pyramid is not None:
            parts = [(inputs, outcome)] if len(inputs) == 1 else outcome.each(inputs)
            return [self._look(given, made) for (given,), made in parts][-1]
        answer = self.one.read(inputs, outcome)
        if not self._listed:
            return answer
        height, width = inputs[-1].x.shape[1:]
        alone = Found(Part(1, (0.0, 0.0, float(width), float(height)), inputs[-1]), answer, 1.0)
        objects = (alone.object(),) if answer.steady in self.labels else ()
        return answer._replace(prediction=replace(answer.prediction, objects=objects))

    def _look(self, given: Input, outcome: Outcome) -> Answer:
        """Read out one step of a view."""
        if not outcome.finite:
            raise SessionError("the values are too large for this model")
        if given.reset:
            self.spotted = {}
            self._steps = self.spikes = self.synops = 0
            self.finder.reset()
        things = [self._read(part, made) for part, made in self.finder.find(given, outcome)]
        self.spotted = {one.part.id: self.spotted[one.part.id] for one in things}
        self._steps, self.spikes, self.synops = (
            self._steps + 1, self.spikes + sum(outcome.layer_spikes), self.synops + outcome.synops
        )  # fmt: skip
        shown = [one for one in things if one.part.id and one.answer.steady in self.labels]
        boxes = np.array([one.part.box for one in shown]).reshape(-1, 4)
        shown = [shown[n] for n in distinct(boxes, np.array([one.sure for one in shown]))]
        first = self._leading(shown)
        speaks = first or max(things, key=lambda one: one.sure)
        prediction, steady = speaks.answer.prediction, speaks.answer.steady
        if first is None:
            other = UNKNOWN if any(one.part.id for one in things) else NOTHING
            steady = other if steady in self.labels else steady
            label = other if prediction.label in self.labels else prediction.label
            none = prediction.commitment and prediction.commitment.withdrawn()
            prediction = replace(prediction, label=label, commitment=none)
        prediction = replace(
            prediction,
            step=self._steps,
            n_events=given.n_events,
            spikes=sum(outcome.layer_spikes),
            synops=outcome.synops,
            objects=tuple(one.object() for one in in_reading_order(shown)),
        )
        return Answer(prediction, steady, outcome.layer_spikes, given.reset, self.spikes, self.synops)

    def _read(self, part: Part, made: Outcome) -> Found:
        """Read out one thing."""
        answer = self.spotted.setdefault(part.id, Spotted(self.labels)).read([part.given], made)
        return Found(part, answer, answer.prediction.confidence * (answer.prediction.known or 0.0))

    def _leading(self, shown: list[Found]) -> Found | None:
        """Choose the leading thing, whose label the stream shows; None if there are none."""
        if not shown:
            return None
        best = max(shown, key=lambda one: one.sure)
        held = next((one for one in shown if one.part.id == self.leading), best)
        first = best if best.sure > held.sure + AHEAD else held
        self.leading = first.part.id
        return first


def in_reading_order(shown: list[Found]) -> list[Found]:
    """Sort things line by line, each from the left; a line holds those whose middle is within its topmost's height."""
    left, ordered = sorted(shown, key=lambda one: one.part.box[1]), list[Found]()
    while left:
        _, top, _, height = left[0].part.box
        line = [one for one in left if top <= one.part.box[1] + one.part.box[3] / 2 <= top + height]
        line = line or left[:1]
        ordered += sorted(line, key=lambda one: one.part.box[0])
        left = [one for one in left if one not in line]
    return ordered
