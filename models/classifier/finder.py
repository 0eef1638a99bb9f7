"""Find things in a network's answers at all places of a view, and tell them apart over time.

The network answers at each place of each level of a pyramid (encoders/pyramid.py), "none of the classes" included. What
it takes for a class, more than its neighbours in place and size do, is a thing. A thing is the same as one of the steps
before if it is the nearest, of the same size, to where that one would be by now. Nothing else steers what is looked at.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.pyramid import SEEN, Pyramid
from spikesight.models.networks.places import CELL, FIRST, REACH
from spikesight.models.novelty import NOTHING, UNKNOWN
from spikesight.models.statistics import softmax
from spikesight.models.steps import Answer, Input, Outcome, Prediction

WINDOW = 3  # steps over which the answers at a place are averaged before things are looked for
BEGINS, GOES_ON = 0.5, 0.2  # least probability of a class for a new thing, and for one that is there
APART, BESIDE = 0.5, 1.0  # distance within which there is no other thing, or none of less than MUCH of its probability
MUCH = 0.8
SAME = 0.75, 1.6  # largest distance of a thing from where it would be, by its length; largest ratio of lengths
FOLLOWS, TURNS = 0.3, 0.04  # shares of the way to where a thing is found that change its place and its speed
LATE = 2.5  # steps by which the network's answers are behind
LASTS = 10  # steps for which a thing is held that is not found, though events come from where it was, or would come
RETURNS = 40  # steps after which what comes into view again, or from behind another thing, is a new one
SILENT = 4  # cells; with fewer of them lit, nothing came from a place: what is held still sends no events
MOST = 8  # things at once
NEWEST = 0.05  # weight of the newest step in a thing's shares
SHOWN = 0.7, 0.6  # least share of a class to be shown, and to stay
SETTLES = 4  # steps before a label is shown


class Grid(NamedTuple):
    """The places of a pyramid's atlas that lie in a level."""

    places: NDArray[np.int64]  # [P], among all places of the network's map
    corners: NDArray[np.int64]  # [P, 2], row and column in the atlas from which on a place sees SEEN cells
    boxes: NDArray[np.float64]  # [P, 4], of what is read there: left, top, width, height in the sensor's pixels


@lru_cache(64)
def grid_of(pyramid: Pyramid) -> Grid:
    """Return a pyramid's places."""
    rows, columns = pyramid.height // CELL - REACH + 1, pyramid.width // CELL - REACH + 1
    boxes = pyramid.boxes(FIRST, CELL, rows, columns).round(2)
    places = np.flatnonzero(boxes[:, 2])
    return Grid(places, CELL * np.stack(np.divmod(places, columns), 1), boxes[places])


class Part(NamedTuple):
    """What a step shows of one thing."""

    id: int  # of the thing, from 1, unique in the stream; 0: of no thing
    box: tuple[float, float, float, float]  # left, top, width, height in pixels of the frame or sensor
    given: Input


def corner_of(pyramid: Pyramid, logits: NDArray[np.floating]) -> tuple[int, int]:
    """Return row and column in the atlas from which on the likeliest of its places, logits [P, K], sees."""
    grid = grid_of(pyramid)
    row, column = grid.corners[int(logits[grid.places].max(1).argmax())].tolist()
    return row, column


@dataclass
class Thing:
    """A thing that is followed as an alpha-beta filter does it: where it is among a Grid's places, and how it moves."""

    id: int
    at: int
    box: NDArray[np.float64]  # left, top, width, height in which it was found, between those of the places around it
    kind: int = 0  # the class for which it was taken last
    found: int = 1  # steps in which it was found
    missed: int = 0  # steps since
    hidden: bool = False  # whether another thing was found where it would be
    speed: NDArray[np.float64] = field(default_factory=lambda: np.zeros(4))  # of its box a step; its size stays

    @property
    def held(self) -> bool:
        """Whether it counts as seen."""
        return self.missed <= LASTS

    def after(self, steps: float) -> NDArray[np.float64]:
        """Return its box so many steps after it was found last, if it goes on."""
        return self.box + steps * self.speed

    def near(self, box: NDArray[np.float64], kind: int) -> bool:
        """Whether what is found in this box may be this thing: the longer it was not seen, the farther it may be."""
        if not self.held and kind != self.kind:
            return False
        return _distance(self.after(self.missed + 1), box) < SAME[0] * max(1.0, self.missed / LASTS)

    def move(self, at: int, box: NDArray[np.float64], kind: int) -> None:
        """It is found again."""
        self.found, there = self.found + 1, self.after(self.missed + 1)
        way = box - there
        self.speed[:2] += max(TURNS, 1 / (self.found + 2)) * (way[:2] + way[2:] / 2)
        self.box = there + max(FOLLOWS, 1 / self.found) * way
        self.at, self.kind, self.missed, self.hidden = at, kind, 0, False


class Finder:
    """Finds up to `most` things of one stream, step by step. `classes`: how many logits each place has."""

    def __init__(self, classes: int, most: int = MOST) -> None:
        self._classes, self._most = classes, most
        self._recent = deque[NDArray[np.float32]](maxlen=WINDOW)  # logits [P, K] of the last steps
        self._things = list[Thing]()
        self._issued = 0

    def reset(self) -> None:
        """Forget all things; their numbers are not given again."""
        self._recent.clear()
        self._things = []

    def find(self, given: Input, outcome: Outcome) -> list[tuple[Part, Outcome]]:
        """Return what this step shows of each thing and the network's outcome for it; without a thing, the
        likeliest place as that of no thing (id 0).
        """
        assert given.pyramid is not None
        grid = grid_of(given.pyramid)
        logits = outcome.logits[-1].reshape(-1, self._classes)[grid.places]
        self._recent.append(logits)
        recent = np.mean(self._recent, 0)
        sure, kinds = _probability(recent), recent.argmax(1)
        likely = np.flatnonzero(sure > GOES_ON)
        found = likely[distinct(grid.boxes[likely], sure[likely])].tolist()
        self._follow(grid, found, sure, kinds, given)
        place = found[0] if found else int(sure.argmax())
        shown = [one for one in self._things if one.held] or [Thing(0, place, grid.boxes[place])]
        parts = list[tuple[Part, Outcome]]()
        for one in shown:
            left, top, width, height = one.after(LATE + one.hidden * one.missed).round(2).tolist()
            patch = _patch(given, grid, one.at)
            patch = patch._replace(n_events=0) if one.hidden else patch
            here = outcome._replace(logits=logits[one.at][None])
            parts.append((Part(one.id, (left, top, width, height), patch), here))
        return parts

    def _follow(
        self, grid: Grid, found: list[int], sure: NDArray[np.float64], kinds: NDArray[np.int64], given: Input
    ) -> None:
        """Move the things to the places where they are `found`, begin new ones and forget what is gone."""
        moved = given.pyramid is not None and given.pyramid.moved and given.n_events > 0  # or no frame came
        left, seen = list(self._things), list[Thing]()
        for at in found:
            box, kind = between(grid.boxes, sure, at), int(kinds[at])
            if near := [one for one in left if one.near(box, kind)]:
                seen.append(min(near, key=lambda one: _distance(one.after(one.missed + 1), box)))
                left.remove(seen[-1])
                seen[-1].move(at, box, kind)
            elif sure[at] > BEGINS and sum(one.held for one in self._things) < self._most:
                self._issued += 1
                seen.append(Thing(self._issued, at, box, kind))
                self._things.append(seen[-1])
        for one in left:
            one.hidden = any(_distance(one.after(one.missed + 1), other.box) < SAME[0] for other in seen)
            if moved or one.hidden or _patch(given, grid, one.at).n_events >= SILENT:
                one.missed += 1
            else:
                one.speed = np.zeros(4)  # it holds still
        self._things = [one for one in self._things if one.missed <= RETURNS]


class Spotted:
    """The read-out of one thing in a view: each class has the mean of its share over the last steps in which something
    came from there, "none of the classes" included, so that what is taken for one class after another is none.
    """

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels, self.steady, self.seen = labels, "", 0
        self._shares = np.zeros(len(labels))
        self._told = 0  # steps in which something came

    def read(self, inputs: Sequence[Input], outcome: Outcome) -> Answer:
        """Return the answer after one step."""
        (given,), logits = inputs, outcome.logits[-1].astype(float)
        self.seen += 1
        if given.n_events >= SILENT:
            self._told += 1
            now = softmax(np.append(logits, 0.0))[:-1]
            self._shares += max(NEWEST, 1 / self._told) * (now - self._shares)
        known, index = float(self._shares.sum()), int(self._shares.argmax())
        least = SHOWN[self.steady == self.labels[index]]
        label = NOTHING if not self._told else self.labels[index] if self._shares[index] >= least else UNKNOWN
        self.steady = label if self._told >= SETTLES or label != self.labels[index] else UNKNOWN
        prediction = Prediction(
            step=self.seen, start_us=given.start_us, end_us=given.end_us, label=label, index=index,
            probabilities=tuple((self._shares / max(known, 1e-9)).tolist()), known=known, n_events=given.n_events,
            spikes=sum(outcome.layer_spikes), synops=outcome.synops, logits=tuple(logits.tolist()),
            latency_ms=outcome.step_ms,
        )  # fmt: skip
        return Answer(prediction, self.steady, outcome.layer_spikes, given.reset, 0, 0)


def _probability(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the probability of the likeliest class at each place, logits [P, K]; that of none has the logit 0."""
    highest = np.maximum(logits.max(1, keepdims=True), 0)
    shares = np.exp(logits - highest)
    return shares.max(1) / (shares.sum(1) + np.exp(-highest[:, 0]))


def distinct(boxes: NDArray[np.float64], sure: NDArray[np.float64], most: int = 2 * MOST) -> list[int]:
    """Return which of the boxes [N, 4] show different things, the surest first (non-maximum suppression): none lies
    within APART of a surer one, nor within BESIDE of one that is much surer, by the longer one's length.
    """
    middles, sides = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2]
    left, kept = np.argsort(-sure, kind="stable"), list[int]()
    while len(left) and len(kept) < most:
        best = int(left[0])
        kept.append(best)
        away = np.abs(middles[left] - middles[best]).max(1) / np.maximum(sides[left], sides[best])
        left = left[(away >= APART) & ((away >= BESIDE) | (sure[left] > MUCH * sure[best]))]
    return kept


def between(boxes: NDArray[np.float64], sure: NDArray[np.float64], at: int) -> NDArray[np.float64]:
    """Return the box of a thing between those of the places around `at`, [P, 4], weighted by their probabilities [P]:
    the levels and places of a pyramid are coarse steps.
    """
    middles, sides = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2]
    away = np.abs(middles - middles[at]).max(1) / np.maximum(sides, sides[at])
    alike = (sides < SAME[1] * sides[at]) & (sides[at] < SAME[1] * sides)
    near = np.flatnonzero((away < APART) & alike & (sure >= GOES_ON))
    weights = sure[near] / sure[near].sum()
    middle, side = weights @ middles[near], np.exp(weights @ np.log(sides[near]))
    return np.array([*(middle - side / 2), side, side]).round(2)


def _distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return how far two boxes lie apart, by the longer of their lengths; infinite where these differ too much."""
    longer = max(a[2], b[2])
    if longer > SAME[1] * min(a[2], b[2]):
        return float("inf")
    return float(np.hypot(*(a[:2] + a[2:] / 2 - b[:2] - b[2:] / 2))) / longer


def _patch(given: Input, grid: Grid, at: int) -> Input:
    """Return a step as a place sees it."""
    row, column = grid.corners[at]
    x = given.x[:, row : row + SEEN, column : column + SEEN]
    return given._replace(x=x, n_events=int(np.count_nonzero(x)), reset=False, pyramid=None)
