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

from spikesight.models.neurons.layers import Neuron


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
