"""Find things in a network's answers at all places of a view, and tell them apart over time.

The network answers at each place of each level of a pyramid (encoders/pyramid.py), "none of the classes" included. What
it takes for a class, more than its neighbours in place and size do, is a thing. A thing is the same as one of the step
before if it is the nearest of the same size. Nothing else steers what is looked at.
"""

from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.pyramid import SEEN, Pyramid
from spikesight.models.networks.places import CELL, FIRST, REACH
from spikesight.models.steps import Input, Outcome, View

WINDOW = 3  # steps over which the answers at a place are averaged before things are looked for
BEGINS, GOES_ON = 0.5, 0.2  # least probability of a class for a new thing, and for one that is there
APART = 0.5  # nearest distance of two things, by the longer one's length
SAME = 0.75, 1.6  # largest distance of a thing from where it was, by its length; largest ratio of lengths
LASTS = 10  # steps for which a thing is held that is not found, though events come from where it was
SILENT = 4  # cells; with fewer of them lit, nothing came from a place: what is held still sends no events
MOST = 8  # things at once


class Grid(NamedTuple):
    """The places of a pyramid's atlas that lie in a level."""

    places: NDArray[np.int64]  # [P], among all places of the network's map
    corners: NDArray[np.int64]  # [P, 2], row and column in the atlas from which on a place sees SEEN cells
    boxes: NDArray[np.float64]  # [P, 4], of what is read there: left, top, width, height in the sensor's pixels


@lru_cache(64)
def grid_of(pyramid: Pyramid) -> Grid:
    """Return a pyramid's places."""
    rows, columns = pyramid.height // CELL - REACH + 1, pyramid.width // CELL - REACH + 1
    boxes = pyramid.boxes(FIRST, CELL, rows, columns)
    places = np.flatnonzero(boxes[:, 2])
    return Grid(places, CELL * np.stack(np.divmod(places, columns), 1), boxes[places])


@dataclass
class Thing:
    """A thing that is followed: its place among a Grid's, and for how many steps it was not found."""

    id: int
    at: int
    missed: int = 0


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

    def find(self, given: Input, outcome: Outcome) -> list[tuple[View, Outcome]]:
        """Return what each thing's window shows in this step and the network's outcome for it; without a thing, the
        likeliest place as that of no thing (id 0).
        """
        assert given.pyramid is not None
        grid = grid_of(given.pyramid)
        logits = outcome.logits[-1].reshape(-1, self._classes)[grid.places]
        self._recent.append(logits)
        sure = _probability(np.mean(self._recent, 0))
        found = distinct(grid.boxes, sure)
        self._follow(grid, found, sure, given.x)
        shown = [(one.id, one.at) for one in self._things] or [(0, found[0] if found else int(sure.argmax()))]
        parts = list[tuple[View, Outcome]]()
        for number, at in shown:
            left, top, width, height = grid.boxes[at].tolist()
            view = View(number, (left, top, width, height), _patch(given, grid, at))
            parts.append((view, outcome._replace(logits=logits[at][None])))
        return parts

    def _follow(self, grid: Grid, found: list[int], sure: NDArray[np.float64], x: NDArray) -> None:
        """Move the things to the places where they are `found`, begin new ones and forget what is gone."""
        left = list(self._things)
        for at in found:
            near = [(distance, one) for one in left if (distance := _distance(grid.boxes, one.at, at)) < SAME[0]]
            if near:
                _, one = min(near, key=lambda pair: pair[0])
                left.remove(one)
                one.at, one.missed = at, 0
            elif sure[at] > BEGINS and len(self._things) < self._most:
                self._issued += 1
                self._things.append(Thing(self._issued, at))
        for one in left:
            row, column = grid.corners[one.at]
            one.missed += int(np.count_nonzero(x[:, row : row + SEEN, column : column + SEEN]) >= SILENT)
        self._things = [one for one in self._things if one.missed <= LASTS]


def _probability(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the probability of the likeliest class at each place, logits [P, K]; that of none has the logit 0."""
    highest = np.maximum(logits.max(1, keepdims=True), 0)
    shares = np.exp(logits - highest)
    return shares.max(1) / (shares.sum(1) + np.exp(-highest[:, 0]))


def distinct(boxes: NDArray[np.float64], sure: NDArray[np.float64], most: int = 2 * MOST) -> list[int]:
    """Return the places, the surest first, that are surer than GOES_ON and than all near them (non-maximum
    suppression).
    """
    middles, sides = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2]
    left, kept = np.flatnonzero(sure > GOES_ON), list[int]()
    left = left[np.argsort(-sure[left], kind="stable")]
    while len(left) and len(kept) < most:
        best = int(left[0])
        kept.append(best)
        away = np.abs(middles[left] - middles[best]).max(1)
        left = left[away >= APART * np.maximum(sides[left], sides[best])]
    return kept


def _distance(boxes: NDArray[np.float64], one: int, other: int) -> float:
    """Return how far two places lie apart, by the longer of their lengths; infinite where these differ too much."""
    a, b = boxes[one], boxes[other]
    longer = max(a[2], b[2])
    if longer > SAME[1] * min(a[2], b[2]):
        return float("inf")
    return float(np.hypot(*(a[:2] + a[2:] / 2 - b[:2] - b[2:] / 2))) / longer


def _patch(given: Input, grid: Grid, at: int) -> Input:
    """Return a step as a place sees it."""
    row, column = grid.corners[at]
    x = given.x[:, row : row + SEEN, column : column + SEEN]
    return given._replace(x=x, n_events=int(np.count_nonzero(x)), reset=False, pyramid=None)
