"""A linear head for a network trained on few recordings: ridge regression on its rates and its input.

The network's own read-out sees only the last layer's mean rates. With few recordings, the rates of all layers on a grid
and the input on a finer grid (models/networks/taught) are better features: nothing that plain event counts can tell is
lost. A run that goes on with a trained model begins with such a head, and surrogate gradients train both from there. At
the end a head is fitted anew on the trained network. It is taken only if it is right in more validation recordings, by
over one standard error, than the first is in all recordings by cross-validation: few recordings validate, and many
learn. Heads also learn from the validation windows, which calibrate the same head without them.
"""

import math
from collections.abc import Iterable
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikesight.encoders.words import counted
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.networks.taught import TaughtConfig, TaughtNetwork
from spikesight.models.statistics import fit_temperature
from spikesight.models.teach.few_shot import backbone, gives_features, rates_of
from spikesight.models.teach.head import Regression, balance, folds
from spikesight.training.data import Data, Frames
from spikesight.training.resolve import begins_with_head, name_of_start, read_start
from spikesight.training.run.evaluate import batches
from spikesight.training.run.novelty import augmenting
from spikesight.training.step.batches import evaluation_input

PLACES, INPUT_PLACES, SLICES = 4, 16, 5  # at most: side of the grid of a layer and of the input; time slices of a clip
COPIES = 5  # augmented copies of a window
MOST, VALUES = 2000, 10**8  # limits on windows with copies, and on feature values, so that fitting takes seconds
BATCH = 32
BEGUN, TRAINED = "a head on the network it began with", "a head on the trained network"
Features = NDArray[np.float32]


class FittedHead(NamedTuple):
    """A network with a head, and what judges it."""

    name: str  # BEGUN or TRAINED
    network: TaughtNetwork  # with a head fitted to training and validation windows
    judged: TaughtNetwork  # with a head fitted to training windows only
    right: NDArray[np.bool_]  # answers of that one to validation windows [M]
    recording: NDArray[np.str_]  # which they are of [M]
    share: float  # of all recordings, right by heads fitted without them


def first_head(data: Data) -> FittedHead | None:
    """Return the head with which a run begins; None unless it goes on with a trained model, as it is, on binary
    recordings of somebody's own.
    """
    start = data.config.init_from
    begins = data.own and begins_with_head(data.config, read_start(start))
    return _head(BEGUN, backbone(start), data) if begins else None


def heads_of(trained: nn.Module | None, data: Data, first: FittedHead | None = None) -> list[FittedHead]:
    """Return the heads of a run that began with `first` (`trained` None: no epoch was better), or from random weights,
    that which is taken first; none if none can be made for the network or its input.
    """
    heads = [] if first is None else [first]
    network = trained.backbone if isinstance(trained, TaughtNetwork) else trained
    if network is not None and data.contract.encoding == "binary" and gives_features(network, data.contract):
        assert isinstance(network, SpikingResNet)
        heads.append(_head(TRAINED, network, data))
    gained = first is not None and better(heads[-1].right, first.recording, first.share)
    return heads[::-1] if gained else heads


def reason_not_to_train(first: FittedHead) -> str | None:
    """Return a sentence if the first head errs so rarely, or the validation recordings are so few, that no training
    could be shown to be better on them; else None.
    """
    if better(np.full(len(first.right), True), first.recording, first.share):
        return None
    return (
        f"{BEGUN} is right in {first.share:.0%} of what it has not learnt from: on {len(set(first.recording))} "
        "validation recordings no training could be shown to do better, so none is done (--epochs trains all the same)"
    )


def origin(data: Data, head: FittedHead | None) -> str:
    """Return in words what a run's model is: whose weights, what was trained on what, and what reads them."""
    start, count = name_of_start(data.config), _count(data, with_val=False)
    trained = f"`{data.config.network}` trained from {start} on {count}"
    if head is None:
        return f"{trained}, read by its own last layer"
    made = trained if head.name == TRAINED else f"head only: the network of {start}, not trained further"
    return f"{made}, with a ridge read-out from {_count(data, with_val=True)}"


def _count(data: Data, *, with_val: bool) -> str:
    """Return in words how many recordings or images the training, and perhaps the validation, has."""
    items = (*data.train_items, *(data.val_items if with_val else ()))
    paths = {item.path for item in items}
    return counted(len(paths), "recording") if paths else counted(data.recorded, "image")


def better(right: NDArray[np.bool_], recording: NDArray, share: float) -> bool:
    """Return whether answers to windows [M] of recordings [M] are `right` for more than a `share`, by over one standard
    error (the rule of Breiman et al. 1984).
    """
    shares = _by_recording(right, recording)
    return bool(shares.mean() > share + math.sqrt(share * (1 - share) / len(shares)))


def _by_recording(right: NDArray[np.bool_], recording: NDArray) -> NDArray[np.float64]:
    """Return the share of each recording's windows that are right; they are correlated, and count as one."""
    number = np.unique(recording, return_inverse=True)[1]
    return np.bincount(number, right) / np.bincount(number)


def _head(name: str, network: SpikingResNet, data: Data) -> FittedHead:
    """Fit heads to as many windows as fitting takes seconds for."""
    taught, classes = _untaught(network, data), len(data.labels)
    most = min(MOST, VALUES // taught.head.in_features)
    asked = data.val.stratified_rows(most // 4)
    val, paths = data.val.take(asked), np.array([str(item.path) for item in data.val_items])[asked]
    rows = data.train.stratified_rows(most - len(val))
    train = data.train.take(rows)
    copies = min(COPIES, most // (len(train) + len(val)) - 1)
    features, labels = _features(taught, (train, val), data, copies), np.concatenate([train.labels, val.labels])
    scale = balance(features[: len(train)], taught.of_input.numpy())
    features *= scale
    regression = Regression(features, labels, classes)
    scores = regression.without(np.repeat([-1, 0], [len(train), len(val)]))[len(train) :, 0]
    temperature, judged = fit_temperature(scores, val.labels, np.ones(len(val))), deepcopy(taught)
    of_training = Regression(features[: len(train)], train.labels, classes)
    for under, fitted in ((taught, regression), (judged, of_training)):
        head = fitted.head(temperature)
        with torch.no_grad():
            under.head.weight.copy_(torch.from_numpy(head.weight * scale))
            under.head.bias.copy_(torch.from_numpy(head.bias))
    files = [str(item.path) for item in data.train_items]
    learnt = np.resize(files, len(data.train))[rows]  # repeated ones follow each other
    recording = np.unique(np.concatenate([learnt, paths]), return_inverse=True)[1]
    left_out = regression.without(folds(labels, recording))[:, 0]
    alone = np.isnan(left_out[len(train) :])  # of classes with one recording, which validation windows judge
    left_out[len(train) :][alone] = scores[alone]
    told = ~np.isnan(left_out[:, 0])
    share = _by_recording((left_out.argmax(1) == labels)[told], recording[told]).mean()
    return FittedHead(name, taught, judged, scores.argmax(1) == val.labels, paths, float(share))


def _untaught(network: SpikingResNet, data: Data) -> TaughtNetwork:
    """Return the network with a head of zeros."""
    contract = data.contract
    clips = not any(item.length_us for item in data.val_items)  # windows of continuous recordings have no order
    slices = max(n for n in range(1, SLICES + 1) if contract.steps % n == 0) if clips else 1
    taught = TaughtNetwork(
        TaughtConfig(
            network.config, len(data.labels), contract.steps, slices, min(PLACES, contract.height),
            min(INPUT_PLACES, contract.height, contract.width), contract.height, contract.width,
        )
    ).eval()  # fmt: skip
    taught.backbone.load_state_dict(network.state_dict())
    taught.backbone.readout.requires_grad_(False)
    return taught


@torch.inference_mode()
def _features(taught: TaughtNetwork, parts: Iterable[Frames], data: Data, copies: int) -> Features:
    """Return the head's features for each window and its augmented copies, [M, 1 + copies, F], part after part."""
    augmented, found, rates = augmenting(data), list[Tensor](), rates_of(taught)
    for stored in (stored for part in parts for stored, _ in batches(part, BATCH)):
        looks = [evaluation_input(stored, data.contract), *(augmented(stored) for _ in range(copies))]
        found.append(torch.stack([taught.window_features(x_seq, rates(x_seq)) for x_seq in looks], 1))
    return torch.cat(found).numpy()
