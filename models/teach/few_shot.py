"""Few-shot learning: each example becomes a feature vector when it is shown, so a head is one linear solution away at
any time. Classes may be added later, and examples may be removed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.preprocess.crop import aligned, steps_of
from spikesight.models.checkpoint import load
from spikesight.models.contract import Card, CheckpointError, Contract
from spikesight.models.engine.engine import Engine, why_not
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.networks.taught import TaughtConfig, TaughtNetwork
from spikesight.models.neurons.pace import why_not_paced
from spikesight.models.neurons.state import State
from spikesight.models.novelty.profile import Profile, WindowStatistics, measure
from spikesight.models.novelty.rates import layers_to_watch
from spikesight.models.shipped import find
from spikesight.models.teach.head import Head, HeadScores, Regression, balance, judge
from spikesight.models.teach.unknown import Unknown, fit_unknown

TURN, SIZE = 0.1, 0.1  # standard deviations of the rotation in radians, and of the size's logarithm
PLACE = 0.04  # standard deviation of the shift, as a share of the side
PACE = 0.2  # standard deviation of the logarithm of the exponent that warps time
DROP = 0.4  # largest share of events dropped


def augmented(events: Events, size: tuple[int, int], length_us: int, random: np.random.Generator) -> Events:
    """Return a random variation of an aligned example: rotated, scaled, shifted, warped in time and thinned; sorted.

    `size` (height, width) and `length_us`: what `events` were aligned to. Events that leave the picture are dropped.
    """
    height, width = size
    kept = events[random.random(len(events)) >= random.uniform(0, DROP)].copy()
    turn, scale = random.normal(0, TURN), np.exp(random.normal(0, SIZE))
    x = (kept["x"] + random.random(len(kept))) / width - 0.5
    y = (kept["y"] + random.random(len(kept))) / height - 0.5
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    dx, dy = random.normal(0.5, PLACE, 2)
    columns, rows = np.floor((cos * x - sin * y + dx) * width), np.floor((sin * x + cos * y + dy) * height)
    share, exponent = (kept["t"] + 0.5) / length_us, np.exp(random.normal(0, PACE))
    share = share**exponent if random.random() < 0.5 else 1 - (1 - share) ** exponent
    kept["t"] = np.minimum(share * length_us, length_us - 1)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    kept["x"], kept["y"] = columns.clip(0, width - 1), rows.clip(0, height - 1)
    return kept[inside]


SIDE = 32  # width and height of the network's input, pixels
PLACES, INPUT_PLACES = 4, 8  # parts per side into which each layer's map (at most) and the input are divided
WATCHED = 256  # most channels whose rates the novelty detector uses
SHORTEST_BIN_US = 1000  # at which a taught model runs


UNTAUGHT = "untaught"
BLOCKS = 5  # blocks in time into which the only piece of a class is divided


class Example(NamedTuple):
    """One example: a class, the piece it was cut from, its events (sorted by time) and their sensor."""

    label: str
    piece: str  # examples of one piece are nearly the same, so they are never in training and test at once
    events: Events
    sensor: SensorSize


@dataclass(frozen=True, eq=False)
class EmbeddedExample:
    """The features of one example and of its augmented copies, and a picture of its events, uint8 [2, SIDE, SIDE]."""

    number: int  # counts the examples in the order they were shown
    label: str
    piece: str
    features: NDArray[np.float32]  # [1 + copies, F], the original first
    picture: NDArray[np.uint8]  # number of steps with OFF and with ON events at each pixel
    window: WindowStatistics | None = None  # statistics that characterise the camera


def backbone(name: str) -> SpikingResNet:
    """Load the frozen network by a shipped model's name or a folder. Raises CheckpointError if it is unsuitable."""
    network, card = load(find(name))
    network = network.backbone if isinstance(network, TaughtNetwork) else network
    if not gives_features(network, card.contract):
        raise CheckpointError(f"{name} cannot give features: a spiking ResNet that takes events is needed")
    assert isinstance(network, SpikingResNet)
    network.config = replace(network.config, read="mean")  # its read-out is not used, and maps may be smaller
    return network


def gives_features(network: nn.Module, contract: Contract) -> bool:
    """Return whether a head can be taught on this network: a spiking ResNet that takes events."""
    if not isinstance(network, SpikingResNet) or network.config.neuron.kind == "relu":
        return False
    return contract.kind == "events" and network.config.in_channels == 2


def rates_of(network: TaughtNetwork) -> Callable[[Tensor], Tensor]:
    """Return the function from x_seq [T, N, 2, H, W] to the backbone's rates from rest, by the engine if it can."""
    if why_not(network):
        return lambda x_seq: network.rates(x_seq.float(), {})
    config, layers = network.config, len(network.neurons)
    engine = Engine(network.backbone, config.height, config.width, rates=layers, places=config.places)
    return lambda x_seq: engine.run(x_seq.contiguous()).rates


@torch.inference_mode()
def places_of(backbone: SpikingResNet) -> int:
    """Return into how many parts per side the maps of all layers can be divided, up to PLACES."""
    maps = State()
    backbone.features(torch.zeros(1, 1, 2, SIDE, SIDE, dtype=torch.float32), maps)
    sides = {side for state in maps.values() for side in state.shape[2:]}
    return max(places for places in range(1, PLACES + 1) if not any(side % places for side in sides))


class FewShotLearner:
    """Collects examples for a head on `backbone`; a window is `steps` bins long and divided into `slices` in time.

    Each example shown as events is learnt together with `copies` augmented variations.
    """

    def __init__(
        self, backbone: SpikingResNet, sensor: SensorSize, steps: int, bin_us: int, slices: int = 1, copies: int = 0
    ) -> None:
        paced = not why_not_paced(backbone.config.neuron)
        self.contract = Contract(
            "events", 2, SIDE, SIDE, steps, "binary", sensor.width, sensor.height, bin_us, frame="object", readout=1,
            shortest_bin_us=min(SHORTEST_BIN_US, bin_us) if paced else 0,
        )  # fmt: skip
        self._config = TaughtConfig(backbone.config, 1, steps, slices, places_of(backbone), INPUT_PLACES, SIDE, SIDE)
        self.copies = copies
        self.network = TaughtNetwork(self._config).float().eval()
        self.network.backbone.load_state_dict(backbone.state_dict())
        self._rates = rates_of(self.network)
        self.shown: list[EmbeddedExample] = []
        self._numbers = count()

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes so far, sorted."""
        return tuple(sorted({shown.label for shown in self.shown}))

    def counts(self) -> dict[str, int]:
        """Return the number of examples of each class."""
        return {label: sum(shown.label == label for shown in self.shown) for label in self.labels}

    def show(self, example: Example) -> NDArray[np.uint8]:
        """Add an example; return the network's input [T, 2, H, W]. Raises ValueError for fewer than two events."""
        if len(example.events) < 2:
            raise ValueError("an example needs at least two events")
        size, steps, bin_us = (SIDE, SIDE), self.contract.steps, self.contract.bin_us
        events, random = aligned(example.events, size, steps * bin_us), np.random.default_rng(len(self.shown))
        looks = [events, *(augmented(events, size, steps * bin_us, random) for _ in range(self.copies))]
        x = np.stack([steps_of(look, size, bin_us, steps) for look in looks], 1)
        self.shown.append(self.embed(example.label, example.piece, x))
        return x[:, 0]

    def embed(self, label: str, piece: str, x: NDArray[np.uint8]) -> EmbeddedExample:
        """Embed a window of network inputs [T, N, 2, H, W], the original and N - 1 copies, without adding it."""
        picture = x[:, 0].sum(0).clip(max=255).astype(np.uint8)
        window = measure(x[:, 0], self.contract.bin_us)
        return EmbeddedExample(next(self._numbers), label, piece, self.features(x), picture, window)

    def drop(self, number: int) -> None:
        """Remove the example with this number. Raises KeyError if there is none."""
        kept = [shown for shown in self.shown if shown.number != number]
        if len(kept) == len(self.shown):
            raise KeyError(number)
        self.shown = kept

    def forget(self, label: str) -> None:
        """Remove all examples of a class."""
        self.shown = [shown for shown in self.shown if shown.label != label]

    def rename(self, label: str, to: str) -> None:
        """Rename a class; if `to` exists already, the two classes are merged."""
        self.shown = [replace(shown, label=to) if shown.label == label else shown for shown in self.shown]

    @torch.inference_mode()
    def features(self, x_seq: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the head's features [N, F] after windows of T steps, [T, N, 2, H, W]."""
        x = torch.from_numpy(np.ascontiguousarray(x_seq))
        return self.network.window_features(x, self._rates(x)).numpy()

    def untaught(self) -> tuple[TaughtNetwork, Card]:
        """Return a network of this contract, and its card, that has learnt nothing: it always answers UNTAUGHT."""
        return self.with_head(Head(np.zeros((1, self.network.head.in_features)), np.zeros(1)), True), Card(
            self.contract, (UNTAUGHT,)
        )

    def with_head(self, head: Head, with_input: bool) -> TaughtNetwork:
        """Return the backbone with this head; `with_input`: the head also reads the input."""
        places = INPUT_PLACES if with_input else 0
        network = TaughtNetwork(replace(self._config, classes=len(head.bias), input_places=places)).float().eval()
        network.backbone.load_state_dict(self.network.backbone.state_dict())
        with torch.no_grad():
            network.head.weight.copy_(torch.from_numpy(head.weight))
            network.head.bias.copy_(torch.from_numpy(head.bias))
        return network

    def learn(self, with_input: bool | None = None, shown: list[EmbeddedExample] | None = None) -> "Taught":
        """Fit a head to all examples, or to `shown`. `with_input`: whether the head also reads the input; None:
        whichever has the fewer errors in cross-validation.

        Raises ValueError for fewer than two classes.
        """
        examples = self.shown if shown is None else shown
        labels = tuple(sorted({shown.label for shown in examples}))
        if len(labels) < 2:
            raise ValueError("a head needs at least two classes")
        y = np.array([labels.index(shown.label) for shown in examples])
        pieces = pieces_of(examples)
        piece_counts = {label: len({one.piece for one in examples if one.label == label}) for label in labels}
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
                best = Taught(self, labels, y, pieces, x, scales, regression, judged, joined, piece_counts, profile)
        assert best is not None
        return best

    def _without_input(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Drop the features that come from the input itself; features [M, 1 + copies, F]."""
        config, some = self._config, features.shape[:2]
        kept = sum(self.network.channels) * config.places**2
        return features.reshape(*some, config.slices, -1)[..., :kept].reshape(*some, -1)


def pieces_of(examples: list[EmbeddedExample]) -> NDArray[np.int64]:
    """Return the piece number of each example, [M]; a class's only piece is divided into BLOCKS in time."""
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


def _errors(judged: HeadScores, labels: NDArray[np.int64]) -> float:
    """Return the share of wrong examples in cross-validation, with the squared error to break ties."""
    seen = ~np.isnan(judged.scores[:, 0])
    if not seen.any():
        return 0.0
    scores, y = judged.scores[seen], labels[seen]
    return float((scores.argmax(1) != y).mean() + 1e-3 * ((scores - np.eye(scores.shape[1])[y]) ** 2).mean())


@dataclass(frozen=True)
class Taught:
    """A fitted head and the examples it was learnt from."""

    learner: FewShotLearner
    labels: tuple[str, ...]
    truth: NDArray[np.int64]  # [M]
    pieces: NDArray[np.int64]  # [M]
    features: NDArray[np.float32]  # [M, 1 + copies, F], balanced
    scale: NDArray[np.float32]  # [F], the factors that balanced the features
    regression: Regression
    judged: HeadScores
    with_input: bool
    piece_counts: dict[str, int]  # number of pieces of each class
    profile: Profile | None = None

    def checkpoint(self, training: dict, metrics: dict) -> tuple[TaughtNetwork, Card]:
        """Return the network and its card, to be saved."""
        head = self.regression.head(self.judged.temperature)
        network = self.learner.with_head(replace(head, weight=head.weight * self.scale), self.with_input)
        known = self.unknown.detector if self.unknown else None
        return network, Card(self.learner.contract, self.labels, training, metrics, profile=self.profile, novelty=known)

    @cached_property
    def unknown(self) -> Unknown | None:
        """The novelty detector and its figures; None for too few examples."""
        network = self.learner.network
        layers = layers_to_watch(network.backbone, self.learner.contract.shape, WATCHED)
        rates = network.watched(torch.from_numpy(self.features[:, 0])[None], layers)[0].double().numpy()
        return fit_unknown(layers, np.sqrt(rates), self.truth, self.pieces, self.regression, self.judged)
