"""A linear head for a network trained on few recordings: ridge regression on its rates and its input.

The network's own read-out sees only the last layer's mean rates. With few recordings, the rates of all layers on a grid
and the input on a finer grid (models/networks/taught) are better features: nothing that plain event counts can tell is
lost. A trained network separates the windows it was trained on better than others, so a head fitted to the
same windows would trust it too much. Therefore the head is fitted on the initial network, if that is a trained model,
unless another read-out is right in more validation recordings, by over one standard error, than the head is in all
recordings by cross-validation: few recordings validate, and many learn. The head also learns from the validation
windows; they calibrate the same head without them.
"""

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spikesight.models.contract import CheckpointError, Contract
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.networks.taught import TaughtConfig, TaughtNetwork
from spikesight.models.statistics import fit_temperature
from spikesight.models.teach.few_shot import backbone, gives_features
from spikesight.models.teach.head import Regression, balance, folds
from spikesight.training.data import Data, Frames, Item
from spikesight.training.data.start import name_of_start
from spikesight.training.run.baselines import CHANCE, Pairs
from spikesight.training.run.evaluate import batches, evaluate
from spikesight.training.run.novelty import augmenting
from spikesight.training.step.batches import evaluation_input

PLACES, INPUT_PLACES, SLICES = 4, 16, 5  # at most: side of the grid of a layer and of the input; time slices of a clip
COPIES = 5  # augmented copies of a window
MOST, VALUES = 2000, 10**8  # limits on windows with copies, and on feature values, so that fitting takes seconds
BATCH = 32
BEGUN, TRAINED, OWN = "a head on the network it began with", "a head on the trained network", "its own read-out"
Features = NDArray[np.float32]


@dataclass(frozen=True)
class ReadOut:
    """The read-out that is chosen at the end of a run."""

    name: str  # BEGUN, TRAINED or OWN
    network: nn.Module
    judged: nn.Module  # the same read-out fitted to training windows only, which validation windows calibrate
    contract: Contract
    right: dict[str, int]  # correct validation windows of each read-out, fitted to training windows only
    count: int  # validation windows


def read_out_for(trained: nn.Module, data: Data) -> ReadOut | None:
    """Choose the read-out of a run's network; None if no head can be made for the network or its input.

    After a run without epochs it is the head on the network that the run began with.
    """
    if data.contract.encoding != "binary" or not gives_features(trained, data.contract):
        return None
    assert isinstance(trained, SpikingResNet)
    most, val, paths = _validation_rows(trained, data)
    begun = _initial_network(data)
    alone = begun is not None and not data.config.epochs
    under = {BEGUN: begun} if alone else {BEGUN: begun, TRAINED: trained}
    heads = {name: _head(one, data, val, paths, most) for name, one in under.items() if one is not None}
    answers = {name: head.answers for name, head in heads.items()}
    if not alone:
        answers[OWN] = evaluate(trained, val, len(data.labels), torch.device("cpu"), data.contract).chosen
    right = {each: int((chosen == val.labels).sum()) for each, chosen in answers.items()}
    if BEGUN in heads:
        share = heads[BEGUN].share
        ahead = [each for each in answers if each != BEGUN and better(answers[each] == val.labels, paths, share)]
        name = max(ahead, key=lambda each: right[each], default=BEGUN)
    else:
        name = best_of(answers, val.labels, _numbers(paths))
    if name == OWN:
        return ReadOut(name, trained, trained, data.contract, right, len(val))
    head = heads[name]
    return ReadOut(name, head.network, head.judged, replace(data.contract, readout=1), right, len(val))


def reason_not_to_train(data: Data) -> str | None:
    """Return a sentence if a head on the initial network errs so rarely that no training could be shown to be better on
    the validation recordings; else None.
    """
    if data.contract.encoding != "binary" or data.config.neuron == "relu" or (begun := _initial_network(data)) is None:
        return None
    most, val, paths = _validation_rows(begun, data)
    share = _head(begun, data, val, paths, most).share
    if better(np.full(len(val), True), paths, share):
        return None
    return (
        f"{BEGUN} is right in {share:.0%} of what it has not learnt from: too few are wrong to tell that training does "
        "better, so none is done (--epochs trains all the same)"
    )


def origin(network: nn.Module, data: Data, read_out: ReadOut | None) -> str:
    """Return in words what a run's model is: whose weights, what was trained on what, and what reads them."""
    start, count = name_of_start(data.config), _count(data, with_val=False)
    if read_out is None or read_out.name == OWN:
        return f"`{data.config.network}` trained from {start} on {count}, read by its own last layer"
    head = f"with a ridge read-out from {_count(data, with_val=True)}"
    if read_out.name == TRAINED:
        return f"`{data.config.network}` trained from {start} on {count}, {head}"
    begun = _initial_network(data)
    assert begun is not None
    assert isinstance(network, TaughtNetwork)
    given, kept = begun.state_dict(), network.backbone.state_dict()
    same = sum(torch.equal(given[name], tensor) for name, tensor in kept.items())
    return f"{start}'s network, not trained further ({same} of {len(kept)} tensors are its own), {head}"


def _count(data: Data, *, with_val: bool) -> str:
    """Return in words how many recordings or images the training, and perhaps the validation, has."""
    items = (*data.train_items, *(data.val_items if with_val else ()))
    paths = {item.path for item in items}
    return f"{len(paths)} recordings" if paths else f"{data.recorded} images"


def _validation_rows(network: SpikingResNet, data: Data) -> tuple[int, Frames, NDArray[np.str_]]:
    """Return (largest number of windows for a head, the validation windows among them [M], their recordings [M])."""
    most = min(MOST, VALUES // _untaught(network, data).head.in_features)
    asked = data.val.stratified_rows(most // 4)
    return most, data.val.take(asked), _paths(data.val_items)[asked]


def _paths(items: Sequence[Item]) -> NDArray[np.str_]:
    return np.array([str(item.path) for item in items])


def _numbers(values: NDArray) -> NDArray[np.int64]:
    """Return each value's number among the different ones."""
    return np.unique(values, return_inverse=True)[1]


def best_of(answers: dict[str, NDArray[np.int64]], labels: NDArray[np.int64], recording: NDArray[np.int64]) -> str:
    """Return the name of the first answers, or of later ones that are significantly better on validation."""
    best, *others = answers
    for name in others:
        (row,) = Pairs(labels, answers[name], recording).beside({best: answers[best]})
        if row["p"] <= CHANCE and row["won"] > row["lost"]:
            best = name
    return best


def better(right: NDArray[np.bool_], recording: NDArray, share: float) -> bool:
    """Return whether answers to windows [M] of recordings [M] are `right` for more than a `share`, by over one standard
    error (the rule of Breiman et al. 1984).
    """
    shares = _by_recording(right, recording)
    return bool(shares.mean() > share + math.sqrt(share * (1 - share) / len(shares)))


def _by_recording(right: NDArray[np.bool_], recording: NDArray) -> NDArray[np.float64]:
    """Return the share of each recording's windows that are right; they are correlated, and count as one."""
    number = _numbers(recording)
    return np.bincount(number, right) / np.bincount(number)


def _initial_network(data: Data) -> SpikingResNet | None:
    """Return the model that the run started from; None for random weights or a model that gives no features."""
    with suppress(CheckpointError):
        return backbone(data.config.init_from) if data.config.init_from else None
    return None


class _Head(NamedTuple):
    network: TaughtNetwork  # with a head fitted to training and validation windows
    judged: TaughtNetwork  # with a head fitted to training windows only
    answers: NDArray[np.int64]  # of that one to validation windows [M]
    share: float  # of all recordings, right by heads fitted without them


def _head(network: SpikingResNet, data: Data, val: Frames, paths: NDArray[np.str_], most: int) -> _Head:
    """Fit heads to at most `most` windows; `paths` [M] are the recordings of the windows `val`."""
    taught, classes = _untaught(network, data), len(data.labels)
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
    learnt = np.resize(_paths(data.train_items), len(data.train))[rows]  # repeated ones follow each other
    recording = _numbers(np.concatenate([learnt, paths]))
    asked = regression.without(folds(labels, recording))[:, 0]
    alone = np.isnan(asked[len(train) :])  # of classes with one recording, which validation windows judge
    asked[len(train) :][alone] = scores[alone]
    told = ~np.isnan(asked[:, 0])
    share = _by_recording((asked.argmax(1) == labels)[told], recording[told]).mean()
    return _Head(taught, judged, scores.argmax(1), float(share))


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
    return taught


@torch.inference_mode()
def _features(taught: TaughtNetwork, parts: Iterable[Frames], data: Data, copies: int) -> Features:
    """Return the head's features for each window and its augmented copies, [M, 1 + copies, F], part after part."""
    augmented, found = augmenting(data), list[torch.Tensor]()
    for stored in (stored for part in parts for stored, _ in batches(part, BATCH)):
        looks = [evaluation_input(stored, data.contract), *(augmented(stored) for _ in range(copies))]
        found.append(torch.stack([taught.window_features(x_seq, taught.rates(x_seq, {})) for x_seq in looks], 1))
    return torch.cat(found).numpy()
