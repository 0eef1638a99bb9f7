"""Conformal sets: labels that include the true one at every step of a window, except at a chosen error rate a.

The strangeness (nonconformity) of a label at a step is -log of its calibrated probability; its largest value since the
window began is compared. `Trials` holds, for n recordings not used in training, the true label's largest strangeness
over a whole window: one that starts from zero state, and the next one. If a new recording of class y is exchangeable
with the n calibration recordings of y, all ranks among them are equally likely, so

    p(y) = (1 + number of trials of y whose largest strangeness is at least y's so far) / (n + 1)

falls to a or below for the true y, at any step, with probability at most a, on average over calibrations
(class-conditional or Mondrian conformal p-values, Vovk et al. 2005). One test at the window's end covers every earlier
step, as the largest strangeness never falls. The set holds the labels with p > a. So of all such recordings of a class
at most a share a is expected to get a wrong committed label, whenever the caller commits; among those with a committed
label the share may be larger. This holds for what was calibrated: a window from zero state, and the next window of the
same recording. It says nothing of a stream after what it shows has changed.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.models.statistics import Floats, energy, fit_temperature

ERROR_RATE = 0.05  # default of a
OWN = 99  # fewest trials a class for class-conditional p-values: with fewer, none is as small as 0.01


@dataclass(frozen=True)
class Trials:
    """The conformal calibration at one bin length: temperatures for steps 1 to T of a window, and the scores of n
    recordings in W windows: the first starts from zero state; the second, if W is 2, follows it.
    """

    temperature: Floats  # [T]
    largest: Floats  # [W, n], the true label's largest strangeness over a window; grouped by class, ascending in each
    counts: NDArray[np.int64]  # [K], trials of each class; [1] where classes are not told apart
    known: Floats  # [W, n], ascending: at the window's end, 0 if nothing was seen; [W, 0]: the model has no `known`

    @cached_property
    def by_class(self) -> bool:
        """Whether p-values are class-conditional; if not, each class is compared with the trials of all classes."""
        return len(self.counts) > 1 and int(self.counts.min()) >= OWN

    @cached_property
    def _ranked(self) -> list[list[list[float]]]:
        """Ascending trials by window and class; a single list a window if not `by_class`."""
        if not self.by_class:
            return [[row] for row in np.sort(self.largest).tolist()]
        return [[own.tolist() for own in np.split(row, np.cumsum(self.counts)[:-1])] for row in self.largest]

    def limits(self, error_rate: float, classes: int) -> Floats:
        """Return the largest strangeness [W, K] at which a class stays in the set at this error rate; 1e300: always."""
        found = np.empty((len(self.largest), classes))
        for row, ranked in zip(found, self._ranked):
            for k in range(classes):
                own = ranked[k if self.by_class else 0]
                n = len(own)
                behind = sum((1 + n - i) / (n + 1) > error_rate for i in range(n + 1))
                row[k] = [-1e300, *own, 1e300][behind]
        return found

    def row(self, steps: int) -> int:
        """Return the index, below W, of the window of the `steps`-th step since the reset; W - 1 for later windows."""
        return min((steps - 1) // len(self.temperature), len(self.largest) - 1)

    def strangeness(self, logits: NDArray[np.floating], steps: int | NDArray[np.int64]) -> Floats:
        """Return each label's strangeness [..., K] from logits [..., K] of steps [...], counted from 1 since reset."""
        scaled: Floats = logits / self.temperature[np.minimum(steps, len(self.temperature)) - 1, None]
        return -scaled - energy(scaled)[..., None]

    def p_values(self, strangest: Floats, steps: int) -> Floats:
        """Return p-values [K] of the labels' largest strangeness [K] in the window of the `steps`-th step so far."""
        ranked = self._ranked[self.row(steps)]
        ranked = ranked if self.by_class else ranked * len(strangest)
        ranks = [(len(own), bisect_left(own, value)) for own, value in zip(ranked, strangest.tolist(), strict=True)]
        return np.array([(1 + n - below) / (n + 1) for n, below in ranks])

    def familiarity(self, known: float, steps: int) -> float:
        """Return the p-value of `known` at a window's end, `steps` steps after the reset, for `Alarm.push`."""
        own = self.known[self.row(steps)]
        return (1 + int(np.searchsorted(own, known, "right"))) / (len(own) + 1)


class Commitment(NamedTuple):
    """A conformal prediction set after a step."""

    committed: str | None  # the set's label, if it has only one; otherwise None
    set: tuple[str, ...]  # labels with p-values above the error rate, the likeliest first
    risk: float  # the least error rate at which the set would have one label at most


NOTHING_KNOWN = Commitment(None, (), 1.0)


@dataclass(frozen=True)
class Evidence:
    """Each label's largest strangeness so far in the current window; a window has T steps. Immutable."""

    steps: int = 0  # of the current window
    strangest: Floats | None = None  # [K]

    def push(self, trials: Trials, logits: NDArray[np.floating], seen: int) -> "Evidence":
        """Return the state after logits [k, K] of k steps in one window, the last the `seen`-th since the reset."""
        k = len(logits)
        strange = trials.strangeness(logits, np.arange(seen - k, seen) + 1).max(0)
        if self.strangest is None or self.steps >= len(trials.temperature):
            return Evidence(k, strange)
        return Evidence(self.steps + k, np.maximum(self.strangest, strange))

    def commitment(self, trials: Trials, labels: tuple[str, ...], error_rate: float, seen: int) -> Commitment:
        """Return the conformal set at this error rate, `seen` steps after the reset."""
        if self.strangest is None:
            return NOTHING_KNOWN
        p = trials.p_values(self.strangest, seen).tolist()
        order = np.argsort(self.strangest, kind="stable").tolist()
        left = tuple([labels[k] for k in order if p[k] > error_rate])
        risk = sorted(p)[-2] if len(p) > 1 else 0.0
        return Commitment(left[0] if len(left) == 1 else None, left, risk)


class Conformal:
    """The conformal calibrations in a checkpoint, keyed by bin length in microseconds."""

    def __init__(self, trials: dict[int, Trials]) -> None:
        self.trials = trials

    def state(self) -> dict[str, NDArray]:
        """Return float32 arrays for a checkpoint, named `{bin_us}.{part}`."""
        return {
            f"{bin_us}.{part}": getattr(trials, part).astype(np.float32)
            for bin_us, trials in sorted(self.trials.items())
            for part in PARTS
        }

    @classmethod
    def from_state(cls, state: dict[str, NDArray]) -> "Conformal":
        """Restore from the arrays of `state`. Raises ValueError for inconsistent or non-finite arrays."""
        found = dict[str, dict[str, Floats]]()
        for name, array in state.items():
            bin_us, _, part = name.partition(".")
            found.setdefault(bin_us, {})[part] = np.asarray(array, np.float64)
        if not all(bin_us.isdecimal() for bin_us in found):
            raise ValueError("its arrays must be named by a bin's microseconds")
        return cls({int(bin_us): checked(parts) for bin_us, parts in found.items()})


PARTS = ("temperature", "largest", "counts", "known")


def checked(parts: dict[str, Floats]) -> Trials:
    """Build the trials of a bin from arrays by the names of PARTS. Raises ValueError for missing, inconsistent or
    non-finite arrays.
    """
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
    """Fit the calibration of one bin length to n recordings: logits [n, W, T, K] of W consecutive windows, the first
    from zero state at any time of the recording, labels [n], `known` [n, W] at the windows' ends (NaN: the model has
    none), and `begins` [n, T, K], logits of the window at the recording's start.

    The first window's trials are the larger strangeness of both: a stream may start with a recording or within one.
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
