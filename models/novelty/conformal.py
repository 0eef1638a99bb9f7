"""When to commit: sets of labels that hold the true one at every step, but for a share of errors that the caller names.

A label's strangeness at a step is -log of its calibrated probability; what counts is the largest one since the window
began. Of n recordings that nobody trained on, `Trials` keeps the largest strangeness of the true label over a whole
window. A new recording that is exchangeable with them has any rank among them with the same chance, so

    p(y) = (1 + number of trials with a largest strangeness of at least y's so far) / (n + 1)

falls to a for the true y, at whatever step, with a chance of at most a (conformal p-values, Vovk et al. 2005): the
largest strangeness only grows, so one look at the window's end covers every step before it. A label is possible while
p > a, and where one is left it is wrong with a chance of at most a, however the moment was chosen.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.models.statistics import Floats, energy, fit_temperature

ERROR_RATE = 0.05  # that is asked for where nobody says


@dataclass(frozen=True)
class Trials:
    """The calibration at one bin: what makes probabilities of the logits of steps 1 to T, and n recordings."""

    temperature: Floats  # [T]
    largest: Floats  # [n], ascending: of the true label over the whole window

    def strangeness(self, logits: Floats, steps: int) -> Floats:
        """The strangeness of every label [..., K], from the logits [..., K] of the `steps`-th step."""
        scaled = logits / self.temperature[min(steps, len(self.temperature)) - 1]
        return -scaled - energy(scaled)[..., None]

    def p_values(self, strangest: Floats) -> Floats:
        """The p-values [K] of the labels' largest strangeness so far."""
        n = len(self.largest)
        return (1 + n - np.searchsorted(self.largest, strangest, "left")) / (n + 1)


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

    def push(self, trials: Trials, logits: Floats, seen: int) -> "Evidence":
        """After one more step with its logits [K], the `seen`-th since the reset."""
        strange = trials.strangeness(logits, seen)
        if self.strangest is None or self.steps >= len(trials.temperature):
            return Evidence(1, strange)
        return Evidence(self.steps + 1, np.maximum(self.strangest, strange))

    def commitment(self, trials: Trials, labels: tuple[str, ...], error_rate: float) -> Commitment:
        """What may be said at this error rate."""
        if self.strangest is None:
            return NOTHING_KNOWN
        p = trials.p_values(self.strangest).tolist()
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
        found: dict[str, NDArray] = {}
        for bin_us, trials in sorted(self.trials.items()):
            found[f"{bin_us}.temperature"] = trials.temperature.astype(np.float32)
            found[f"{bin_us}.largest"] = trials.largest.astype(np.float32)
        return found

    @classmethod
    def from_state(cls, state: dict[str, NDArray]) -> "Conformal":
        """The inverse of `state`. Raises ValueError for arrays that do not fit together or are not finite."""
        bins = {name.partition(".")[0] for name in state}
        if not all(name.isdecimal() for name in bins) or set(state) != {
            f"{name}.{part}" for name in bins for part in ("temperature", "largest")
        }:
            raise ValueError("it must have temperature and largest by bin")
        trials: dict[int, Trials] = {}
        for name in bins:
            arrays = [np.asarray(state[f"{name}.{part}"], np.float64) for part in ("temperature", "largest")]
            if any(a.ndim != 1 or not len(a) or not np.isfinite(a).all() for a in arrays):
                raise ValueError("temperature and largest must be finite lists")
            if arrays[0].min() <= 0 or (np.diff(arrays[1]) < 0).any():
                raise ValueError("temperatures must be positive, largest ascending")
            trials[int(name)] = Trials(*arrays)
        return cls(trials)


def fit_trials(logits: Floats, labels: NDArray[np.int64]) -> Trials:
    """From the logits [n, T, K] of n recordings at each of T steps, and their labels [n]."""
    weights, rows = np.ones(len(labels)), np.arange(len(labels))
    smoothing = 1 / (len(labels) + 1)
    by_step = logits.transpose(1, 0, 2)
    temperature = np.array([fit_temperature(step, labels, weights, smoothing) for step in by_step])
    scaled = logits / temperature[:, None]
    own = -scaled[rows, :, labels] - energy(scaled)
    return Trials(temperature, np.sort(own.max(1)))
