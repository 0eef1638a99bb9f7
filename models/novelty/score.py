"""Out-of-distribution detection: `in_distribution` in [0, 1] says how familiar an input is; also calibrated
probabilities.

`in_distribution` is a function of the sum of two scores, standardised on validation data and not fitted on unknown
inputs:

* the log Mahalanobis distance (Lee et al. 2018) of the square roots of the window's firing rates to the nearest class
  mean, with one covariance for all classes. Square roots give counts of any rate about the same variance.
* the energy, -log sum exp of the mean logits (Liu et al. 2020).

Rates and logits are means over the window's steps so far. Each window length has its own
calibration.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.words import counted
from spikesight.models.statistics import Floats, calibration_error, energy, fit_temperature, moments, quantile, softmax

UNKNOWN, NOTHING = "unknown", "nothing"
"""Labels of an input that shows none of the classes, and of an input with too few events to judge."""
SHOWN, KEPT = 0.9, 0.5
"""`in_distribution` at the thresholds that 95 % (SHOWN) and 99 % (KEPT) of the validation windows reach or exceed."""
SLOPE = float(np.log(SHOWN / (1 - SHOWN)))  # of the logistic function through both thresholds
AT_BIN = ".lines"  # suffix of a checkpoint's array names for the lines of a shorter bin
LEAST = 20  # validation samples to fix thresholds on
SHRINK = 1e-3  # shrinkage of a covariance: this share of the mean variance is added to its diagonal
FAR = 60.0  # bound of the logistic function's exponent, against overflow


class ClassDistance:
    """Squared Mahalanobis distance of feature vectors to the nearest class mean, with one covariance for all classes.

    `centres` float64 [K, D] are the class means; `whiten` float64 [D, D] gives the inverse covariance whiten^T whiten.
    The variance of features should not depend on their mean: take square roots of rates. Immutable.
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
        """Fit to features [M, D] with labels [M]; the K classes are the labels that occur, in ascending order.

        `weights` [M]: of the samples; None: equal. `shrink`: share of the mean variance added to the covariance's
        diagonal, for few samples. Raises ValueError without samples, or if all of them equal their class mean.
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
        """Return the squared distances of features [..., D] to each class mean, float64 [..., K]."""
        placed = np.asarray(features, np.float64) @ self.whiten.T
        return ((placed[..., None, :] - self._placed) ** 2).sum(-1)

    def score(self, features: NDArray) -> Floats:
        """Return the squared distances of features [..., D] to the nearest class mean, float64 [...]."""
        return self.scores(features).min(-1)

    def state(self) -> dict[str, NDArray]:
        """Return the float32 arrays that `from_state` takes."""
        return {"centres": self.centres.astype(np.float32), "whiten": self.whiten.astype(np.float32)}

    @classmethod
    def from_state(cls, state: dict[str, NDArray]) -> "ClassDistance":
        """Restore from the arrays of `state`. Raises KeyError for missing arrays, ValueError for wrong shapes."""
        return cls(np.asarray(state["centres"], np.float64), np.asarray(state["whiten"], np.float64))


@dataclass(frozen=True)
class Thresholds:
    """Calibration values fitted on validation windows of 1 to T steps: float64 [T] each."""

    temperature: Floats  # of the softmax
    distance_mean: Floats  # of the logarithm of the distance to the nearest class
    distance_spread: Floats  # standard deviation
    energy_mean: Floats
    energy_spread: Floats
    shown: (
        Floats  # 95 % quantile of the sum of both standardised scores (taught models: 80 %): `in_distribution` is SHOWN
    )
    kept: Floats  # 99 % quantile (taught models: 98 %): `in_distribution` is KEPT
    active: Floats  # fewest nonzero input values a step; with fewer the window shows nothing


ROWS = (
    "temperature", "distance_mean", "distance_spread", "energy_mean", "energy_spread", "shown", "kept", "active",
)  # fmt: skip
"""Order of the fields of `Thresholds` in arrays [8, T]."""


class Judged(NamedTuple):
    """The detector's judgement of a window."""

    probabilities: Floats  # [K], with the calibrated temperature
    in_distribution: float  # 0 to 1, 0 if there is nothing
    nothing: bool  # whether there are too few events to judge


class NoveltyDetector:
    """A checkpoint's out-of-distribution detector, which reads the rates of the first `layers` neuron layers.

    `distance`: to the classes it knows; `lines`: calibration at the trained bin; `bins`: at shorter bins, by their
    length in microseconds.
    """

    def __init__(
        self, layers: int, distance: ClassDistance, lines: Thresholds, bins: Mapping[int, Thresholds] | None = None
    ) -> None:
        self.layers, self.distance, self.lines, self.bins = layers, distance, lines, dict(bins or {})
        self.width = distance.centres.shape[1]  # R, rates a step
        self.longest = len(lines.kept)
        self._rows = np.stack(rows_of(lines), 1)

    @property
    def active(self) -> Floats:
        """Fewest active inputs a step for windows of 1 to T steps, float64 [T]; with fewer there is nothing to see."""
        return self.lines.active

    def judge(self, mean: Floats, classes: int, steps: int) -> Judged:
        """Judge a window of `steps` steps by `mean`, its means over steps: logits [classes], rates [R], active inputs
        [1]. With fewer active inputs than `active` there is nothing.
        """
        temperature, *spreads, shown, kept, active = self._rows[min(steps, self.longest) - 1].tolist()
        logits, probabilities = mean[:classes], softmax(mean[:classes] / temperature)
        if mean[-1] < active:
            return Judged(probabilities, 0.0, True)
        far_mean, far_spread, cold_mean, cold_spread = spreads
        far = np.log(max(self.distance.score(np.sqrt(mean[classes:-1])), 1e-12))
        strange = (far - far_mean) / far_spread + (energy(logits) - cold_mean) / cold_spread
        exponent = min(max(SLOPE * (strange - kept) / (kept - shown), -FAR), FAR)
        return Judged(probabilities, float(1 / (1 + np.exp(exponent))), False)

    def state(self) -> dict[str, NDArray]:
        """Return float32 arrays by name for a checkpoint; except in `layers`, the first axis has one entry."""
        arrays = self.distance.state()
        for span, lines in {"lines": self.lines, **{f"{n}{AT_BIN}": of for n, of in self.bins.items()}}.items():
            arrays |= {f"{span}.{row}": values for row, values in zip(ROWS, rows_of(lines))}
        stacked = {name: array[None].astype(np.float32) for name, array in arrays.items()}
        return stacked | {"layers": np.array([self.layers], np.float32)}

    def facts(self) -> dict[str, Any]:
        """Return the detector as JSON-ready lists, for implementations elsewhere (the serverless page, exports)."""
        lists = {row: [float(f"{v:.7g}") for v in values] for row, values in zip(ROWS, rows_of(self.lines))}
        arrays = {name: np.round(array.astype(float), 6).tolist() for name, array in self.distance.state().items()}
        return {"kinds": [{**arrays, "lines": lists}], "layers": self.layers, "slope": SLOPE}

    def constants(self, horizon: int) -> dict[str, NDArray]:
        """Return what native/kernels/readout.h judges by: `whiten` float32 [R, R], from and to; the classes' means
        `placed`, float64 [R, K]; and `lines`, float32 [horizon, 8].
        """
        whiten, rows = self.distance.whiten.T, self._rows[np.minimum(np.arange(horizon), self.longest - 1)]
        placed = np.ascontiguousarray((self.distance.centres @ whiten).T)
        return {"whiten": whiten.astype(np.float32), "placed": placed, "lines": rows.astype(np.float32)}

    @classmethod
    def from_state(cls, state: dict[str, NDArray]) -> "NoveltyDetector":
        """Restore from the arrays of `state`. Raises ValueError for inconsistent or non-finite arrays."""
        state = gathered(state)
        at_bins = {name: array for name, array in state.items() if name.endswith(AT_BIN)}
        if set(state) - set(at_bins) != {"centres", "whiten", "lines", "layers"}:
            raise ValueError("it must have centres, whiten, lines and layers")
        if not all(np.isfinite(array).all() for array in state.values()):
            raise ValueError("it must be finite")
        layers = state.pop("layers")
        if any(array.ndim != 3 or len(array) != 1 for array in state.values()) or layers.shape != (1,):
            raise ValueError("its arrays must have three axes, the first of one entry, and layers must be [1]")
        own = {name: array[0] for name, array in state.items()}
        by_bin = {name.removesuffix(AT_BIN): own[name] for name in at_bins}
        if not all(n.isdecimal() and len(n) < 10 for n in by_bin):
            raise ValueError("lines at shorter bins must be named by their microseconds")
        bins = {int(name): checked(rows) for name, rows in by_bin.items()}
        return cls(int(layers[0]), ClassDistance.from_state(own), checked(own["lines"]), bins)


def gathered(state: dict[str, NDArray]) -> dict[str, NDArray]:
    """Return the state with the arrays `{span}.{row}` of each span of lines stacked into one, [1, 8, T]. Raises
    ValueError if some rows are missing or differ in shape.
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


def rows_of(lines: Thresholds) -> list[Floats]:
    """Return the lines in the order of ROWS, float64 [T] each."""
    return [getattr(lines, row) for row in ROWS]


def thresholds_of(rows: Sequence[Floats] | NDArray) -> Thresholds:
    """Build lines from 8 rows [T] in the order of ROWS, as `rows_of` returns them."""
    return Thresholds(**dict(zip(ROWS, np.asarray(rows, np.float64), strict=True)))


def checked(rows: NDArray) -> Thresholds:
    """Build lines from an array [8, T]. Raises ValueError for a wrong shape or impossible values."""
    if rows.shape[0] != len(ROWS) or not rows.shape[1]:
        raise ValueError("its lines must be [8, T]")
    lines = thresholds_of(rows)
    if min(lines.temperature.min(), lines.distance_spread.min(), lines.energy_spread.min()) <= 0:
        raise ValueError("temperatures and spreads must be positive")
    if not (lines.kept > lines.shown).all():
        raise ValueError("the line of 99 % must lie above that of 95 %")
    return lines


@dataclass(frozen=True)
class Windows:
    """Means of M samples over their first 1, 2, ... T steps; the axis T is the window's length."""

    logits: Floats  # [M, T, K]
    rates: Floats  # [M, T, R]
    active: Floats  # [M, T], nonzero input values a step
    labels: NDArray[np.int64]  # [M]
    weights: Floats  # [M], of the samples
    typical: NDArray[np.bool_] | None = None  # [M], samples that fix thresholds; None: all of them


def fit_novelty(layers: int, training: Windows, validation: Windows, weight: float = 1.0) -> NoveltyDetector:
    """Fit a detector: distances to training windows and calibration on validation windows. `weight`: of the distance
    relative to the energy. Raises ValueError for too few windows.
    """
    if len(validation.labels) < LEAST:
        few = len(validation.labels)
        raise ValueError(f"{counted(few, 'validation sample')}: too few to fix thresholds on, {LEAST} at least")
    distance = ClassDistance.fit(np.sqrt(training.rates[:, -1]), training.labels, training.weights)
    return NoveltyDetector(layers, distance, fit_lines(distance, validation, weight))


def fit_lines(distance: ClassDistance, of: Windows, weight: float = 1.0) -> Thresholds:
    """Fit the calibration values to validation windows."""
    rows = []
    for at in range(of.logits.shape[1]):
        logits, far = of.logits[:, at], distance.score(np.sqrt(of.rates[:, at]))
        cold, read = energy(logits), _read_right(logits, of.labels, of.typical)
        temperature = fit_temperature(logits, of.labels, of.weights, 1 / (len(of.labels) + 1))
        before, after = (calibration_error(softmax(logits / t), of.labels, of.weights) for t in (1.0, temperature))
        temperature = temperature if after < before else 1.0  # what does not help is not kept
        scores = score_lines(far[read], cold[read], of.weights[read], weight)
        rows.append((temperature, *scores, fewest_active(of, at)))
    return thresholds_of(np.array(rows, np.float64).T)


def _read_right(logits: NDArray, labels: NDArray, typical: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return the windows [M] that are typical and read right, or all if hardly any is: what no network could read sets
    no threshold.
    """
    right = logits.argmax(1) == labels
    right = right if typical is None else right & typical
    return right if right.sum() >= LEAST else np.ones_like(right)


def fewest_active(of: Windows, at: int) -> float:
    """Return the fewest active inputs a step to judge a window of at + 1 steps: half the 1 % quantile."""
    return 0.5 * max(
        1.0, quantile(of.active[:, at], of.weights, 0.01)
    )  # at least 0.5, so that a window without any shows nothing


def score_lines(distances: Floats, cold: Floats, weights: Floats, weight: float) -> tuple[float, ...]:
    """Return mean and spread of the log of distances [M], mean and spread of energies `cold` [M], and the 95 and 99 %
    quantiles of the sum of both standardised scores. The distance's spread is divided by `weight`, so it counts more.
    """
    far = np.log(np.maximum(distances, 1e-12))
    (far_mean, far_spread), (cold_mean, cold_spread) = moments(far, weights), moments(cold, weights)
    far_spread /= weight
    strange = (far - far_mean) / far_spread + (cold - cold_mean) / cold_spread
    shown, kept = quantile(strange, weights, 0.95), quantile(strange, weights, 0.99)
    return far_mean, far_spread, cold_mean, cold_spread, shown, max(kept, shown + 0.1)


# --------------------------------------------------------------------------------------------------- at shorter bins

# At every bin length an input shows the events of one trained bin, so firing rates and class distances stay valid. But
# at shorter bins a window has more steps, and the first ones show few events. The calibration values (`Thresholds`) are
# therefore fitted again on validation recordings at a few bin lengths. For a length between two of them, the values at
# the same time since the window's start are interpolated, linearly in the logarithm of the bin length.


def novelty_at(known: NoveltyDetector, bin_us: int, trained_us: int, horizon: int) -> NoveltyDetector | None:
    """Return the detector for windows of up to `horizon` bins of `bin_us`; None if all fitted bins are longer."""
    bins = {**known.bins, trained_us: known.lines}
    if bin_us < min(bins):
        return None
    ordered = sorted(bins)
    at = bisect_left(ordered, bin_us)
    longer, shorter = ordered[at], ordered[max(at - 1, 0)]
    share = 1.0 if longer == shorter else np.log(bin_us / shorter) / np.log(longer / shorter)
    times = bin_us * np.arange(1, horizon + 1, dtype=np.float64)
    few, many = (rows_at(bins[span], span, times) for span in (shorter, longer))
    return NoveltyDetector(known.layers, known.distance, thresholds_of((1 - share) * few + share * many))


def rows_at(lines: Thresholds, bin_us: int, times_us: Floats) -> Floats:
    """Return the values of `lines`, fitted at bins of `bin_us`, at these times since the window's start: [8, times]."""
    rows = rows_of(lines)
    own = bin_us * np.arange(1, len(rows[0]) + 1)
    return np.stack([np.interp(times_us, own, row) for row in rows])
