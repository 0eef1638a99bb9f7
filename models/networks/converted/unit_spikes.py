"""Give all spikes the size 1: fold each neuron's amplitude into the layers that read it, branch by branch at a sum.

Spikes of size theta keep the ANN's weights and make sums exact; hardware, event-driven kernels and NeuroBench's
accumulate counts need spikes of size 1. Both give the same currents.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from spikesight.models.networks.converted.graph import Node
from spikesight.models.networks.converted.network import ConvertedNetwork, Scale
from spikesight.models.networks.converted.neurons import SpikeLayer


def scaled_weight(weight: Tensor, scale: Tensor, groups: int) -> Tensor:
    """Multiply a weight's input channels by scale [C]; a linear layer behind a flatten repeats the channels."""
    if weight.ndim == 2:
        return weight * scale.repeat_interleave(weight.shape[1] // len(scale))
    by_group = scale.view(groups, 1, -1).expand(-1, weight.shape[0] // groups, -1)
    return weight * by_group.reshape(weight.shape[0], -1, 1, 1)


@torch.no_grad()
def unit_spikes(network: ConvertedNetwork) -> ConvertedNetwork:
    """Return an equal network with amplitudes of 1 (multi-threshold spikes: powers of two)."""
    nodes: list[Node] = []
    scales: dict[str, Tensor | None] = {}  # by node: factors [C] from the new value to the old one
    weights: dict[str, Tensor] = {}
    factors: dict[str, Tensor] = {}

    def plain(name: str, reader: str, index: int) -> str:
        """Return the name of a node with the unscaled value; append a scale node if needed."""
        scale = scales[name]
        if scale is None:
            return name
        made = f"{reader}_{index}_scale"
        nodes.append(Node(made, "scale", (name,), reader, shape=(len(scale),)))
        factors[made] = scale
        return made

    for node in network.config.nodes:
        before = [scales[name] for name in node.inputs]
        layer = network.layer(node.name)
        scales[node.name] = None
        if isinstance(layer, SpikeLayer):
            scales[node.name] = layer.amplitude.clone()
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            scale = before[0]
            weights[node.name] = layer.weight if scale is None else scaled_weight(layer.weight, scale, node.groups)
        elif node.op == "add":
            if before[0] is not None and before[1] is not None and torch.equal(before[0], before[1]):
                scales[node.name] = before[0]
            else:
                node = replace(node, inputs=tuple(plain(name, node.name, i) for i, name in enumerate(node.inputs)))
        elif isinstance(layer, Scale):
            factors[node.name] = layer.factor if before[0] is None else layer.factor * before[0]
        elif node.op == "pad" and before[0] is not None:
            scales[node.name] = nn.functional.pad(before[0], node.padding[4:], value=1.0)
        elif node.op != "input":
            scales[node.name] = before[0]
        nodes.append(node)
    plain(nodes[-1].name, nodes[-1].name, 0)
    units = ConvertedNetwork(replace(network.config, nodes=tuple(nodes))).to(next(network.parameters()).dtype)
    units.load_state_dict(network.state_dict(), strict=False)
    for name, weight in weights.items():
        units.layers[name].weight.copy_(weight)  # type: ignore[operator, union-attr]
    for name, factor in factors.items():
        units.layers[name].factor.copy_(factor)  # type: ignore[operator, union-attr]
    for layer in units.neurons().values():
        layer.amplitude.fill_(1)
    return units
