"""Detection of the drawing in a camera's picture: strokes of one tone on an even background, on any sheet or desk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

SEARCH_SIDE = 320  # larger pictures are searched at this size
STROKE = 0.2  # widest stroke by the picture's shorter side
LEVELS = (0.12, 0.24, 0.4)  # ink thresholds, as darkness relative to the background: pencil, print, pen on ruled paper
SMALLEST, LARGEST = 0.07, 0.98  # length of a drawing by the picture's shorter side
BAR = 0.3  # ratio of a rectangle's sides up to which it may be a 1
FILLED = 0.8  # share of its rectangle that a solid object exceeds
SIDES, FULL = 0.35, 0.9  # the same of a frame's strokes, at most, and of all that they surround, at least
PART = 0.06  # least area of a drawing's part by that of its largest part
REACH = 0.7  # in lengths of the largest part, between centres: parts further away do not belong to it,
GAP = 0.1  # unless they are within so many lengths of the group's box: a pen may fail
NEAR, NEVER = (REACH, GAP), (-1.0, -1.0)  # no two parts are within the latter
RING = 0.1  # width of the background ring around strokes that is judged, in drawing lengths
ENCLOSING = 0.3  # likeness that enclosing strokes gain against the background inside them
LIKELY, LEAST = 0.1, 0.42  # likeness that a candidate exceeds, and least likeness of a still picture's drawing
TRIED = 16  # number of parts per threshold, largest first, around which groups are tried
OWN = 2  # pixels beside a stroke that belong to its blur, not to the background

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Drawing:
    """Strokes found in a picture, and the box around them in the picture's pixels."""

    ink: Floats  # [h, w], the box's content: 0 background to 1 ink
    left: float
    top: float
    width: float
    height: float
    likeness: float  # to strokes on an even background, 0 to 1
    ground: float  # brightness around the strokes, 0 to 255


def find_drawing(image: Picture) -> Drawing | None:
    """Return the drawing in a picture, uint8 [H, W] or RGB [H, W, 3]; None if there is none (`as_one`)."""
    found, scale = in_picture(image)
    best = max(as_one(found), key=lambda one: one.likeness, default=None)
    return None if best is None or best.likeness < LEAST else best.drawing(scale)


class Candidate(NamedTuple):
    """Connected parts of ink that may be one drawing, in pixels of the picture that was searched."""

    box: Sequence[int]  # left, top, width, height
    labels: NDArray[Any]  # [H, W], the number of each pixel's part; 0 for the background
    members: NDArray[np.uint8]  # [N], 1 for the candidate's parts
    ink: Floats  # [H, W], of the whole picture: 0 background to 1 ink
    likeness: float = 0.0  # to strokes on an even background, 0 to 1
    peak: float = 1.0  # the strokes' ink, 0 to 1 (80 % quantile)
    ground: float = 1.0  # brightness of the background around the strokes, 0 to 1

    def around(self, margin: int = 0) -> tuple[slice, slice]:
        """Return slices (rows, columns) of the picture that cut out the box and `margin` pixels around it."""
        left, top, width, height = self.box
        rows = slice(max(0, top - margin), top + height + margin)
        return rows, slice(max(0, left - margin), left + width + margin)

    def strokes(self, cut: tuple[slice, slice]) -> Picture:
        """Return the mask of the candidate in a cut-out of the picture: 1 on its pixels."""
        return self.members[self.labels[cut]]

    def placed(self) -> "Candidate":
        """Return the candidate rated also by size and place: as the only drawing it is large, and in the middle."""
        (height, width), (left, top, wide, high) = self.ink.shape, self.box
        size = min(1.0, max(wide, high) / (0.3 * min(height, width))) ** 0.5
        middle = np.hypot((left + wide / 2) / width - 0.5, (top + high / 2) / height - 0.5)
        return self._replace(likeness=self.likeness * size * (1 - 0.5 * float(middle)))

    def encloses(self, other: "Candidate") -> bool:
        """Return whether the other's box lies within this one's, and one is dark and the other light."""
        (x, y, width, height), (left, top, wide, high) = self.box, other.box
        across, down = 0 <= left - x <= width - wide, 0 <= top - y <= height - high
        return other.ink is not self.ink and across and down

    def drawing(self, scale: float) -> Drawing:
        """Return the candidate as a drawing, in a picture whose pixels are `scale` times as many a side."""
        cut = self.around()
        kept = cv2.dilate(self.strokes(cut), np.ones((3, 3), np.uint8))
        strokes = ((self.ink[cut] / self.peak - 0.15) / 0.7).clip(0, 1) * kept
        box = (scale * side for side in self.box)
        return Drawing(strokes.astype(np.float32), *box, likeness=self.likeness, ground=255 * self.ground)


def as_one(found: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates rated as the only drawing shown; those of the other tone that strokes enclose are dropped
    unless they are much likelier: then they are the ink, and what encloses them is its sheet.
    """
    found = [one.placed() for one in found]
    return [one for one in found if all(one.likeness > by.likeness + ENCLOSING or not by.encloses(one) for by in found)]


def in_picture(image: Picture) -> tuple[list[Candidate], float]:
    """Return candidates, dark or light, in a picture uint8 [H, W] or RGB [H, W, 3], and the length of one of their
    pixels in the picture's: larger pictures are searched at SEARCH_SIDE.
    """
    factor = min(1.0, SEARCH_SIDE / max(image.shape[:2]))
    if min(image.shape[:2]) * factor < 1:  # less than a pixel wide once scaled
        return [], 1.0
    if factor < 1:
        image = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)
    found, negative = (dark(np.asarray(one, np.uint8)) for one in (image, 255 - image))
    return [*found, *(one._replace(ground=1 - one.ground) for one in negative)], 1 / factor


def dark(image: Picture, levels: Sequence[float] = LEVELS, largest: float = LARGEST) -> list[Candidate]:
    """Search a picture at full size for dark candidates: each part alone, and grouped with its neighbours.

    Uneven light is removed by dividing by an estimate of the background (a morphological closing, wider than any
    stroke); ink is what stays darker than a threshold of `levels`. `largest`: longest candidate, by the picture's
    shorter side.
    """
    found = list[Candidate]()
    ink, ground = ink_of(image)
    shortest, longest = SMALLEST * min(ink.shape), largest * min(ink.shape)
    for level in levels:
        labels, stats, centres, kept = parts_of(ink, level)
        for near in (NEVER, NEAR):
            for those, box in groups(stats, centres, kept, (shortest, longest), near):
                if max(box[2:]) > longest or (near is NEAR and those.sum() < 2):
                    continue
                one = rated(Candidate(box, labels, those, ink), ground)
                if one.likeness > LIKELY:
                    found.append(one)
    return found


def ink_of(image: Picture) -> tuple[Floats, Floats]:
    """Return ink (darkness relative to the background) and the background's brightness, float32 [H, W], 0 to 1."""
    side = round(min(image.shape[:2]) * STROKE) | 1
    window = np.ones((side, side), np.uint8)
    calm = cv2.medianBlur(image, 3)
    ground = cv2.blur(cv2.morphologyEx(calm, cv2.MORPH_CLOSE, window), (9, 9)).astype(np.float32)
    ink = 1 - np.minimum((calm.astype(np.float32) + 2) / (ground + 2), 1)
    if image.ndim == 2:
        return ink.astype(np.float32), (ground / 255).astype(np.float32)
    darkest = reduce(np.maximum, cv2.split(ink))  # many times faster than along the last axis
    return darkest.astype(np.float32), (ground.mean(2) / 255).astype(np.float32)


def parts_of(ink: Floats, level: float) -> tuple[NDArray[Any], ...]:
    """Return the connected parts of ink [H, W] above `level`, as `cv2.connectedComponentsWithStats` does: labels
    [H, W], stats [N, 5], centres [N, 2]; and which may belong to a drawing, bool [N]: not if tiny or at the border.
    """
    height, width = ink.shape
    above = (ink > level).astype(np.uint8)
    _, labels, stats, centres = cv2.connectedComponentsWithStats(above, ltype=cv2.CV_16U)  # twice as fast as 32 bits
    x, y, w, h, area = (stats[:, k] for k in range(5))
    kept = (x > 1) & (y > 1) & (x + w < width - 1) & (y + h < height - 1) & (area > 8)
    kept[0] = False  # the background
    return labels, stats, centres, kept


def groups(
    stats: NDArray[Any],
    centres: NDArray[Any],
    kept: NDArray[np.bool_],
    lengths: tuple[float, float],
    near: tuple[float, float],
) -> Iterator[tuple[NDArray[np.uint8], list[int]]]:
    """Group parts (`parts_of`) around each of the TRIED largest that are from lengths[0] to lengths[1] long.

    A part joins if it is not longer than the group's first part, has at least PART of the first part's area, and lies
    near: its centre within near[0] lengths of the first part's, or its box within near[1] lengths of the group's box,
    as a failing pen breaks strokes. Yields members, uint8 [N], and the box: left, top, width, height.
    """
    left, top, width, height, area = stats.T
    sides, long = np.stack([left, top, -left - width, -top - height]), np.maximum(width, height)
    heads = np.flatnonzero(kept & (long >= lengths[0]) & (long <= lengths[1]))
    for head in heads[np.argsort(-area[heads], kind="stable")][:TRIED]:
        able = np.flatnonzero(kept & (long <= long[head]) & (area >= PART * area[head]))
        beside = sides[:, able]
        members = np.abs(centres[able] - centres[head]).max(1) < near[0] * long[head]
        members |= able == head
        grown, box = True, sides[:, head]
        while grown:
            box = beside[:, members].min(1)
            close = (beside + box[[2, 3, 0, 1], np.newaxis]).max(0) < near[1] * long[head]
            grown = bool((close & ~members).any())
            members |= close
        x, y, right, bottom = box.tolist()
        those = np.zeros(len(stats), np.uint8)
        those[able[members]] = 1
        yield those, [x, y, -right - x, -bottom - y]


def rated(one: Candidate, ground: Floats) -> Candidate:
    """Return a candidate with its likeness to strokes on an even background, peak and ground, from `ground` [H, W].

    One of up to LIKELY is given as it was, with 0, so that most candidates need only cheap tests.
    """
    reach = max(3, round(RING * max(one.box[2:])))
    cut = one.around(reach + 1)
    strokes = one.strokes(cut)
    wide, close = (cv2.dilate(strokes, np.ones((2 * n + 1, 2 * n + 1), np.uint8)) for n in (reach, OWN))
    ring, ink = cv2.subtract(wide, close), one.ink[cut]
    if not cv2.countNonZero(ring):
        return one
    (mean,), (spread,) = (value.ravel().tolist() for value in cv2.meanStdDev(ground[cut], mask=ring))
    stray, even = cv2.mean(ink, ring)[0], max(0.0, 1 - 4 * spread / (mean + 0.02))
    if even * (1 - 2.5 * stray) <= LIKELY:
        return one
    inked = ink[strokes > 0]
    peak, uneven = float(np.quantile(inked, 0.8)), float(inked.std(dtype=np.float64))
    clean = max(0.0, 1 - 2.5 * stray / peak)
    one_tone = max(0.0, 1 - 1.5 * uneven / peak)
    likeness = clean * even * one_tone * min(1.0, peak / 0.5) * min(1.0, 0.4 + mean / 0.5)
    if likeness <= LIKELY or _is_sheet(strokes):
        return one
    return one._replace(likeness=likeness, peak=peak, ground=mean)


def _is_sheet(strokes: Picture) -> bool:
    """Return whether strokes fill the rectangle around them, at any angle, or are its sides: an object, or a frame.

    The pixel in the mask's first corner must not be a stroke's.
    """
    contours, _ = cv2.findContours(strokes, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    across, along = sorted(side + 1 for side in cv2.minAreaRect(np.concatenate(contours))[1])
    outside = cv2.floodFill(strokes.copy(), None, (0, 0), 2, flags=8)[0]
    filled, surrounded, rectangle = cv2.countNonZero(strokes), strokes.size - outside, across * along
    frame = surrounded > FULL * rectangle and filled < SIDES * surrounded
    return across > BAR * along and (filled > FILLED * rectangle or frame)
