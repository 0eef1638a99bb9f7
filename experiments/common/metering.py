"""Operations of a network by NeuroBench's definitions (version 2.3), on any network of this project."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spikesight.models.networks.metering import reach
from spikesight.models.neurons.layers import Neuron, watching


class Work(NamedTuple):
    """Operations of one sample over a whole run by NeuroBench's definition (synaptic operations, bias ignored)."""

    effective_macs: float  # in layers with other inputs than spikes
    effective_acs: float  # in layers whose inputs are spikes: of each channel all of one size
    dense: float  # in all these layers, if zeros counted as well
    neuron_updates: float  # membrane updates, which NeuroBench counts separately


class Report(NamedTuple):
    """The cost of a network, averaged over samples."""

    spike_rate: float  # spikes a neuron and step
    spikes: float
    work: Work
    by_layer: dict[str, tuple[float, bool]]  # synaptic operations, and whether they are accumulate-only


def layer_operations(layer: nn.Conv2d | nn.Linear, x: Tensor, *, dense: bool = False) -> float:
    """Return a batch's synaptic operations, [M, ...]: non-zero inputs times the non-zero weights that they reach."""
    active = torch.ones_like(x) if dense else (x != 0).to(x.dtype)
    weight = torch.ones_like(layer.weight) if dense else (layer.weight != 0).to(x.dtype)
    if isinstance(layer, nn.Linear):
        return float(active.sum(0).double() @ weight.sum(0).double())
    size = (int(x.shape[2]), int(x.shape[3]))
    if not dense and bool((weight == 1).all()):
        fan_out = layer.out_channels // layer.groups
        return float((active.sum((0, 1)).double() * reach(layer, *size).double().to(x.device)).sum()) * fan_out
    result = nn.functional.conv2d(active, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    return float(result.double().sum())


def are_spikes(x: Tensor) -> bool:
    """Return whether each channel of a batch [M, C, ...] holds zeros and values of one size alone, which weights can
    include.

    >>> are_spikes(torch.tensor([[0.5, 2.0], [0.0, 2.0]])), are_spikes(torch.tensor([[0.5], [0.25]]))
    (True, False)
    """
    size = x.abs().transpose(0, 1).flatten(1).amax(1).view(1, -1, *[1] * (x.ndim - 2))
    return bool(((x == 0) | (x.abs() == size)).all())


@torch.no_grad()
def measure(network: nn.Module, x_seq: Tensor, *, still: bool = False, steps: int | None = None) -> Report:
    """Measure the cost of running `network` on x_seq [T, N, C, H, W].

    `still` (a converted network): the input is constant, x_seq is [1, N, ...] and `steps` is T; what depends on the
    input alone is counted once.
    """
    layers: dict[str, list[float]] = {}
    accumulate: dict[str, bool] = {}
    dense = outputs = spikes = 0.0

    def count(name: str, module: Any, x: Tensor, y: Tensor) -> None:
        nonlocal dense, outputs, spikes
        if isinstance(module, Neuron):
            outputs, spikes = outputs + y.numel(), spikes + int(y.count_nonzero())
            return
        x = x.flatten(0, -2) if isinstance(module, nn.Linear) else x
        layers.setdefault(name, []).append(layer_operations(module, x))
        dense += layer_operations(module, x[:1], dense=True) * len(x)
        accumulate[name] = accumulate.get(name, True) and are_spikes(x)

    with watching(network, (nn.Conv2d, nn.Linear, Neuron), count):
        network(x_seq, None, *([steps] if still else []))
    batch = x_seq.shape[1]
    by_layer = {name: (sum(counts) / batch, accumulate[name]) for name, counts in layers.items()}
    acs = sum(count for count, only in by_layer.values() if only)
    macs = sum(count for count, only in by_layer.values() if not only)
    work = Work(macs, acs, dense / batch, outputs / batch)
    return Report(spikes / max(1.0, outputs), spikes / batch, work, by_layer)
