"""Build the network of a run, from a name or another model's weights; load its teacher."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from spikesight.models.checkpoint import load
from spikesight.models.contract import Contract
from spikesight.models.engine.engine import Engine, can_run
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.networks.taught import TaughtNetwork
from spikesight.training.config import TrainConfig
from spikesight.training.resolve import shape_of


def build_network(config: TrainConfig, classes: int, channels: int = 2) -> SpikingResNet:
    """Build the network that the settings ask for, with random weights from the seed. Raises ValueError."""
    torch.manual_seed(config.seed)
    return SpikingResNet(shape_of(config, classes, channels))


def start_from(network: nn.Module, path: Path, labels: Sequence[str] = ()) -> list[str]:
    """Copy weights of a model folder into `network` by name; return the names left at random weights.

    Its read-out is copied only if its classes are `labels`. Raises ValueError.
    """
    source, card = load(path)
    given = (source.backbone if isinstance(source, TaughtNetwork) else source).state_dict()
    own = network.state_dict()
    fitting = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    if labels and tuple(labels) != card.labels:
        fitting = {k: v for k, v in fitting.items() if not k.startswith("readout.")}
    fresh = [k for k in own if k not in fitting]
    if not fitting or any(not k.startswith(("readout", "stem")) for k in fresh):
        raise ValueError(f"{path.name} holds another network than the one to train: leave --network out")
    network.load_state_dict(fitting, strict=False)
    return fresh


Teacher = Callable[[Tensor], Tensor]
"""Maps x_seq [T, N, C, H, W] to logits [N, K]."""


def load_teacher(path: Path, contract: Contract, device: torch.device) -> Teacher:
    """Load a model folder as a teacher for distillation, which answers by its mean logits; one of a single step sees
    the steps' mean.
    """
    taught, card = load(path)
    network, once = taught.to(device).eval(), card.contract.steps == 1
    if device.type == "cpu" and can_run(network):  # the same logits, in a fraction of the time
        engine = Engine(network, contract.height, contract.width)
        return lambda x_seq: engine.run(x_seq.mean(0, keepdim=True) if once else x_seq).logits.mean(0)
    return lambda x_seq: network(x_seq.mean(0, keepdim=True) if once else x_seq)[0].mean(0)
