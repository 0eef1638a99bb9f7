"""Read out several windows of one stream: a window that is familiar and has a stable label is an object."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.models.classifier.finder import MOST, Finder, Spotted, distinct
from spikesight.models.novelty import NOTHING, UNKNOWN
from spikesight.models.steps import Answer, Input, Object, Outcome, SessionError, Step, Track, View, rounded

CLEAR = 0.7  # likeness to a drawing from which on `known` is not lowered
FAMILIAR = 0.7  # least recent familiarity of a window that counts as an object
NEWEST_WEIGHT = 0.1  # weight of the newest step in the running mean of a window's familiarity
AHEAD = 0.2  # how much more familiar another object must be to replace the leading one
MOST_OVERLAP = 0.5  # overlap, as a share of the smaller box, above which two windows show the same object


def outcomes(result: Step, took_s: float, tick: int = 0, *, each_step: bool = False) -> Iterator[Outcome]:
    """Yield each stream's or window's Outcome of one or several steps; with `each_step`, the only stream's of each
    step, `took_s` being the time of one step.
    """
    parts = [part.numpy() for part in (result.logits, result.layer_spikes, result.synops, result.rates)]
    parts = parts if result.logits.ndim == 3 else [part[None] for part in parts]  # an axis for the step
    logits, spikes, synops, rates = (part.swapaxes(0, 1) if each_step else part for part in parts)
    finite = np.logical_and.reduce(np.isfinite(logits), axis=(0, 2))
    for n, (fired, done) in enumerate(zip(spikes.sum(0).tolist(), synops.sum(0).tolist())):
        yield Outcome(logits[:, n], fired, done, took_s * 1e3, tick, bool(finite[n]), rates[:, n])


def merged_outcome(given: Input, parts: Sequence[Outcome]) -> Outcome:
    """Merge the outcomes of an input's windows into the outcome of the input."""
    if not given.views:
        return parts[0]
    spikes = np.sum([part.layer_spikes for part in parts], 0).tolist()
    finite = all(part.finite for part in parts)
    return parts[0]._replace(
        layer_spikes=spikes, synops=sum(part.synops for part in parts), finite=finite, views=tuple(parts)
    )


class WindowAnswer(NamedTuple):
    """One window's answer after a step, and its recent familiarity, 0 to 1."""

    view: View
    answer: Answer
    familiarity: float

    def object(self) -> Object:
        p = self.answer.prediction
        known = p.known and rounded(p.known)
        return Object(self.view.id, self.view.box, self.answer.steady, rounded(p.confidence), known, p.commitment)


class Objects:
    """The read-out of a stream: takes outcomes, returns answers. Where a step has windows (`Input.views`), or a view
    in which things are found (`Input.pyramid`), the answers list all objects.

    A window is an object if its label is stable and it was familiar recently; a window that looks little like a drawing
    counts as less familiar. The answer's own label is that of the leading object: the most familiar, until another is
    clearly more familiar. `make` returns the read-out of a new window.
    `most`: things to find in a view; if positive, a step without windows counts as one that may show no object.
    """

    def __init__(self, labels: tuple[str, ...], make: Callable[[], Track], most: int = 0) -> None:
        self.labels, self.make, self._several = labels, make, most > 0
        self.one = make()  # read-out of a stream that shows one thing
        self.finder = Finder(len(labels), most or MOST)
        self.tracks: dict[int, Track | Spotted] = {}  # read-outs of the last step's windows, by id
        self.familiarity: dict[int, float] = {}
        self.separated = set[tuple[int, int]]()  # pairs of ids that were once apart: two things, even while they cross
        self.leading = self._steps = self.spikes = self.synops = 0

    @property
    def seen(self) -> int:
        """Number of steps since the last reset."""
        return self._steps or self.one.seen

    @property
    def logits(self) -> NDArray[np.float64] | None:
        """Mean logits [K] of the read-out; None before the first step, and for windows, which have none in common."""
        return self.one.logits

    def read(self, inputs: Sequence[Input], outcome: Outcome) -> Answer:
        """Return the answer after one step or several. Raises SessionError if the network overflowed."""
        if not (self._several or inputs[0].views or inputs[0].pyramid):
            return self.one.read(inputs, outcome)
        parts = [(inputs, outcome)] if len(inputs) == 1 else outcome.each(inputs)
        return [self._read(given, made) for (given,), made in parts][-1]

    def _read(self, given: Input, outcome: Outcome) -> Answer:
        if not outcome.finite:
            raise SessionError("the values are too large for this model")
        if given.reset:
            self.tracks, self.familiarity, self.separated = {}, {}, set()
            self._steps = self.spikes = self.synops = 0
            self.finder.reset()
        if given.pyramid is not None:
            found = self.finder.find(given, outcome)
        else:
            found = list(zip(given.windows(), outcome.views or (outcome,), strict=True))
        read = self._read_window if given.pyramid is None else self._read_place
        windows = [read(view, made) for view, made in found]
        self.tracks = {one.view.id: self.tracks[one.view.id] for one in windows}
        self.familiarity = {one.view.id: one.familiarity for one in windows}
        self.separated = {pair for pair in self.separated if self.familiarity.keys() >= {*pair}}
        self.separated |= {
            (one.view.id, other.view.id)
            for one, other in permutations(windows, 2)
            if not overlap(one.view.box, other.view.box)
        }
        self._steps, self.spikes, self.synops = (
            self._steps + 1, self.spikes + sum(outcome.layer_spikes), self.synops + outcome.synops
        )  # fmt: skip
        shown = [one for one in windows if one.view.id and one.answer.steady in self.labels]
        if given.pyramid is None:
            shown = self._without_overlaps(one for one in shown if one.familiarity >= FAMILIAR)
        else:
            boxes = np.array([one.view.box for one in shown]).reshape(-1, 4)
            shown = [shown[n] for n in distinct(boxes, np.array([one.familiarity for one in shown]))]
        first = self._leading(shown)
        speaks = first or max(windows, key=lambda one: one.familiarity)
        prediction, steady = speaks.answer.prediction, speaks.answer.steady
        if first is None:
            other = UNKNOWN if any(one.view.id for one in windows) else NOTHING
            steady = other if steady in self.labels else steady
            label = other if prediction.label in self.labels else prediction.label
            none = prediction.commitment and prediction.commitment.withdrawn()
            prediction = replace(prediction, label=label, commitment=none)
        prediction = replace(
            prediction,
            step=self._steps,
            n_events=sum(view.given.n_events for view in given.windows()),
            spikes=sum(outcome.layer_spikes),
            synops=outcome.synops,
            objects=tuple(one.object() for one in in_reading_order(shown)),
        )
        return Answer(prediction, steady, outcome.layer_spikes, given.reset, self.spikes, self.synops)

    def _read_place(self, view: View, made: Outcome) -> WindowAnswer:
        """Read out one place of a view."""
        spotted = self.tracks.setdefault(view.id, Spotted(self.labels))
        answer = spotted.read([view.given], made)
        return WindowAnswer(view, answer, answer.prediction.confidence * (answer.prediction.known or 0.0))

    def _read_window(self, view: View, made: Outcome) -> WindowAnswer:
        """Read out one window and update its recent familiarity."""
        track = self.tracks.setdefault(view.id, self.make())
        assert isinstance(track, Track)
        track.prior = min(1.0, view.likeness / CLEAR)
        answer = track.read([view.given], made)
        p = answer.prediction
        familiar, before = (1.0 if p.known is None else p.known) * p.confidence, self.familiarity.get(view.id, 0.0)
        familiarity = (
            before if p.label == NOTHING else before + NEWEST_WEIGHT * (familiar - before)
        )  # a thing at rest sends no events: keep its familiarity
        return WindowAnswer(view, answer, familiarity)

    def _without_overlaps(self, shown: Iterator[WindowAnswer]) -> list[WindowAnswer]:
        """Drop windows that overlap a more familiar one, except where the two were seen apart before."""
        kept = list[WindowAnswer]()
        for one in sorted(shown, key=lambda one: -one.familiarity):
            if all(
                (one.view.id, other.view.id) in self.separated or overlap(one.view.box, other.view.box) <= MOST_OVERLAP
                for other in kept
            ):
                kept.append(one)
        return kept

    def _leading(self, shown: list[WindowAnswer]) -> WindowAnswer | None:
        """Choose the leading object, whose label the stream shows; None if there are no objects."""
        if not shown:
            return None
        best = max(shown, key=lambda one: one.familiarity)
        held = next((one for one in shown if one.view.id == self.leading), best)
        first = best if best.familiarity > held.familiarity + AHEAD else held
        self.leading = first.view.id
        return first


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return the overlap of two boxes (left, top, width, height) as a share of the smaller one's area."""
    across, down = (min(one[k] + one[k + 2], other[k] + other[k + 2]) - max(one[k], other[k]) for k in (0, 1))
    return max(across, 0.0) * max(down, 0.0) / max(min(one[2] * one[3], other[2] * other[3]), 1e-9)


def in_reading_order(shown: list[WindowAnswer]) -> list[WindowAnswer]:
    """Sort windows line by line, each from the left; a line holds those whose middle is within its topmost's height."""
    left, ordered = sorted(shown, key=lambda one: one.view.box[1]), list[WindowAnswer]()
    while left:
        _, top, _, height = left[0].view.box
        line = [one for one in left if top <= one.view.box[1] + one.view.box[3] / 2 <= top + height]
        line = line or left[:1]
        ordered += sorted(line, key=lambda one: one.view.box[0])
        left = [one for one in left if one not in line]
    return ordered
