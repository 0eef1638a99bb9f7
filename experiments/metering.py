"""Operations of a network by NeuroBench's definition, and what they cost by published picojoules.

Operation counts times 45 nm constants are an estimate, not a measurement on any chip; memory is left out. Layers that
see anything but spikes of one size a channel are charged as multiply-accumulates.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spikesight.models.neurons.layers import Neuron, watching

PICOJOULES = 4.6, 0.9  # multiply-accumulate, accumulate of float32; 45 nm (Horowitz, ISSCC 2014, as usually quoted)


class Work(NamedTuple):
    """Operations of one sample over a whole run, with non-zero inputs and weights; biases are ignored."""

    macs: float  # in layers with other inputs than spikes
    acs: float  # in layers whose inputs are spikes: of each channel all of one size
    dense: float  # in all these layers, if zeros counted as well
    microjoules: float  # of these operations and the membranes' updates


def operations(layer: nn.Conv2d | nn.Linear, x: Tensor, weight: Tensor) -> float:
    """Return a batch's products [M, ...] of inputs and weights that are both 1, summed."""
    if isinstance(layer, nn.Linear):
        return float(x.sum(0).double() @ weight.sum(0).double())
    out = nn.functional.conv2d(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    return float(out.double().sum())


def are_spikes(x: Tensor) -> bool:
    """Return whether each channel of a batch [M, C, ...] holds zeros and values of one size alone, which weights can
    include.

    >>> are_spikes(torch.tensor([[0.5, 2.0], [0.0, 2.0]])), are_spikes(torch.tensor([[0.5], [0.25]]))
    (True, False)
    """
    size = x.abs().transpose(0, 1).flatten(1).amax(1).view(1, -1, *[1] * (x.ndim - 2))
    return bool(((x == 0) | (x.abs() == size)).all())


@torch.no_grad()
def measure(network: nn.Module, x_seq: Tensor) -> Work:
    """Measure the cost of running `network` on x_seq [T, N, C, H, W], averaged over the N samples."""
    counted, accumulate, dense, updates = dict[str, float](), dict[str, bool](), 0.0, 0

    def count(name: str, module: Any, x: Tensor, y: Tensor) -> None:
        nonlocal dense, updates
        if isinstance(module, Neuron):
            updates += y.numel()
            return
        x = x.flatten(0, -2) if isinstance(module, nn.Linear) else x
        active, weight = (x != 0).to(x.dtype), (module.weight != 0).to(x.dtype)
        counted[name] = counted.get(name, 0.0) + operations(module, active, weight)
        accumulate[name] = accumulate.get(name, True) and are_spikes(x)
        dense += operations(module, torch.ones_like(x[:1]), torch.ones_like(module.weight)) * len(x)

    with watching(network, (nn.Conv2d, nn.Linear, Neuron), count):
        network(x_seq, None)
    n = x_seq.shape[1]
    acs = sum(number for name, number in counted.items() if accumulate[name]) / n
    macs = sum(counted.values()) / n - acs
    return Work(macs, acs, dense / n, (PICOJOULES[0] * macs + PICOJOULES[1] * (acs + updates / n)) * 1e-6)
