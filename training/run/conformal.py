"""Conformal prediction sets (models/novelty/conformal.py): fitted and assessed on recordings not trained on."""

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spikesight.models.classifier import Classifier
from spikesight.models.contract import Card
from spikesight.models.novelty.conformal import Conformal, Trials, fit_trials
from spikesight.models.statistics import interval
from spikesight.training.data import Data
from spikesight.training.data.sets import Item
from spikesight.training.progress import counted, say
from spikesight.training.run.readings import Source, packets_of

BINS_MS = (1, 2, 5, 10)  # beside the trained one, as far as the contract has them
MOST, LEAST, HELD = 500, 20, 2000  # recordings
ERROR_RATES = (0.05, 0.01)
T = TypeVar("T")


def evenly(items: Sequence[T], most: int) -> list[T]:
    """Up to `most` of the items, spread evenly.

    >>> evenly("abcdefg", 3)
    ['a', 'd', 'g']
    """
    return [items[n] for n in np.linspace(0, len(items) - 1, min(most, len(items))).astype(int)]


class Paths(NamedTuple):
    """Logits of recordings at each of T steps from zero state; a shorter one keeps its last."""

    logits: NDArray[np.float64]  # [n, T, K]
    labels: NDArray[np.int64]  # [n]


def read_paths(classifier: Classifier, items: Sequence[Item], labels: NDArray[np.int64]) -> Paths:
    """The logits of each recording's first window; `labels` [n] are those of the items."""
    steps = classifier.contract.steps
    paths: list[NDArray[np.float64]] = []
    job = f"stepping at {classifier.contract.bin_us / 1000:g} ms"
    for item in counted(items, job, "recording"):
        sensor, packets = packets_of(item)
        inputs = list(islice(classifier.packet_inputs(packets, sensor), steps))
        x_seq = torch.from_numpy(np.stack([given.x for given in inputs]))[:, None]
        logits = classifier.run(x_seq, classifier.initial_state()).logits[:, 0].numpy().astype(np.float64)
        paths.append(np.concatenate([logits, np.repeat(logits[-1:], steps - len(logits), 0)]))
    return Paths(np.stack(paths), labels)


def fit_conformal(classifier: Classifier, items: Sequence[Item]) -> Conformal:
    """Fit to validation recordings, at the trained bin and those of BINS_MS. Raises ValueError for too few."""
    if len(items) < LEAST:
        raise ValueError(
            f"{len(items)} validation recordings are too few for conformal sets; {LEAST} at least are needed"
        )
    chosen = evenly(items, MOST)
    labels = np.array([item.label for item in chosen])
    own = classifier.contract
    bins = {own.bin_us / 1000, *(ms for ms in BINS_MS if own.bins_us[0] <= ms * 1000 < own.bin_us)}
    trials: dict[int, Trials] = {}
    for bin_ms in sorted(bins):
        fine = classifier.at(bin_ms)
        trials[fine.contract.bin_us] = fit_trials(*read_paths(fine, chosen, labels))
    return Conformal(trials)


def conformal_of(network: nn.Module, card: Card, data: Data) -> Conformal | None:
    """The network's conformal calibration; None for images, and for too few recordings, with a line that says so."""
    if not data.val_items:
        return None
    try:
        return fit_conformal(Classifier(network, card), data.val_items)
    except ValueError as error:
        say(f"no commitments, so `set` will be null: {error}")
        return None


def held_out(classifier: Classifier, sources: Sequence[Source]) -> list[dict[str, Any]]:
    """`assess` at the usual error rates on up to HELD recordings of the model's classes; none without a calibration."""
    own = [source for source in sources if source.label in classifier.labels]
    if classifier.trials is None or not own:
        return []
    chosen = evenly(own, HELD)
    labels = np.array([classifier.labels.index(source.label) for source in chosen])
    paths = read_paths(classifier, [source.item for source in chosen], labels)
    bin_ms = classifier.contract.bin_us / 1000
    return [assess(classifier.trials, paths, rate, bin_ms) for rate in ERROR_RATES]


def assess(trials: Trials, paths: Paths, error_rate: float, bin_ms: float) -> dict[str, Any]:
    """How often the set holds the true label at every step, and when it is committed to, on recordings held out."""
    n, steps = paths.logits.shape[:2]
    strange = np.stack([trials.strangeness(paths.logits[:, at], at + 1) for at in range(steps)], 1)
    possible = trials.p_values(np.maximum.accumulate(strange, 1)) > error_rate  # [n, T, K]
    held = possible[np.arange(n), -1, paths.labels]
    single = possible.sum(2) == 1
    done, first = single.any(1), single.argmax(1)
    chosen = possible[np.arange(n), first].argmax(1)
    wrong = int((chosen != paths.labels)[done].sum())
    times = np.sort(np.where(done, (first + 1) * bin_ms, np.inf))
    median = float(times[(n - 1) // 2])
    return {
        "error_rate": error_rate,
        "coverage": float(held.mean()),
        "interval": list(interval(int(held.sum()), n)),
        "count": n,
        "committed": int(done.sum()),
        "wrong": wrong,
        "median_ms": median if np.isfinite(median) else None,
    }
