"""Compute a model's accuracy with intervals from its answers: by window, second, recording and in a stream."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesight.models.novelty import KEPT
from spikesight.models.statistics import accuracy_of
from spikesight.training.data import Frames
from spikesight.training.run.baselines import MOST, Answers, Pairs, predictions
from spikesight.training.run.novelty import calibration_error
from spikesight.training.run.readings import Readings

SECOND_US = 1_000_000


def assess(readings: Readings) -> dict[str, Any]:
    """Return all figures as values that JSON can hold.

    `accuracy`, `correct`, `count` and `interval` are for single windows, each from zero state; `seconds` for the mean
    probabilities of the windows that begin in one second; `recordings` for those of a whole recording; `stream` for the
    answers at the ends of windows when all recordings run through one network that is never reset. Windows of classes
    that the model does not have count only under `unknown`.
    """
    r = readings
    truth = truth_of(r)
    own = truth >= 0
    found: dict[str, Any] = {"labels": list(r.labels), **_right(truth, r.probabilities)}
    if r.streamed is not None:
        seconds = np.unique(np.stack([r.recording, r.begin_us // SECOND_US]), axis=1, return_inverse=True)[1].ravel()
        found["seconds"] = _right(*_means(truth, r.probabilities, seconds))
        found["recordings"] = _right(*_means(truth, r.probabilities, r.recording))
        found["stream"] = _right(truth, r.streamed)
    chosen = r.probabilities.argmax(1)
    confusion = np.zeros((len(r.labels), len(r.labels)), np.int64)
    np.add.at(confusion, (truth[own], chosen[own]), 1)
    found["per_class"] = {
        label: accuracy_of(int(confusion[n, n]), int(confusion[n].sum()))
        for n, label in enumerate(r.labels)
        if confusion[n].sum()
    }
    found["confusion"] = confusion.tolist()
    if own.any():
        error = calibration_error(r.probabilities[own], truth[own], np.ones(int(own.sum())))
        found["calibration_error"] = round(error, 4)
    if not own.all():
        found["unknown"] = _unknown(r, own)
    found |= {"quiet": r.quiet, "shared": list(r.shared)}
    return found


def beside_model(
    learnt: Readings, asked: Readings, anns: Callable[[Frames, Frames], Answers] | None = None
) -> list[dict[str, Any]]:
    """Return rows of `Pairs.beside` for baselines that learn from `learnt` and are tested on `asked`, on the model's
    classes only. `anns`: a function that trains ANNs and returns their answers, if the readings keep windows.

    Raises ValueError for too few classes.
    """
    theirs, truth = truth_of(learnt), truth_of(asked)
    known, own = theirs >= 0, truth >= 0
    if len(np.unique(theirs[known])) < 2 or not own.any():
        raise ValueError("baselines need samples of two of the model's classes to learn from, and one to be asked")
    answers = predictions(learnt.counts[known], theirs[known], asked.counts[own], asked.kind)
    if anns is not None and learnt.frames is not None and asked.frames is not None:
        train = Frames(learnt.frames[known], theirs[known])
        answers |= anns(train.take(train.stratified_rows(MOST)), Frames(asked.frames[own], truth[own]))
    return Pairs(truth[own], asked.probabilities[own].argmax(1), asked.recording[own], asked.kind).beside(answers)


def truth_of(readings: Readings) -> NDArray[np.int64]:
    """Return the model's class number of each window [M]; -1 for a class that the model does not have."""
    place = {label: n for n, label in enumerate(readings.labels)}
    return np.array([place.get(label, -1) for label in readings.classes])[readings.truth]


def _right(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> dict[str, Any]:
    own = truth >= 0
    return accuracy_of(int((probabilities.argmax(1) == truth)[own].sum()), int(own.sum()))


def _means(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64], group: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the truth [G] and the summed probabilities [G, K] of groups of windows; a group has one truth."""
    names, first, group = np.unique(group, return_index=True, return_inverse=True)
    sums = np.zeros((len(names), probabilities.shape[1]))
    np.add.at(sums, group.ravel(), probabilities)
    return truth[first], sums


def _unknown(r: Readings, own: NDArray[np.bool_]) -> dict[str, Any]:
    """Describe the windows of classes that the model does not have: its answers, and how well it detects them.

    `auroc` is the probability that such a window has a lower score than a window of the model's classes. The score is
    `known` if the model has it, else the highest probability.
    """
    familiar = r.probabilities.max(1) if r.known is None else r.known
    labels, counts = np.unique(r.probabilities[~own].argmax(1), return_counts=True)
    found: dict[str, Any] = {
        "classes": sorted({r.classes[n] for n in r.truth[~own]}),
        "count": int((~own).sum()),
        "score": "highest probability" if r.known is None else "known",
        "auroc": auroc(familiar[own], familiar[~own]),
        "taken_for": {r.labels[n]: int(count) for n, count in zip(labels, counts)},
    }
    if r.known is not None:
        found["refused"] = accuracy_of(int((familiar[~own] < KEPT).sum()), int((~own).sum()))
        found["refused_of_own"] = accuracy_of(int((familiar[own] < KEPT).sum()), int(own.sum()))
    return found


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
