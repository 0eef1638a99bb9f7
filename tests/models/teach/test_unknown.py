"""What was never taught: lines and weights from examples that were left out."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from spikesight.models.novelty import KEPT, NoveltyDetector
from spikesight.models.teach.head import Judged
from spikesight.models.teach.unknown import fit_unknown

K, S = 4, 6


def things(apart: float, seed: int = 0, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Roots of rates [M, S] of K classes whose means lie so far apart, and labels [M]."""
    random, labels = np.random.default_rng(seed), np.arange(count) % K
    middles = 2 + apart * np.eye(S)[:K]
    return middles[labels] + random.normal(0, 0.1, (count, S)), labels


def logits(labels: np.ndarray, sure: float, seed: int = 1) -> np.ndarray:
    return sure * np.eye(K)[labels] + np.random.default_rng(seed).normal(0, 0.1, (len(labels), K))


def fitted(roots: np.ndarray, labels: np.ndarray, pieces: np.ndarray, held: np.ndarray, left: np.ndarray) -> Any:
    """By what heads made of the examples that were held out, and of those of a class that was left out."""
    without = SimpleNamespace(without=lambda _: left[:, None].copy())
    return fit_unknown(1, roots, labels, pieces, cast(Any, without), Judged(held, 1.0))


def known_of(detector: NoveltyDetector, roots: np.ndarray, given: np.ndarray) -> np.ndarray:
    mean = np.concatenate([given, roots**2, np.ones((len(roots), 1))], 1)
    return np.array([detector.judge(row, K, 1).known for row in mean])


@pytest.mark.parametrize("telling", ["distance", "energy"])
def test_the_score_counts_that_tells_left_out_classes(telling: str) -> None:
    """Classes that lie apart but whose logits tell none, or the other way round."""
    apart, sure = (2.0, 0.0) if telling == "distance" else (0.0, 5.0)
    roots, labels = things(apart)
    left_out = logits((labels + 1) % K, 0.0)
    found = fitted(roots, labels, np.arange(200), logits(labels, sure), left_out)
    assert found is not None
    assert found.noticed > 0.95
    assert found.interval[0] < 0.6, "four classes are few"
    again, labels = things(apart, seed=5)
    mine = known_of(found.detector, again, logits(labels, sure, 6))
    assert 0.01 < (mine < KEPT).mean() < 0.12, "a twentieth of what is known"
    if telling == "distance":
        assert (known_of(found.detector, again[::-1] + 1, logits(labels, sure, 7)) < KEPT).all()
    else:
        assert (known_of(found.detector, again, logits(labels, 0.0, 7)) < KEPT).mean() > 0.9


def test_classes_that_are_alike_are_not_noticed() -> None:
    roots, labels = things(0.0)
    found = fitted(roots, labels, np.arange(200), logits(labels, 0.0), logits(labels, 0.0, 2))
    assert found is not None
    assert found.noticed < 0.2


def test_too_few_examples_tell_nothing() -> None:
    roots, labels = things(2.0)
    given = (logits(labels, 1.0), logits(labels, 0.0))
    assert fitted(roots, labels, labels, *given) is None, "one piece a class"
    few = slice(0, 19)
    assert fitted(roots[few], labels[few], np.arange(19), given[0][few], given[1][few]) is None
    assert fitted(0 * roots, labels, np.arange(200), *given) is None, "all alike"
