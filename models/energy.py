"""What a forward pass costs: spikes, synaptic operations and dense multiply-adds, counted exactly.

A synaptic operation is one non-zero input of a convolution or linear layer reaching one output (NeuroBench's
definition: bias ignored, padding and stride respected). Real-valued inputs (a directly coded first layer) count in the
same way.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.neurons import Neuron

RASTER_ROWS_A_LAYER = 16


class Counts(NamedTuple):
    """The cost of a forward pass, by sample of the batch."""

    layer_spikes: Tensor  # int64 [N, L]: non-zero outputs of each neuron layer
    synops: Tensor  # int64 [N]
    raster: Tensor  # uint8 [N, R]: up to 16 neurons of each layer, spread evenly; fired in any step or not


def reach(conv: nn.Conv2d, height: int, width: int) -> Tensor:
    """How many output positions each input pixel feeds, float32 [height, width]: the transposed window count."""
    ones = torch.ones(1, 1, *conv.kernel_size)
    options = {"stride": conv.stride, "padding": conv.padding, "dilation": conv.dilation}
    outputs = torch.ones_like(nn.functional.conv2d(torch.zeros(1, 1, height, width), ones, **options))
    fed = nn.functional.conv_transpose2d(outputs, ones, **options)
    return nn.functional.pad(fed, (0, width - fed.shape[3], 0, height - fed.shape[2]))[0, 0]


class Meter:
    """Counts what a network does, by hooks on its layers; `read` gives the counts since the last `read`.

    One forward pass at a time: the counts of a pass with T steps are summed over T.
    """

    def __init__(self, network: nn.Module) -> None:
        self.layer_names: list[str] = []
        self._reach: dict[tuple[str, int, int], Tensor] = {}
        self._spikes: dict[str, Tensor] = {}
        self._raster: dict[str, Tensor] = {}
        self._synops: list[Tensor] = []
        self._batch = 1
        self._handles: list[Any] = [network.register_forward_pre_hook(self._start)]
        for name, module in network.named_modules():
            if isinstance(module, Neuron):
                self.layer_names.append(name)
                self._handles.append(module.register_forward_hook(self._neuron_hook(name)))
            elif isinstance(module, nn.Conv2d):
                self._handles.append(module.register_forward_pre_hook(self._conv_hook(name)))
            elif isinstance(module, nn.Linear):
                self._handles.append(module.register_forward_pre_hook(self._linear_hook))

    def _start(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._batch = inputs[0].shape[1]
        self._spikes, self._raster, self._synops = {}, {}, []

    def _neuron_hook(self, name: str) -> Any:
        def count(_: nn.Module, __: Any, spikes: Tensor) -> None:
            flat = spikes.detach().flatten(2)
            self._spikes[name] = flat.count_nonzero(dim=(0, 2))
            rows = min(RASTER_ROWS_A_LAYER, flat.shape[2])
            chosen = torch.arange(rows, device=flat.device) * flat.shape[2] // rows
            self._raster[name] = (flat[:, :, chosen] != 0).any(0).to(torch.uint8)

        return count

    def _conv_hook(self, name: str) -> Any:
        def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(module, nn.Conv2d)
            x = inputs[0].detach()
            key = (name, x.shape[2], x.shape[3])
            if key not in self._reach:
                self._reach[key] = reach(module, x.shape[2], x.shape[3])
            fan_out = module.out_channels // module.groups
            active = (x != 0).sum(1, dtype=torch.float32)
            self._add((active * self._reach[key].to(x.device)).sum((1, 2)).to(torch.int64) * fan_out)

        return count

    def _linear_hook(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.Linear)
        self._add(inputs[0].detach().count_nonzero(-1).flatten() * module.out_features)

    def _add(self, by_row: Tensor) -> None:
        self._synops.append(by_row.view(-1, self._batch).sum(0))

    def read(self) -> Counts:
        """The counts of the last forward pass."""
        return Counts(
            torch.stack([self._spikes[name] for name in self.layer_names], 1),
            torch.stack(self._synops).sum(0),
            torch.cat([self._raster[name] for name in self.layer_names], 1),
        )

    def close(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()


def dense_macs(network: nn.Module, channels: int, height: int, width: int) -> int:
    """Multiply-adds of one step for one sample if nothing were sparse: what an ANN of the same shape computes."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            x = inputs[0]
            pixels = float(reach(module, x.shape[2], x.shape[3]).sum())
            total += int(pixels) * (module.in_channels // module.groups) * module.out_channels
        elif isinstance(module, nn.Linear):
            total += module.in_features * module.out_features

    handles = [m.register_forward_pre_hook(count) for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    was_training = network.training
    with torch.no_grad():
        network.eval()
        network(torch.zeros(1, 1, channels, height, width), None)
    network.train(was_training)
    for handle in handles:
        handle.remove()
    return total
