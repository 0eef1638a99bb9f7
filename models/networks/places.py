"""A spiking ResNet's answer at each place of its last map, for views that show more than one thing.

A network of stride CELL that was trained to read one thing in a view of 34 x 34, whose last map is REACH x REACH, reads
a larger view place by place: REACH x REACH cells of its last map are one place. Cells in its middle weigh most, so that
what lies beside a thing counts little.
"""

import math
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.state import State

CELL = 8  # pixels of the view between two places
REACH = 5  # cells of the last map a place sees, a side
FIRST = CELL * (REACH // 2) + 0.5  # pixels from the view's corner to the middle of the first place


def gives_places(network: nn.Module) -> bool:
    """Return whether a network answers at each place: a spiking ResNet of stride CELL with a linear read-out."""
    if not isinstance(network, SpikingResNet) or network.config.spiking_readout:
        return False
    halved = (network.config.stem == "imagenet") + (network.config.pool != "none") + len(network.config.depths) - 1
    return 2**halved == CELL


def for_views(network: nn.Module) -> nn.Module:
    """Return a copy in which each layer's leak is learnt, as in PLIF (Fang et al. 2021), from the network's on: a thing
    that moves one way shows other edges than one that moves another way, and a longer memory puts them together.
    """
    copied = deepcopy(network)
    for neuron in (one for one in copied.modules() if isinstance(one, Neuron) and not one.config.learn_beta):
        neuron.config = replace(neuron.config, learn_beta=True)
        neuron.w = nn.Parameter(
            torch.tensor(math.log((1 - neuron.config.beta) / neuron.config.beta), dtype=torch.float32)
        )
    return copied


def places(network: SpikingResNet, x_seq: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    """Run x_seq [T, N, C, H, W] from a state; return logits [T, N, H / 8 - 4, W / 8 - 4, K] and the new state."""
    after = dict(state or {})
    spikes = network.features(x_seq.to(network.readout.weight.dtype), after)
    side = torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0], dtype=spikes.dtype) / 9
    channels = spikes.shape[2]
    weights = (side[:, None] * side).expand(channels, 1, REACH, REACH).contiguous()
    pooled = conv2d(spikes.flatten(0, 1), weights, groups=channels).unflatten(0, spikes.shape[:2])
    return network.readout(pooled.movedim(2, -1)), after


class Places(nn.Module):
    """A network whose logits are those of all places in a row, [T, N, P K]."""

    def __init__(self, network: SpikingResNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_seq: Tensor, state: State) -> tuple[Tensor, State]:
        logits, after = places(self.network, x_seq, state)
        return logits.flatten(2), after
