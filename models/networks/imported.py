"""A network imported from another library: a graph of stateless layers and individually configured neurons.

It maps x_seq [T, N, C, H, W] to logits [T, N, K]; the caller's dictionary holds all state.
"""

from dataclasses import dataclass
from math import prod

from torch import Tensor, nn

from spikesight.models.networks.converted.graph import Node, check_shape, evaluate_graph
from spikesight.models.networks.converted.network import build
from spikesight.models.networks.converted.rules import SpikeRule
from spikesight.models.networks.resnet import per_step
from spikesight.models.neurons.config import NeuronConfig
from spikesight.models.neurons.layers import make_neuron, name_states
from spikesight.models.neurons.state import State


@dataclass(frozen=True)
class ImportedConfig:
    """The graph, and the configurations of its `neuron` nodes in order. Weights are tensors of the network."""

    nodes: tuple[Node, ...]
    neurons: tuple[NeuronConfig, ...]
    input_shape: tuple[int, ...]  # [C, H, W] or [features]
    classes: int

    def __post_init__(self) -> None:
        check_shape(self.nodes, self.input_shape, self.classes)
        if sum(node.op == "neuron" for node in self.nodes) != len(self.neurons):
            raise ValueError("there must be as many neurons as nodes for them")


class ImportedNetwork(nn.Module):
    """An imported network. It takes and returns its state and stores none."""

    def __init__(self, config: ImportedConfig) -> None:
        super().__init__()
        self.config = config
        neurons = iter(config.neurons)
        rule = SpikeRule()  # `build` needs a rule; no layer here uses it
        modules = {n.name: make_neuron(next(neurons)) if n.op == "neuron" else build(n, rule) for n in config.nodes}
        self.layers = nn.ModuleDict({name: module for name, module in modules.items() if module is not None})
        name_states(self)

    def forward(self, x_seq: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run x_seq from a state (None: zeros); return logits [T, N, K] and the state after them."""
        shape = self.config.input_shape
        if prod(x_seq.shape[2:]) != prod(shape) or (len(shape) == 3 and tuple(x_seq.shape[2:]) != shape):
            raise ValueError(f"x_seq must be [T, N, {', '.join(map(str, shape))}], not {tuple(x_seq.shape)}")
        x_seq, after = x_seq.reshape(*x_seq.shape[:2], *shape).to(next(self.parameters()).dtype), dict(state or {})

        def value(node: Node, inputs: list[Tensor]) -> Tensor:
            if node.op in ("input", "add"):
                return sum(inputs[1:], inputs[0]) if inputs else x_seq
            layer = self.layers[node.name]
            return layer(inputs[0], after) if node.op == "neuron" else per_step(layer, inputs[0])

        return evaluate_graph(self.config.nodes, value), after
