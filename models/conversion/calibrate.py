"""Calibrate a converted network layer by layer on the spikes that really arrive: one batch, no labels, no gradient.

repair        W, b <- the ridge regression of the ANN's current z on the mean spikes that really arrive. This undoes
              errors of earlier layers common to all images; the shortcut's share is subtracted first (ours)
search        theta_c <- the candidate, a share of the channel's threshold, whose phi_c is nearest to a_c in the mean
              square: the MMSE rule on the spikes that really arrive, unevenness included (ours)
light bias    b_c <- b_c + mean(a_c) - mean(phi_c): a the ANN's activations, phi the spiking layer's mean output
              over T steps behind the layers already corrected (Li et al., ICML 2021, LCP)

Means over the steps leave out the first steps where the method says so: until the spikes of all earlier layers arrive
at their final rates, spikes reflect the network's start and not the image.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikesight.models.conversion.thresholds import by_channel, run_as_ann
from spikesight.models.networks.converted.graph import AFFINE, Node, evaluate_graph, users_of
from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.networks.converted.neurons import SpikeLayer, merged
from spikesight.models.neurons.state import State

CANDIDATES = (0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 1.0, 1.2)  # multiples of the channel's threshold
SEARCHED = 32  # images on which candidates are compared
ROUNDS = 2  # corrections a layer: the first one moves some neurons out of saturation, the second one is small
RIDGE = 0.1  # penalty for leaving the ANN's weights, relative to the mean square of a layer's input


def decoded(x_seq: Tensor, first: int) -> Tensor:
    """Return the value [N, ...] that a train [T, N, ...] encodes: its mean from step `first` on."""
    return x_seq[first if len(x_seq) > 1 else 0 :].mean(0)


def bias_source(network: ConvertedNetwork, node: Node) -> Node | None:
    """Return the conv or linear node whose bias acts on this neuron layer alone; None if there is none."""
    by_name, users = {n.name: n for n in network.config.nodes}, users_of(network.config.nodes)
    name = node.inputs[0]
    while len(users[name]) == 1:
        found = by_name[name]
        if found.op in AFFINE:
            return found
        if found.op == "add":
            affine = [i for i in found.inputs if by_name[i].op in AFFINE and len(users[i]) == 1]
            name = affine[0] if affine else found.inputs[0]
        elif found.op == "max_pool":
            name = found.inputs[0]
        else:
            return None
    return None


@torch.no_grad()
def calibrate(
    network: ConvertedNetwork, images: Tensor, steps: int, *, repair: bool, search: bool, light: bool
) -> None:
    """Correct weights (`repair`), thresholds (`search`) and biases (`light`) of the network in place, for T = steps.

    images [N, C, H, W], no labels. Means are over the steps that count for the network's answer.
    """
    first = network.config.first_step(steps)
    wanted: dict[str, Tensor] = {}  # currents of the ANN, by neuron

    def keep(node: Node, z: Tensor) -> Tensor:
        wanted[node.name] = z
        return z.relu()

    logits = run_as_ann(network, images, keep)
    read: dict[str, Tensor] = {}  # input spikes of each affine node, until its neuron layer is done
    state: State = {}

    def value(node: Node, inputs: list[Tensor]) -> Tensor:
        if node.op == "input":
            return images[None]
        if node.op in AFFINE:
            read[node.name] = inputs[0]
        if node.op != "neuron":
            currents = network.in_time(node, inputs, state)
            last = node is network.config.nodes[-1] and node.op == "linear"
            if repair and last:
                repaired(network.layers[node.name], inputs[0], currents, logits, first)
            return currents
        x_seq, z, layer = inputs[0], wanted.pop(node.name), network.neurons()[node.name]

        def fire(x_seq: Tensor) -> Tensor:
            return layer(x_seq, {}, steps)

        source = bias_source(network, node)
        spikes = None if source is None else read.pop(source.name)
        if repair and source is not None and spikes is not None and source.name not in network.still:
            x_seq = repaired(network.layers[source.name], spikes, x_seq, z, first)
        if search:
            search_threshold(layer, fire, x_seq[:, :SEARCHED], z[:SEARCHED].relu(), first)
        bias = network.layers[source.name].bias if light and source is not None else None
        return corrected(layer, fire, x_seq, z.relu(), first, bias)  # type: ignore[arg-type]

    evaluate_graph(network.config.nodes, value)


def regression(layer: nn.Conv2d | nn.Linear, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return changes of (weight, bias) that bring layer(x) nearest to target [N, ...] in the mean square (ridge)."""
    inputs = layer.weight[0].numel()
    gram = torch.zeros(inputs + 1, inputs + 1, dtype=torch.float64)
    moment = torch.zeros(inputs + 1, len(layer.weight), dtype=torch.float64)
    count = 0
    for part, wanted in zip(x.split(16), target.split(16)):
        missing = wanted - layer.forward(part)
        if isinstance(layer, nn.Conv2d):
            part = F.unfold(part, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]
            part = part.transpose(1, 2).flatten(0, 1)
            missing = missing.flatten(2).transpose(1, 2).flatten(0, 1)
        part = F.pad(part, (0, 1), value=1.0)  # a constant input for the bias
        gram += part.T @ part
        moment += part.T @ missing
        count += len(part)
    hold = torch.full((inputs + 1,), RIDGE * float(gram.diagonal()[:-1].mean()), dtype=torch.float64)
    hold[-1] = 0
    change = torch.linalg.solve(gram + torch.diag(hold + 1e-12 * count), moment).float()
    return change[:-1].T.reshape(layer.weight.shape), change[-1]


def affine(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Apply a layer with other weights than its own."""
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation)  # type: ignore[arg-type]
    return F.linear(x, weight, bias)


def repaired(layer: nn.Module, spikes: Tensor, x_seq: Tensor, target: Tensor, first: int) -> Tensor:
    """Fit the layer's weight and bias to the target in place; return the currents x_seq [T, N, ...] after it.

    spikes [T, N, ...]: the layer's input; target [N, ...]: the ANN's current.
    """
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    heard = decoded(spikes, first)
    own = layer.forward(heard)
    if own.shape != target.shape or getattr(layer, "groups", 1) > 1:  # a max-pool stands between
        return x_seq
    weight, bias = regression(layer, heard, target - (decoded(x_seq, first) - own))
    layer.weight.add_(weight)
    assert layer.bias is not None
    layer.bias.add_(bias)
    change = affine(layer, merged(spikes), weight, bias)
    return x_seq + change.unflatten(0, x_seq.shape[:2])


def search_threshold(
    layer: SpikeLayer, fire: Callable[[Tensor], Tensor], x_seq: Tensor, target: Tensor, first: int
) -> None:
    """Set each channel's threshold to the candidate whose mean output over T is nearest to the ANN's activation.

    `fire` returns the layer's spikes for currents x_seq.
    """
    base = layer.theta.clone()
    best, least = base.clone(), torch.full_like(base, torch.inf)
    for share in CANDIDATES:
        theta = base * share
        layer.theta.copy_(theta)
        layer.amplitude.copy_(theta)
        error = by_channel((decoded(fire(x_seq), first) - target).square()).mean(1)
        best, least = torch.where(error < least, theta, best), torch.minimum(error, least)
    layer.theta.copy_(best)
    layer.amplitude.copy_(best)


def corrected(
    layer: SpikeLayer,
    fire: Callable[[Tensor], Tensor],
    x_seq: Tensor,
    target: Tensor,
    first: int,
    bias: Tensor | None,
) -> Tensor:
    """Correct the layer's bias in place (None: it has none) and return the layer's spikes."""
    spikes = fire(x_seq)
    wanted = by_channel(target).mean(1)
    for _ in range(0 if bias is None else ROUNDS):
        shift = wanted - by_channel(decoded(spikes, first)).mean(1)
        assert bias is not None
        bias.add_(shift)
        x_seq = x_seq + layer.row(shift, x_seq[0])
        spikes = fire(x_seq)
    return spikes
