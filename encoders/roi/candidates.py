"""Candidate drawings: connected strokes at several ink thresholds, in a picture or in a map of recent events.

The search is cheap and favours recall over precision. A candidate becomes a window, and the network decides whether its
content is familiar.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from spikesight.encoders.preprocess.drawing import (
    GAP,
    LARGEST,
    LEVELS,
    NEVER,
    REACH,
    SEARCH_SIDE,
    Drawing,
    Floats,
    Group,
    Picture,
    Pieces,
    Search,
    above,
    goes_on,
    groups_of,
    ink_of,
    likeness_of,
    parts_of,
)

SAME = 0.6  # intersection over union above which two boxes are one object found twice
MOST = 16  # candidates that a search returns
LIKELY = 0.1  # a candidate's likeness to a drawing exceeds this


class Candidate(NamedTuple):
    """A group of connected parts that may be a drawing, and its likeness (0 to 1) to strokes on an even background."""

    likeness: float
    group: Group
    ink: Floats  # [H, W], of the whole picture: 0 background to 1 ink
    peak: float  # the strokes' ink, 0 to 1 (80 % quantile)
    ground: float  # brightness of the background around the strokes, 0 to 1

    def drawing(self) -> Drawing:
        """Return the candidate as a drawing, with its box in pixels of the picture that was searched."""
        return self.group.drawing(self.ink, self.likeness, self.peak, self.ground)


def in_picture(image: Picture) -> list[Drawing]:
    """Return up to MOST drawings, dark or light, in a picture uint8 [H, W] or RGB [H, W, 3], the likeliest first."""
    factor = min(1.0, SEARCH_SIDE / max(image.shape[:2]))
    if min(image.shape[:2]) * factor < 1:
        return []
    if factor < 1:
        image = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)
    both = [Search(dark(np.asarray(one, np.uint8))).result() for one in (image, 255 - image)]
    return [one.drawing().scaled(1 / factor) for one in distinct([*both[0], *both[1]])]


def dark(
    image: Picture, levels: Sequence[float] = LEVELS, largest: float = LARGEST, faint: float | None = None
) -> Pieces[list[Candidate]]:
    """Search a picture at full size for dark candidates: each part alone, and grouped with its neighbours.

    `levels`, `largest`, `faint`: as for `dark_drawing`.
    """
    found = list[Candidate]()
    ink, ground = ink_of(image)
    beyond = None if faint is None else above(ink, faint)
    for level in levels:
        yield
        parts = parts_of(ink, level)
        for reach, gap in ((NEVER, NEVER), (REACH, GAP)):
            yield
            for group in groups_of(parts, gap, largest, reach, MOST):
                if reach > 0 and group.members.sum() < 2:
                    continue
                likeness, peak, around = likeness_of(group, ink, ground, LIKELY)
                if likeness > LIKELY and (beyond is None or not goes_on(group, beyond)):
                    found.append(Candidate(likeness, group, ink, peak, around))
    return found


def distinct(found: Sequence[Candidate], most: int = MOST) -> list[Candidate]:
    """Drop candidates that overlap a likelier one; return up to `most` of the others, the likeliest first."""
    boxes = np.array([one.group[2:] for one in found], float).reshape(-1, 4)
    return [found[n] for n in likeliest(boxes, [one.likeness for one in found], most)]


def likeliest(boxes: np.ndarray, likeness: Sequence[float], most: int) -> list[int]:
    """Return indices of up to `most` boxes of [N, 4] that do not overlap a likelier one, the likeliest first."""
    same, kept = overlap(boxes, boxes) > SAME, list[int]()
    for n in np.argsort(-np.asarray(likeness, float), kind="stable").tolist():
        if len(kept) < most and not same[n, kept].any():
            kept.append(n)
    return kept


def overlap(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union [N, M] of boxes (left, top, width, height) [N, 4] and [M, 4]."""
    begin = np.maximum(ones[:, None, :2], others[None, :, :2])
    end = np.minimum(ones[:, None, :2] + ones[:, None, 2:], others[None, :, :2] + others[None, :, 2:])
    shared = (end - begin).clip(0).prod(2)
    return shared / (ones[:, None, 2:].prod(2) + others[None, :, 2:].prod(2) - shared)
