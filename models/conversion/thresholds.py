"""Set thresholds of converted neurons from unlabelled calibration images: one function for each published rule.

max, percentile   lambda of a layer's non-zero activations          Rueckauer et al. 2017
ltb               theta += 2 eta mean((z - theta) H(z - theta))     Bu et al., CVPR 2025; forward passes only
spike-norm        largest instantaneous current under spikes        Sengupta et al. 2019
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from spikesight.models.networks.converted.graph import ConversionError, Node, evaluate_graph
from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.neurons.state import State

FLOOR = 1e-6  # smallest threshold, given to channels that are never active
SAMPLES = 16384  # values of a channel that a percentile is taken of, from each batch

Activation = Callable[[Node, Tensor], Tensor]


def relu(_: Node, z: Tensor) -> Tensor:
    """Return ReLU(z), the ANN's activation."""
    return z.relu()


def run_as_ann(network: ConvertedNetwork, x: Tensor, activation: Activation = relu) -> Tensor:
    """Run the graph as an ANN, x [N, C, H, W] to logits [N, K]; `activation` maps a neuron layer's z to outputs."""

    def value(node: Node, inputs: list[Tensor]) -> Tensor:
        if node.op == "input":
            return x
        return activation(node, inputs[0]) if node.op == "neuron" else network.at_once(node, inputs)

    return evaluate_graph(network.config.nodes, value)


def by_channel(x: Tensor) -> Tensor:
    """Reshape [N, C, ...] to [C, values]."""
    return x.transpose(0, 1).flatten(1)


def kept_currents(values: Tensor) -> Tensor:
    """Pick about SAMPLES evenly spaced values of each row, to be kept in memory: [C, values] -> [C, <= 2 SAMPLES]."""
    return values[:, :: max(1, values.shape[1] // SAMPLES)]


def currents_by_neuron(
    network: ConvertedNetwork, batches: Sequence[Tensor], take: Callable[[Tensor], Tensor] = kept_currents
) -> Iterator[tuple[Node, Tensor]]:
    """Yield each neuron node in order with its ANN currents [C, values], reduced by `take`. One pass over the data."""
    kept: dict[str, list[Tensor]] = {node.name: [] for node in network.neuron_nodes()}

    def keep(node: Node, z: Tensor) -> Tensor:
        kept[node.name].append(take(by_channel(z)))
        return z.relu()

    for batch in batches:
        run_as_ann(network, batch, keep)
    for node in network.neuron_nodes():
        yield node, torch.cat(kept.pop(node.name), 1)


def percentile(values: Tensor, percent: float) -> Tensor:
    """Return the percentile of each row's positive values, [rows]; zero for a row without any."""
    found = []
    for row in values:
        positive = row[row > 0]
        if not len(positive):
            found.append(row.new_zeros(()))
            continue
        rank = min(len(positive), max(1, math.ceil(percent / 100 * len(positive))))
        found.append(positive.kthvalue(rank).values)
    return torch.stack(found)


def by_percentile(network: ConvertedNetwork, batches: Sequence[Tensor], percent: float, channelwise: bool) -> None:
    """Set theta to the percentile of the non-zero activations, of the whole layer (Rueckauer) or of each channel."""
    for node, z in currents_by_neuron(network, batches, largest if percent == 100 else kept_currents):
        set_threshold(network, node, percentile(z if channelwise else z.flatten()[None], percent))


def largest(values: Tensor) -> Tensor:
    """Return the maximum of each row, [C, 1]."""
    return values.amax(1, keepdim=True)


def ltb(network: ConvertedNetwork, batches: Sequence[Tensor], passes: int, eta: float = 1.0) -> None:
    """Set thresholds by local threshold balancing: they start at 0 and never fall.

    More passes give larger thresholds, which are better at large T and worse at small T.
    """
    theta = {n.name: torch.zeros_like(network.neurons()[n.name].theta) for n in network.neuron_nodes()}

    def clip(node: Node, z: Tensor) -> Tensor:
        excess = (by_channel(z) - theta[node.name][:, None]).clamp_min(0)
        theta[node.name] = theta[node.name] + 2 * eta * excess.mean(1)
        limit = theta[node.name].view(1, -1, *[1] * (z.ndim - 2))
        return torch.minimum(z.relu(), limit)

    for _ in range(passes):
        for batch in batches:
            run_as_ann(network, batch, clip)
    for node in network.neuron_nodes():
        set_threshold(network, node, theta[node.name])


def spike_norm(network: ConvertedNetwork, batches: Sequence[Tensor], steps: int, generator: torch.Generator) -> None:
    """Set thresholds layer by layer under Poisson input to the largest current of any step (Sengupta et al. 2019).

    Currents include the bias. Both branches of a sum share the threshold of the neuron behind it; spikes of size theta
    keep the scales of the two branches equal.
    """
    spikes = poisson(torch.cat(list(batches))[:64], steps, generator)
    state: State = {}

    def value(node: Node, inputs: list[Tensor]) -> Tensor:
        if node.op == "input":
            return spikes
        if node.op == "neuron":
            set_threshold(network, node, inputs[0].amax()[None])
            return network.neurons()[node.name](inputs[0], {}, steps)
        return network.in_time(node, inputs, state)

    evaluate_graph(network.config.nodes, value)


def poisson(x: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    """Return signed random spikes [T, N, ...] of size max|x| with mean x; a pixel's rate is |x| / max|x|."""
    peak = x.abs().amax().clamp_min(FLOOR)
    draws = torch.rand((steps, *x.shape), generator=generator, dtype=x.dtype)
    return (draws < x.abs() / peak).to(x.dtype) * x.sign() * peak


def set_threshold(network: ConvertedNetwork, node: Node, theta: Tensor) -> None:
    """Set threshold and spike amplitude of a node's neurons, theta [C] or [1]; at least FLOOR, for dead channels."""
    layer: SpikeLayer = network.neurons()[node.name]
    if not theta.isfinite().all():
        raise ConversionError(f"the calibration data give layer {node.title} a threshold that is not finite")
    layer.theta.copy_(theta.to(layer.theta).clamp_min(FLOOR).expand_as(layer.theta))
    layer.amplitude.copy_(layer.theta)
