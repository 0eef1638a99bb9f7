"""A trained ANN as a list of nodes that JSON can hold: conv, linear, neuron, pool, add, flatten, slice and pad.

`trace` reads any torch module of those operations with torch.fx, modules and functions alike, folds every batch norm,
drops dropout, and moves each max-pool that follows a ReLU in front of it (max(ReLU z) = ReLU(max z), exact). Anything
else is refused with the name of its layer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

MAX_NODES, MAX_WEIGHTS = 4096, 1 << 30
AFFINE = ("conv", "linear")
OPS = ("input", *AFFINE, "neuron", "add", "max_pool", "avg_pool", "global_pool", "flatten", "slice", "pad", "scale")


class ConversionError(ValueError):
    """A network that cannot be converted, in one sentence that names the layer."""


@dataclass(frozen=True)
class Node:
    """One operation of the graph. `name` is unique; `inputs` are names of earlier nodes."""

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    layer: str = ""  # its name in the ANN, for people
    shape: tuple[int, ...] = ()  # conv, linear: of the weight; neuron, scale: [channels]
    kernel: tuple[int, ...] = ()  # pools: [height, width]; global_pool: the output's size
    stride: tuple[int, ...] = ()  # conv, pools, slice: [vertical, horizontal]
    padding: tuple[int, ...] = ()  # conv, pools: [vertical, horizontal]; pad: as in torch.nn.functional.pad
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1
    ceil: bool = False
    count_padding: bool = True  # avg_pool

    def __post_init__(self) -> None:
        if self.op not in OPS:
            raise ValueError(f"node {self.name!r}: unknown operation {self.op!r}")
        if not self.name.isidentifier():
            raise ValueError(f"node name {self.name[:50]!r} is not an identifier")
        wanted = {"input": 0, "add": 2}.get(self.op, 1)
        if len(self.inputs) != wanted:
            raise ValueError(f"node {self.name}: {self.op} takes {wanted} inputs, not {len(self.inputs)}")
        sizes = {"conv": 4, "linear": 2, "neuron": 1, "scale": 1}.get(self.op, 0)
        if len(self.shape) != sizes or any(not 1 <= s <= 1 << 20 for s in self.shape):
            raise ValueError(f"node {self.name}: {self.op} needs a shape of {sizes} positive sizes")
        pairs = {
            "conv": ("stride", "padding", "dilation"),
            "max_pool": ("kernel", "stride", "padding", "dilation"),
            "avg_pool": ("kernel", "stride", "padding"),
            "global_pool": ("kernel",),
            "slice": ("stride",),
        }.get(self.op, ())
        for field in pairs:
            value, least = getattr(self, field), 0 if field == "padding" else 1
            if len(value) != 2 or any(not least <= v <= 4096 for v in value):
                raise ValueError(f"node {self.name}: {field} must be two numbers of at least {least}")
        if self.op == "pad" and (len(self.padding) != 6 or any(not 0 <= v <= 8192 for v in self.padding)):
            raise ValueError(f"node {self.name}: padding must be six sizes")
        if self.groups < 1 or (self.op == "conv" and self.shape[0] % self.groups):
            raise ValueError(f"node {self.name}: groups do not divide the channels")

    @property
    def title(self) -> str:
        """The name people know it by."""
        return self.layer or self.name


def check_nodes(nodes: tuple[Node, ...]) -> None:
    """Raises ValueError unless the nodes are one acyclic graph in order, from one input to its last node."""
    if not 2 <= len(nodes) <= MAX_NODES:
        raise ValueError(f"a graph has 2 to {MAX_NODES} nodes, not {len(nodes)}")
    seen: set[str] = set()
    weights = 0
    for place, node in enumerate(nodes):
        if node.name in seen:
            raise ValueError(f"two nodes are called {node.name}")
        if (node.op == "input") != (place == 0):
            raise ValueError("the first node, and no other, must be the input")
        if missing := set(node.inputs) - seen:
            raise ValueError(f"node {node.name} reads {min(missing)}, which is not an earlier node")
        seen.add(node.name)
        size = 1
        for s in node.shape:
            size *= s
        weights += size
    if weights > MAX_WEIGHTS:
        raise ValueError(f"a graph holds at most {MAX_WEIGHTS} weights")


def users_of(nodes: tuple[Node, ...]) -> dict[str, list[Node]]:
    """The nodes that read each node."""
    users: dict[str, list[Node]] = {node.name: [] for node in nodes}
    for node in nodes:
        for name in node.inputs:
            users[name].append(node)
    return users


def follow(nodes: tuple[Node, ...], value: Callable[[Node, list[Tensor]], Tensor]) -> Tensor:
    """The last node's value: `value(node, inputs)` for every node in order, each dropped after its last reader."""
    last = {name: node.name for node in nodes for name in node.inputs}
    values: dict[str, Tensor] = {}
    for node in nodes:
        values[node.name] = value(node, [values[name] for name in node.inputs])
        for name in set(node.inputs):
            if last[name] == node.name:
                del values[name]
    return values[nodes[-1].name]


class Traced(NamedTuple):
    """A graph and its numbers: weight and bias of each conv and linear node."""

    nodes: tuple[Node, ...]
    weights: dict[str, tuple[Tensor, Tensor]]
    levels: dict[str, Tensor]  # lambda of the QCFS activations, by neuron


def pools_first(traced: Traced) -> Traced:
    """Each max-pool that follows a neuron moved in front of it; a second neuron serves the neuron's other readers."""
    nodes, levels = list(traced.nodes), dict(traced.levels)
    while True:
        by_name, users = {n.name: n for n in nodes}, users_of(tuple(nodes))
        pool = next((n for n in nodes if n.op == "max_pool" and by_name[n.inputs[0]].op == "neuron"), None)
        if pool is None:
            return Traced(tuple(nodes), traced.weights, levels)
        neuron = by_name[pool.inputs[0]]
        before = Node(**{**vars(pool), "name": f"{pool.name}_before", "inputs": neuron.inputs})
        after = Node(**{**vars(neuron), "name": pool.name, "inputs": (before.name,)})
        if neuron.name in levels:
            levels[after.name] = levels[neuron.name]
        place = nodes.index(pool)
        nodes[place : place + 1] = [before, after]
        if len(users[neuron.name]) == 1:
            nodes.remove(neuron)
            levels.pop(neuron.name, None)


def check_pools(nodes: tuple[Node, ...]) -> None:
    """Raises where a max-pool feeds anything but neurons: what it gives are currents, not spikes."""
    users = users_of(nodes)
    for node in nodes:
        if node.op == "max_pool" and not all(u.op in ("neuron", "max_pool") for u in users[node.name] or [node]):
            raise ConversionError(
                f"max-pool {node.title} is neither behind nor before a ReLU, so its output would not be spikes: put it "
                "next to a ReLU, or use an average pool"
            )


def folded(weight: Tensor, bias: Tensor, norm: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor]:
    """w' = w gamma / sqrt(var + eps), b' = beta + (b - mean) gamma / sqrt(var + eps)."""
    gain, shift = norm_line(norm)
    return weight * gain.view(-1, *[1] * (weight.ndim - 1)), shift + bias * gain


def norm_line(norm: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor]:
    """(gain, shift) by channel of a batch norm in evaluation mode, in double precision."""
    if norm.running_mean is None or norm.running_var is None:
        raise ConversionError("a batch norm without running statistics cannot be folded: train it with them")
    mean, var = norm.running_mean.double(), norm.running_var.double()
    gamma = torch.ones_like(mean) if norm.weight is None else norm.weight.detach().double()
    beta = torch.zeros_like(mean) if norm.bias is None else norm.bias.detach().double()
    gain = gamma / (var + norm.eps).sqrt()
    return gain, beta - mean * gain
