"""A linear head by ridge regression, and what it makes of examples it has not seen.

Features are centred and not standardised: that would blow up what hardly ever fires. The solution is that of the dual
(Saunders et al. 1998), of as many unknowns as examples, so thousands of features cost nothing. One inverse gives the
head and what every head without some of the examples would have said of them (Cawley and Talbot 2004).
"""

from dataclasses import dataclass

import numpy as np
import torch
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


class Regression:
    """Ridge regression of classes on features [M, 1 + copies, F] with labels [M]; every class counts the same."""

    def __init__(self, features: Features, labels: NDArray[np.int64], classes: int) -> None:
        rows = features.reshape(-1, features.shape[2])
        self._looks, self._middle = features.shape[1], rows.mean(0)
        self._rows = rows - self._middle  # which changes the offset alone, and keeps the kernel positive definite
        count, of = len(rows), labels.repeat(self._looks)
        kernel = (self._rows @ self._rows.T).astype(np.float64)
        weights = 1 / np.bincount(of, minlength=classes)[of]
        level = max(float(np.trace(kernel)) / count, 1e-12)
        kernel[np.diag_indices(count)] += RIDGE * level / (weights * count / classes)
        self._targets = np.eye(classes)[of]
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(torch.from_numpy(kernel)))
        sums = inverse.sum(0)
        inverse.addr_(sums, sums, alpha=-1 / float(sums.sum()))  # now of the kernel that ones border, for the offset
        self._inverse, offset = inverse.numpy(), (sums / sums.sum()).numpy()
        self._coefficients, self._offset = self._inverse @ self._targets, offset @ self._targets

    def head(self, temperature: float) -> Head:
        """That of all examples."""
        weight = (self._coefficients.T.astype(np.float32) @ self._rows).astype(np.float64)
        return Head(weight / temperature, (self._offset - weight @ self._middle) / temperature)

    def without(self, group: NDArray[np.int64]) -> Floats:
        """Each example, and its copies, by the head that was taught without its group, of `group` [M]:
        [M, 1 + copies, K]; NaN for group -1.
        """
        scores, of = np.full(self._targets.shape, np.nan), group.repeat(self._looks)
        for number in np.unique(group[group >= 0]):
            out = np.flatnonzero(of == number)
            among = self._inverse[np.ix_(out, out)]
            scores[out] = self._targets[out] - np.linalg.solve(among, self._coefficients[out])
        return scores.reshape(len(group), self._looks, -1)


def balance(features: Features, of_input: NDArray[np.bool_]) -> Features:
    """Factors [F] that give the input's columns at least as much variance as the network's have, together; features
    [M, 1 + copies, F].
    """
    rows = features.reshape(-1, features.shape[2])
    spread = np.einsum("ij,ij->j", rows, rows) / len(rows) - rows.mean(0) ** 2
    ratio = spread[~of_input].sum() / max(float(spread[of_input].sum()), 1e-12)
    return np.where(of_input, np.sqrt(max(1.0, float(ratio))), 1.0).astype(np.float32)


def judge(regression: Regression, labels: NDArray[np.int64], pieces: NDArray[np.int64]) -> Judged:
    """Cross-validation by pieces [M]; copies are learnt from and not judged."""
    scores = regression.without(folds(labels, pieces))[:, 0]
    judged = ~np.isnan(scores[:, 0])
    enough = judged.sum() >= 2 * scores.shape[1]
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
