"""A trained ANN as a list of nodes that JSON can hold: conv, linear, neuron, pool, add, flatten, slice and pad."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from torch import Tensor

MAX_NODES, MAX_WEIGHTS = 4096, 1 << 30
AFFINE = ("conv", "linear")
OPS = ("input", *AFFINE, "neuron", "add", "max_pool", "avg_pool", "global_pool", "flatten", "slice", "pad", "scale")


class ConversionError(ValueError):
    """A network that cannot be converted; the message is one sentence that names the layer."""


@dataclass(frozen=True)
class Node:
    """One operation of the graph. `name` is unique; `inputs` are names of earlier nodes."""

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    layer: str = ""  # name of the layer in the ANN, for messages
    shape: tuple[int, ...] = ()  # conv, linear: shape of the weight; neuron, scale: [channels]
    kernel: tuple[int, ...] = ()  # pools: [height, width]; global_pool: size of the output
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
        """Name for messages: the ANN's layer, or else the node."""
        return self.layer or self.name


def check_nodes(nodes: tuple[Node, ...]) -> None:
    """Raise ValueError unless the nodes are one acyclic graph in order, from one input to the last node."""
    if not 2 <= len(nodes) <= MAX_NODES:
        raise ValueError(f"a graph has 2 to {MAX_NODES} nodes, not {len(nodes)}")
    seen: set[str] = set()
    for place, node in enumerate(nodes):
        if node.name in seen:
            raise ValueError(f"two nodes are called {node.name}")
        if (node.op == "input") != (place == 0):
            raise ValueError("the first node, and no other, must be the input")
        if missing := set(node.inputs) - seen:
            raise ValueError(f"node {node.name} reads {min(missing)}, which is not an earlier node")
        seen.add(node.name)
    if sum(prod(node.shape) for node in nodes if node.shape) > MAX_WEIGHTS:
        raise ValueError(f"a graph holds at most {MAX_WEIGHTS} weights")


def check_shape(nodes: tuple[Node, ...], input_shape: tuple[int, ...], classes: int) -> None:
    """Raise ValueError unless nodes, input shape and number of classes make a valid network."""
    check_nodes(nodes)
    if not any(node.op in AFFINE for node in nodes):
        raise ValueError("a network needs a layer with weights")
    most = 4096 if len(input_shape) == 3 else 1 << 20
    if len(input_shape) not in (1, 3) or any(not 1 <= size <= most for size in input_shape):
        raise ValueError("input_shape must be [C, H, W] or [features]")
    if not 1 <= classes <= 1_000_000:
        raise ValueError("classes must be positive")


def users_of(nodes: tuple[Node, ...]) -> dict[str, list[Node]]:
    """Return the nodes that read each node."""
    users: dict[str, list[Node]] = {node.name: [] for node in nodes}
    for node in nodes:
        for name in node.inputs:
            users[name].append(node)
    return users


def evaluate_graph(nodes: tuple[Node, ...], value: Callable[[Node, list[Tensor]], Tensor]) -> Tensor:
    """Compute `value(node, inputs)` of every node in order and return the last; each is freed after its last use."""
    last = {name: node.name for node in nodes for name in node.inputs}
    values: dict[str, Tensor] = {}
    for node in nodes:
        values[node.name] = value(node, [values[name] for name in node.inputs])
        for name in set(node.inputs):
            if last[name] == node.name:
                del values[name]
    return values[nodes[-1].name]
