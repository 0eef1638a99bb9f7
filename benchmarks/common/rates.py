"""Make networks that fire at a given rate, by shifting the batch norm before every neuron layer.

The engine's benchmark uses them where no trained checkpoint exists: weights are random, but each layer has the given
share of active neurons, not only the mean over layers.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from spikesight.models.networks.resnet import ResidualBlock, SewBlock, SpikingResNet
from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.state import State

BISECTIONS = 12


def norms_before(network: SpikingResNet) -> dict[int, nn.BatchNorm2d]:
    """Return for each neuron layer, by its id, the batch norm whose bias shifts the layer's input current."""
    found: dict[int, nn.BatchNorm2d] = {}

    def note(neuron: nn.Module | None, conv_bn: nn.Module | None) -> None:
        if neuron is not None and isinstance(conv_bn, nn.Sequential):
            found[id(neuron)] = cast(nn.BatchNorm2d, conv_bn[1])

    blocks = cast(list[ResidualBlock], list(network.blocks))
    membrane = network.config.block == "ms"
    note(blocks[0].neuron1 if membrane else network.neuron, network.stem)
    for number, block in enumerate(blocks):
        after = blocks[number + 1].neuron1 if number + 1 < len(blocks) else network.last_neuron
        last = after if membrane else block.last_neuron()
        inner = [block.neuron2, block.neuron3] if membrane else [block.neuron1, block.neuron2]
        for neuron, conv_bn in zip(inner, (block.conv1, block.conv2)):
            if conv_bn is not block.last_conv:
                note(neuron, conv_bn)
        note(last, block.last_conv)
        if isinstance(block, SewBlock):
            note(block.neuron3 if block.conv3 is None else block.neuron4, block.shortcut)
    return found


@torch.no_grad()
def at_rate(network: SpikingResNet, x_seq: Tensor, rate: float) -> list[float]:
    """Make every neuron layer fire at about `rate` on x_seq [T, N, C, H, W], in one pass; return the rates reached."""
    norms, rates = norms_before(network), list[float]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.constant_(module.weight, network.config.neuron.theta)

    def fire(neuron: Neuron, current: Tensor) -> float:
        state: State = {}
        return float(neuron.forward(current, state).mean())

    def shift(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        neuron, current = cast(Neuron, module), cast(Tensor, inputs[0])
        low, high = -20.0, 20.0
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if fire(neuron, current + middle) < rate else (low, middle)
        norms[id(neuron)].bias.add_(high)
        current.add_(high)  # in place, so that a membrane shortcut passes the shift on
        rates.append(fire(neuron, current))

    handles = [m.register_forward_pre_hook(shift) for m in network.modules() if isinstance(m, Neuron)]
    network.train()
    network(x_seq)
    for handle in handles:
        handle.remove()
    network.eval()
    return rates
