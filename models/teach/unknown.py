"""Fit the detector of objects that were never taught from the examples alone, by leaving some of them out.

A window has two scores (models/novelty): the distance of its early layers' rates to the nearest class, and the energy
of its logits. Examples scored without their piece stand for known objects, examples scored without their class for
unknown things. The scores are weighted by how well each separates the two; the thresholds are set on known examples.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.models.novelty.score import ClassDistance, NoveltyDetector, thresholds_of
from spikesight.models.statistics import Floats, energy, fit_temperature, interval, quantile
from spikesight.models.teach.head import HeadScores, Regression

SPHERE = 0.5  # shrinkage of the covariance towards a sphere, since examples are few
ENOUGH = 20  # fewest held-out examples from which thresholds are set
GROUPS = 20  # parts of the pieces whose distances are measured without them
SHOWN, KEPT = 0.8, 0.98  # shares of known examples within the thresholds of surely known, and at least of known: on
# another made day three to four times as many of what was taught lie beyond
REFUSED = 0.6  # share of other objects that a line has to refuse; if none does, nothing is called unknown
FEWER = 0.15  # of other objects are refused than of left-out classes, where these let a line be drawn (made pairs)
NO_LINE = 1e3  # spreads beyond any example
LEAST = 1e-3  # smallest weight of a score, since its spread is divided by it
FEWEST = 0.5  # active inputs a step below which there is nothing to see


class Unknown(NamedTuple):
    """The detector, and the share of left-out classes that it calls unknown, with a confidence interval."""

    detector: NoveltyDetector
    noticed: float
    interval: tuple[float, float]


def fit_unknown(
    layers: int,
    roots: Floats,
    labels: NDArray[np.int64],
    pieces: NDArray[np.int64],
    regression: Regression,
    judged: HeadScores,
) -> Unknown | None:
    """Fit on roots of early rates [M, S], labels [M] and pieces [M]; None for too few examples."""
    seen, classes = ~np.isnan(judged.scores[:, 0]), judged.scores.shape[1]
    if seen.sum() < ENOUGH:
        return None
    left_out, own = regression.without(labels)[:, 0], np.eye(classes, dtype=bool)[labels]
    left_out[own] = np.where(own, np.inf, left_out).min(1)  # a logit for the left-out class, too
    try:
        distance, near = ClassDistance.fit(roots, labels, shrink=SPHERE), _log_distances(roots, labels, pieces)
    except ValueError:  # all examples are alike
        return None
    known = np.stack([near[seen, 0], energy(judged.scores[seen] / judged.temperature)], 1)
    other = np.stack([near[:, 1], energy(left_out / judged.temperature)], 1)
    mean, spread, ones = known.mean(0), np.maximum(known.std(0), 1e-6), np.ones(len(known))
    weights = separation(known, other)
    strange, stranger = (((scores - mean) / spread) @ weights for scores in (known, other))
    shown, near = (quantile(strange, ones, share) for share in (SHOWN, KEPT))
    far = quantile(stranger, np.ones(len(stranger)), 1 - REFUSED - FEWER)
    kept = (near + far) / 2 if far > near else near + NO_LINE  # as wide of what is known as of what is not
    logits = judged.scores[seen] / judged.temperature
    temperature = fit_temperature(logits, labels[seen], ones, 1 / (len(ones) + 1))
    (far_mean, cold_mean), (far_spread, cold_spread) = mean, spread / weights
    row = (temperature, far_mean, far_spread, cold_mean, cold_spread, shown, max(kept, shown + 0.1), FEWEST)
    told = [float((stranger[labels == label] > kept).mean()) for label in range(classes)]
    noticed = max(0.0, sum(told) / classes - FEWER)
    detector = NoveltyDetector(layers, distance, thresholds_of(np.array(row)[:, None]))
    return Unknown(detector, noticed, interval(noticed * classes, classes))


def separation(known: Floats, other: Floats) -> Floats:
    """Return the weight of each score [n, S]: how much better than chance it separates other from known (Somers' D), at
    least LEAST; if no score does, only the first counts. Others should have larger scores.
    """
    larger = (other[:, None] > known).mean((0, 1)) - (other[:, None] < known).mean((0, 1))
    return np.maximum(larger if (larger > 0).any() else np.eye(len(larger))[0], LEAST)


def _log_distances(roots: Floats, labels: NDArray[np.int64], pieces: NDArray[np.int64]) -> Floats:
    """Return the log distances [M, 2] of each example to the nearest class and to the nearest but its own, fitted
    without its piece: without its class fewer examples would be left, and fewer make all distances larger.
    """
    far, group = np.empty((len(labels), 2)), np.unique(pieces, return_inverse=True)[1] % GROUPS
    for number in range(group.max() + 1):
        out = group == number
        scores = ClassDistance.fit(roots[~out], labels[~out], shrink=SPHERE).scores(roots[out])
        own = np.unique(labels[~out]) == labels[out][:, None]
        far[out] = np.stack([scores.min(1), np.where(own, scores.max(), scores).min(1)], 1)
    return np.log(np.maximum(far, 1e-12))
