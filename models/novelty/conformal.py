"""When to commit: sets of labels that hold the true one at every step, but for a share of errors that the caller names.

A label's strangeness at a step is -log of its calibrated probability; what counts is the largest one since the window
began. Of n recordings that nobody trained on, `Trials` keeps the largest strangeness of the true label over a whole
window, one that begins at rest and one behind it. A new recording of class y that is exchangeable with the n of its
class has any rank among them with the same chance, so

    p(y) = (1 + number of trials of y with a largest strangeness of at least y's so far) / (n + 1)

falls to a for the true y, at whatever step, with a chance of at most a (conformal p-values, Vovk et al. 2005, class by
class, which is called Mondrian): the largest strangeness only grows, so one look at the window's end covers every step
before it. A label is possible while p > a. So of all recordings of a class at most the share a is committed to and
wrong, however the moment was chosen; of those that are committed to it may be more.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.models.statistics import Floats, energy, fit_temperature

ERROR_RATE = 0.05  # that is asked for where nobody says
OWN = 99  # trials that each class must have to be judged by its own: fewer could not speak of 1 in 100


@dataclass(frozen=True)
class Trials:
    """The calibration at one bin: what makes probabilities of the logits of steps 1 to T, and n recordings, each with a
    window from rest and, where W is 2, with one that follows it.
    """

    temperature: Floats  # [T]
    largest: Floats  # [W, n], class by class, ascending in each: of the true label over a whole window
    counts: NDArray[np.int64]  # [K]: how many of the n are of each class; [1] where that is not known
    known: Floats  # [W, n], ascending: at the windows' ends, 0 where nothing was seen; [W, 0]: the model cannot tell

    @cached_property
    def by_class(self) -> bool:
        """Whether each class is judged by its own trials; otherwise all are by all."""
        return len(self.counts) > 1 and int(self.counts.min()) >= OWN

    @cached_property
    def _ranked(self) -> list[list[list[float]]]:
        """For each of the W windows the trials of each class, or of all, ascending."""
        if not self.by_class:
            return [[row] for row in np.sort(self.largest).tolist()]
        return [[own.tolist() for own in np.split(row, np.cumsum(self.counts)[:-1])] for row in self.largest]

    def limits(self, error_rate: float, classes: int) -> Floats:
        """The largest strangeness [W, K] at which a class is possible at this error rate, 1e300 where any is."""
        found = np.empty((len(self.largest), classes))
        for row, ranked in zip(found, self._ranked):
            for k in range(classes):
                own = ranked[k if self.by_class else 0]
                n = len(own)
                behind = sum((1 + n - i) / (n + 1) > error_rate for i in range(n + 1))
                row[k] = [-1e300, *own, 1e300][behind]
        return found

    def row(self, steps: int) -> int:
        """Which of the W windows the `steps`-th step since the reset is in; the last one stands for all later ones."""
        return min((steps - 1) // len(self.temperature), len(self.largest) - 1)

    def strangeness(self, logits: NDArray[np.floating], steps: int | NDArray[np.int64]) -> Floats:
        """The strangeness of every label [..., K], from the logits [..., K] of the `steps`-th step, or steps [...]."""
        scaled: Floats = logits / self.temperature[np.minimum(steps, len(self.temperature)) - 1, None]
        return -scaled - energy(scaled)[..., None]

    def p_values(self, strangest: Floats, steps: int) -> Floats:
        """The p-values [K] of the labels' largest strangeness [K] by the `steps`-th step, since its window began."""
        ranked = self._ranked[self.row(steps)]
        ranked = ranked if self.by_class else ranked * len(strangest)
        ranks = [(len(own), bisect_left(own, value)) for own, value in zip(ranked, strangest.tolist(), strict=True)]
        return np.array([(1 + n - below) / (n + 1) for n, below in ranks])

    def familiarity(self, known: float, steps: int) -> float:
        """The p-value of `known` at the end of a window, after `steps` steps: the share of trials as strange."""
        own = self.known[self.row(steps)]
        return (1 + int(np.searchsorted(own, known, "right"))) / (len(own) + 1)


class Commitment(NamedTuple):
    """A conformal prediction set after a step."""

    committed: str | None  # the label that is left, once it is the only one
    set: tuple[str, ...]  # the labels that are possible, the likeliest first
    risk: float  # the least error rate at which one label would be left by now


NOTHING_KNOWN = Commitment(None, (), 1.0)


@dataclass(frozen=True)
class Evidence:
    """The largest strangeness of every label in a window of T steps; the next begins where it ends. A value."""

    steps: int = 0
    strangest: Floats | None = None  # [K]

    def push(self, trials: Trials, logits: NDArray[np.floating], seen: int) -> "Evidence":
        """After k more steps of one window with their logits [k, K], the last of them the `seen`-th since the reset."""
        k = len(logits)
        strange = trials.strangeness(logits, np.arange(seen - k, seen) + 1).max(0)
        if self.strangest is None or self.steps >= len(trials.temperature):
            return Evidence(k, strange)
        return Evidence(self.steps + k, np.maximum(self.strangest, strange))

    def commitment(self, trials: Trials, labels: tuple[str, ...], error_rate: float, seen: int) -> Commitment:
        """What may be said at this error rate, `seen` steps after the reset."""
        if self.strangest is None:
            return NOTHING_KNOWN
        p = trials.p_values(self.strangest, seen).tolist()
        order = np.argsort(self.strangest, kind="stable").tolist()
        left = tuple([labels[k] for k in order if p[k] > error_rate])
        risk = p[order[1]] if len(order) > 1 else 0.0
        return Commitment(left[0] if len(left) == 1 else None, left, risk)


class Conformal:
    """The calibrations that a checkpoint carries, by bin in microseconds."""

    def __init__(self, trials: dict[int, Trials]) -> None:
        self.trials = trials

    def state(self) -> dict[str, NDArray]:
        """Everything as arrays, float32: what a checkpoint holds."""
        return {
            f"{bin_us}.{part}": getattr(trials, part).astype(np.float32)
            for bin_us, trials in sorted(self.trials.items())
            for part in PARTS
        }

    @classmethod
    def from_state(cls, state: dict[str, NDArray]) -> "Conformal":
        """The inverse of `state`. Raises ValueError for arrays that do not fit together or are not finite."""
        found = dict[str, dict[str, Floats]]()
        for name, array in state.items():
            bin_us, _, part = name.partition(".")
            found.setdefault(bin_us, {})[part] = np.asarray(array, np.float64)
        if not all(bin_us.isdecimal() for bin_us in found):
            raise ValueError("its arrays must be named by a bin's microseconds")
        return cls({int(bin_us): checked(parts) for bin_us, parts in found.items()})


PARTS = ("temperature", "largest", "counts", "known")


def checked(parts: dict[str, Floats]) -> Trials:
    """The calibration of a bin from its arrays; the first two alone, lists, are of files that tell no classes. Raises
    ValueError.
    """
    if set(parts) == set(PARTS[:2]) and parts["largest"].ndim == 1:
        count = float(len(parts["largest"]))
        parts = {**parts, "largest": parts["largest"][None], "counts": np.array([count]), "known": np.zeros((1, 0))}
    if set(parts) != set(PARTS):
        raise ValueError(f"each bin must have {', '.join(PARTS)}")
    temperature, largest, counts, known = (parts[name] for name in PARTS)
    if [array.ndim for array in (temperature, largest, counts, known)] != [1, 2, 1, 2] or len(largest) != len(known):
        raise ValueError("temperature and counts must be lists, largest and known a row for each window")
    if not all(np.isfinite(array).all() for array in parts.values()):
        raise ValueError("its arrays must be finite")
    if not (len(temperature) and largest.size and len(counts)) or temperature.min() <= 0:
        raise ValueError("there must be trials, and temperatures above 0")
    if counts.min() < 0 or counts.sum() != largest.shape[1]:
        raise ValueError("the trials of all classes must be all trials")
    ends = np.cumsum(counts)[:-1].astype(int)
    if any((np.diff(own) < 0).any() for own in (*np.split(largest, ends, 1), known)):
        raise ValueError("trials must ascend")
    return Trials(temperature, largest, counts.astype(np.int64), known)


def fit_trials(logits: Floats, labels: NDArray[np.int64], known: Floats, begins: Floats) -> Trials:
    """From n recordings, their labels [n], the logits [n, W, T, K] of W windows of each, one after the other, `known`
    [n, W] at the windows' ends, NaN where the model cannot tell, and the logits [n, T, K] of the window with which the
    recording itself begins.

    What a window from rest is held against is the stranger one of the two: it may begin with its recording or anywhere.
    """
    n, windows, steps, classes = logits.shape
    ones, smoothing = np.ones(2 * n), 1 / (n + 1)
    from_rest = np.concatenate([logits[:, 0], begins]).transpose(1, 0, 2)
    temperature = np.array([fit_temperature(step, np.tile(labels, 2), ones, smoothing) for step in from_rest])

    def largest(of: Floats, cool: Floats) -> Floats:  # [n, ..., T, K] to [n, ...]
        scaled = of / cool[..., None]
        return (-scaled[np.arange(n), ..., labels] - energy(scaled)).max(-1)

    later = np.repeat(temperature[-1:], (windows - 1) * steps)
    found = largest(logits, np.append(temperature, later).reshape(windows, steps))  # [n, W]
    found[:, 0] = np.maximum(found[:, 0], largest(begins, temperature))
    rows = np.stack([row[np.lexsort((row, labels))] for row in found.T])
    counts = np.bincount(labels, minlength=classes)
    return Trials(temperature, rows, counts, np.sort(known[~np.isnan(known).any(1)].T))
