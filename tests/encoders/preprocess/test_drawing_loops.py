"""The compiled loops that look for a drawing give what calls of numpy on the same pixels give."""

from typing import Any

import cv2
import numpy as np
import pytest

from spikesight.encoders.kernels import drawing as loops
from spikesight.encoders.preprocess.drawing import PART, REACH


def blobs(seed: int) -> Any:
    """Strokes and specks, uint8 [60, 80] of 0 and 1."""
    random = np.random.default_rng(seed)
    mask = np.zeros((60, 80), np.uint8)
    cv2.polylines(mask, [random.integers((5, 5), (75, 55), (4, 2)).astype(np.int32)], seed % 2 == 0, 1, 2)
    return np.asarray(mask | (random.random(mask.shape) < 0.01), np.uint8)


def test_tones_of_strokes_and_of_the_ground_around_them() -> None:
    random = np.random.default_rng(0)
    for seed in range(5):
        strokes = blobs(seed)
        ink, ground = random.random((2, *strokes.shape), np.float32)
        wide, close = (cv2.dilate(strokes, np.ones((n, n), np.uint8)) for n in (11, 5))
        ring = (wide > 0) & (close == 0)
        on, beside = ink[strokes > 0].astype(float), ground[ring].astype(float)
        expected = (np.quantile(on, 0.8), on.std(), ink[ring].astype(float).mean(), beside.mean(), beside.std())
        assert loops.tones(strokes, wide, close, ink, ground) == pytest.approx(expected, rel=1e-6)
        assert loops.tones(strokes, close, close, ink, ground)[3] < 0, "there is no ring"


def test_groups_are_parts_near_a_larger_one() -> None:
    for seed in range(10):
        _, _, stats, centres = cv2.connectedComponentsWithStats(blobs(seed))
        kept = stats[:, 4] > 2
        kept[0] = False
        members, boxes = loops.groups(stats, centres, kept, 3, 70, 4, REACH, 0.0, PART)
        long = stats[:, 2:4].max(1)
        heads = np.flatnonzero(kept & (long >= 3) & (long <= 70))
        heads = heads[np.argsort(-stats[heads, 4], kind="stable")][:4]
        assert len(members) == len(boxes) == len(heads) > 0
        for head, chosen, box in zip(heads, members, boxes):
            fits = kept & (stats[:, 4] >= PART * stats[head, 4]) & (long <= long[head])
            near = np.abs(centres - centres[head]).max(1) < REACH * long[head]
            assert np.array_equal(chosen, grown(stats, fits, near & fits, 0.0))
            left, top = stats[chosen > 0, :2].min(0)
            right, bottom = (stats[chosen > 0, :2] + stats[chosen > 0, 2:4]).max(0)
            assert box.tolist() == [left, top, right - left, bottom - top]


def grown(stats: np.ndarray, fits: np.ndarray, members: np.ndarray, gap: float) -> np.ndarray:
    """The members, with all that fit and whose box is nearer than `gap` to theirs, again and again."""
    first, last = stats[:, :2], stats[:, :2] + stats[:, 2:4]
    while True:
        low, high = first[members].min(0), last[members].max(0)
        between = np.maximum(first - high, low - last).max(1)
        more = members | (fits & (between < gap))
        if np.array_equal(more, members):
            return members
        members = more


def test_pieces_of_a_stroke_are_joined_one_after_another() -> None:
    """Dashes of 20 pixels, 4 apart, and one 12 from the last: far from the first, and near the one before it."""
    picture = np.zeros((40, 200), np.uint8)
    for left in (10, 34, 58, 82, 106, 130, 162):
        picture[18:22, left : left + 20] = 1
    _, _, stats, centres = cv2.connectedComponentsWithStats(picture)
    kept = np.arange(len(stats)) > 0
    for gap, count, length in ((0.25, 6, 140), (0.2, 1, 20), (0.9, 7, 172)):
        members, boxes = loops.groups(stats, centres, kept, 3, 70, 1, REACH, gap, PART)
        assert boxes[0].tolist() == [10, 18, length, 4], gap
        assert members[0].sum() == count
