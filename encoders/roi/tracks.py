"""Tracking: candidates of successive searches are linked to tracks, each with an identity and a window.

A track is a drawing with a constant velocity. While no candidate matches, as when drawings cross, it moves on. Each
track is seen by a small sensor of its own, and these are stacked vertically into one, so that one binner bins all.

A single drawing is held in a hand and sways: its track stays where it was found last.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.dvs import Bin, DvsEncoder, StreamBinner
from spikesight.encoders.preprocess.drawing import Drawing, Floats
from spikesight.encoders.preprocess.fit import DIGIT_SIZE, centred
from spikesight.encoders.roi.candidates import overlap
from spikesight.encoders.roi.window import Window, around

MOST = 8  # windows (one bit each)
LINKED = 0.6  # least overlap (IoU) of a candidate's square with a track's expected square to link them
ALIKE = 0.6  # correlation above which two forms are the same
FRESH = 0.3  # weight of the newest drawing in the average
FORGOTTEN_US = 1_000_000  # a track without candidates survives as long as it was followed, and at most so long
STEADY = 0.4  # weight of the newest size in the average
LASTING = 0.1  # the same of the likeness: for a while a sheet or a hand may look more like a drawing than a digit
SPEED_US = 500_000  # longest time over which a speed is averaged
CROSSED = 0.2  # overlap (IoU) with an old track above which no track begins: it is a part or a crossing
FAR = -1e6, 1e6  # range of a coordinate, in pixels

Boxes = NDArray[np.float64]  # [N, 4]: left, top, width, height


@dataclass
class Seen:
    """A drawing that a search found, in the sensor's pixels."""

    drawing: Drawing

    @cached_property
    def ink(self) -> Floats:
        """The normalised ink, float32 [28, 28], 0 to 255, from `centred`; computed for few that are found."""
        return centred(self.drawing.ink * 255).astype(np.float32)


class Tracks:
    """Up to `places` tracked drawings. `ids` [places] is the track in each place, 0 for none; ids are never reused.

    With `least`, one drawing is tracked `alone`, and a track begins only above this likeness.
    """

    def __init__(self, places: int, least: float | None = None) -> None:
        self.alone, self._least = least is not None, least or 0.0
        self.ids = np.zeros(places, np.int64)
        self.boxes: Boxes = np.zeros((places, 4))
        self.drawings = np.zeros((places, DIGIT_SIZE, DIGIT_SIZE), np.float32)  # 0 to 255 ink
        self.speed = np.zeros((places, 2))  # (x, y), pixels per second
        self.likeness = np.zeros(places)
        self.began_us, self.seen_us, self.t_us = np.zeros(places, np.int64), np.zeros(places, np.int64), 0
        self.issued = 0

    @property
    def window(self) -> Window | None:
        """The window of a drawing that is tracked alone; None if there is none, or if there may be several."""
        return Window(*around(self.boxes)[0].tolist()) if self.alone and self.ids[0] else None

    def update(self, found: Sequence[Seen], t_us: int) -> NDArray[np.int64]:
        """Link drawings found by a search at `t_us`, likeliest first; return the index that each place shows, or -1."""
        boxes, expected = boxes_of(found), self._expected(t_us)
        shown = self._linked(expected, boxes, found)
        for place in np.flatnonzero(shown >= 0):
            index = int(shown[place])
            self._see(int(place), boxes[index], found[index], t_us)
        lost = (self.ids > 0) & (shown < 0)
        self.boxes[lost] = expected[lost]
        followed = np.abs(self.seen_us - self.began_us)
        self.ids[lost & (np.abs(t_us - self.seen_us) > np.minimum(followed, FORGOTTEN_US))] = 0
        self.likeness[self.ids == 0], self.drawings[self.ids == 0] = 0, 0
        crossed = (overlap(boxes, self.boxes) > CROSSED) & (self.ids > 0) & (followed > FORGOTTEN_US)
        for index in np.setdiff1d(np.arange(len(found)), shown).tolist():
            place = int(self.likeness.argmin())  # a free place, or that of the track least like a drawing
            likelier = found[index].drawing.likeness > max(self.likeness[place], self._least)
            if likelier and not np.delete(crossed[index], place).any():
                self._begin(place, boxes[index], found[index], t_us)
                shown[place] = index
        self.t_us = t_us
        return shown

    def _expected(self, t_us: int) -> Boxes:
        """Return the boxes, moved at their speeds to `t_us`."""
        boxes = self.boxes.copy()
        boxes[:, :2] += self.speed * (min(max(0, t_us - self.t_us), FORGOTTEN_US) / 1e6)
        return boxes.clip(*FAR)

    def _linked(self, expected: Boxes, boxes: Boxes, found: Sequence[Seen]) -> NDArray[np.int64]:
        """Return for each expected box [N, 4] the index of its box in [M, 4], near and alike in form, or -1."""
        shown = np.full(len(expected), -1)
        near = overlap(squares(expected), squares(boxes))
        near[(near < LINKED) | (self.ids == 0)[:, None]] = 0
        places, indices = (np.flatnonzero(near.any(axis)) for axis in (1, 0))
        if len(places):
            alike = _forms(self.drawings[places]) @ _forms([found[index].ink for index in indices.tolist()]).T
            near[np.ix_(places, indices)] *= np.where(alike > ALIKE, alike, 0)
        while (best := int(near.argmax()) if near.size else 0) < near.size and near.flat[best] > 0:
            place, index = divmod(best, len(boxes))
            shown[place] = index
            near[place], near[:, index] = 0, 0
        return shown

    def _see(self, place: int, box: Boxes, seen: Seen, t_us: int) -> None:
        before, passed_us = self.boxes[place], t_us - self.t_us
        if self.seen_us[place] == self.t_us and passed_us > 0 and not self.alone:
            moved = box[:2] + box[2:] / 2 - before[:2] - before[2:] / 2
            weight = passed_us / max(passed_us, min(t_us - self.began_us[place], SPEED_US))
            self.speed[place] += weight * (moved * (1e6 / passed_us) - self.speed[place])
        size = before[2:] + STEADY * (box[2:] - before[2:])
        self.boxes[place] = [*(box[:2] + (box[2:] - size) / 2), *size]
        self.likeness[place] += LASTING * (seen.drawing.likeness - self.likeness[place])
        self.drawings[place] += FRESH * (seen.ink - self.drawings[place])
        self.seen_us[place] = t_us

    def _begin(self, place: int, box: Boxes, seen: Seen, t_us: int) -> None:
        self.issued += 1
        self.ids[place], self.boxes[place], self.speed[place] = self.issued, box, 0.0
        self.drawings[place], self.likeness[place] = seen.ink, seen.drawing.likeness
        self.began_us[place] = self.seen_us[place] = t_us


class WindowsBinner(StreamBinner):
    """A binner for the stacked sensors of several windows; each bin carries the places' content when it closed."""

    def __init__(self, tracks: Tracks, encoder: DvsEncoder, shown: int) -> None:
        super().__init__(encoder, shown=shown)
        self._tracks = tracks

    def _close(self, bins: list[Bin]) -> None:
        super()._close(bins)
        now = self._tracks
        bins[-1] = replace(bins[-1], held=(now.ids.copy(), now.boxes.copy(), now.likeness.copy()))


def boxes_of(found: Sequence[Seen]) -> Boxes:
    """Return the drawings' boxes (left, top, width, height) as an array [N, 4]."""
    boxes = [(one.drawing.left, one.drawing.top, one.drawing.width, one.drawing.height) for one in found]
    return np.array(boxes, float).reshape(-1, 4)


def _forms(inks: Sequence[Floats] | Floats) -> Boxes:
    """Return ink [N, 28, 28] as forms [N, 784] whose scalar products are correlations; a form without ink is zero."""
    forms = np.array([cv2.GaussianBlur(ink, (0, 0), 1.0).ravel() for ink in inks], float)  # no single-pixel detail
    forms -= forms.mean(1, keepdims=True)
    return forms / np.maximum(np.linalg.norm(forms, axis=1, keepdims=True), 1e-9)


def squares(boxes: Boxes) -> Boxes:
    """Return boxes [N, 4] widened to squares around their centres: a 1's box hardly overlaps itself once moved."""
    sides = boxes[:, 2:].max(1, keepdims=True, initial=0)
    return np.concatenate([boxes[:, :2] + (boxes[:, 2:] - sides) / 2, sides, sides], 1)
