"""Layers that went silent learn again: the norm in front of each is opened and shifted until some of it fires."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spikesight.models.neurons.layers import Neuron, watching

FIRING = 0.05  # share of a revived channel's neurons and steps whose current passes the threshold by itself


class _Layer(NamedTuple):
    """A neuron layer as it ran, and the batch norm whose output reached it last."""

    name: str
    neuron: Neuron
    norm: nn.BatchNorm2d
    current: Tensor  # [T, N, C, H, W]
    silent: Tensor  # bool [C]


@torch.no_grad()
def revive(network: nn.Module, x_seq: Tensor) -> list[str]:
    """Wake the silent channels of layers of which more than half are silent on x_seq [T, N, C, H, W]; their names.

    From the input on, for what is silent for want of spikes in front of it wakes with these. Norms that close a channel
    (a small weight) are opened; then the channel's bias lifts FIRING of its currents over the threshold.
    """
    network.eval()
    revived: list[str] = []
    while found := next((layer for layer in _run(network, x_seq) if _needs(layer) and layer.name not in revived), None):
        revived.append(found.name)
        theta, silent, norm = found.neuron.config.theta, found.silent, found.norm
        weight = norm.weight
        weight[silent & (weight.abs() < theta)] = theta
        current = next(layer.current for layer in _run(network, x_seq) if layer.name == found.name)
        currents = current[:, :, silent].transpose(0, 2).flatten(1)
        level = currents.sort(1).values[:, int((1 - FIRING) * (currents.shape[1] - 1))]
        norm.bias[silent] += 1.01 * theta - level
    return revived


def _needs(layer: _Layer) -> bool:
    return bool(layer.silent.float().mean() > 0.5)


def _run(network: nn.Module, x_seq: Tensor) -> list[_Layer]:
    """The neuron layers that have a batch norm in front, in the order in which they run."""
    found: list[_Layer] = []
    norms: list[nn.BatchNorm2d] = []  # run, and not yet answered by a neuron layer

    def after(name: str, module: nn.Module, x: Tensor, y: Tensor) -> None:
        if isinstance(module, nn.BatchNorm2d):
            norms.append(module)
        elif isinstance(module, Neuron) and norms and x.ndim == 5:
            found.append(_Layer(name, module, norms.pop(), x, ~y.transpose(0, 2).flatten(1).any(1)))

    with watching(network, (nn.BatchNorm2d, Neuron), after):
        network(x_seq)
    return found
