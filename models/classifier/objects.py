"""Several windows of one stream: each is read out by itself, and what is familiar and said steadily is an object."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import permutations
from typing import NamedTuple

import numpy as np

from spikesight.models.novelty import NOTHING, UNKNOWN
from spikesight.models.steps import Answer, Input, Object, Outcome, Step, Track, View, rounded

CLEAR = 0.7  # likeness of a drawing that is no reason to doubt it
FAMILIAR = 0.7  # how familiar a window was lately that holds an object
LATELY = 0.1  # weight of the newest step in how familiar a window was
AHEAD = 0.2  # what another object must be more familiar than the leading one
INSIDE = 0.5  # of the smaller box: two objects that share more are one


def outcomes(result: Step, took_s: float, tick: int = 0, *, each_step: bool = False) -> Iterator[Outcome]:
    """The share of each stream, or window, in a batch that made one step, or several; with `each_step` the steps of the
    only stream one by one, `took_s` each.
    """
    parts = [part.numpy() for part in (result.logits, result.layer_spikes, result.synops, result.rates)]
    parts = parts if result.logits.ndim == 3 else [part[None] for part in parts]  # the steps in front
    logits, spikes, synops, rates = (part.swapaxes(0, 1) if each_step else part for part in parts)
    finite = np.logical_and.reduce(np.isfinite(logits), axis=(0, 2))
    for n, (fired, done) in enumerate(zip(spikes.sum(0).tolist(), synops.sum(0).tolist())):
        yield Outcome(logits[:, n], fired, done, took_s * 1e3, tick, bool(finite[n]), rates[:, n])


def gathered(given: Input, parts: Sequence[Outcome]) -> Outcome:
    """The outcome of an input, of those of its windows."""
    if not given.views:
        return parts[0]
    spikes = np.sum([part.layer_spikes for part in parts], 0).tolist()
    finite = all(part.finite for part in parts)
    return parts[0]._replace(
        layer_spikes=spikes, synops=sum(part.synops for part in parts), finite=finite, views=tuple(parts)
    )


class Seen(NamedTuple):
    """A window after a step, and how familiar it was lately, 0 to 1."""

    view: View
    answer: Answer
    lately: float

    def object(self) -> Object:
        p = self.answer.prediction
        known = p.known and rounded(p.known)
        return Object(self.view.id, self.view.box, self.answer.steady, rounded(p.confidence), known, p.committed)


class Objects:
    """The read-out's side of a stream with several windows: outcomes in, an answer out, with all objects in it.

    An object is a window in which a class is shown steadily and that was familiar lately, in the measure in which it
    looks like a drawing. The answer's own label is that of the leading one: the
    most familiar, until another is clearly more so. `make` gives a new window's read-out.
    """

    logits = None  # there is no read-out of all

    def __init__(self, labels: tuple[str, ...], make: Callable[[], Track]) -> None:
        self.labels, self.make = labels, make
        self.tracks: dict[int, Track] = {}  # of the windows of the last step, by what they follow
        self.lately: dict[int, float] = {}
        self.parted = set[tuple[int, int]]()  # pairs of windows that were apart once: two things, wherever they go
        self.leading = self.seen = self.spikes = self.synops = 0

    def read(self, inputs: Sequence[Input], outcome: Outcome) -> Answer:
        """The answer after one step. Raises SessionError when the network overflowed."""
        (given,) = inputs
        if given.reset:
            self.tracks, self.lately, self.parted, self.seen, self.spikes, self.synops = {}, {}, set(), 0, 0, 0
        parts = outcome.views or (outcome,)
        windows = [self._seen(view, made) for view, made in zip(given.windows(), parts, strict=True)]
        self.tracks = {one.view.id: self.tracks[one.view.id] for one in windows}
        self.lately = {one.view.id: one.lately for one in windows}
        self.parted = {pair for pair in self.parted if self.lately.keys() >= {*pair}}
        self.parted |= {
            (one.view.id, other.view.id)
            for one, other in permutations(windows, 2)
            if not inside(one.view.box, other.view.box)
        }
        self.seen, self.spikes, self.synops = (
            self.seen + 1, self.spikes + sum(outcome.layer_spikes), self.synops + outcome.synops
        )  # fmt: skip
        shown = self._apart(
            one for one in windows if one.view.id and one.lately >= FAMILIAR and one.answer.steady in self.labels
        )
        first = self._first(shown)
        speaks = first or max(windows, key=lambda one: one.lately)
        prediction, steady = speaks.answer.prediction, speaks.answer.steady
        if first is None:
            other = UNKNOWN if any(one.view.id for one in windows) else NOTHING
            steady = other if steady in self.labels else steady
            label = other if prediction.label in self.labels else prediction.label
            prediction = replace(prediction, label=label, committed=None)
        prediction = replace(
            prediction,
            step=self.seen,
            n_events=sum(view.given.n_events for view in given.windows()),
            spikes=sum(outcome.layer_spikes),
            synops=outcome.synops,
            objects=tuple(one.object() for one in in_reading_order(shown)),
        )
        return Answer(prediction, steady, outcome.layer_spikes, given.reset, self.spikes, self.synops)

    def _seen(self, view: View, made: Outcome) -> Seen:
        """Read one window."""
        track = self.tracks.setdefault(view.id, self.make())
        track.prior = min(1.0, view.likeness / CLEAR)
        answer = track.read([view.given], made)
        p = answer.prediction
        familiar, before = (1.0 if p.known is None else p.known) * p.confidence, self.lately.get(view.id, 0.0)
        lately = (
            before if p.label == NOTHING else before + LATELY * (familiar - before)
        )  # what is still fires no events
        return Seen(view, answer, lately)

    def _apart(self, shown: Iterator[Seen]) -> list[Seen]:
        """Those of which none lies in another's place, unless they cross; the more familiar ones stay."""
        kept = list[Seen]()
        for one in sorted(shown, key=lambda one: -one.lately):
            if all(
                (one.view.id, other.view.id) in self.parted or inside(one.view.box, other.view.box) <= INSIDE
                for other in kept
            ):
                kept.append(one)
        return kept

    def _first(self, shown: list[Seen]) -> Seen | None:
        """The object that the stream's own label is of."""
        if not shown:
            return None
        best = max(shown, key=lambda one: one.lately)
        held = next((one for one in shown if one.view.id == self.leading), best)
        first = best if best.lately > held.lately + AHEAD else held
        self.leading = first.view.id
        return first


def inside(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The share of the smaller of two boxes (left, top, width, height) that lies in the other."""
    across, down = (min(one[k] + one[k + 2], other[k] + other[k + 2]) - max(one[k], other[k]) for k in (0, 1))
    return max(across, 0.0) * max(down, 0.0) / max(min(one[2] * one[3], other[2] * other[3]), 1e-9)


def in_reading_order(shown: list[Seen]) -> list[Seen]:
    """Line by line from the top, each from the left: whose middle lies in the height of a line's first is on it."""
    left, ordered = sorted(shown, key=lambda one: one.view.box[1]), list[Seen]()
    while left:
        _, top, _, height = left[0].view.box
        line = [one for one in left if top <= one.view.box[1] + one.view.box[3] / 2 <= top + height]
        line = line or left[:1]
        ordered += sorted(line, key=lambda one: one.view.box[0])
        left = [one for one in left if one not in line]
    return ordered
