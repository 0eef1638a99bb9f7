"""Calibration behind real spikes, layer by layer: one batch, no labels, no gradient.

light bias    b_c <- b_c + mean(a_c) - mean(phi_c): a the ANN's activations, phi the spiking layer's mean output
              over T steps behind the layers already corrected (Li et al., ICML 2021, LCP)
search        before it, theta_c <- the candidate, a share of the channel's threshold, whose phi_c is nearest to a_c in
              the mean square: the MMSE rule on the spikes that really arrive, unevenness included (ours)
"""

import torch
from torch import Tensor, nn

from models.convert_graph import Node, users_of
from models.convert_network import ConvertedNetwork, SpikeLayer, accumulated_pool, merged, unhooked
from models.convert_thresholds import by_channel, walk

CANDIDATES = (0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 1.0, 1.2)  # of the channel's threshold
ROUNDS = 2  # corrections a layer: the first one moves some neurons out of saturation, the second one is small


def bias_source(network: ConvertedNetwork, node: Node) -> nn.Conv2d | nn.Linear | None:
    """The affine layer whose bias is a bias of this neuron alone; None where there is none."""
    by_name, users = {n.name: n for n in network.config.nodes}, users_of(network.config.nodes)
    name = node.inputs[0]
    while len(users[name]) == 1:
        found = by_name[name]
        if found.op in ("conv", "linear"):
            return network.layers[name]  # type: ignore[return-value]
        if found.op == "add":
            affine = [i for i in found.inputs if by_name[i].op in ("conv", "linear") and len(users[i]) == 1]
            name = affine[0] if affine else found.inputs[0]
        elif found.op == "max_pool":
            name = found.inputs[0]
        else:
            return None
    return None


@torch.no_grad()
def calibrate(network: ConvertedNetwork, images: Tensor, steps: int, *, search: bool, light: bool) -> None:
    """Corrects thresholds (`search`) and biases (`light`) in place, for T = steps; images [N, C, H, W], no labels."""
    targets: dict[str, Tensor] = {}

    def keep(node: Node, z: Tensor) -> Tensor:
        targets[node.name] = z.relu()
        return targets[node.name]

    walk(network, images, keep)
    values: dict[str, Tensor] = {}
    for node in network.config.nodes:
        inputs = [values[name] for name in node.inputs]
        if node.op == "input":
            values[node.name] = images[None]
        elif node.op == "add":
            values[node.name] = inputs[0] + inputs[1]
        elif node.op == "neuron":
            target = targets.pop(node.name)
            if search:
                search_threshold(network.neurons()[node.name], inputs[0], target, steps)
            values[node.name] = corrected(network, node, inputs[0], target, steps, ROUNDS if light else 0)
        elif node.op == "max_pool" and node.name not in network.still:
            values[node.name] = accumulated_pool(network.layers[node.name], inputs[0], {}, "")
        else:
            values[node.name] = unhooked(network.layers[node.name], merged(inputs[0])).unflatten(0, inputs[0].shape[:2])
        for name in node.inputs:
            if network._last_use[name] == node.name:
                values.pop(name, None)


def search_threshold(layer: SpikeLayer, x_seq: Tensor, target: Tensor, steps: int) -> None:
    """Each channel's threshold becomes the candidate whose mean output over T is nearest to the ANN's."""
    base = layer.theta.clone()
    best, least = base.clone(), torch.full_like(base, torch.inf)
    for share in CANDIDATES:
        theta = base * share
        layer.theta.copy_(theta)
        layer.amplitude.copy_(theta)
        error = by_channel((layer(x_seq, {}, steps).mean(0) - target).square()).mean(1)
        best, least = torch.where(error < least, theta, best), torch.minimum(error, least)
    layer.theta.copy_(best)
    layer.amplitude.copy_(best)


def corrected(network: ConvertedNetwork, node: Node, x_seq: Tensor, target: Tensor, steps: int, rounds: int) -> Tensor:
    """The node's spikes once its bias is corrected (where it has one)."""
    layer: SpikeLayer = network.neurons()[node.name]
    source = bias_source(network, node)
    spikes = layer(x_seq, {}, steps)
    wanted = by_channel(target).mean(1)
    for _ in range(rounds if source is not None else 0):
        shift = wanted - by_channel(spikes.mean(0)).mean(1)
        assert source is not None
        assert source.bias is not None
        source.bias.add_(shift)
        x_seq = x_seq + layer.row(shift, x_seq[0])
        spikes = layer(x_seq, {}, steps)
    return spikes
