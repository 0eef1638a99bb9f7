"""Where something may be: strokes that hang together, of several levels, in a picture or where events were lately.

Cheap and generous. Nothing here decides what is shown: a candidate becomes a window, and the network says whether it is
familiar with what is in it.
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

SAME = 0.6  # of the union of two boxes, that both have: more is one thing, found twice
MOST = 16  # candidates of a search
LIKELY = 0.1  # likeness of a candidate


class Candidate(NamedTuple):
    """Parts of one level, and how much they look like strokes on an even ground."""

    likeness: float
    group: Group
    ink: Floats  # [H, W], of the picture
    peak: float
    ground: float

    def drawing(self) -> Drawing:
        """Its strokes and their box, in the pixels of the picture that was searched."""
        return self.group.drawing(self.ink, self.likeness, self.peak, self.ground)


def in_picture(image: Picture) -> list[Drawing]:
    """Up to MOST candidates of uint8 [H, W] or RGB [H, W, 3], dark on light or light on dark, the likeliest first."""
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
    """All candidates in the dark of a picture, at its own size: each part by itself, and with those beside it.

    `faint`: as for `dark_drawing`.
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
    """The likeliest of those that lie in one place, up to `most`, the likeliest first."""
    boxes = np.array([one.group[2:] for one in found], float).reshape(-1, 4)
    return [found[n] for n in likeliest(boxes, [one.likeness for one in found], most)]


def likeliest(boxes: np.ndarray, likeness: Sequence[float], most: int) -> list[int]:
    """Which of the boxes [N, 4] in one place are the likeliest, up to `most`, the likeliest first."""
    same, kept = overlap(boxes, boxes) > SAME, list[int]()
    for n in np.argsort(-np.asarray(likeness, float), kind="stable").tolist():
        if len(kept) < most and not same[n, kept].any():
            kept.append(n)
    return kept


def overlap(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (left, top, width, height) [N, 4] and [M, 4]: [N, M]."""
    begin = np.maximum(ones[:, None, :2], others[None, :, :2])
    end = np.minimum(ones[:, None, :2] + ones[:, None, 2:], others[None, :, :2] + others[None, :, 2:])
    shared = (end - begin).clip(0).prod(2)
    return shared / (ones[:, None, 2:].prod(2) + others[None, :, 2:].prod(2) - shared)
