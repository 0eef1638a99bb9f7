"""Baselines on the same samples as a network: linear and kernel machines on log event counts, or on pixels.

A spiking network should be at least as accurate as these. Counts and pixels are of the network's own input, so no
baseline sees more than the network.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from spikesight.encoders.words import counted
from spikesight.models.statistics import accuracy_of, mcnemar
from spikesight.training.data import Frames

SLICES, SIDE = 3, 16  # time slices of a window; largest side of its grid of cells
CHANCE = 0.05  # differences with a smaller p are significant
Answers = dict[str, NDArray[np.int64]]  # the classes that a method answers for samples [M], by the method's name
MOST, BATCH = 5000, 256  # samples to learn from: a kernel machine's time grows with their square; samples at once


def log_counts(frames: NDArray) -> NDArray[np.float32]:
    """Return log(1 + event counts) of frames [M, T, C, H, W] in SLICES time slices and SIDE x SIDE cells, as [M, F]."""
    x = torch.from_numpy(np.array(frames)).float()
    slices = torch.stack([part.sum(1) for part in x.tensor_split(min(SLICES, x.shape[1]), 1)], 1)
    means = _cell_means(slices.flatten(0, 1))
    sums = means * (slices[0, 0, 0].numel() / means[0, 0].numel())
    return sums.reshape(len(x), -1).log1p().numpy()


def pixels(frames: NDArray) -> NDArray[np.float32]:
    """Return means in [0, 1] of pictures uint8 [M, 1, C, H, W] in at most SIDE x SIDE cells, as [M, F]."""
    return _cell_means(torch.from_numpy(np.array(frames))[:, 0].float() / 255).flatten(1).numpy()


def _cell_means(x: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    return adaptive_avg_pool2d(x, (min(SIDE, height), min(SIDE, width)))


FEATURES: dict[str, tuple[str, str, Callable[[NDArray], NDArray[np.float32]]]] = {
    "events": ("log counts", "recordings", log_counts),
    "image": ("pixels", "pictures", pixels),
}
"""By kind of input: the features of baselines, the units of McNemar's test, the function from frames to features."""


def _machines() -> dict[str, Any]:
    with warnings.catch_warnings():  # joblib warns without semaphores, but nothing here runs in parallel
        warnings.filterwarnings("ignore", ".*joblib will operate in serial mode")
        from sklearn.linear_model import RidgeClassifierCV
        from sklearn.svm import SVC

    return {"ridge": RidgeClassifierCV(alphas=np.logspace(-2, 5, 8)), "RBF kernel": SVC(C=10.0)}


def predictions(
    train: NDArray[np.float32], labels: NDArray[np.int64], asked: NDArray[np.float32], kind: str = "events"
) -> Answers:
    """Train each baseline on features [M, F] and labels [M]; return its classes for `asked` [N, F] by name."""
    features, machines = FEATURES[kind][0], _machines().items()
    return {f"{name} on {features}": np.asarray(one.fit(train, labels).predict(asked)) for name, one in machines}


def beside_network(
    learnt: Sequence[Frames], test: Frames, chosen: NDArray[np.int64], recording: NDArray[np.int64], kind: str
) -> list[dict[str, Any]]:
    """Return `Pairs.beside` for a run's test samples: baselines trained on its samples.

    `kind`: a key of FEATURES.
    """
    parts = [part.take(part.stratified_rows(MOST)) for part in learnt]
    given, labels = np.concatenate([_features(part, kind) for part in parts]), np.concatenate([p.labels for p in parts])
    answers = predictions(given, labels, _features(test, kind), kind)
    return Pairs(test.labels, chosen, recording, kind).beside(answers)


def _features(frames: Frames, kind: str) -> NDArray[np.float32]:
    extract = FEATURES[kind][2]
    return np.concatenate([extract(frames.frames[n : n + BATCH]) for n in range(0, len(frames), BATCH)])


@dataclass(frozen=True)
class Pairs:
    """Test samples of a network and its baselines, with the network's answers."""

    truth: NDArray[np.int64]  # [M]
    chosen: NDArray[np.int64]  # [M], by the network
    recording: NDArray[np.int64]  # [M]; windows of one recording are correlated and count as one pair
    kind: str = "events"  # a key of FEATURES

    def beside(self, answers: Answers) -> list[dict[str, Any]]:
        """Return a row for each baseline: `name`, `accuracy`, `correct`, `count` and `interval` of samples; then `won`
        and `lost`, the recordings (or pictures: `of`) with more and with fewer samples right by the network, and `p` of
        McNemar's exact test.
        """
        return [self._row(name, chosen) for name, chosen in answers.items()]

    def _row(self, name: str, chosen: NDArray[np.int64]) -> dict[str, Any]:
        right = chosen == self.truth
        ahead = np.bincount(self.recording, (self.chosen == self.truth).astype(float) - right)
        won, lost = int((ahead > 0).sum()), int((ahead < 0).sum())
        figures, units = accuracy_of(int(right.sum()), len(right)), FEATURES[self.kind][1]
        return {"name": name, **figures, "of": units, "won": won, "lost": lost, "p": mcnemar(won, lost)}


def sentences(rows: list[dict[str, Any]]) -> list[str]:
    """Describe each baseline in a sentence, with its comparison to the network."""
    return [
        f"{row['name']}: {row['correct']} of {row['count']} right, {row['accuracy']:.1%}; {_verdict(row)}"
        for row in rows
    ]


def _verdict(row: dict[str, Any]) -> str:
    won = counted(row["won"], row["of"].removesuffix("s"))
    beside = f"{won} better by the network, {row['lost']} worse, p = {row['p']:.2g}"
    if row["p"] > CHANCE:
        return f"as good as the network, as far as these can tell ({beside})"
    return f"the network is better ({beside})" if row["won"] > row["lost"] else f"BETTER than the network ({beside})"
