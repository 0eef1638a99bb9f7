"""The module of each node of a converted network: convolutions, pools, views, neurons."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.convert_graph import Node
from models.convert_neurons import SpikeLayer
from models.convert_rules import SpikeRule


class Scale(nn.Module):
    """A factor for each channel: what an identity branch needs once its spikes are units."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor: Tensor
        self.register_buffer("factor", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor.view(1, -1, *[1] * (x.ndim - 2))


class Slice(nn.Module):
    """Every n-th row and column."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.stride = node.stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride[0], :: self.stride[1]]


class Pad(nn.Module):
    """Zeros around [C, H, W]; sizes as torch.nn.functional.pad takes them."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.sizes = node.padding

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.sizes)


def build(node: Node, rule: SpikeRule) -> nn.Module | None:
    """The module of a node; None for the input and for sums."""
    if node.op == "conv":
        out, inner, *kernel = node.shape
        return nn.Conv2d(
            inner * node.groups,
            out,
            (kernel[0], kernel[1]),
            node.stride,  # type: ignore[arg-type]
            node.padding,  # type: ignore[arg-type]
            node.dilation,  # type: ignore[arg-type]
            node.groups,
        )
    if node.op == "linear":
        return nn.Linear(node.shape[1], node.shape[0])
    if node.op == "neuron":
        return SpikeLayer(rule, node.shape[0])
    if node.op == "max_pool":
        return nn.MaxPool2d(node.kernel, node.stride, node.padding, node.dilation, ceil_mode=node.ceil)  # type: ignore[arg-type]
    if node.op == "avg_pool":
        return nn.AvgPool2d(node.kernel, node.stride, node.padding, node.ceil, node.count_padding)  # type: ignore[arg-type]
    if node.op == "global_pool":
        return nn.AdaptiveAvgPool2d(node.kernel)  # type: ignore[arg-type]
    if node.op == "flatten":
        return nn.Flatten()
    simple = {"slice": lambda: Slice(node), "pad": lambda: Pad(node), "scale": lambda: Scale(node.shape[0])}
    return simple[node.op]() if node.op in simple else None
