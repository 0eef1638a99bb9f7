"""A second read-out for a network that few recordings have trained: ridge regression on its rates and its input.

The network's own read-out sees the last layer's mean rates. What few recordings tell is told better by the rates of all
layers in places, beside the input in finer ones (models/networks/taught): what plain counts of events know is then
not lost on the way. A network tells the windows that it was trained on better than others, so that a head which learns
from the same ones trusts it too much: the head stands on the network that the run began with, if that had learnt
elsewhere, unless validation can tell that another read-out is better.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spikesight.models.contract import CheckpointError, Contract
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.networks.taught import TaughtConfig, TaughtNetwork
from spikesight.models.statistics import fit_temperature
from spikesight.models.teach.few_shot import backbone, gives_features
from spikesight.models.teach.head import Regression, balance
from spikesight.training.data import Data, Frames
from spikesight.training.run.baselines import CHANCE, Pairs
from spikesight.training.run.evaluate import batches, evaluate
from spikesight.training.run.novelty import augmenting
from spikesight.training.step.batches import evaluation_input

PLACES, INPUT_PLACES, SLICES = 4, 16, 5  # at most: a side of every layer's map and of the input, and of a clip's time
COPIES = 5  # of a window, augmented
MOST, VALUES = 2000, 10**8  # windows with their copies, and their features: the head takes seconds
BATCH = 32
BEGUN, TRAINED, OWN = "a head on the network it began with", "a head on the trained network", "its own read-out"
Features = NDArray[np.float32]


@dataclass(frozen=True)
class ReadOut:
    """What answers at the end of a run."""

    name: str  # BEGUN, TRAINED or OWN
    network: nn.Module
    contract: Contract
    right: dict[str, int]  # of validation windows, by each read-out there is, of training windows alone
    count: int  # validation windows


def read_out_for(trained: nn.Module, data: Data) -> ReadOut | None:
    """The read-out of a run's network; None for a network or an input that no head can be made for."""
    if data.contract.encoding != "binary" or not gives_features(trained, data.contract):
        return None
    assert isinstance(trained, SpikingResNet)
    most, val, recording = _asked(trained, data)
    own = evaluate(trained, val, len(data.labels), torch.device("cpu"), data.contract).chosen
    under = {BEGUN: _begun(data), TRAINED: trained}
    heads = {name: _head(network, data, val, most) for name, network in under.items() if network is not None}
    answers = {name: chosen for name, (_, chosen) in heads.items()} | {OWN: own}
    name = best_of(answers, val.labels, recording)
    right = {each: int((chosen == val.labels).sum()) for each, chosen in answers.items()}
    if name == OWN:
        return ReadOut(name, trained, data.contract, right, len(val))
    return ReadOut(name, heads[name][0], replace(data.contract, readout=1), right, len(val))


def enough(data: Data) -> str | None:
    """Why no training could be told better than a head on the network that the run begins with, a sentence: it is right
    on all but a few validation recordings. None where some training could.
    """
    if data.contract.encoding != "binary" or data.config.neuron == "relu" or (begun := _begun(data)) is None:
        return None
    most, val, recording = _asked(begun, data)
    chosen = _head(begun, data, val, most)[1]
    if best_of({BEGUN: chosen, "all right": val.labels}, val.labels, recording) != BEGUN:
        return None
    right = f"{int((chosen == val.labels).sum())} of {len(val)} validation windows are right by {BEGUN}"
    return f"{right}: too few are wrong to tell that training does better, so one epoch will do (--epochs for more)"


def _asked(network: SpikingResNet, data: Data) -> tuple[int, Frames, NDArray[np.int64]]:
    """How many windows a head on this network has at most, the validation ones among them [M] and their recordings."""
    most = min(MOST, VALUES // _untaught(network, data).head.in_features)
    asked = data.val.evenly(most // 4)
    recording = np.unique([str(item.path) for item in data.val_items], return_inverse=True)[1][asked]
    return most, data.val.take(asked), recording


def best_of(answers: dict[str, NDArray[np.int64]], labels: NDArray[np.int64], recording: NDArray[np.int64]) -> str:
    """The first of these, or a later one of which validation can tell that it is better."""
    best, *others = answers
    for name in others:
        (row,) = Pairs(labels, answers[name], recording).beside({best: answers[best]})
        if row["p"] <= CHANCE and row["won"] > row["lost"]:
            best = name
    return best


def _begun(data: Data) -> SpikingResNet | None:
    """The model that the run began with; None for random weights, or those that give no features."""
    with suppress(CheckpointError):
        return backbone(data.config.init_from) if data.config.init_from else None
    return None


def _head(network: SpikingResNet, data: Data, val: Frames, most: int) -> tuple[TaughtNetwork, NDArray[np.int64]]:
    """A head of at most so many training and validation windows on a network, and what that of training windows alone
    says of `val`, [M].
    """
    taught, classes = _untaught(network, data), len(data.labels)
    train = data.train.take(data.train.evenly(most - len(val)))
    copies = min(COPIES, most // (len(train) + len(val)) - 1)
    features, labels = _features(taught, (train, val), data, copies), np.concatenate([train.labels, val.labels])
    scale = balance(features[: len(train)], taught.of_input.numpy())
    features *= scale
    regression = Regression(features, labels, classes)
    scores = regression.without(np.repeat([-1, 0], [len(train), len(val)]))[len(train) :, 0]
    head = regression.head(fit_temperature(scores, val.labels, np.ones(len(val))))
    with torch.no_grad():
        taught.head.weight.copy_(torch.from_numpy(head.weight * scale))
        taught.head.bias.copy_(torch.from_numpy(head.bias))
    return taught, scores.argmax(1)


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
