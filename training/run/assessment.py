"""Compute a model's accuracy with intervals from its answers to recordings or images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesight.models.novelty import NOTHING, UNKNOWN
from spikesight.models.statistics import accuracy_of, calibration_error
from spikesight.models.steps import Prediction
from spikesight.training.run.readings import Readings


def two_columns(labels: Sequence[str], truth: Sequence[int], answers: Sequence[Prediction]) -> dict[str, Any]:
    """Return `right`, answers whose label is the true class (a number among `labels`), and `best_guess`, answers whose
    best class is; each as `accuracy_of` gives it.
    """
    both = [(answer.label == labels[k], answer.index == k) for k, answer in zip(truth, answers, strict=True)]
    right, guess = (sum(column) for column in zip(*both)) if both else (0, 0)
    return {"right": accuracy_of(right, len(both)), "best_guess": accuracy_of(guess, len(both))}


def assess(readings: Readings) -> dict[str, Any]:
    """Return all figures as values that JSON can hold.

    `right` and `best_guess` (`two_columns`) are of recordings or images, also by class; `confusion` [K, K + 2] counts
    their labels, the last two "unknown" and "nothing". Of classes that the model does not have only `unknown` tells.
    """
    r, truth = readings, own_truth(readings)
    own, shown = truth >= 0, (*r.labels, UNKNOWN, NOTHING)
    told = np.array([shown.index(answer.label) for answer in r.answers])
    confusion = np.zeros((len(r.labels), len(shown)), np.int64)
    np.add.at(confusion, (truth[own], told[own]), 1)

    def columns(rows: NDArray[np.bool_]) -> dict[str, Any]:
        return two_columns(r.labels, truth[rows].tolist(), [r.answers[n] for n in np.flatnonzero(rows)])

    found: dict[str, Any] = {"labels": list(r.labels), **columns(own)}
    found["per_class"] = {label: columns(truth == n) for n, label in enumerate(r.labels) if confusion[n].sum()}
    found["confusion"] = confusion.tolist()
    if own.any():
        probabilities = np.array([answer.probabilities for answer in r.answers])[own]
        found["calibration_error"] = round(calibration_error(probabilities, truth[own], np.ones(int(own.sum()))), 4)
    if not own.all():
        found["unknown"] = _unknown(r, own)
    return found | {"shared": list(r.shared)}


def own_truth(readings: Readings) -> NDArray[np.int64]:
    """Return the model's class number of each recording [R]; -1 for a class that the model does not have."""
    place = {label: n for n, label in enumerate(readings.labels)}
    return np.array([place.get(label, -1) for label in readings.classes])[readings.truth]


def _unknown(r: Readings, own: NDArray[np.bool_]) -> dict[str, Any]:
    """Describe the recordings of classes that the model does not have: the labels that it shows, and how well it tells
    them apart.

    `auroc` is the probability that such a recording has a lower score than one of the model's classes. The score is
    `in_distribution` if the model has it, else the highest probability.
    """
    scores = [answer.confidence if answer.in_distribution is None else answer.in_distribution for answer in r.answers]
    judged = any(answer.in_distribution is not None for answer in r.answers)
    familiar = np.array(scores)
    labels, counts = np.unique([r.answers[n].label for n in np.flatnonzero(~own)], return_counts=True)
    return {
        "classes": sorted({r.classes[n] for n in r.truth[~own]}),
        "count": int((~own).sum()),
        "score": "known" if judged else "highest probability",
        "auroc": auroc(familiar[own], familiar[~own]),
        "shown": dict(zip(labels.tolist(), counts.tolist())),
    }


def auroc(higher: NDArray[np.float64], lower: NDArray[np.float64]) -> float | None:
    """Return the chance that a value of `higher` exceeds one of `lower`, ties half (Mann-Whitney); None without pairs.

    >>> auroc(np.array([0.9, 0.8]), np.array([0.1, 0.8]))
    0.875
    """
    if not len(higher) or not len(lower):
        return None
    ordered = np.sort(lower)
    below, upto = np.searchsorted(ordered, higher, "left"), np.searchsorted(ordered, higher, "right")
    return float((below + upto).sum() / (2 * len(higher) * len(lower)))
