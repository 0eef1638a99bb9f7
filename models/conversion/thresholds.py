"""Set thresholds of converted neurons from unlabelled calibration images: one function for each published rule.

max, percentile   lambda of a layer's non-zero activations          Rueckauer et al. 2017
ltb               theta += 2 eta mean((z - theta) H(z - theta))     Bu et al., CVPR 2025; forward passes only
mmse              argmin over theta of the T-step quantiser's error  Li et al., ICML 2021
gauss             the fixed point for Gaussian currents, n levels   DCGS, ICML 2025
spike-norm        largest instantaneous current under spikes        Sengupta et al. 2019
qcfs              lambda as trained                                 Bu et al., ICLR 2022
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from spikesight.models.networks.converted.graph import ConversionError, Node, evaluate_graph
from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.networks.converted.rules import SpikeRule, levels_of
from spikesight.models.neurons.state import State

FLOOR = 1e-6  # smallest threshold, given to channels that are never active
SAMPLES = 4096  # values of a channel that a threshold search uses

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


def subsampled(values: Tensor, count: int = SAMPLES) -> Tensor:
    """Pick about `count` evenly spaced values of each row: [C, <= 2 count]."""
    return values[:, :: max(1, values.shape[1] // count)]


def kept_currents(values: Tensor) -> Tensor:
    """Subsample a batch's currents [C, values] to what is kept in memory."""
    return subsampled(values, 4 * SAMPLES)


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


def quantise(a: Tensor, theta: Tensor, steps: int, rule: SpikeRule) -> Tensor:
    """Return a neuron's mean output after `steps` steps of constant current a, up to the fine structure of its rule."""
    levels = steps * 2 ** (rule.levels - 1) if rule.kind in ("multi", "cascade") else steps
    shift = 0.5 if rule.kind in ("multi", "cascade") else rule.v0
    return theta / levels * (a * (levels / theta) + shift).floor().clamp(0, levels)


def mmse_threshold(a: Tensor, steps: int, rule: SpikeRule) -> Tensor:
    """Return theta [C] that minimises the quantiser's squared error on activations a [C, values], of 95 candidates."""
    peak = a.amax(1, keepdim=True)
    best, least = peak.clone(), torch.full_like(peak, torch.inf)
    for i in range(95):
        theta = (peak * (1 - 0.01 * i)).clamp_min(FLOOR)
        error = (quantise(a, theta, steps, rule) - a).square().mean(1, keepdim=True)
        best, least = torch.where(error < least, theta, best), torch.minimum(error, least)
    return best[:, 0]


def mmse(network: ConvertedNetwork, batches: Sequence[Tensor], steps: int) -> None:
    """Set each channel's threshold by `mmse_threshold` on the calibration values of all batches."""
    for node, z in currents_by_neuron(network, batches):
        set_threshold(network, node, mmse_threshold(subsampled(z).relu(), steps, network.config.rule))


def gauss_threshold(mean: Tensor, deviation: Tensor, levels: int, rounds: int = 400) -> Tensor:
    """Return the fixed point theta = E[z q] / E[q^2] for z ~ N(mean, deviation^2), n even levels (DCGS, ICML 2025).

    >>> round(float(gauss_threshold(torch.zeros(1).double(), torch.ones(1).double(), 4)), 4)
    2.1353
    """
    odd = torch.arange(1, 2 * levels, 2, dtype=mean.dtype, device=mean.device)[:, None]
    theta = mean.abs() + deviation * 3
    for _ in range(rounds):
        centres = odd * theta / (2 * levels)
        e = torch.erf((centres - mean) / (math.sqrt(2) * deviation))
        bell = (-(centres - mean).square() / (2 * deviation.square())).exp().mean(0)
        above = mean * (1 - e.mean(0)) + math.sqrt(2 / math.pi) * deviation * bell
        new = above / (1 - (odd * e).sum(0) / levels**2)
        theta = torch.where(new.isfinite() & (new > 0), new, theta)
    return theta


def gauss(network: ConvertedNetwork, batches: Sequence[Tensor], levels: int) -> None:
    """Set each channel's threshold by `gauss_threshold` from the mean and deviation of its current."""
    for node, z in currents_by_neuron(network, batches):
        values = z.double()
        deviation = values.std(1).clamp_min(FLOOR)
        set_threshold(network, node, gauss_threshold(values.mean(1), deviation, levels).to(torch.float32))


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


def effective_levels(rule: SpikeRule) -> int:
    """Return the level count for the Gaussian rule: n powers of two resolve as finely as 2^(n-1) even levels."""
    return round(1 / levels_of(rule)[-1]) if rule.kind in ("multi", "cascade") else 8
