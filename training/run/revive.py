"""Revive silent layers: scale and shift the batch norm in front of each until some of its neurons fire."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spikesight.models.neurons.layers import Neuron, watching

FIRING = 0.05  # share of a revived channel's currents that exceed the threshold


class _Layer(NamedTuple):
    """A neuron layer after a pass, and the batch norm in front of it."""

    name: str
    neuron: Neuron
    norm: nn.BatchNorm2d
    current: Tensor  # [T, N, C, H, W]
    silent: Tensor  # bool [C]


@torch.no_grad()
def revive(network: nn.Module, x_seq: Tensor) -> list[str]:
    """Revive the silent channels of layers in which more than half are silent on x_seq [T, N, C, H, W]; return names.

    Layers are revived from the input on, since a layer without input spikes may fire once its input does. A small norm
    weight is set to the threshold; then the bias is raised until FIRING of the channel's currents exceed the threshold.
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
    """Run the network; return the neuron layers with a batch norm in front, in the order in which they run."""
    found: list[_Layer] = []
    norms: list[nn.BatchNorm2d] = []  # norms that ran and have no neuron layer yet

    def after(name: str, module: nn.Module, x: Tensor, y: Tensor) -> None:
        if isinstance(module, nn.BatchNorm2d):
            norms.append(module)
        elif isinstance(module, Neuron) and norms and x.ndim == 5:
            found.append(_Layer(name, module, norms.pop(), x, ~y.transpose(0, 2).flatten(1).any(1)))

    with watching(network, (nn.BatchNorm2d, Neuron), after):
        network(x_seq)
    return found
