"""Examples as they are shown, one after another: turned into features at once and kept, so that a head is one solution
away at any time. Classes may come later, and what was shown may be taken back.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.roi.alignment import aligned, steps_of
from spikesight.models.checkpoint import load
from spikesight.models.contract import Card, CheckpointError, Contract
from spikesight.models.engine.engine import Engine, why_not
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.networks.taught import TaughtConfig, TaughtNetwork
from spikesight.models.neurons.pace import unpaced
from spikesight.models.neurons.state import State
from spikesight.models.novelty.profile import Profile, Window, measure
from spikesight.models.novelty.rates import layers_to_watch
from spikesight.models.shipped import find
from spikesight.models.teach.augment import varied
from spikesight.models.teach.head import Head, Judged, Regression, balance, judge
from spikesight.models.teach.unknown import Unknown, fit_unknown

SIDE = 32  # of the network's input, pixels
PLACES, INPUT_PLACES = 4, 8  # a side, of each layer's map at most, and of the input
WATCHED = 256  # channels that a distance is measured in
SHORTEST_BIN_US = 1000  # that the model runs at


UNTAUGHT = "untaught"
BLOCKS = 5  # of time, that the only piece of a class is divided into


class Example(NamedTuple):
    """One example: a class, the piece it was taken from, its events (sorted by time) and their sensor."""

    label: str
    piece: str  # neighbours in a piece are nearly the same and never judge each other
    events: Events
    sensor: SensorSize


@dataclass(frozen=True, eq=False)
class EmbeddedExample:
    """One example as the head sees it, with varied copies, and a picture of its events, uint8 [2, SIDE, SIDE]."""

    number: int  # in the order they were seen
    label: str
    piece: str
    features: NDArray[np.float32]  # [1 + copies, F], the example itself first
    picture: NDArray[np.uint8]  # steps with OFF and with ON events
    window: Window | None = None  # what tells the camera


def backbone(name: str) -> SpikingResNet:
    """The frozen network by a shipped model's name or a folder. Raises CheckpointError for one that cannot serve."""
    network, card = load(find(name))
    network = network.backbone if isinstance(network, TaughtNetwork) else network
    if not gives_features(network, card.contract):
        raise CheckpointError(f"{name} cannot give features: a spiking ResNet that takes events is needed")
    assert isinstance(network, SpikingResNet)
    return network


def gives_features(network: nn.Module, contract: Contract) -> bool:
    """Whether a head can be taught on this network: a spiking ResNet that takes events."""
    if not isinstance(network, SpikingResNet) or network.config.neuron.kind == "relu":
        return False
    return contract.kind == "events" and network.config.in_channels == 2


@torch.inference_mode()
def places_of(backbone: SpikingResNet) -> int:
    """Into how many places a side the maps of all layers can be divided, up to PLACES."""
    maps = State()
    backbone.features(torch.zeros(1, 1, 2, SIDE, SIDE), maps)
    sides = {side for state in maps.values() for side in state.shape[2:]}
    return max(places for places in range(1, PLACES + 1) if not any(side % places for side in sides))


class FewShotLearner:
    """Examples for a head on `backbone`, which sees windows of `steps` bins in `slices`.

    Each example that is shown as events is learnt with so many varied `copies`.
    """

    def __init__(
        self, backbone: SpikingResNet, sensor: SensorSize, steps: int, bin_us: int, slices: int = 1, copies: int = 0
    ) -> None:
        paced = not unpaced(backbone.config.neuron)
        self.contract = Contract(
            "events", 2, SIDE, SIDE, steps, "binary", sensor.width, sensor.height, bin_us, frame="object", readout=1,
            shortest_bin_us=min(SHORTEST_BIN_US, bin_us) if paced else 0,
        )  # fmt: skip
        self._config = TaughtConfig(backbone.config, 1, steps, slices, places_of(backbone), INPUT_PLACES, SIDE, SIDE)
        self.copies = copies
        self.network = TaughtNetwork(self._config).eval()
        self.network.backbone.load_state_dict(backbone.state_dict())
        self._engine = (
            None
            if why_not(self.network)
            else Engine(self.network.backbone, SIDE, SIDE, rates=len(self.network.neurons), places=self._config.places)
        )
        self.shown: list[EmbeddedExample] = []
        self._numbers = count()

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes so far, sorted."""
        return tuple(sorted({shown.label for shown in self.shown}))

    def counts(self) -> dict[str, int]:
        """Examples of each class."""
        return {label: sum(shown.label == label for shown in self.shown) for label in self.labels}

    def show(self, example: Example) -> NDArray[np.uint8]:
        """Take one example; what the network is fed, [T, 2, H, W]. Raises ValueError for fewer than two events."""
        if len(example.events) < 2:
            raise ValueError("an example needs at least two events")
        size, steps, bin_us = (SIDE, SIDE), self.contract.steps, self.contract.bin_us
        events, random = aligned(example.events, size, steps * bin_us), np.random.default_rng(len(self.shown))
        looks = [events, *(varied(events, size, steps * bin_us, random) for _ in range(self.copies))]
        x = np.stack([steps_of(look, size, bin_us, steps) for look in looks], 1)
        self.shown.append(self.seen(example.label, example.piece, x))
        return x[:, 0]

    def seen(self, label: str, piece: str, x: NDArray[np.uint8]) -> EmbeddedExample:
        """What the head sees of a window as a network of this contract is fed it, [T, N, 2, H, W], with its copies;
        not taken yet.
        """
        picture = x[:, 0].sum(0).clip(max=255).astype(np.uint8)
        window = measure(x[:, 0], self.contract.bin_us)
        return EmbeddedExample(next(self._numbers), label, piece, self.features(x), picture, window)

    def undo(self) -> str:
        """Take the last example back; its class. Raises IndexError when there is none."""
        return self.shown.pop().label

    def drop(self, number: int) -> None:
        """Take one example back. Raises KeyError when there is none of this number."""
        kept = [shown for shown in self.shown if shown.number != number]
        if len(kept) == len(self.shown):
            raise KeyError(number)
        self.shown = kept

    def forget(self, label: str) -> None:
        """Take a whole class back."""
        self.shown = [shown for shown in self.shown if shown.label != label]

    def rename(self, label: str, to: str) -> None:
        """Give a class another name; that of another class joins the two."""
        self.shown = [replace(shown, label=to) if shown.label == label else shown for shown in self.shown]

    @torch.inference_mode()
    def features(self, x_seq: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the head looks at after windows of T steps, [T, N, 2, H, W]: [N, F]."""
        x = torch.from_numpy(np.ascontiguousarray(x_seq))
        rates = self.network.rates(x.float(), {}) if self._engine is None else self._engine.run(x).rates
        return self.network.whole(x, rates).numpy()

    def untaught(self) -> tuple[TaughtNetwork, Card]:
        """A network of this contract that knows nothing yet: it always answers UNTAUGHT."""
        return self.with_head(Head(np.zeros((1, self.network.head.in_features)), np.zeros(1)), True), Card(
            self.contract, (UNTAUGHT,)
        )

    def with_head(self, head: Head, with_input: bool) -> TaughtNetwork:
        """The backbone and this head."""
        places = INPUT_PLACES if with_input else 0
        network = TaughtNetwork(replace(self._config, classes=len(head.bias), input_places=places)).eval()
        network.backbone.load_state_dict(self.network.backbone.state_dict())
        with torch.no_grad():
            network.head.weight.copy_(torch.from_numpy(head.weight))
            network.head.bias.copy_(torch.from_numpy(head.bias))
        return network

    def learn(self, with_input: bool | None = None, shown: list[EmbeddedExample] | None = None) -> "Taught":
        """The head of all that was shown, or of `shown`. `with_input`: whether it also looks at the input; None: what
        judges better.

        Raises ValueError for fewer than two classes.
        """
        examples = self.shown if shown is None else shown
        labels = tuple(sorted({shown.label for shown in examples}))
        if len(labels) < 2:
            raise ValueError("a head needs at least two classes")
        y = np.array([labels.index(shown.label) for shown in examples])
        pieces = pieces_of(examples)
        goes = {label: len({one.piece for one in examples if one.label == label}) for label in labels}
        stacked = np.stack([shown.features for shown in examples])
        profile = Profile.of([shown.window for shown in examples if shown.window is not None])
        of_input, best = self.network.of_input.numpy(), None
        scale = np.ones(len(of_input), np.float32) if with_input is False else balance(stacked, of_input)
        for joined in (False, True) if with_input is None else (with_input,):
            x = stacked * scale if joined else self._without_input(stacked)
            regression = Regression(x, y, len(labels))
            judged = judge(regression, y, pieces)
            if best is None or _errors(judged, y) < _errors(best.judged, y):
                scales = scale if joined else np.ones(x.shape[2], np.float32)
                best = Taught(self, labels, y, pieces, x, scales, regression, judged, joined, goes, profile)
        assert best is not None
        return best

    def _without_input(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features [M, 1 + copies, F] with what the network itself sees alone, not the input's."""
        config, some = self._config, features.shape[:2]
        kept = sum(self.network.channels) * config.places**2
        return features.reshape(*some, config.slices, -1)[..., :kept].reshape(*some, -1)


def pieces_of(examples: list[EmbeddedExample]) -> NDArray[np.int64]:
    """The piece of each example [M]; the only one of a class is divided into BLOCKS of time."""
    of_class: dict[str, list[EmbeddedExample]] = {}
    for shown in examples:
        of_class.setdefault(shown.label, []).append(shown)
    names: list[tuple[str, int]] = []
    for shown in examples:
        mine = of_class[shown.label]
        alone = len({other.piece for other in mine}) == 1
        names.append((shown.piece, mine.index(shown) * BLOCKS // len(mine) if alone else 0))
    order = {name: number for number, name in enumerate(sorted(set(names)))}
    return np.array([order[name] for name in names])


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

    learner: FewShotLearner
    labels: tuple[str, ...]
    truth: NDArray[np.int64]  # [M]
    pieces: NDArray[np.int64]  # [M]
    features: NDArray[np.float32]  # [M, 1 + copies, F], balanced
    scale: NDArray[np.float32]  # [F], that balanced them
    regression: Regression
    judged: Judged
    with_input: bool
    goes: dict[str, int]  # in how many pieces each class was shown
    profile: Profile | None = None

    def checkpoint(self, training: dict, metrics: dict) -> tuple[TaughtNetwork, Card]:
        """The network and its card."""
        head = self.regression.head(self.judged.temperature)
        network = self.learner.with_head(replace(head, weight=head.weight * self.scale), self.with_input)
        known = self.unknown.detector if self.unknown else None
        return network, Card(self.learner.contract, self.labels, training, metrics, self.profile, known)

    @cached_property
    def unknown(self) -> Unknown | None:
        """What tells that a thing was never taught; None for too few examples."""
        network = self.learner.network
        layers = layers_to_watch(network.backbone, self.learner.contract.shape, WATCHED)
        rates = network.watched(torch.from_numpy(self.features[:, 0])[None], layers)[0].double().numpy()
        return fit_unknown(layers, np.sqrt(rates), self.truth, self.pieces, self.regression, self.judged)
