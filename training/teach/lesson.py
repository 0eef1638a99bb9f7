"""Examples as they are shown, one after another: turned into features at once and kept, so that a head is one solution
away at any time. Classes may come later, and what was shown last may be taken back.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.dvs import DvsEncoder
from encoders.events import SensorSize
from encoders.gaze.alignment import aligned
from models.contract import Card, Contract
from models.engine.engine import Engine, why_not
from models.known import ClassDistance, Known, Windows, fit_known
from models.known.rates import layers_to_watch
from models.networks.resnet import SpikingResNet
from models.networks.taught import TaughtConfig, TaughtNetwork
from training.teach.examples import Example
from training.teach.head import Judged, fit, folds, judge

SIDE = 32  # of the network's input, pixels
PLACES, INPUT_PLACES = 2, 8
WATCHED = 256  # channels that a distance is measured in
SPHERE = 0.1  # its covariance towards a sphere: few examples tell few directions


@dataclass(frozen=True)
class Shown:
    """One example as the head sees it: its features float32 [F]."""

    label: str
    piece: str
    features: NDArray[np.float32]


class Lesson:
    """Examples for a head on `backbone`, which sees windows of `steps` bins in `slices`."""

    def __init__(self, backbone: SpikingResNet, sensor: SensorSize, steps: int, bin_us: int, slices: int = 1) -> None:
        self.contract = Contract(
            "events", 2, SIDE, SIDE, steps, "binary", sensor.width, sensor.height, bin_us, frame="object", readout=1
        )
        self._config = TaughtConfig(
            backbone.config, 1, steps, slices, PLACES, INPUT_PLACES, self.contract.height, self.contract.width
        )
        self.network = TaughtNetwork(self._config).eval()
        self.network.backbone.load_state_dict(backbone.state_dict())
        self._engine = (
            None
            if why_not(self.network)
            else Engine(self.network.backbone, SIDE, SIDE, rates=len(self.network.neurons), places=PLACES)
        )
        self._shown: list[Shown] = []

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes so far, sorted."""
        return tuple(sorted({shown.label for shown in self._shown}))

    def counts(self) -> dict[str, int]:
        """Examples of each class."""
        return {label: sum(shown.label == label for shown in self._shown) for label in self.labels}

    def show(self, example: Example) -> None:
        """Take one example. Raises ValueError for one of fewer than two events."""
        if len(example.events) < 2:
            raise ValueError("an example needs at least two events")
        contract, size = self.contract, (SIDE, SIDE)
        events = aligned(example.events, size, contract.steps * contract.bin_us)
        x = DvsEncoder(SensorSize(SIDE, SIDE), size, contract.bin_us, contract.steps)(events, 0)
        self._shown.append(Shown(example.label, example.piece, self.features(x)[0]))

    def undo(self) -> str:
        """Take the last example back; its class. Raises IndexError when there is none."""
        return self._shown.pop().label

    def forget(self, label: str) -> None:
        """Take a whole class back."""
        self._shown = [shown for shown in self._shown if shown.label != label]

    @torch.inference_mode()
    def features(self, x_seq: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the head looks at after windows [T, N, 2, H, W]: [N, F]."""
        x = torch.from_numpy(np.ascontiguousarray(x_seq))
        rates = self.network.rates(x.float(), {}) if self._engine is None else self._engine.run(x).rates
        return self.network.features(x, rates, {})[-1].numpy()

    def learn(self, with_input: bool | None = None) -> "Taught":
        """The head of all that was shown. `with_input`: whether it also looks at the input; None: what judges better.

        Raises ValueError for fewer than two classes.
        """
        labels = self.labels
        if len(labels) < 2:
            raise ValueError("a head needs at least two classes")
        y = np.array([labels.index(shown.label) for shown in self._shown])
        names = sorted({shown.piece for shown in self._shown})
        pieces = np.array([names.index(shown.piece) for shown in self._shown])
        stacked = np.stack([shown.features for shown in self._shown])
        best: Taught | None = None
        for joined in (False, True) if with_input is None else (with_input,):
            x = stacked.astype(np.float64) if joined else self._without_input(stacked)
            judged = judge(x, y, pieces, len(labels))
            if best is None or _errors(judged, y) < _errors(best.judged, y):
                best = Taught(self, labels, y, pieces, x, judged, joined)
        assert best is not None
        return best

    def _without_input(self, features: NDArray) -> NDArray[np.float64]:
        slices, kept = self._config.slices, sum(self.network.channels) * PLACES**2
        return features.astype(np.float64).reshape(len(features), slices, -1)[:, :, :kept].reshape(len(features), -1)


def _errors(judged: Judged, labels: NDArray[np.int64]) -> float:
    """Share of the judged examples that are wrong, ties by their squared error."""
    seen = ~np.isnan(judged.scores[:, 0])
    if not seen.any():
        return 0.0
    scores, y = judged.scores[seen], labels[seen]
    return float((scores.argmax(1) != y).mean() + 1e-3 * ((scores - np.eye(scores.shape[1])[y]) ** 2).mean())


@dataclass(frozen=True)
class Taught:
    """A head and what it was learnt from."""

    lesson: Lesson
    labels: tuple[str, ...]
    truth: NDArray[np.int64]  # [M]
    pieces: NDArray[np.int64]  # [M]
    features: NDArray[np.float64]  # [M, F]
    judged: Judged
    with_input: bool

    def checkpoint(self, training: dict, metrics: dict) -> tuple[TaughtNetwork, Card]:
        """The network and its card."""
        lesson = self.lesson
        head = fit(self.features, self.truth, len(self.labels), self.judged.temperature)
        config = replace(lesson._config, classes=len(self.labels), input_places=INPUT_PLACES if self.with_input else 0)
        network = TaughtNetwork(config).eval()
        network.backbone.load_state_dict(lesson.network.backbone.state_dict())
        with torch.no_grad():
            network.head.weight.copy_(torch.from_numpy(head.weight))
            network.head.bias.copy_(torch.from_numpy(head.bias))
        return network, Card(lesson.contract, self.labels, training, metrics, self._known(network))

    def _known(self, network: TaughtNetwork) -> Known | None:
        """What tells the unknown, from the examples and what was made of them unseen; None for too few."""
        layers = layers_to_watch(network.backbone, self.lesson.contract.shape, WATCHED)
        rates = network.watched(torch.from_numpy(self.features).float()[None], layers)[0].double().numpy()
        seen = ~np.isnan(self.judged.scores[:, 0])
        logits = self.judged.scores / self.judged.temperature

        def windows(rows: NDArray[np.bool_]) -> Windows:
            count = int(rows.sum())
            ones, truth = np.ones(count), self.truth[rows]
            return Windows(logits[rows][:, None], rates[rows][:, None], 0 * ones[:, None], truth, ones, 0 * truth)

        far = np.full(len(self.truth), np.nan)
        fold = folds(self.truth, self.pieces)
        try:
            for number in range(fold.max() + 1):
                out = fold == number
                distance = ClassDistance.fit(np.sqrt(rates[~out]), self.truth[~out], shrink=SPHERE)
                far[out] = distance.score(np.sqrt(rates[out]))
            return fit_known(
                layers, windows(np.ones_like(seen)), windows(seen), shrink=SPHERE, distances=far[seen][:, None]
            )
        except ValueError:
            return None
