"""What tells that a thing was never taught, learnt from the examples alone by leaving some out.

Two scores of a window (models/novelty): the distance of its early rates to the nearest class, and the energy of its
logits. Examples scored without their piece stand for what is known; scored without their class, for what is not.
Fisher's discriminant between the two says how much each score counts; what is known alone, where the line lies.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.models.novelty.score import ClassDistance, Kind, NoveltyDetector, lines_of
from spikesight.models.statistics import Floats, energy, fit_temperature, interval, quantile
from spikesight.models.teach.head import Judged, Regression, folds

SPHERE = 0.1  # the covariance towards a sphere: few examples tell few directions
ENOUGH = 20  # examples that were held out, to draw a line by
SHOWN, KEPT = 0.8, 0.95  # of them lie within the line of surely known, and of known
LEAST = 1e-3  # of its weight, that a score keeps: a spread must be finite
FEWEST = 0.5  # active inputs a step; fewer are nothing


class Unknown(NamedTuple):
    """The judgement, and what it makes of left-out classes: the share that is called unknown, with its interval."""

    detector: NoveltyDetector
    noticed: float
    interval: tuple[float, float]


def fit_unknown(
    layers: int,
    roots: Floats,
    labels: NDArray[np.int64],
    pieces: NDArray[np.int64],
    regression: Regression,
    judged: Judged,
) -> Unknown | None:
    """From the roots of early rates [M, S], labels [M], pieces [M] and what was learnt from them; None for too few."""
    fold, classes = folds(labels, pieces), judged.scores.shape[1]
    seen = fold >= 0
    if seen.sum() < ENOUGH:
        return None
    left_out = regression.without(labels)[:, 0]
    rows = np.arange(len(labels))
    left_out[rows, labels] = np.inf
    left_out[rows, labels] = left_out.min(1)  # of the class that was not there: as many logits
    try:
        distance = ClassDistance.fit(roots, labels, shrink=SPHERE)
        known, other = (
            np.stack([_far(roots, labels, group), energy(scores / judged.temperature)], 1)
            for group, scores in ((fold, judged.scores), (labels, left_out))
        )
    except ValueError:  # examples that are all alike
        return None
    known = known[seen]
    mean, spread, ones = known.mean(0), np.maximum(known.std(0), 1e-6), np.ones(len(known))
    weights = telling(known, other)
    strange, stranger = (((scores - mean) / spread) @ weights for scores in (known, other))
    shown, kept = (quantile(strange, ones, share) for share in (SHOWN, KEPT))
    logits = judged.scores[seen] / judged.temperature
    temperature = fit_temperature(logits, labels[seen], ones, 1 / (len(ones) + 1))
    (far_mean, cold_mean), (far_spread, cold_spread) = mean, spread / weights
    row = (temperature, far_mean, far_spread, cold_mean, cold_spread, shown, max(kept, shown + 0.1), FEWEST)
    noticed = float(np.mean([(stranger[labels == label] > kept).mean() for label in range(classes)]))
    detector = NoveltyDetector(layers, [Kind(distance, lines_of(np.array(row)[:, None]))])
    return Unknown(detector, noticed, interval(noticed * classes, classes))


def telling(known: Floats, other: Floats) -> Floats:
    """How much better than chance each score [n, S] tells the other, which is larger, from the known (Somers' D): [S],
    none below LEAST; the first alone where none does.
    """
    larger = (other[:, None] > known).mean((0, 1)) - (other[:, None] < known).mean((0, 1))
    return np.maximum(larger if (larger > 0).any() else np.eye(len(larger))[0], LEAST)


def _far(roots: Floats, labels: NDArray[np.int64], group: NDArray[np.int64]) -> Floats:
    """The logarithm of each example's distance to the nearest class, of fits without its group; NaN for group -1."""
    far = np.full(len(labels), np.nan)
    for number in np.unique(group[group >= 0]):
        out = group == number
        far[out] = ClassDistance.fit(roots[~out], labels[~out], shrink=SPHERE).score(roots[out])
    return np.log(np.maximum(far, 1e-12))
