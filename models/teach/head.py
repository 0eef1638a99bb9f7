"""A linear head by ridge regression, and its cross-validation.

Features are centred but not standardised: standardising would amplify neurons that hardly ever fire. The dual problem
is solved (Saunders et al. 1998), which has as many unknowns as examples, so thousands of features cost little. One
matrix inverse gives the head and the scores of all cross-validation heads (Cawley and Talbot 2004).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from spikesight.models.statistics import fit_temperature

RIDGE = 0.1  # relative to the mean eigenvalue of the examples' kernel matrix
FOLDS = 10
UNJUDGED_TEMPERATURE = 0.1  # if there are too few held-out scores to fit a temperature
Floats = NDArray[np.float64]
Features = NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """A calibrated linear head: logits = features weight^T + bias."""

    weight: Floats  # [K, F]
    bias: Floats  # [K]


@dataclass(frozen=True)
class HeadScores:
    """Cross-validated scores, each example by a head that did not learn from its piece; NaN if its class has one."""

    scores: Floats  # [M, K], before the temperature
    temperature: float


class Regression:
    """Ridge regression of classes on features [M, 1 + copies, F] with labels [M]; all classes have equal weight."""

    def __init__(self, features: Features, labels: NDArray[np.int64], classes: int) -> None:
        rows = features.reshape(-1, features.shape[2])
        self._looks, self._middle = features.shape[1], rows.mean(0)
        self._rows = rows - self._middle  # changes the offset alone, and keeps the kernel positive definite
        count, of = len(rows), labels.repeat(self._looks)
        kernel = (self._rows @ self._rows.T).astype(np.float64)
        weights = 1 / np.bincount(of, minlength=classes)[of]
        level = max(float(np.trace(kernel)) / count, 1e-12)
        kernel[np.diag_indices(count)] += RIDGE * level / (weights * count / classes)
        self._targets = np.eye(classes)[of]
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(torch.from_numpy(kernel)))
        sums = inverse.sum(0)
        inverse.addr_(sums, sums, alpha=-1 / float(sums.sum()))  # of the kernel bordered by ones, for the offset
        self._inverse, offset = inverse.numpy(), (sums / sums.sum()).numpy()
        self._coefficients, self._offset = self._inverse @ self._targets, offset @ self._targets

    def head(self, temperature: float) -> Head:
        """Return the head fitted to all examples."""
        weight = (self._coefficients.T.astype(np.float32) @ self._rows).astype(np.float64)
        return Head(weight / temperature, (self._offset - weight @ self._middle) / temperature)

    def without(self, group: NDArray[np.int64]) -> Floats:
        """Return each example's and copy's scores [M, 1 + copies, K] by a head fitted without the example's group;
        `group` [M], NaN for group -1.
        """
        scores, of = np.full(self._targets.shape, np.nan), group.repeat(self._looks)
        for number in np.unique(group[group >= 0]):
            out = np.flatnonzero(of == number)
            among = self._inverse[np.ix_(out, out)]
            scores[out] = self._targets[out] - np.linalg.solve(among, self._coefficients[out])
        return scores.reshape(len(group), self._looks, -1)


def balance(features: Features, of_input: NDArray[np.bool_]) -> Features:
    """Return factors [F] that raise the variance of the input's features to that of the network's, both summed;
    `of_input` [F] marks the input's; features [M, 1 + copies, F].
    """
    rows = features.reshape(-1, features.shape[2])
    spread = np.einsum("ij,ij->j", rows, rows) / len(rows) - rows.mean(0) ** 2
    ratio = spread[~of_input].sum() / max(float(spread[of_input].sum()), 1e-12)
    return np.where(of_input, np.sqrt(max(1.0, float(ratio))), 1.0).astype(np.float32)


def judge(regression: Regression, labels: NDArray[np.int64], pieces: NDArray[np.int64]) -> HeadScores:
    """Cross-validate with whole pieces [M] held out; copies are trained on but not scored."""
    scores = regression.without(folds(labels, pieces))[:, 0]
    judged = ~np.isnan(scores[:, 0])
    enough = judged.sum() >= 2 * scores.shape[1]
    temperature = (
        fit_temperature(scores[judged], labels[judged], np.ones(int(judged.sum()))) if enough else UNJUDGED_TEMPERATURE
    )
    return HeadScores(scores, temperature)


def folds(labels: NDArray[np.int64], pieces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each example's fold [M]: a class's pieces are spread over up to FOLDS folds; -1, in no fold, for a class
    of one piece, which has no other piece to be learnt from.
    """
    fold = np.full(len(labels), -1)
    for label in np.unique(labels):
        mine = np.unique(pieces[labels == label])
        for number, piece in enumerate(mine if len(mine) > 1 else ()):
            fold[(labels == label) & (pieces == piece)] = number % FOLDS
    return fold
