"""Write a network as a NIR graph (Pedersen et al., Nature Communications 2024), whose neurons live in continuous time.

NIR's neurons obey differential equations, ours make steps. The graph is the one that forward Euler with the stated step
dt turns into our steps again, g being the gain of the input:

    tau dv/dt = -v + R i     v[t] = (1 - dt/tau) v[t-1] + dt/tau R i[t]     tau = dt / (1 - beta), R = g / (1 - beta)
    dv/dt = R i              v[t] = v[t-1] + dt R i[t]                      beta = 1: R = g / dt

A reset to zero is NIR's own: LIF or IF with v_reset = 0; whether it acts at once or in the next step, the spikes are
the same. A reset by subtraction is a cycle of NIR nodes: LI or I, a Threshold, and back through a Scale of -theta/g (in
the next step) or -beta theta/g (at once); the edge that closes the cycle carries the value of the step before, as in
Euler's method. Firing at u >= theta is written as firing above the largest float32 below theta.

NIR has no max-pool. For a network with one, the graph holds our own node `MaxPool2d`, which NIR's reader refuses.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from spikesight.models.contract import Card
from spikesight.models.export.nir_graph import Graph, Signal, strict
from spikesight.models.export.nir_network import read_nir
from spikesight.models.export.nir_state import leak
from spikesight.models.export.parity import ExportError, Runner, import_extra
from spikesight.models.networks.converted.graph import Node
from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.networks.folding import fold
from spikesight.models.networks.resnet import Block, PadShortcut, SewBlock, SpikingResNet
from spikesight.models.neurons.layers import Neuron, SlidingNeuron

NIR_PACE = "not exported: NIR has no neurons that step at another pace; leave --bin-ms away"
IMAGE_STEP_S = 1e-3  # nominal, since a step of an image model has no length
INTEGRATION = "forward Euler with step dt; an edge that closes a circle carries the value of the step before"


# --- our neurons


def neuron(graph: Graph, layer: Neuron, x: Signal) -> Signal:
    """Append a neuron layer and return its spikes. Raises ExportError if NIR cannot express it."""
    config, name = layer.config, layer.key
    if isinstance(layer, SlidingNeuron):
        return sliding(graph, layer, x)
    if type(layer) is not Neuron:
        raise ExportError(f"not exported: NIR cannot say neurons of the kind {config.kind!r}, such as {name}")
    if layer.span != 1:
        raise ExportError(NIR_PACE)
    beta = leak(layer)
    gain = 1 - beta if config.scale_input else 1.0
    if gain == 0:
        raise ExportError(f"not exported: {name} scales its input by 1 - beta, which is 0")
    theta = strict(config.theta, config.inclusive)
    if config.reset == "zero":
        return graph.reset_to(name, x, theta, 0.0, beta, gain)
    membrane = graph.integrate(name, x, beta, gain)
    return graph.fire(name, membrane, theta, -config.theta * (1 if config.delay else beta) / gain)


def sliding(graph: Graph, layer: SlidingNeuron, x: Signal) -> Signal:
    """Append a sliding PSN: held inputs, each scaled, summed and compared with a threshold of -b."""
    name, held, parts = layer.key, x, []
    if layer.config.taps == 1:
        raise ExportError(f"not exported: {name} is a PSN of one tap, which has no membrane to compare")
    for i, weight in enumerate(layer.weight.detach().tolist()):
        if i:
            held = graph.hold(name if i == 1 else f"{name}.{i}", held)
        parts += graph.scale(f"{name}.tap{i}", held, weight)
    theta = strict(-layer.bias.detach(), True)
    return graph.add(f"{name}.spikes", graph.nir.Threshold(graph.full(theta, x, np.float32)), tuple(parts))


# --- our networks


def conv_bn(graph: Graph, name: str, x: Signal, layers: nn.Sequential) -> Signal:
    return graph.conv(name, x, *fold(layers))


def padded_shortcut(graph: Graph, name: str, x: Signal, shortcut: PadShortcut) -> Signal:
    """Append an identity shortcut with stride and zero channels, as a 1x1 convolution with ones on the diagonal."""
    inputs, (before, behind) = graph.shape(x)[0], shortcut.channels
    weight = nn.functional.pad(torch.eye(inputs), (0, 0, before, behind))[..., None, None]
    like = nn.Conv2d(inputs, len(weight), 1, shortcut.stride)
    return graph.conv(name, x, weight, torch.zeros(len(weight)), like)


def block(graph: Graph, name: str, layer: Block, kind: str, x: Signal) -> Signal:
    """Append one residual block; sums are edges into the same node."""
    if layer.pool is not None:
        x = graph.pool(f"{name}.pool", x, layer.pool)
    skip = x
    if isinstance(layer.shortcut, PadShortcut):
        skip = padded_shortcut(graph, f"{name}.shortcut", x, layer.shortcut)
    elif isinstance(layer.shortcut, nn.Sequential):
        skip = conv_bn(graph, f"{name}.shortcut", x, layer.shortcut)
    convs = [layer.conv1, layer.conv2, *([layer.conv3] if layer.conv3 is not None else [])]
    neurons = [n for n in (layer.neuron1, layer.neuron2, layer.neuron3) if n is not None]
    h = x
    for number, conv in enumerate(convs):
        if kind == "ms":
            h = neuron(graph, neurons[number], h)
        elif number:
            h = neuron(graph, neurons[number - 1], h)
        h = conv_bn(graph, f"{name}.conv{number + 1}", h, conv)
    if kind == "ms":
        return (*h, *skip)
    if kind == "plain":
        return neuron(graph, layer.last_neuron(), (*h, *skip))
    assert isinstance(layer, SewBlock)
    extra = layer.neuron3 if layer.conv3 is None else layer.neuron4
    if extra is not None:
        skip = neuron(graph, extra, skip)
    return (*neuron(graph, layer.last_neuron(), h), *skip)


def spiking_resnet(graph: Graph, network: SpikingResNet) -> Signal:
    h = conv_bn(graph, "stem", ("input",), network.stem)
    if not isinstance(network.pool, nn.Identity):
        h = graph.pool("pool", h, network.pool)
    if network.neuron is not None:
        h = neuron(graph, network.neuron, h)
    for number, layer in enumerate(network.blocks):
        assert isinstance(layer, Block)
        h = block(graph, f"blocks.{number}", layer, network.config.block, h)
    if network.last_neuron is not None:
        h = neuron(graph, network.last_neuron, h)
    h = graph.affine("readout", graph.flatten("flatten", graph.global_pool("mean", h)), network.readout)
    return h if network.readout_neuron is None else neuron(graph, network.readout_neuron, h)


def converted(graph: Graph, network: ConvertedNetwork) -> Signal:
    """Append a converted network of binary neurons. Raises ExportError for other rules."""
    rule = network.config.rule
    if rule.kind != "if" or rule.differential:
        raise ExportError(f"not exported: NIR cannot say neurons of the kind {rule.kind!r}, only 'if'")
    if rule.bounds is not None:
        raise ExportError("not exported: NIR cannot say neurons whose membrane has bounds")
    signals: dict[str, Signal] = {}
    for node in network.config.nodes:
        read = [signals[name] for name in node.inputs]
        if node.op == "input":
            signals[node.name] = ("input",)
        elif node.op == "add":
            signals[node.name] = joined(graph, node.name, *read)
        elif node.op == "max_pool" and node.name not in network.still:
            signals[node.name] = accumulated_pool(graph, f"layers.{node.name}", read[0], network.layers[node.name])
        else:
            signals[node.name] = converted_layer(graph, node, network.layers[node.name], read[0])
    return signals[network.config.nodes[-1].name]


def joined(graph: Graph, name: str, left: Signal, right: Signal) -> Signal:
    """Return the sum of two signals; a node in both counts twice."""
    twice = set(left) & set(right)
    return (*left, *right) if not twice else (*left, *graph.scale(f"layers.{name}", right, 1.0))


def converted_layer(graph: Graph, node: Node, layer: nn.Module, x: Signal) -> Signal:
    """Append one node of a converted network, other than a sum or a max-pool of accumulated currents."""
    name = f"layers.{node.name}"
    if isinstance(layer, SpikeLayer):
        return converted_neuron(graph, name, layer, x)
    if isinstance(layer, nn.Conv2d):
        assert layer.bias is not None
        return graph.conv(name, x, layer.weight.detach().contiguous(), layer.bias.detach(), layer)
    if isinstance(layer, nn.Linear):
        return graph.affine(name, x, layer)
    if node.op == "global_pool" and node.kernel == (1, 1):
        return graph.global_pool(name, x)
    if node.op in ("avg_pool", "max_pool"):
        return graph.pool(name, x, layer)
    if node.op == "flatten":
        return graph.flatten(name, x)
    channels = graph.shape(x)[0]
    if node.op == "slice":
        return graph.conv(name, x, torch.eye(channels)[..., None, None], torch.zeros(channels), strided(node))
    if node.op == "pad" and not any(node.padding[:4]):
        weight = nn.functional.pad(torch.eye(channels), (0, 0, *node.padding[4:]))[..., None, None]
        return graph.conv(name, x, weight, torch.zeros(len(weight)), nn.Conv2d(channels, len(weight), 1))
    if node.op == "scale":
        return graph.scale(name, x, layer.factor)  # type: ignore[arg-type]
    raise ExportError(f"not exported: NIR has nothing like the {node.op} {node.title}")


def strided(node: Node) -> nn.Conv2d:
    return nn.Conv2d(1, 1, 1, node.stride)  # type: ignore[arg-type]


def converted_neuron(graph: Graph, name: str, layer: SpikeLayer, x: Signal) -> Signal:
    """Append integrators that start theta - v(0) below the threshold, and scale their spikes by the amplitude."""
    rule, theta = layer.rule, layer.theta
    limit = strict(theta - rule.start * theta, rule.inclusive)
    if rule.reset == "zero":
        spikes = graph.reset_to(name, x, limit, -rule.start * theta, 1.0, 1.0)
    else:
        spikes = graph.fire(name, graph.integrate(name, x, 1.0, 1.0), limit, -theta)
    unit = bool((layer.amplitude == 1).all())
    return spikes if unit else graph.scale(f"{name}.amplitude", spikes, layer.amplitude)


def accumulated_pool(graph: Graph, name: str, x: Signal, pool: nn.Module) -> Signal:
    """Append the max-pool of the currents accumulated so far, as increments."""
    pooled = graph.pool(f"{name}.pool", graph.integrate(name, x, 1.0, 1.0), pool)
    return (*pooled, *graph.scale(f"{name}.before", graph.hold(f"{name}.held", pooled), -1.0))


# --- the file


WRITERS: dict[type[nn.Module], Callable[..., Signal]] = {SpikingResNet: spiking_resnet, ConvertedNetwork: converted}


def nir_graph(network: nn.Module, card: Card) -> Any:
    """Return the network as a nir.NIRGraph; event contract, labels and dt are metadata.

    Raises ExportError for what NIR cannot express.
    """
    contract = card.contract
    dt = contract.bin_us * 1e-6 if contract.kind == "events" else IMAGE_STEP_S
    graph = Graph((contract.channels, contract.height, contract.width), dt)
    if type(network) not in WRITERS:
        raise ExportError(f"not exported: {type(network).__name__} has no NIR form")
    facts = {
        "dt": graph.dt,
        "integration": INTEGRATION,
        "spikesight_contract": json.dumps(asdict(contract)),
        "spikesight_labels": json.dumps(card.labels),
    }
    return graph.finish(WRITERS[type(network)](graph, network), facts)


def write_nir(network: nn.Module, card: Card, path: Path, window: int | None) -> None:
    """Write a .nir file (HDF5)."""
    if window is not None:
        raise ExportError("a NIR graph has no steps, so it has no window of them")
    import_extra("nir").write(path, nir_graph(network, card))


def run_nir(path: Path, window: int | None) -> Runner:  # noqa: ARG001 - every reader takes a window
    """Load the file into our own NIR network."""
    return read_nir(path)
