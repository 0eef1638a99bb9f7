"""The spiking network that conversion returns: a graph of convolutions, sums and neurons, stepped over x_seq.

It maps x_seq [T, N, C, H, W] to logits [T, N, K], whose mean over T is the answer. Neurons emit spikes of their
amplitude, theta, so that weights are as in the ANN and sums of branches exact. Bias currents flow every step. The
caller's dictionary holds all state; zeros are the start.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spikesight.models.networks.converted.graph import ConversionError, Node, check_shape, evaluate_graph
from spikesight.models.networks.converted.neurons import SpikeLayer, merged
from spikesight.models.networks.converted.rules import SpikeRule
from spikesight.models.neurons.layers import name_states
from spikesight.models.neurons.state import State


class Scale(nn.Module):
    """A factor for each channel, such as the input gain of an imported neuron."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor: Tensor
        self.register_buffer("factor", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor.view(1, -1, *[1] * (x.ndim - 2))


class Slice(nn.Module):
    """Takes every n-th row and column."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.stride = node.stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride[0], :: self.stride[1]]


def build(node: Node, rule: SpikeRule) -> nn.Module | None:
    """Return the module of a node; None for the input and for sums."""
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
    if node.op == "slice":
        return Slice(node)
    if node.op == "pad":
        return nn.ZeroPad3d(node.padding)  # type: ignore[arg-type]
    return Scale(node.shape[0]) if node.op == "scale" else None


@dataclass(frozen=True)
class ConvertedConfig:
    """The shape of a converted network. Weights, biases and thresholds are tensors of the network."""

    nodes: tuple[Node, ...]
    rule: SpikeRule
    input_shape: tuple[int, ...]  # [C, H, W]
    classes: int
    warmup: float = 0.0  # share of the steps left out of the answer, until the last layers reach their rates

    def __post_init__(self) -> None:
        check_shape(self.nodes, self.input_shape, self.classes)
        if not 0 <= self.warmup < 1:
            raise ValueError("warmup must lie in [0, 1)")

    def first_step(self, steps: int) -> int:
        """Return the first step that counts for the answer at T = steps."""
        return int(steps * self.warmup)


def still_nodes(nodes: tuple[Node, ...]) -> set[str]:
    """Return the names of nodes that depend on no spike: constant for a still image, so computed once."""
    still: set[str] = set()
    for node in nodes:
        if node.op == "input" or (node.op != "neuron" and all(i in still for i in node.inputs)):
            still.add(node.name)
    return still


class ConvertedNetwork(nn.Module):
    """A converted network. It takes and returns its state and stores none."""

    def __init__(self, config: ConvertedConfig) -> None:
        super().__init__()
        self.config = config
        modules = {node.name: build(node, config.rule) for node in config.nodes}
        self.layers = nn.ModuleDict({name: m for name, m in modules.items() if m is not None})
        self.still = still_nodes(config.nodes)
        name_states(self)
        self.eval().requires_grad_(False)
        for module in self.layers.values():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def layer(self, name: str) -> nn.Module | None:
        """Return the module of a node; None for the input and for sums."""
        return self.layers[name] if name in self.layers else None  # noqa: SIM401 - a ModuleDict has no get

    def neuron_nodes(self) -> list[Node]:
        """Return the nodes that spike, in order."""
        return [node for node in self.config.nodes if node.op == "neuron"]

    def neurons(self) -> dict[str, SpikeLayer]:
        """Return the spiking layers by node name."""
        return {n.name: self.layers[n.name] for n in self.neuron_nodes()}  # type: ignore[misc]

    @torch.no_grad()
    def forward(self, x_seq: Tensor, state: State | None = None, steps: int | None = None) -> tuple[Tensor, State]:
        """Run x_seq [T, N, ...] from a state (None: zeros); return logits [T, N, K] and the new state.

        x_seq [1, N, ...] with `steps` is the same input for all steps: what depends on it alone is computed once.
        """
        if tuple(x_seq.shape[2:]) != self.config.input_shape or (steps and x_seq.shape[0] != 1):
            raise ValueError(f"x_seq must be [T, N, {', '.join(map(str, self.config.input_shape))}]")
        steps = steps or x_seq.shape[0]
        after = dict(state or {})
        x_seq = x_seq.to(next(self.parameters()).dtype)

        def value(node: Node, inputs: list[Tensor]) -> Tensor:
            if node.op == "neuron":
                return self.layers[node.name](inputs[0], after, steps)
            return x_seq if node.op == "input" else self.in_time(node, inputs, after)

        logits = evaluate_graph(self.config.nodes, value)
        return logits.expand(steps, *logits.shape[1:]), after

    def in_time(self, node: Node, inputs: list[Tensor], state: State) -> Tensor:
        """Return a node's values [T, N, ...]; for nodes other than the input and neurons."""
        if node.op == "add":
            return inputs[0] + inputs[1]
        module = self.layers[node.name]
        if node.op == "max_pool" and node.name not in self.still:
            return accumulated_pool(module, inputs[0], state, f"layers.{node.name}")
        return module(merged(inputs[0])).unflatten(0, inputs[0].shape[:2])

    def at_once(self, node: Node, inputs: list[Tensor]) -> Tensor:
        """Return a node's output for constant values [N, ...], bypassing hooks. Raises ConversionError."""
        try:
            return inputs[0] + inputs[1] if node.op == "add" else self.layers[node.name].forward(inputs[0])
        except RuntimeError as error:
            raise ConversionError(f"layer {node.title} does not take this input: {str(error)[:160]}") from None


def accumulated_pool(pool: nn.Module, x_seq: Tensor, state: State, key: str) -> Tensor:
    """Max-pool the currents summed so far; return the increments, whose mean is the pooled mean current."""
    before = state.get(key)
    total = torch.cat([x_seq[:1] * 0 if before is None else before[None], x_seq]).cumsum(0)
    state[key] = total[-1]
    pooled = pool(merged(total)).unflatten(0, total.shape[:2])
    return pooled[1:] - pooled[:-1]
