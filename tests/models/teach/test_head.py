"""The head: right where classes can be told, judged by pieces it has not seen."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from spikesight.models.novelty import KEPT, NoveltyDetector
from spikesight.models.statistics import fit_temperature
from spikesight.models.teach.head import FOLDS, UNJUDGED_TEMPERATURE, Judged, Regression, folds, judge
from spikesight.models.teach.unknown import fit_unknown, separation


def clouds(count: int, pieces: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features [M, 1, 50], labels and pieces [M] of three classes, each piece with a mark of its own."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), count)
    piece = np.tile(np.arange(count) * pieces // count, 3) + 100 * labels
    middles, marks = random.normal(0, 1, (3, 50)), {p: random.normal(0, spread, 50) for p in np.unique(piece)}
    x = middles[labels] + np.stack([marks[p] for p in piece]) + random.normal(0, 0.1, (len(labels), 50))
    return x[:, None].astype(np.float32), labels, piece


def test_a_head_is_a_ridge_regression_in_which_every_class_weighs_the_same() -> None:
    random = np.random.default_rng(5)
    x, labels = random.normal(size=(8, 2, 5)).astype(np.float32), np.array([0, 0, 0, 0, 0, 1, 1, 2])
    rows, of = x.reshape(16, 5).astype(np.float64), labels.repeat(2)
    spread, weights = ((rows - rows.mean(0)) ** 2).sum(), (1 / np.bincount(of))[of]
    ridge = 0.1 * spread / 16 * 3 / 16  # by the mean eigenvalue, for samples that weigh 1 on average
    middle = weights @ rows / weights.sum()
    rest, targets = rows - middle, np.eye(3)[of] - 1 / 3
    primal = np.linalg.solve(
        rest.T @ (weights[:, None] * rest) + ridge * np.eye(5), rest.T @ (weights[:, None] * targets)
    )
    head = Regression(x, labels, 3).head(0.5)
    np.testing.assert_allclose(head.weight, primal.T / 0.5, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(head.bias, (1 / 3 - primal.T @ middle) / 0.5, rtol=1e-3, atol=1e-4)


def test_each_fold_is_judged_by_the_head_of_all_others() -> None:
    x, labels, pieces = clouds(6, 3, 0.5)
    x = np.concatenate([x, x + np.random.default_rng(2).normal(0, 0.2, x.shape).astype(np.float32)], 1)
    pieces[labels == 2] = 7  # alone: learnt from by all, judged by none
    told, fold = judge(Regression(x, labels, 3), labels, pieces), folds(labels, pieces)
    for number in range(3):
        head = Regression(x[fold != number], labels[fold != number], 3).head(1.0)
        expected = x[fold == number, 0] @ head.weight.T + head.bias
        np.testing.assert_allclose(told.scores[fold == number], expected, rtol=0.02, atol=0.02)
    seen = fold >= 0
    assert np.isnan(told.scores).all(1).tolist() == (~seen).tolist() == (labels == 2).tolist()
    assert told.temperature == fit_temperature(told.scores[seen], labels[seen], np.ones(int(seen.sum())))


@pytest.mark.parametrize(("count", "judged"), [(5, False), (6, True)])
def test_a_temperature_is_fitted_on_two_judged_examples_a_class_or_more(count: int, judged: bool) -> None:
    random = np.random.default_rng(0)
    labels = np.array([0, 0, 0, 1, 1, 1])[:count]
    labels, pieces = np.r_[labels, 2], np.arange(count + 1)
    told = judge(Regression(random.normal(size=(count + 1, 1, 4)).astype(np.float32), labels, 3), labels, pieces)
    assert (~np.isnan(told.scores[:, 0])).sum() == count
    assert (told.temperature != UNJUDGED_TEMPERATURE) == judged


def test_pieces_of_a_class_take_turns_in_the_folds() -> None:
    labels, pieces = np.r_[np.zeros(24, int), 1, 1, 1, 2], np.r_[np.arange(12).repeat(2), 90, 91, 90, 92]
    assert FOLDS == 10
    assert folds(labels, pieces).tolist() == [*(np.arange(12).repeat(2) % 10), 0, 1, 0, -1]


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


def test_scores_count_by_how_much_better_than_chance_they_tell() -> None:
    known = np.array([[1.0, 1, 5], [2, 2, 6]])
    other = np.array([[3.0, 2, 1], [4, 3, 2]])
    assert separation(known, other)[:2].tolist() == [1.0, 0.75], "larger in four and in three of four pairs, one a tie"
    assert 0 < separation(known, other)[2] < 0.01, "the wrong way round"
    assert separation(known, known - 9)[0] == 1.0, "none tells: the distance"
