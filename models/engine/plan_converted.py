"""Translate a converted network (models/networks/converted/network.py) into native layers.

Thresholds are folded into the weights before them and amplitudes into the weights after them, so every neuron has
threshold 1 and sends spikes of 1. A sum may have two convolutions (the second one 1x1), or one convolution and an
identity, possibly strided and padded; a max-pool may stand between the stem and its neurons.
"""

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from spikesight.models.engine.plan import KINDS, EnginePlan, Maps, Writer, padded
from spikesight.models.engine.structs import NO_SHORTCUT, NativeLayer, NativeShortcut
from spikesight.models.networks.converted.graph import Node
from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.networks.folding import Folded


class UnplannedError(ValueError):
    """A graph that the engine cannot run."""


@dataclass(frozen=True)
class Spikes:
    """A neuron layer's output as later layers see it; the network's input is represented alike."""

    maps: Maps | None  # None while only the structure is checked
    amplitude: Tensor  # [C], of each channel of the maps
    stride: int = 1
    first: int = 0  # zero channels padded before those of the maps
    pooled: bool = False  # whether it is the mean over the image


@dataclass(frozen=True)
class Sum:
    """Currents not written to the plan yet: a sum of convolutions and of identity shortcuts."""

    convs: tuple[tuple[str, nn.Conv2d, Spikes], ...] = ()
    shortcuts: tuple[Spikes, ...] = ()
    pooled: bool = False  # whether a max-pool follows


def require(condition: bool, node: Node) -> None:
    if not condition:
        raise UnplannedError(f"{node.title}: {node.op} in a place or form that the engine does not run")


def plain_conv(conv: nn.Conv2d) -> bool:
    """Return whether a convolution is square in kernel, stride and padding, without groups or dilation."""
    square = all(
        isinstance(v, tuple) and v[0] == v[1] for v in (conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    )
    return square and conv.groups == 1 and conv.dilation[0] == 1


class ConvertedPlanner:
    """Follows a converted network node by node and writes its layers; without a writer it only checks the graph."""

    def __init__(self, network: ConvertedNetwork) -> None:
        self.network = network
        self.writer: Writer | None = None
        rule = network.config.rule
        if rule.reset != "subtract":
            raise UnplannedError("converted neurons that reset to zero")
        if len(network.config.input_shape) != 3:
            raise UnplannedError("inputs that are no images")

    def walk(self) -> None:
        """Follow all nodes. Raise UnplannedError at the first node that the engine cannot run."""
        nodes, values = self.network.config.nodes, dict[str, Spikes | Sum]()
        for node in nodes[:-1]:
            values[node.name] = self.follow(node, [values[name] for name in node.inputs])
        last = self.network.layer(nodes[-1].name)
        spikes = values[nodes[-1].inputs[0]]
        if not isinstance(last, nn.Linear) or not isinstance(spikes, Spikes) or not spikes.pooled:
            raise UnplannedError("the engine's read-out is a linear layer of the spikes' mean over the image")
        if self.writer is not None:
            self.writer.write_readout(cast(Maps, spikes.maps), last.weight.detach() * spikes.amplitude, last.bias)

    def follow(self, node: Node, inputs: list[Spikes | Sum]) -> Spikes | Sum:
        layer, x = self.network.layer(node.name), inputs[0] if inputs else None
        if node.op == "input":
            maps = None if self.writer is None else self.writer.input
            return Spikes(maps, torch.ones(self.network.config.input_shape[0], dtype=torch.float32))
        if node.op == "add":
            return self.add_terms(node, inputs)
        if isinstance(layer, SpikeLayer):
            require(isinstance(x, Sum), node)
            maps = None if self.writer is None else self.fire(self.writer, node, layer, cast(Sum, x))
            return Spikes(maps, layer.amplitude)
        if node.op == "max_pool":
            stem = isinstance(x, Sum) and len(x.convs) == 1 and not x.shortcuts and not x.pooled
            form = (node.kernel, node.stride, node.padding, node.dilation, node.ceil)
            require(stem and node.name in self.network.still and form == ((3, 3), (2, 2), (1, 1), (1, 1), False), node)
            return replace(cast(Sum, x), pooled=True)
        require(isinstance(x, Spikes), node)
        spikes = cast(Spikes, x)
        if isinstance(layer, nn.Conv2d):
            require(plain_conv(layer) and spikes.stride == 1 and not spikes.first and not spikes.pooled, node)
            return Sum(convs=((node.name, layer, spikes),))
        return self.without_sums(node, spikes)

    def without_sums(self, node: Node, spikes: Spikes) -> Spikes:
        """Apply an operation without sums (slice, padding, mean) to the description of spikes."""
        if node.op == "slice":
            require(node.stride[0] == node.stride[1], node)
            return replace(spikes, stride=spikes.stride * node.stride[0])
        if node.op == "pad":
            require(not any(node.padding[:4]), node)
            return replace(spikes, first=spikes.first + node.padding[4])
        if node.op == "global_pool":
            require(node.kernel == (1, 1) and spikes.stride == 1 and not spikes.first, node)
            return replace(spikes, pooled=True)
        require(node.op == "flatten" and spikes.pooled, node)
        return spikes

    def add_terms(self, node: Node, inputs: list[Spikes | Sum]) -> Sum:
        total = Sum()
        for x in inputs:
            if isinstance(x, Sum):
                require(not x.pooled, node)
                total = Sum(total.convs + x.convs, total.shortcuts + x.shortcuts)
            else:
                require(not x.pooled, node)
                total = replace(total, shortcuts=(*total.shortcuts, x))
        convs = sorted(total.convs, key=lambda term: -term[1].kernel_size[0])
        small = len(convs) < 2 or (convs[1][1].kernel_size[0] == 1 and convs[1][1].padding[0] == 0)
        require(1 <= len(convs) <= 2 and len(convs) + len(total.shortcuts) <= 2 and small, node)
        return replace(total, convs=tuple(convs))

    def folded(self, conv: nn.Conv2d, spikes: Spikes, theta: Tensor) -> Folded:
        """Return weight and bias in units of the source's spikes and of the neuron's threshold."""
        weight = conv.weight.detach().double() * spikes.amplitude.double()[None, :, None, None]
        bias = conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
        unit = theta.double()
        return (weight / unit[:, None, None, None]).float(), (bias.double() / unit).float(), conv

    def fire(self, writer: Writer, node: Node, layer: SpikeLayer, current: Sum) -> Maps:
        rule, theta = self.network.config.rule, layer.theta.detach()
        terms = [(cast(Maps, spikes.maps), self.folded(conv, spikes, theta)) for _, conv, spikes in current.convs]
        written = writer.sum_layer(current.convs[0][0], *terms[0], terms[1] if len(terms) > 1 else None)
        channels = len(theta)
        if current.pooled:
            written = writer.pool_layer(node.name, writer.keep_current(written, channels), "max")
        for added in current.shortcuts:
            written.before = self.shortcut(writer.plan, added, theta, written)
        written.beta = written.gain = written.theta = 1.0
        written.limit, written.inclusive = 1.0 - rule.v0, rule.inclusive
        if rule.room is not None:
            written.bounded, (written.low, written.high) = True, rule.room
        name = writer.names[id(layer)]
        written.kind = KINDS["lif"]
        writer.plan.scales[name] = theta
        return writer.attach(written, name, channels)

    def shortcut(self, plan: EnginePlan, spikes: Spikes, theta: Tensor, layer: NativeLayer) -> NativeShortcut:
        maps = cast(Maps, spikes.maps)
        scale, own = theta.new_zeros(padded(len(theta))), slice(spikes.first, spikes.first + maps.channels)
        scale[own] = spikes.amplitude / theta[own]
        same = spikes.stride == 1 and spikes.first == 0 and padded(maps.channels) == layer.channels
        channels = padded(maps.channels) if same else maps.channels
        added = NativeShortcut(*NO_SHORTCUT)
        added.buffer, added.stride, added.first, added.channels = maps.number, spikes.stride, spikes.first, channels
        added.scale = plan.hold(scale)
        return added


def unplanned(network: ConvertedNetwork) -> str:
    """Return what of this graph the engine cannot run, as a sentence; empty if it can run it."""
    try:
        ConvertedPlanner(network).walk()
    except UnplannedError as error:
        return str(error)
    return ""


def make_converted_plan(network: ConvertedNetwork, *, rounded: bool, rates: int = 0) -> EnginePlan:
    """Return the native plan of a converted network. Raises UnplannedError."""
    planner, shape = ConvertedPlanner(network), cast(tuple[int, int, int], network.config.input_shape)
    writer = planner.writer = Writer(network, shape, network.config.classes, rounded)
    planner.walk()
    writer.number_outputs(rates)
    return writer.plan
