"""Commitments: labels with a guarantee, also in a stream that goes on from object to object and is never reset.

Of all objects that come into view, in each class, at most the error rate is committed to wrongly, if they are like
those of the calibration.

What is compared is the lead: by how much the largest logit of a step exceeds the second largest. `Trials` holds, of n
objects not used in training, the largest lead that a wrong label had while the object was in view: in streams in which
objects follow each other at random, with and without a gap. An object is in view from when it comes until the next one
comes; in its first `settles` steps the label of the object before is not counted as wrong, as no network can know at
once. If a new object of class y is exchangeable with the n objects of y, all ranks among them are equally likely, so

    p(y) = (1 + number of objects of y in which a wrong label once led by at least what the best leads by now) / (n + 1)

falls to a or below while y is in view and another label leads in at most a share a of such objects, on average over
calibrations (class-conditional or Mondrian conformal p-values, Vovk et al. 2005). The set holds the best label and
those with p > a; a stream commits to the best if it is alone. There is no memory but the network's own: a commitment is
to what the newest step shows. So it may be read at every step, by whoever chooses the time, and no reset is needed.

A class with fewer than 1 / a - 1 objects always has p > a: at such a rate nothing is committed to.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.models.statistics import Floats

ERROR_RATE = 0.05  # default of a


class Commitment(NamedTuple):
    """What is known of a step's label, by the conformal calibration."""

    label: str | None  # the only label in `set`; None: there are more, or the step is unknown, nothing or shifted
    set: tuple[str, ...]  # labels that are possible at the error rate, the likeliest first
    risk: float  # the least error rate at which the set would have one label
    shifted: bool | None  # whether the stream differs from the calibration's (alarm.py); None: nothing to compare with
    at_us: int | None = None  # end of the step since which it is committed to this label, of a whole recording of that
    # by which it is judged; None without a label

    def withdrawn(self) -> "Commitment":
        """Return it without its label."""
        return self._replace(label=None, at_us=None)

    def fields(self) -> dict[str, Any]:
        """Return a dictionary ready for JSON; the risk has six significant digits."""
        return {**self._asdict(), "risk": float(f"{self.risk:.6g}")}


@dataclass(frozen=True)
class Trials:
    """The conformal calibration at one bin length."""

    largest: Floats  # [n], the largest lead of a wrong label over an object, 0 if none led; by class, ascending in each
    counts: NDArray[np.int64]  # [K], objects of each class
    known: Floats  # [m], ascending: `known` at the ends of the streams' windows; [0]: the model has no `known`

    @cached_property
    def _ranked(self) -> list[list[float]]:
        """The trials of each class, ascending."""
        return [own.tolist() for own in np.split(self.largest, np.cumsum(self.counts)[:-1])]

    @cached_property
    def least(self) -> float:
        """The least error rate at which anything can be committed to: that of the class with the fewest things."""
        return 1 / (int(self.counts.min()) + 1)

    def limits(self, error_rate: float) -> Floats:
        """Return the largest lead [K] of another label at which a class stays possible at this error rate; -1: never
        possible, 1e300: always.
        """
        found = np.empty(len(self.counts))
        for k, own in enumerate(self._ranked):
            n = len(own)
            behind = sum((1 + n - i) / (n + 1) > error_rate for i in range(n + 1))
            found[k] = [-1, *own, 1e300][behind]
        return found

    def commitment(self, logits: Sequence[float], labels: tuple[str, ...], error_rate: float) -> Commitment:
        """Return what a step's logits [K] allow at this error rate."""
        order = sorted(range(len(labels)), key=lambda k: -logits[k])
        lead = logits[order[0]] - logits[order[1]] if len(order) > 1 else 0.0
        p = [(1 + len(own) - bisect_left(own, lead)) / (len(own) + 1) for own in self._ranked]
        risk = max([self.least, *(p[k] for k in order[1:])])
        left = tuple([labels[k] for k in order if k == order[0] or p[k] > error_rate])
        return Commitment(left[0] if risk <= error_rate else None, left, risk, None)

    def familiarity(self, known: float) -> float:
        """Return the p-value of `known` at a window's end, for `Alarm.push`."""
        return (1 + int(np.searchsorted(self.known, known, "right"))) / (len(self.known) + 1)


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
    def from_state(cls, state: dict[str, NDArray], classes: int) -> "Conformal":
        """Restore from the arrays of `state`. Raises ValueError for inconsistent or non-finite arrays."""
        found = dict[str, dict[str, Floats]]()
        for name, array in state.items():
            bin_us, _, part = name.partition(".")
            found.setdefault(bin_us, {})[part] = np.asarray(array, np.float64)
        if not all(bin_us.isdecimal() for bin_us in found):
            raise ValueError("its arrays must be named by a bin's microseconds")
        return cls({int(bin_us): checked(parts, classes) for bin_us, parts in found.items()})


PARTS = ("largest", "counts", "known")


def checked(parts: dict[str, Floats], classes: int) -> Trials:
    """Build the trials of a bin from arrays by the names of PARTS. Raises ValueError for missing, inconsistent or
    non-finite arrays.
    """
    if set(parts) != set(PARTS):
        raise ValueError(f"each bin must have {', '.join(PARTS)}: run `spikesight calibrate`")
    largest, counts, known = (parts[name] for name in PARTS)
    if not all(array.ndim == 1 and np.isfinite(array).all() for array in parts.values()):
        raise ValueError("its arrays must be lists of finite numbers")
    if len(counts) != classes or counts.min() < 0 or counts.sum() != len(largest):
        raise ValueError("the trials of all classes must be all trials")
    ends = np.cumsum(counts)[:-1].astype(int)
    if any((np.diff(own) < 0).any() for own in (*np.split(largest, ends), known)):
        raise ValueError("trials must ascend")
    return Trials(largest, counts.astype(np.int64), known)


def wrong_margin(logits: Floats, label: int, before: int, settles: int) -> float:
    """Return the largest lead of a wrong label over a thing's steps, logits [k, K], 0 if none led; class `before` may
    lead in the first `settles` steps (-1: nothing was there).
    """
    best = logits.argmax(1)
    two = np.sort(logits, 1)[:, -2:]
    wrong = (best != label) & ((best != before) | (np.arange(len(best)) >= settles))
    return float((two[:, -1] - two[:, 0])[wrong].max(initial=0.0))


def fit_trials(leads: Floats, labels: NDArray[np.int64], known: Floats, classes: int) -> Trials:
    """Return the calibration by the `wrong_margin` [n] of objects of classes `labels` [n], and `known` [m] at the ends
    of the streams' windows.
    """
    counts = np.bincount(labels, minlength=classes)
    return Trials(leads[np.lexsort((leads, labels))], counts, np.sort(known))
