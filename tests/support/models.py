"""Tiny networks, spiking and not, that fire and have something to fold; classifiers, contracts, an answer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikesight.models.checkpoint import save
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Card, Contract
from spikesight.models.networks.resnet import NETWORKS, ResNetConfig, SpikingResNet
from spikesight.models.neurons.config import RECTIFIER
from spikesight.models.novelty import NoveltyDetector, fit_novelty
from spikesight.models.novelty.conformal import Conformal, Trials
from spikesight.models.novelty.rates import Rates, layers_to_watch
from spikesight.models.novelty.score import Windows
from spikesight.models.statistics import Floats, running_mean
from spikesight.models.steps import Prediction

LABELS = ("zero", "one", "two")
EVENT_CONTRACT = Contract("events", 2, 16, 12, 4, "binary", sensor_width=24, sensor_height=32, bin_us=10_000)
IMAGE_CONTRACT = Contract("image", 3, 16, 16, 3, "direct", mean=(0.5,) * 3, std=(0.25,) * 3)
PREDICTION = Prediction(
    step=4,
    start_us=0,
    end_us=20_000,
    label="b",
    top1="b",
    index=1,
    probabilities=(0.25, 0.75),
    n_events=90,
    spikes=120,
    synops=3_000_000,
    logits=(0.0, 0.0),
    latency_ms=0.1,
)
"""An answer for tests of what is done with one."""


def tiny(contract: Contract = EVENT_CONTRACT, name: str = "tiny", seed: int = 0) -> Classifier:
    """A random network with a few hundred neurons, all of whose layers spike."""
    torch.manual_seed(seed)
    config = ResNetConfig("sew", (1, 1), (4, 8), in_channels=contract.channels, classes=len(LABELS))
    network = SpikingResNet(config)
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(2)
    return Classifier(network, Card(contract, LABELS, metrics={"accuracy": 0.5}), name)


VIEW_CONTRACT = replace(
    EVENT_CONTRACT, height=34, width=34, sensor_width=34, sensor_height=34, task="detection",
    shortest_bin_us=1_000,
)  # fmt: skip


def finding(seed: int = 2, name: str = "finding", **contract: object) -> Classifier:
    """A random network that looks for things all over the view of a camera, and takes many a place for one."""
    config = replace(NETWORKS["event-small"], widths=(8, 16, 24), classes=len(LABELS), read="places")
    network = lively(config, seed)
    with torch.no_grad():
        network.readout.weight.mul_(90)
    return Classifier(network, Card(replace(VIEW_CONTRACT, **contract), LABELS), name)  # type: ignore[arg-type]


def kept(folder: Path, made: Classifier | None = None) -> Path:
    """The folder, in which this model is saved, or `tiny`."""
    made = made or tiny()
    save(folder, made.network, made.card)
    return folder


def lively(config: ResNetConfig, seed: int = 0) -> SpikingResNet:
    """A network whose batch norms have something to fold and whose neurons fire."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    network = SpikingResNet(config).eval()

    ranges = {"running_mean": (-0.3, 0.3), "running_var": (0.5, 1.5), "weight": (0.6, 1.4), "bias": (-0.4, 0.4)}
    with torch.no_grad():
        for module in network.modules():
            for name, (low, high) in ranges.items() if isinstance(module, nn.BatchNorm2d) else ():
                tensor = getattr(module, name)
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
    return network


def ann(block: str = "plain", channels: int = 1) -> SpikingResNet:
    """A small network of rectifiers whose batch norms do something."""
    config = ResNetConfig(block, (1, 1), (4, 8), shortcut="pad", in_channels=channels, classes=3, neuron=RECTIFIER)  # type: ignore[arg-type]
    return lively(config)


def warmed(network: nn.Module, x: Tensor) -> nn.Module:
    """Random batch norms with the statistics of x [N, C, H, W], so that activations have a sensible size; evaluated."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            module.momentum = None
    network.train()
    with torch.no_grad():
        network(x)
    return network.eval()


class Functional(nn.Module):
    """Functions instead of modules, a size-dependent pool, a strided slice and a padded shortcut, as people write."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6)
        self.first = nn.BatchNorm2d(3)
        self.drop, self.fc = nn.Dropout(0.3), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(self.first(x))))
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1), "constant", 0)
        x = self.bn2(self.conv2(x))
        x += short
        x = F.max_pool2d(F.relu(x), 2)
        x = F.avg_pool2d(x, x.size()[3])
        return self.fc(self.drop(x.view(x.size(0), -1)))


def card(steps: int = 8) -> Card:
    """The card of a network for images [3, 12, 12] with ten classes."""
    contract = Contract("image", 3, 12, 12, steps, "direct", mean=(0.5,) * 3, std=(0.25,) * 3)
    return Card(contract, tuple("abcdefghij"))


def some_known(network: nn.Module, contract: Contract, seed: int = 0) -> NoveltyDetector:
    """What a calibration on random inputs gives."""
    layers, steps, classes = layers_to_watch(network, contract.shape), contract.horizon, network.config.classes  # type: ignore[union-attr]
    generator = torch.Generator().manual_seed(seed)
    x_seq = (torch.rand(steps, 40, *contract.shape, generator=generator) < 0.1).float()
    rates = Rates(network, layers)
    with torch.no_grad():
        logits = network(x_seq, None)[0]
    rates.close()
    steps_of = (logits, rates.read(), x_seq.flatten(2).count_nonzero(2))
    of_logits, of_rates, of_active = (running_mean(values.transpose(0, 1).numpy()) for values in steps_of)
    labels, ones = torch.arange(40).numpy() % classes, torch.ones(40).numpy()
    windows = Windows(of_logits, of_rates, of_active, labels, ones, 0 * labels)
    return fit_novelty(layers, windows, windows)


def trials(largest: Floats, classes: int = 2, known: Floats | None = None) -> Trials:
    """A calibration in which each class has these trials."""
    return Trials(np.tile(largest, classes), np.full(classes, len(largest)), np.zeros(0) if known is None else known)


def promising(contract: Contract = EVENT_CONTRACT, name: str = "promising", known: Floats | None = None) -> Classifier:
    """`tiny` with a calibration by which nearly every step is a commitment: 30 recordings were never strange. At 2 ms
    as well, where the contract has shorter bins. With `in_distribution`, those at the ends of its windows: an alarm,
    too.
    """
    made, least = tiny(contract, name), np.linspace(0, 1e-3, 30)
    bins = [contract, contract.at(2)] if contract.shortest_bin_us else [contract]
    conformal = Conformal({own.bin_us: trials(least, len(made.labels), known) for own in bins})
    novelty, line = (None, None) if known is None else (some_known(made.network, contract), 2.0)
    return Classifier(made.network, replace(made.card, conformal=conformal, novelty=novelty, alarm=line), name)
