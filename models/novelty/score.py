"""Whether an input is of the kind that a network was trained on: `known` in [0, 1], and calibrated probabilities.

Two scores of a window, neither of which has seen what it must reject, standardised on validation data and added:

* the Mahalanobis distance (Lee et al. 2018) of the square roots of the window's firing rates to the nearest class mean,
  the covariance shared by the classes. The square root gives counts of any rate the same variance.
* the energy, -log sum exp of the mean logits (Liu et al. 2020).

Both are running means over steps, as the logits are, and every number below is kept for each length of the window and
each kind of input, which whoever makes the inputs knows: one covariance for all would blur what each of them is like.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.models.statistics import Floats, energy, fit_temperature, moments, quantile

RECORDED, WEBCAM, CAMERA = range(3)
"""Kinds of input: recordings and stills; a webcam's tracked frames; an event camera's events through a window."""
UNKNOWN, NOTHING = "unknown", "nothing"
"""Labels of an input that is none of the classes, and of too few events to say."""
SHOWN, KEPT = 0.9, 0.5
"""`known` of a window that 95 % and 99 % of the validation windows are at least as familiar as."""
SLOPE = float(np.log(SHOWN / (1 - SHOWN)))  # of the logistic between the two lines
AT_BIN = ".lines"  # what the names of a shorter bin's lines end with in a checkpoint
SHRINK = 1e-3  # of a covariance towards a sphere of the same volume of variance


@cache
def loops() -> ModuleType:
    """The compiled loops, imported once they are needed."""
    return import_module("spikesight.models.novelty.compiled")


class ClassDistance:
    """Squared Mahalanobis distance of feature vectors to the nearest class mean, with one covariance for all classes.

    A value of two arrays: `centres` float64 [K, D] and `whiten` float64 [D, D], the inverse covariance being
    whiten^T whiten. Features should have about the same variance wherever they lie: for rates, their square roots.
    """

    def __init__(self, centres: Floats, whiten: Floats) -> None:
        if centres.ndim != 2 or whiten.shape != (centres.shape[1],) * 2 or not len(centres):
            raise ValueError("centres must be [K, D] and whiten [D, D]")
        self.centres, self.whiten = centres, whiten
        self._placed = centres @ whiten.T

    @classmethod
    def fit(
        cls, features: NDArray, labels: NDArray[np.integer], weights: NDArray | None = None, shrink: float = SHRINK
    ) -> "ClassDistance":
        """From features [M, D] and labels [M]; classes are the labels that occur, in ascending order.

        `weights` [M] say how much each sample counts. `shrink` moves the covariance towards a sphere, so that few
        samples suffice. Raises ValueError without samples, or where none differs from its class mean.
        """
        x, weights = np.asarray(features, np.float64), np.ones(len(features)) if weights is None else weights
        classes, index = np.unique(labels, return_inverse=True)
        if not len(classes):
            raise ValueError("no samples to fit a distance on")
        centres = np.stack([np.average(x[index == k], 0, weights[index == k]) for k in range(len(classes))])
        rest = x - centres[index]
        covariance = (rest * (weights / weights.sum())[:, None]).T @ rest
        spread = np.trace(covariance) / len(covariance)
        if not spread > 0:
            raise ValueError("every sample equals its class mean: more samples a class are needed")
        values, vectors = np.linalg.eigh(covariance + shrink * spread * np.eye(len(covariance)))
        return cls(centres, (vectors / np.sqrt(values)).T)

    def scores(self, features: NDArray) -> Floats:
        """Squared distances of features [..., D] to each class mean, float64 [..., K]."""
        placed = np.asarray(features, np.float64) @ self.whiten.T
        return ((placed[..., None, :] - self._placed) ** 2).sum(-1)

    def score(self, features: NDArray) -> Floats:
        """Squared distances of features [..., D] to the nearest class mean, float64 [...]."""
        return self.scores(features).min(-1)

    def state(self) -> dict[str, NDArray]:
        """The arrays that `from_state` takes, float32."""
        return {"centres": self.centres.astype(np.float32), "whiten": self.whiten.astype(np.float32)}

    @classmethod
    def from_state(cls, state: dict[str, NDArray]) -> "ClassDistance":
        """The inverse of `state`. Raises KeyError and ValueError."""
        return cls(np.asarray(state["centres"], np.float64), np.asarray(state["whiten"], np.float64))


@dataclass(frozen=True)
class Lines:
    """What is read off the validation data for each length of the window, 1 to T: float64 [T] each."""

    temperature: Floats  # of the softmax
    distance_mean: Floats  # of the logarithm of the distance
    distance_spread: Floats
    energy_mean: Floats
    energy_spread: Floats
    shown: Floats  # sum of both scores that 95 % of the windows do not exceed; 80 % before a taught model
    kept: Floats  # 99 %; 95 % before a taught model
    active: Floats  # input values a step that are not zero: fewer than this are nothing


ROWS = (
    "temperature", "distance_mean", "distance_spread", "energy_mean", "energy_spread", "shown", "kept", "active",
)  # fmt: skip
"""The order of lines as an array [8, T]: that of the compiled loops, and of files of 0.2.0 and before."""


class Judged(NamedTuple):
    """What a window is taken for."""

    probabilities: Floats  # [K], with the calibrated temperature
    known: float
    nothing: bool


class Kind(NamedTuple):
    """One kind of input that a network knows: where its rates lie, and what is read off its validation data."""

    distance: ClassDistance
    lines: Lines


class NoveltyDetector:
    """The judgement that a checkpoint carries: the layers it looks at, and each kind of input that it knows, in the
    order of RECORDED, WEBCAM, CAMERA. Active inputs are the same in all. `bins` holds the lines of every kind at
    shorter bins, by their microseconds (models/novelty/bins.py); the distances are the same.
    """

    def __init__(self, layers: int, kinds: Sequence[Kind], bins: Mapping[int, Sequence[Lines]] | None = None) -> None:
        self.layers, self.kinds, self.bins = layers, tuple(kinds), dict(bins or {})
        self.width = kinds[0].distance.centres.shape[1]  # R
        self.longest = len(kinds[0].lines.kept)
        self._loops = [  # the arrays as the compiled loops walk through them
            (np.ascontiguousarray(d.whiten.T), (d.centres @ d.whiten.T).T.copy(), np.stack(rows_of(lines), 1))
            for d, lines in kinds
        ]

    @property
    def active(self) -> Floats:
        """Active inputs a step, float64 [T]; fewer are nothing."""
        return self.kinds[0].lines.active

    def judge(self, mean: Floats, classes: int, steps: int, kind: int = RECORDED, missed: float = 0.0) -> Judged:
        """A window of `steps` steps of one kind of input, or of the last kind that is known: the means a step of its
        logits [classes], its rates [R] and, at the end, its count of active inputs, one after another. With too few of
        these it is nothing, unless the network was not shown as many `missed` events a step: then it is unknown.
        """
        whiten, placed, rows = self._loops[min(kind, len(self._loops) - 1)]
        line, probabilities = rows[min(steps, self.longest) - 1], np.empty(classes)
        known = loops().judge(mean, classes, whiten, placed, line, SLOPE, probabilities)
        return Judged(probabilities, max(known, 0.0), known < 0 and missed < line[-1])

    def state(self) -> dict[str, NDArray]:
        """Everything as arrays by name, float32, a kind a row: what a checkpoint holds."""
        states = [kind.distance.state() for kind in self.kinds]
        stacked = {name: np.stack([state[name] for state in states]) for name in states[0]}
        spans = {"lines": [kind.lines for kind in self.kinds], **{f"{n}{AT_BIN}": of for n, of in self.bins.items()}}
        for span, of in spans.items():
            for row in ROWS:
                stacked[f"{span}.{row}"] = np.stack([getattr(lines, row) for lines in of])
        stacked["layers"] = np.array([self.layers])
        return {name: array.astype(np.float32) for name, array in stacked.items()}

    def facts(self) -> dict[str, Any]:
        """The state as names and lists, for those who judge elsewhere (the page without a server, an export)."""
        kinds = []
        for distance, lines in self.kinds:
            lists = {f.name: [float(f"{v:.7g}") for v in getattr(lines, f.name)] for f in fields(Lines)}
            arrays = {name: np.round(array.astype(float), 6).tolist() for name, array in distance.state().items()}
            kinds.append({**arrays, "lines": lists})
        return {"kinds": kinds, "layers": self.layers, "slope": SLOPE}

    @classmethod
    def from_state(cls, state: dict[str, NDArray]) -> "NoveltyDetector":
        """The inverse of `state`. Raises ValueError for arrays that do not fit together or are not finite."""
        state = gathered(state)
        at_bins = {name: array for name, array in state.items() if name.endswith(AT_BIN)}
        state = {name: array for name, array in state.items() if name not in at_bins}
        if set(state) != {"centres", "whiten", "lines", "layers"}:
            raise ValueError("it must have centres, whiten, lines and layers")
        if not all(np.isfinite(array).all() for array in (*state.values(), *at_bins.values())):
            raise ValueError("it must be finite")
        layers, parts = state["layers"], {name: array for name, array in state.items() if name != "layers"}
        if all(array.ndim == 2 for array in parts.values()):  # of one kind, as earlier versions wrote it
            parts = {name: array[None] for name, array in parts.items()}
        shapes = {(array.ndim, len(array)) for array in parts.values()}
        if len(shapes) != 1 or min(shapes)[0] != 3 or min(shapes)[1] < 1 or layers.shape != (1,):
            raise ValueError("its arrays must have three axes, the first of them its kinds, and layers must be [1]")
        kinds = [{name: array[number] for name, array in parts.items()} for number in range(min(shapes)[1])]
        found = [Kind(ClassDistance.from_state(kind), checked(kind["lines"])) for kind in kinds]
        return cls(int(layers[0]), found, checked_bins(at_bins, len(kinds)))


def gathered(state: dict[str, NDArray]) -> dict[str, NDArray]:
    """The state with the lines of each span as one array [kinds, 8, T], as files of before have them. Raises
    ValueError where some are missing.
    """
    found, spans = dict[str, NDArray](), dict[str, dict[str, NDArray]]()
    for name, array in state.items():
        span, _, row = name.rpartition(".")
        if row in ROWS:
            spans.setdefault(span, {})[row] = array
        else:
            found[name] = array
    for span, lines in spans.items():
        if span in found or len(lines) != len(ROWS) or len({array.shape for array in lines.values()}) != 1:
            raise ValueError(f"it must have {', '.join(ROWS)} of each window, all of one length")
        found[span] = np.stack([lines[row] for row in ROWS], -2)
    return found


def rows_of(lines: Lines) -> list[Floats]:
    """The lines in the order of ROWS, float64 [T] each."""
    return [getattr(lines, row) for row in ROWS]


def lines_of(rows: Sequence[Floats] | NDArray) -> Lines:
    """The inverse of `rows_of`."""
    return Lines(**dict(zip(ROWS, np.asarray(rows, np.float64), strict=True)))


def checked(rows: NDArray) -> Lines:
    """Lines of an array [8, T]. Raises ValueError."""
    if rows.shape[0] != len(ROWS) or not rows.shape[1]:
        raise ValueError("its lines must be [8, T]")
    lines = lines_of(rows)
    if min(lines.temperature.min(), lines.distance_spread.min(), lines.energy_spread.min()) <= 0:
        raise ValueError("temperatures and spreads must be positive")
    if not (lines.kept > lines.shown).all():
        raise ValueError("the line of 99 % must lie above that of 95 %")
    return lines


def checked_bins(state: dict[str, NDArray], kinds: int) -> dict[int, list[Lines]]:
    """Lines at shorter bins from their arrays, [kinds, 8, T] each. Raises ValueError."""
    by_bin = {name.removesuffix(AT_BIN): array for name, array in state.items()}
    if not all(n.isdecimal() and len(n) < 10 and a.ndim == 3 and len(a) == kinds for n, a in by_bin.items()):
        raise ValueError("lines at shorter bins must be named by their microseconds and be [kinds, 8, T]")
    return {int(name): [checked(rows) for rows in array] for name, array in by_bin.items()}


@dataclass(frozen=True)
class Windows:
    """Running means of samples over the first 1 to T steps; the last axis but one is the window's length."""

    logits: Floats  # [M, T, K]
    rates: Floats  # [M, T, R]
    active: Floats  # [M, T]
    labels: NDArray[np.int64]  # [M]
    weights: Floats  # [M]: how much each sample counts
    kinds: NDArray[np.int64]  # [M]: of input: RECORDED, ...


def fit_novelty(layers: int, training: Windows, validation: Windows, weight: float = 1.0) -> NoveltyDetector:
    """Distances from the training windows, all else from validation windows, each kind for itself. `weight`: how much
    the distance counts, the energy counting once. Raises ValueError for too few windows.
    """
    kinds = []
    for number in np.unique(validation.kinds):
        trained, valid = training.kinds == number, validation.kinds == number
        if valid.sum() < 20:
            raise ValueError(f"{valid.sum()} validation samples are too few to fix thresholds on; 20 at least")
        rates = np.sqrt(training.rates[trained, -1])
        kinds.append(ClassDistance.fit(rates, training.labels[trained], training.weights[trained]))
    if len({distance.centres.shape for distance in kinds}) > 1:
        raise ValueError("a class has no sample of one kind")
    return NoveltyDetector(layers, [Kind(*both) for both in zip(kinds, fit_lines(kinds, validation, weight))])


def fit_lines(kinds: Sequence[ClassDistance], of: Windows, weight: float = 1.0) -> list[Lines]:
    """What is read off validation windows, for each kind of input in turn."""
    active, found = [fewest_active(of, at) for at in range(of.logits.shape[1])], list[Lines]()
    for distance, number in zip(kinds, np.unique(of.kinds), strict=True):
        rows, valid = [], of.kinds == number
        logits, labels, weights = of.logits[valid], of.labels[valid], of.weights[valid]
        for at, fewest in enumerate(active):
            far = distance.score(np.sqrt(of.rates[valid, at]))
            temperature = fit_temperature(logits[:, at], labels, weights, 1 / (len(labels) + 1))
            rows.append((temperature, *kind_lines(far, energy(logits[:, at]), weights, weight), fewest))
        found.append(lines_of(np.array(rows, np.float64).T))
    return found


def fewest_active(of: Windows, at: int) -> float:
    """Fewest active inputs a step of windows of at + 1 steps: those of any kind."""
    fewest = min(quantile(of.active[of.kinds == k, at], of.weights[of.kinds == k], 0.01) for k in np.unique(of.kinds))
    return 0.5 * max(1.0, fewest)  # none at all is nothing, whatever was seen


def kind_lines(distances: Floats, cold: Floats, weights: Floats, weight: float) -> tuple[float, ...]:
    """Moments of the logarithm of distances [M], those of energies [M], and the lines of 95 and 99 % of their sum. A
    distance that counts by a `weight` has a spread that is wider by it.
    """
    far = np.log(np.maximum(distances, 1e-12))
    (far_mean, far_spread), (cold_mean, cold_spread) = moments(far, weights), moments(cold, weights)
    far_spread /= weight
    strange = (far - far_mean) / far_spread + (cold - cold_mean) / cold_spread
    shown, kept = quantile(strange, weights, 0.95), quantile(strange, weights, 0.99)
    return far_mean, far_spread, cold_mean, cold_spread, shown, max(kept, shown + 0.1)
