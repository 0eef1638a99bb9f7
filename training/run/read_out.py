"""A second read-out for a network that few recordings have trained: ridge regression on its rates and its input.

The network's own read-out sees the last layer's mean rates. What few recordings tell is told better by the rates of all
layers in places, beside the input in finer ones (models/networks/taught): what plain counts of events know is then
not lost on the way. Which of the two is kept, the validation split says.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spikesight.models.contract import Contract
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.networks.taught import TaughtConfig, TaughtNetwork
from spikesight.models.statistics import fit_temperature
from spikesight.models.teach.few_shot import gives_features
from spikesight.models.teach.head import Regression
from spikesight.training.data import Data, Frames
from spikesight.training.run.baselines import CHANCE, Pairs
from spikesight.training.run.evaluate import batches, evaluate
from spikesight.training.run.novelty import augmenting
from spikesight.training.step.batches import evaluation_input

PLACES, INPUT_PLACES, SLICES = 4, 16, 5  # at most: a side of every layer's map and of the input, and of a clip's time
COPIES = 3  # of a window, augmented
MOST, VALUES = 2000, 10**8  # windows with their copies, and their features: the head takes seconds
BATCH = 32
Features = NDArray[np.float32]


@dataclass(frozen=True)
class ReadOut:
    """The head on a network, learnt from training and validation windows."""

    network: TaughtNetwork
    contract: Contract  # of the head, which answers for the whole window at once
    beside: dict[str, Any]  # a row of `Pairs`: the head of training windows beside the network, on validation windows

    @property
    def kept(self) -> bool:
        """Whether it stands in the model: unless validation can tell that the network's own is better, for that one
        also chose the epoch.
        """
        return self.beside["p"] > CHANCE or self.beside["lost"] > self.beside["won"]


def head_for(network: nn.Module, data: Data) -> ReadOut | None:
    """The head for a run's network; None for a network or an input that none can be made for."""
    spiking = data.config.neuron != "relu" and data.contract.encoding == "binary"
    if not spiking or not gives_features(network, data.contract):
        return None
    assert isinstance(network, SpikingResNet)
    taught, classes = _untaught(network, data), len(data.labels)
    most = min(MOST, VALUES // taught.head.in_features)
    rows, asked = data.train.evenly(most * 3 // 4), data.val.evenly(most // 4)
    train, val = data.train.take(rows), data.val.take(asked)
    copies = min(COPIES, most // (len(rows) + len(asked)) - 1)
    features, labels = _features(taught, (train, val), data, copies), np.concatenate([train.labels, val.labels])
    scale = _balance(taught, features[: len(train)])
    features *= scale
    regression = Regression(features, labels, classes)
    scores = regression.without(np.repeat([-1, 0], [len(train), len(val)]))[len(train) :, 0]
    own = evaluate(network, val, classes, torch.device("cpu"), data.contract).chosen
    recording = np.unique([str(item.path) for item in data.val_items], return_inverse=True)[1][asked]
    (beside,) = Pairs(val.labels, own, recording).beside({"head": scores.argmax(1)})
    head = regression.head(fit_temperature(scores, val.labels, np.ones(len(val))))
    with torch.no_grad():
        taught.head.weight.copy_(torch.from_numpy(head.weight * scale))
        taught.head.bias.copy_(torch.from_numpy(head.bias))
    return ReadOut(taught, replace(data.contract, readout=1), beside)


def _untaught(network: SpikingResNet, data: Data) -> TaughtNetwork:
    """The network under a head of zeros."""
    contract = data.contract
    clips = not any(item.length_us for item in data.val_items)  # a window of what goes on has no order
    slices = max(n for n in range(1, SLICES + 1) if contract.steps % n == 0) if clips else 1
    taught = TaughtNetwork(
        TaughtConfig(
            network.config, len(data.labels), contract.steps, slices, min(PLACES, contract.height),
            min(INPUT_PLACES, contract.height, contract.width), contract.height, contract.width,
        )
    ).eval()  # fmt: skip
    taught.backbone.load_state_dict(network.state_dict())
    return taught


@torch.inference_mode()
def _features(taught: TaughtNetwork, parts: Iterable[Frames], data: Data, copies: int) -> Features:
    """What the head looks at after each window and its augmented copies, [M, 1 + copies, F], part after part."""
    augmented, found = augmenting(data), list[torch.Tensor]()
    for stored in (stored for part in parts for stored, _ in batches(part, BATCH)):
        looks = [evaluation_input(stored, data.contract), *(augmented(stored) for _ in range(copies))]
        found.append(torch.stack([taught.whole(x_seq, taught.rates(x_seq, {})) for x_seq in looks], 1))
    return torch.cat(found).numpy()


def _balance(taught: TaughtNetwork, features: Features) -> Features:
    """Factors [F] that give the input's columns at least as much variance as the network's have, together."""
    spread = features.reshape(-1, features.shape[2]).var(0).reshape(taught.config.slices, -1)
    rates = sum(taught.channels) * taught.config.places**2
    scale = np.ones_like(spread)
    scale[:, rates:] = np.sqrt(max(1.0, spread[:, :rates].sum() / max(float(spread[:, rates:].sum()), 1e-12)))
    return scale.ravel()
