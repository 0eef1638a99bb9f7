"""A linear head by ridge regression, and what it makes of examples it has not seen.

Features are centred and not standardised: that would blow up what hardly ever fires. The solution is that of the dual
(Saunders et al. 1998), of as many unknowns as examples, so thousands of features cost nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikesight.models.statistics import fit_temperature

RIDGE = 0.1  # by the mean eigenvalue of the examples' kernel
FOLDS = 10
UNJUDGED_TEMPERATURE = 0.1  # where nothing was held out to fit it on
Floats = NDArray[np.float64]
Features = NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """logits = features weight^T + bias, calibrated."""

    weight: Floats  # [K, F]
    bias: Floats  # [K]


@dataclass(frozen=True)
class Judged:
    """Each example by heads that saw nothing of its piece; NaN where its class has no other piece."""

    scores: Floats  # [M, K], before the temperature
    temperature: float


def fit(features: Features, labels: NDArray[np.int64], classes: int, temperature: float) -> Head:
    """From features [n, 1 + copies, F] and labels [n]."""
    rows = features.reshape(-1, features.shape[2])
    _, coefficients, offset = _solve(_kernel(rows), labels.repeat(features.shape[1]), classes)
    middle = rows.mean(0, dtype=np.float64)
    weight = coefficients.T.astype(np.float32) @ rows - coefficients.sum(0)[:, None] * middle
    bias = offset - weight @ middle
    return Head(weight / temperature, bias / temperature)


def _kernel(rows: Features) -> Floats:
    return (rows @ rows.T).astype(np.float64)


def _solve(kernel: Floats, labels: NDArray[np.int64], classes: int) -> tuple[Floats, Floats, Floats]:
    """Means of the kernel's columns [n], dual coefficients [n, K] and offset [K] of the centred problem."""
    targets = np.eye(classes)[labels]
    weights = 1 / np.bincount(labels, minlength=classes)[labels]  # every class counts the same
    offset = np.full(classes, 1 / classes)
    middle = kernel.mean(0)
    centred = kernel - middle - middle[:, None] + kernel.mean()
    level = max(float(np.trace(centred)) / len(kernel), 1e-12)
    ridge = RIDGE * level / (weights * len(labels) / classes)
    return middle, np.linalg.solve(centred + np.diag(ridge), targets - offset), offset


def judge(features: Features, labels: NDArray[np.int64], pieces: NDArray[np.int64], classes: int) -> Judged:
    """Cross-validation by pieces, of features [M, 1 + copies, F], labels [M] and pieces [M]; copies are learnt from and
    not judged.
    """
    count, looks = features.shape[:2]
    kernel = _kernel(features.reshape(count * looks, -1))
    fold = folds(labels, pieces)
    scores = np.full((count, classes), np.nan)
    for number in range(fold.max() + 1):
        out = fold == number
        kept = np.flatnonzero((~out).repeat(looks))
        middle, coefficients, offset = _solve(kernel[np.ix_(kept, kept)], labels[kept // looks], classes)
        row = kernel[np.ix_(np.flatnonzero(out) * looks, kept)]
        centred = row - row.mean(1, keepdims=True) - middle + middle.mean()
        scores[out] = centred @ coefficients + offset
    judged = ~np.isnan(scores[:, 0])
    enough = judged.sum() >= 2 * classes
    temperature = (
        fit_temperature(scores[judged], labels[judged], np.ones(int(judged.sum()))) if enough else UNJUDGED_TEMPERATURE
    )
    return Judged(scores, temperature)


def folds(labels: NDArray[np.int64], pieces: NDArray[np.int64]) -> NDArray[np.int64]:
    """The fold of each example [M]: whole pieces, those of a class spread over up to FOLDS; -1, in none, for a class of
    one piece, which nothing else could stand for.
    """
    fold = np.full(len(labels), -1)
    for label in np.unique(labels):
        mine = np.unique(pieces[labels == label])
        for number, piece in enumerate(mine if len(mine) > 1 else ()):
            fold[(labels == label) & (pieces == piece)] = number % FOLDS
    return fold
