"""Suppression of candidates that are one object found more than once.

The search is cheap and favours recall over precision. A candidate becomes a window, and the network decides whether its
content is familiar.
"""

from collections.abc import Sequence

import numpy as np

from spikesight.encoders.preprocess.drawing import Candidate, as_one

SAME = 0.6  # intersection over union above which two boxes are one object found twice
MOST = 16  # candidates that a search returns


def distinct(found: Sequence[Candidate], most: int = MOST, *, alone: bool = False) -> list[Candidate]:
    """Drop candidates that overlap a likelier one; return up to `most` of the others, the likeliest first.

    `alone`: rate them as the only drawing shown (`as_one`).
    """
    found = as_one(found) if alone else found
    boxes = np.array([one.box for one in found], float).reshape(-1, 4)
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
