"""The head: right where classes can be told, judged by pieces it has not seen."""

import numpy as np

from spikesight.models.statistics import fit_temperature
from spikesight.models.teach.head import FOLDS, Regression, folds, judge


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


def test_pieces_of_a_class_take_turns_in_the_folds() -> None:
    labels, pieces = np.r_[np.zeros(24, int), 1, 1, 1, 2], np.r_[np.arange(12).repeat(2), 90, 91, 90, 92]
    assert FOLDS == 10
    assert folds(labels, pieces).tolist() == [*(np.arange(12).repeat(2) % 10), 0, 1, 0, -1]
