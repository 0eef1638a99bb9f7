"""Which of several candidates are one thing, found more than once.

Cheap and generous. Nothing here decides what is shown: a candidate becomes a window, and the network says whether it is
familiar with what is in it.
"""

from collections.abc import Sequence

import numpy as np

from spikesight.encoders.preprocess.drawing import Candidate

SAME = 0.6  # of the union of two boxes, that both have: more is one thing, found twice
MOST = 16  # candidates of a search


def distinct(found: Sequence[Candidate], most: int = MOST, *, alone: bool = False) -> list[Candidate]:
    """The likeliest of those that lie in one place, up to `most`, the likeliest first; `alone`: one of all is shown."""
    found = [one.placed() for one in found] if alone else found
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
