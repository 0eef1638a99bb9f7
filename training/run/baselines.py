"""What plain methods make of the same windows: linear and kernel machines on log counts of events.

A spiking network has to be at least as right as these, or it is not worth its time. No baseline sees more than the
network: the counts are of the network's own input.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool2d

from spikesight.models.statistics import accuracy_of, mcnemar
from spikesight.training.data import Frames

SLICES, SIDE = 3, 16  # of a window's time, and of its picture at most
CHANCE = 0.05  # a p below it tells one from the other
Answers = dict[str, NDArray[np.int64]]  # of windows, [M], by the name of who answers
MOST, BATCH = 5000, 256  # windows that are learnt from: a kernel machine's time grows with their square


def log_counts(frames: NDArray) -> NDArray[np.float32]:
    """log(1 + events) in up to SLICES slices of time and SIDE x SIDE places of [M, T, C, H, W]: [M, F]."""
    x = torch.from_numpy(np.array(frames)).float()
    height, width = x.shape[-2:]
    slices = torch.stack([part.sum(1) for part in x.tensor_split(min(SLICES, x.shape[1]), 1)], 1)
    if max(height, width) > SIDE:
        places = min(SIDE, height), min(SIDE, width)
        slices = adaptive_avg_pool2d(slices.flatten(0, 1), places) * (height * width / np.prod(places))
    return slices.reshape(len(x), -1).log1p().numpy()


def _machines() -> dict[str, Any]:
    with warnings.catch_warnings():  # joblib's, where a user may have no semaphores: nothing here runs in parallel
        warnings.filterwarnings("ignore", ".*joblib will operate in serial mode")
        from sklearn.linear_model import RidgeClassifierCV
        from sklearn.svm import SVC

    ridge = RidgeClassifierCV(alphas=np.logspace(-2, 5, 8))
    return {"ridge on log counts": ridge, "RBF kernel on log counts": SVC(C=10.0)}


def predictions(train: NDArray[np.float32], labels: NDArray[np.int64], asked: NDArray[np.float32]) -> Answers:
    """What each baseline answers, by its name: learnt from log counts [M, F] and labels [M], asked [N, F]."""
    return {name: np.asarray(machine.fit(train, labels).predict(asked)) for name, machine in _machines().items()}


def beside_network(
    learnt: Sequence[Frames],
    test: Frames,
    chosen: NDArray[np.int64],
    recording: NDArray[np.int64],
    anns: Answers,
) -> list[dict[str, Any]]:
    """The rows of `Pairs.beside`: baselines learnt from the windows that a run learnt from, on its test windows, then
    `anns`, which have answered.
    """
    parts = [part.take(part.evenly(MOST)) for part in learnt]
    counts, labels = np.concatenate([_counted(part) for part in parts]), np.concatenate([p.labels for p in parts])
    answers = predictions(counts, labels, _counted(test))
    return Pairs(test.labels, chosen, recording).beside(answers | anns)


def _counted(frames: Frames) -> NDArray[np.float32]:
    return np.concatenate([log_counts(frames.frames[n : n + BATCH]) for n in range(0, len(frames), BATCH)])


@dataclass(frozen=True)
class Pairs:
    """Windows that a network and its baselines were asked, with what the network answered."""

    truth: NDArray[np.int64]  # [M]
    chosen: NDArray[np.int64]  # [M], by the network
    recording: NDArray[np.int64]  # [M]; windows of one recording are alike and count as one pair

    def beside(self, answers: Answers) -> list[dict[str, Any]]:
        """A row for each baseline: `name`, `accuracy`, `correct`, `count` and `interval` of windows; then `won` and
        `lost`, the recordings of which the network has more and fewer windows right, and `p`, McNemar's exact test.
        """
        return [self._row(name, chosen) for name, chosen in answers.items()]

    def _row(self, name: str, chosen: NDArray[np.int64]) -> dict[str, Any]:
        right = chosen == self.truth
        ahead = np.bincount(self.recording, (self.chosen == self.truth).astype(float) - right)
        won, lost = int((ahead > 0).sum()), int((ahead < 0).sum())
        figures = accuracy_of(int(right.sum()), len(right))
        return {"name": name, **figures, "won": won, "lost": lost, "p": mcnemar(won, lost)}


def sentences(rows: list[dict[str, Any]]) -> list[str]:
    """Each baseline in a sentence, with what it says of the network."""
    return [
        f"{row['name']}: {row['correct']} of {row['count']} right, {row['accuracy']:.1%}; {_verdict(row)}"
        for row in rows
    ]


def _verdict(row: dict[str, Any]) -> str:
    beside = f"{row['won']} recordings better by the network, {row['lost']} worse, p = {row['p']:.2g}"
    if row["p"] > CHANCE:
        return f"as good as the network, as far as these can tell ({beside})"
    return f"the network is better ({beside})" if row["won"] > row["lost"] else f"BETTER than the network ({beside})"
