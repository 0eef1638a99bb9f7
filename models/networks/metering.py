"""Count exactly what a forward pass costs: spikes, synaptic operations and dense multiply-adds.

A synaptic operation is one non-zero input of a convolution or linear layer reaching one output (NeuroBench's
definition: bias ignored, padding and stride respected). Real-valued inputs (a directly coded first layer) count alike.
"""

import copy
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from spikesight.models.neurons.layers import Neuron, watching


class Counts(NamedTuple):
    """The cost of a forward pass for each sample of the batch."""

    layer_spikes: Tensor  # int64 [N, L]: non-zero outputs of each neuron layer
    synops: Tensor  # int64 [N]
    fired: Tensor  # uint8 [N, F]: `packed` spikes of every layer in the last step; F = 0 unless probed


def windows(size: int, kernel: int, stride: int, padding: int, dilation: int) -> Tensor:
    """Return how many windows of a convolution contain each of `size` positions along one axis, float32 [size].

    >>> windows(5, 3, 2, 1, 1).tolist()
    [1.0, 2.0, 1.0, 2.0, 1.0]
    """
    count = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    places = torch.arange(count)[:, None] * stride - padding + dilation * torch.arange(kernel)
    return torch.bincount(places[(places >= 0) & (places < size)], minlength=size).float()


def reach(conv: nn.Conv2d, height: int, width: int) -> Tensor:
    """Return how many output positions each input pixel feeds, float32 [height, width]."""
    sizes = zip((height, width), conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    rows, columns = (windows(size, kernel, stride, int(pad), step) for size, kernel, stride, pad, step in sizes)
    return torch.outer(rows, columns)


def size_of(spikes: Tensor) -> tuple[int, int, int]:
    """Return channels, rows and columns of [N, C, H, W]; [N, C] counts as one row and column."""
    channels, height, width = (*spikes.shape[1:], 1, 1)[:3]
    return channels, height, width


def packed(spikes: Tensor) -> Tensor:
    """Pack which neurons fired into bits: [N, C, H, W] (or [N, C]) -> uint8 [N, H W C/8], C padded to a multiple of 16.

    The first of eight channels is the highest bit.

    >>> packed(torch.tensor([[[[1.0]], [[0.0]], [[-1.0]]]])).tolist()
    [[160, 0]]
    """
    channels, height, width = size_of(spikes)
    fired = (spikes != 0).reshape(len(spikes), channels, height, width).permute(0, 2, 3, 1)
    bits = np.packbits(torch.nn.functional.pad(fired, (0, -channels % 16)).cpu().numpy(), axis=-1)
    return torch.from_numpy(bits.reshape(len(spikes), -1))


class Meter:
    """Counts the operations of a network by hooks on its layers; `read` returns the counts of the last forward pass.

    One forward pass at a time: the counts of a pass with T steps are summed over T.
    """

    def __init__(self, network: nn.Module) -> None:
        self.layer_names: list[str] = []
        self._reach: dict[tuple[str, int, int], Tensor] = {}
        self._spikes: dict[str, Tensor] = {}
        self.probe = False  # whether to record which neurons fired
        self.sizes: dict[str, tuple[int, int, int]] = {}  # (C, H, W) of each neuron layer
        self._fired: dict[str, Tensor] = {}
        self._synops: list[Tensor] = []
        self._batch = 1
        self._handles: list[Any] = [network.register_forward_pre_hook(self._start)]
        for name, module in network.named_modules():
            if isinstance(module, Neuron):
                self.layer_names.append(name)
                self._handles.append(module.register_forward_hook(partial(self._neuron, name)))
            elif isinstance(module, nn.Conv2d):
                self._handles.append(module.register_forward_pre_hook(partial(self._conv, name)))
            elif isinstance(module, nn.Linear):
                self._handles.append(module.register_forward_pre_hook(self._linear))

    def _start(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._batch = inputs[0].shape[1]
        self._spikes, self._fired, self._synops = {}, {}, []

    def _neuron(self, name: str, _: nn.Module, __: Any, spikes: Tensor) -> None:
        flat = spikes.detach().flatten(2)
        self._spikes[name] = flat.count_nonzero(dim=(0, 2))
        self.sizes[name] = size_of(spikes[-1])
        if self.probe:
            self._fired[name] = packed(spikes.detach()[-1])

    def _conv(self, name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.Conv2d)
        x = inputs[0].detach()
        key = (name, x.shape[2], x.shape[3])
        if key not in self._reach:
            self._reach[key] = reach(module, x.shape[2], x.shape[3])
        fan_out = module.out_channels // module.groups
        active = (x != 0).sum(1, dtype=torch.float32)
        self._add((active * self._reach[key].to(x.device)).sum((1, 2)).to(torch.int64) * fan_out)

    def _linear(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.Linear)
        self._add(inputs[0].detach().count_nonzero(-1).flatten() * module.out_features)

    def _add(self, by_row: Tensor) -> None:
        self._synops.append(by_row.view(-1, self._batch).sum(0))

    def read(self) -> Counts:
        """Return the counts of the last forward pass."""
        nothing = torch.zeros(self._batch, 0, dtype=torch.uint8)
        return Counts(
            torch.stack([self._spikes[name] for name in self.layer_names], 1),
            torch.stack(self._synops).sum(0),
            torch.cat([nothing, *(self._fired[name] for name in self.layer_names if name in self._fired)], 1),
        )

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()


class DenseMeter:
    """The meter of a network without spikes: it counts every multiply-add of every step."""

    def __init__(self, macs: int) -> None:
        self.layer_names: list[str] = []
        self.probe, self.sizes = False, dict[str, tuple[int, int, int]]()  # as in Meter; there are no spikes
        self._macs = macs

    def read(self) -> Counts:
        """Return the counts of one sample and one step: no spikes, the dense multiply-adds."""
        nothing = torch.zeros(1, 0)
        return Counts(nothing.to(torch.int64), torch.tensor([self._macs]), nothing.to(torch.uint8))


def dense_macs(network: nn.Module, channels: int, height: int, width: int) -> int:
    """Return the multiply-adds of one step of one sample without sparsity, as an ANN of the same shape has."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            x = inputs[0]
            pixels = float(reach(module, x.shape[2], x.shape[3]).sum())
            total += int(pixels) * (module.in_channels // module.groups) * module.out_channels
        elif isinstance(module, nn.Linear):
            total += module.in_features * module.out_features

    # In double precision, so that no float32 kernels are compiled or loaded for a pass whose results are not used.
    plain = copy.deepcopy(network).eval().double()
    for module in plain.modules():
        module._forward_pre_hooks.clear()  # a meter of the original network may have added some
        module._forward_hooks.clear()
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_pre_hook(count)
    with torch.no_grad():
        plain(torch.zeros(1, 1, channels, height, width, dtype=torch.double), None)
    return total


# --- NeuroBench's definitions (version 2.3), on any network of this project ---


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
