"""Several windows at once: candidates of one search after another are linked to tracks, each with an identity.

A track moves on as it moved lately while it is not found, for as long as two things take to cross each other.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.preprocess.drawing import Drawing
from spikesight.encoders.preprocess.values import Values, array, integer
from spikesight.encoders.roi.candidates import overlap

LINKED = 0.3  # overlap of a candidate's box with the one that a track expects, or
NEAR, RATIO = 0.5, 1.6  # so near by its length, and at most so much larger or smaller
FORGOTTEN_US = 1_000_000  # a track that was found FOUND times lives on so long
FOUND = 4
FLEETING_US = 120_000  # any other
STEADY = 0.4  # weight of the newest size, speed and likeness
BRAKE_US = 300_000  # time constant with which a track that is not found slows down
BETTER = 1.5  # by its likeness: a candidate that takes the place of a track, where all are taken
FURTHEST = 1e6  # pixels

EVER_US = -(2**62)

Boxes = NDArray[np.float64]  # [N, 4]: left, top, width, height


class Held(NamedTuple):
    """What the places held for a while."""

    ids: NDArray[np.int64]  # [N]
    boxes: Boxes
    likeness: NDArray[np.float64]  # [N], 0 to 1


class Tracks:
    """Up to `places` boxes in time. `ids` [places] names what is in each, 0 for nothing; an identity comes once.

    What was where is kept until `at` has asked for it, so that bins that close later see what held in their time.
    """

    def __init__(self, places: int) -> None:
        self.ids = np.zeros(places, np.int64)
        self.boxes: Boxes = np.zeros((places, 4))
        self._speed = np.zeros((places, 2))  # pixels a second
        self.likeness, self._times = np.zeros(places), np.zeros(places, np.int64)  # how often it was found
        self._seen_us, self._t_us = np.zeros(places, np.int64), 0
        self._issued = 0
        self._log: list[tuple[int, Held]] = []
        self.begin()

    def update(self, found: Sequence[Drawing], t_us: int, since_us: int) -> NDArray[np.int64]:
        """Link what a search at `t_us` found, the likeliest first; for each place the index of what it shows, or -1.

        `since_us`: from when on it holds.
        """
        boxes = np.array([(one.left, one.top, one.width, one.height) for one in found], float).reshape(-1, 4)
        expected = self._expected(t_us)
        shown = linked(expected, boxes, self.ids > 0)
        for place in np.flatnonzero(shown >= 0):
            self._see(int(place), boxes[shown[place]], found[shown[place]].likeness, t_us)
        lost = (self.ids > 0) & (shown < 0)
        self.boxes[lost] = expected[lost]
        self._speed[lost] *= np.exp(-max(0, t_us - self._t_us) / BRAKE_US)
        patience = np.where(self._times >= FOUND, FORGOTTEN_US, FLEETING_US)
        self.ids[lost & (np.abs(t_us - self._seen_us) > patience)] = 0
        for index in (int(k) for k in np.setdiff1d(np.arange(len(found)), shown)):
            place = self._place_for(found[index].likeness)
            if place is not None:
                self._begin(place, boxes[index], found[index].likeness, t_us)
                shown[place] = index
        self._t_us = t_us
        self._log.append((since_us, self._held()))
        return shown

    def begin(self) -> None:
        """A clock begins: what is in the places holds until the next search."""
        self._log = [(EVER_US, self._held())]

    def forget(self) -> None:
        """Nothing is anywhere."""
        self.ids[:] = 0
        self.begin()

    def _held(self) -> Held:
        return Held(self.ids.copy(), self.boxes.copy(), self.likeness.copy())

    def at(self, end_us: int) -> Held:
        """What held in the bin that ended at `end_us`, after which nobody asks for an earlier one."""
        while len(self._log) > 1 and self._log[1][0] < end_us:
            del self._log[0]
        return self._log[0][1]

    def state(self) -> Values:
        """The state that is carried on, by name."""
        values: Values = {"ids": self.ids.copy(), "boxes": self.boxes.copy(), "speed": self._speed.copy()}
        values |= {"likeness": self.likeness.copy(), "times": self._times.copy(), "seen_us": self._seen_us.copy()}
        ids, boxes, likeness = (np.array(column) for column in zip(*(held for _, held in self._log)))
        since = np.array([since for since, _ in self._log])
        values |= {"log.since": since, "log.ids": ids, "log.boxes": boxes, "log.likeness": likeness}
        return values | {"t_us": self._t_us, "issued": self._issued}

    def restore(self, values: Values) -> None:
        """Go on from a state. Raises ValueError."""
        places, far = len(self.ids), 2.0**62
        issued = integer(values["issued"])
        length = len(values["log.since"]) if isinstance(values["log.since"], np.ndarray) else 0
        if not 1 <= length <= 1024:
            raise ValueError("what the windows showed is no history")
        since = array(values["log.since"], (length,), np.int64, -far, far)
        ids = array(values["log.ids"], (length, places), np.int64, 0, issued)
        boxes = array(values["log.boxes"], (length, places, 4), np.float64, -FURTHEST, FURTHEST)
        likeness = array(values["log.likeness"], (length, places), np.float64)
        self.ids = array(values["ids"], (places,), np.int64, 0, issued)
        self.boxes = array(values["boxes"], (places, 4), np.float64, -FURTHEST, FURTHEST)
        self._speed = array(values["speed"], (places, 2), np.float64, -1e9, 1e9)
        self.likeness = array(values["likeness"], (places,), np.float64)
        self._times = array(values["times"], (places,), np.int64, 0, 2**53)
        self._seen_us = array(values["seen_us"], (places,), np.int64, -far, far)
        self._t_us, self._issued = integer(values["t_us"], -(2**61), 2**61), issued
        self._log = list(zip(since.tolist(), map(Held, ids, boxes, likeness)))

    def _expected(self, t_us: int) -> Boxes:
        """The boxes where they should be by now."""
        boxes = self.boxes.copy()
        boxes[:, :2] += self._speed * (min(max(0, t_us - self._t_us), FORGOTTEN_US) / 1e6)
        return boxes.clip(-FURTHEST, FURTHEST)

    def _see(self, place: int, box: Boxes, likeness: float, t_us: int) -> None:
        before, passed_us = self.boxes[place], t_us - self._t_us
        if self._seen_us[place] == self._t_us and passed_us > 0:
            moved = box[:2] + box[2:] / 2 - before[:2] - before[2:] / 2
            self._speed[place] += STEADY * (moved * (1e6 / passed_us) - self._speed[place])
        size = before[2:] + STEADY * (box[2:] - before[2:])
        self.boxes[place] = [*(box[:2] + (box[2:] - size) / 2), *size]
        self.likeness[place] += STEADY * (likeness - self.likeness[place])
        self._times[place] += 1
        self._seen_us[place] = t_us

    def _place_for(self, likeness: float) -> int | None:
        """A place for something new: a free one, or that of what looks much less like anything."""
        free = np.flatnonzero(self.ids == 0)
        if len(free):
            return int(free[0])
        worst = int(self.likeness.argmin())
        return worst if likeness > BETTER * self.likeness[worst] else None

    def _begin(self, place: int, box: Boxes, likeness: float, t_us: int) -> None:
        self._issued += 1
        self.ids[place], self.boxes[place], self._speed[place] = self._issued, box, 0.0
        self.likeness[place], self._times[place], self._seen_us[place] = likeness, 1, t_us


def linked(expected: Boxes, boxes: Boxes, there: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each expected box [N, 4] that is `there` which box of [M, 4] it is, or -1; the best pair first."""
    shown = np.full(len(expected), -1)
    if not len(boxes) or not there.any():
        return shown
    sides = expected[:, None, 2:].max(2), boxes[None, :, 2:].max(2)
    middles = expected[:, None, :2] + expected[:, None, 2:] / 2 - boxes[None, :, :2] - boxes[None, :, 2:] / 2
    apart = np.abs(middles).max(2) / np.maximum(sides[0], 1e-9)
    ratio = np.maximum(sides[0], sides[1]) / np.maximum(np.minimum(sides[0], sides[1]), 1e-9)
    shared = overlap(expected, boxes)
    good = ((shared > LINKED) | (apart < NEAR)) & (ratio < RATIO) & there[:, None]
    score = np.where(good, shared - apart / 4 - ratio / 4, -np.inf)
    while (best := int(score.argmax())) >= 0 and np.isfinite(score.flat[best]):
        place, index = divmod(best, len(boxes))
        shown[place] = index
        score[place], score[:, index] = -np.inf, -np.inf
    return shown
