"""Build our graph of a network from another library: nodes, tensors and neurons, and the layers they come from."""

import re
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from spikesight.models.export.parity import ExportError
from spikesight.models.networks.converted.graph import Node
from spikesight.models.networks.imported import ImportedConfig, ImportedNetwork
from spikesight.models.neurons.config import NeuronConfig

Tensors = dict[str, Tensor]


@dataclass
class Chain:
    """A graph under construction: nodes, tensors by our names, and neuron configurations, in order of addition."""

    shape: tuple[int, ...]
    nodes: list[Node] = field(default_factory=list)
    tensors: Tensors = field(default_factory=dict)
    neurons: list[NeuronConfig] = field(default_factory=list)

    def add(self, op: str, theirs: str, source: tuple[str, ...], tensors: Tensors | None = None, **options: Any) -> str:
        """Append a node for the other library's layer `theirs`; return its name. Raises ExportError, naming a layer."""
        name = f"n{len(self.nodes)}_{re.sub(r'[^A-Za-z0-9]', '_', theirs)[:40]}"
        tensors = {f"layers.{name}.{key}": value.detach().float() for key, value in (tensors or {}).items()}
        if f"layers.{name}.weight" in tensors:
            options["shape"] = tuple(tensors[f"layers.{name}.weight"].shape)
        try:
            self.nodes.append(Node(name, op, source, layer=theirs, **options))
        except ValueError as error:
            raise ExportError(f"not imported: layer {theirs}: {error}") from None
        self.tensors |= tensors
        return name

    def neuron(self, theirs: str, source: str, channels: int, config: NeuronConfig) -> str:
        self.neurons.append(config)
        return self.add("neuron", theirs, (source,), shape=(channels,))

    def network(self, classes: int) -> ImportedNetwork:
        """Return the network. Raises ExportError if the nodes do not make a valid one."""
        try:
            made = ImportedNetwork(ImportedConfig(tuple(self.nodes), tuple(self.neurons), self.shape, classes))
            made.load_state_dict(self.tensors)
        except (ValueError, RuntimeError) as error:
            raise ExportError(f"not imported: {str(error).splitlines()[-1].strip()}") from None
        return made.eval().requires_grad_(False)

    def state_names(self) -> dict[str, str]:
        """Return the other library's layer name for each neuron state key of ours."""
        return {f"layers.{node.name}": node.layer for node in self.nodes if node.op == "neuron"}


def config_of(name: str, beta: float, theta: float, **options: Any) -> NeuronConfig:
    """Return a neuron configuration. Raises ExportError, which names the layer."""
    try:
        return NeuronConfig(beta=beta, theta=theta, **options)
    except ValueError as error:
        raise ExportError(f"not imported: layer {name}: {error}") from None
