"""Translate a spiking ResNet into native layers, in the order of its forward pass."""

from typing import cast

import torch
from torch import Tensor, nn

from spikesight.models.engine.plan import KINDS, EnginePlan, Maps, Writer, padded, set_pace
from spikesight.models.engine.structs import NativeLayer, NativeShortcut
from spikesight.models.networks.folding import fold
from spikesight.models.networks.resnet import MsBlock, PadShortcut, PlainBlock, ResidualBlock, SewBlock, SpikingResNet
from spikesight.models.neurons.layers import Neuron, SlidingNeuron


def outputs_of(block: ResidualBlock) -> int:
    """Return the output channels of a block."""
    return cast(nn.Conv2d, block.last_conv[0]).out_channels


class ResNetPlanner(Writer):
    """Walks a SpikingResNet in the order of its forward pass and writes the plan."""

    def __init__(self, network: SpikingResNet, height: int, width: int, rounded: bool) -> None:
        config = network.config
        super().__init__(network, (config.in_channels, height, width), config.classes, rounded)
        self.network = network

    def conv_layer(
        self, conv_bn: nn.Sequential, source: Maps, side: tuple[nn.Sequential, Maps] | None = None
    ) -> NativeLayer:
        """Append conv_bn(source), plus the shortcut convolution `side` if there is one."""
        extra = None if side is None else (side[1], fold(side[0]))
        return self.sum_layer(self.names[id(conv_bn)], source, fold(conv_bn), extra)

    def fire(self, layer: NativeLayer, neuron: Neuron, channels: int, *, binary: bool = True) -> Maps:
        """Append a neuron layer driven by `layer`'s currents; return its spikes."""
        config, leak, parts = neuron.config, neuron.beta(), [""]
        beta = float(leak.detach()) if isinstance(leak, Tensor) else leak
        layer.delay, layer.zero, layer.inclusive = config.delay, config.reset == "zero", config.inclusive
        layer.beta, layer.gain = beta, 1 - beta if config.scale_input else 1.0
        layer.theta = layer.limit = config.theta
        layer.kind = KINDS[config.kind]
        if config.kind == "clif":
            parts += [".m"]
        elif isinstance(neuron, SlidingNeuron):
            parts += [f".{i}" for i in range(2, config.taps)]
            layer.taps = config.taps
            layer.weight = self.plan.hold(torch.cat([neuron.weight.detach(), neuron.bias.detach()[None]]))
        if neuron.span != 1:
            set_pace(layer, float(neuron.span))
        return self.attach(layer, self.names[id(neuron)], channels, parts=parts, binary=binary)

    def shortcut_from(self, source: Maps, shortcut: PadShortcut | None) -> NativeShortcut:
        """Return an identity shortcut from `source`, strided and zero-padded as `shortcut` says."""
        if shortcut is None:
            return NativeShortcut(source.number, 1, 0, padded(source.channels), None)
        return NativeShortcut(source.number, shortcut.stride, shortcut.channels[0], source.channels, None)

    def arrive(self, layer: NativeLayer, channels: int, following: MsBlock | None) -> tuple[Maps, Maps]:
        """End a block of an MS network: return its current and the spikes of the first neuron of the `following` block,
        or of the network's last neuron (None).
        """
        if following is None:
            return self.input, self.fire(layer, cast(Neuron, self.network.last_neuron), channels)
        if following.pool is not None:
            layer = self.pool_layer(self.names[id(following.pool)], self.keep_current(layer, channels), "halve")
        return self.keep_current(layer, channels), self.fire(layer, following.neuron1, channels)

    def stem(self) -> tuple[NativeLayer, int]:
        """Append the stem and its pooling; return its layer and channels."""
        network = self.network
        layer, channels = self.conv_layer(network.stem, self.input), cast(nn.Conv2d, network.stem[0]).out_channels
        if network.config.pool != "none":
            layer = self.pool_layer("pool", self.keep_current(layer, channels), network.config.pool)
        return layer, channels

    def enter(self, block: ResidualBlock, x: Maps) -> Maps:
        """Return the input spikes of a plain or SEW block, pooled if the block pools."""
        if block.pool is None:
            return x
        layer = self.pool_layer(self.names[id(block.pool)], x, "halve")
        out = self.buffer(x.channels, layer.height, layer.width, binary=bool(self.plan.buffers[x.number].binary))
        layer.spikes = out.number
        return out

    def branch(self, block: ResidualBlock, spikes: Maps, neurons: list[Neuron]) -> Maps:
        """Append all convolutions of a block but the last, each with its neuron; return the last one's input."""
        convs = [block.conv1] if block.conv3 is None else [block.conv1, block.conv2]
        for conv_bn, neuron in zip(convs, neurons):
            spikes = self.fire(self.conv_layer(conv_bn, spikes), neuron, cast(nn.Conv2d, conv_bn[0]).out_channels)
        return spikes

    def sum_with_shortcut(self, block: ResidualBlock, h: Maps, x: Maps) -> NativeLayer:
        """Append the block's last convolution, of h, plus its shortcut, of x."""
        side = (block.shortcut, x) if isinstance(block.shortcut, nn.Sequential) else None
        layer = self.conv_layer(block.last_conv, h, side)
        if side is None:
            layer.before = self.shortcut_from(x, cast(PadShortcut | None, block.shortcut))
        return layer

    def plain(self, block: ResidualBlock, x: Maps) -> Maps:
        x = self.enter(block, x)
        h = self.branch(block, x, [block.neuron1, block.neuron2])
        return self.fire(self.sum_with_shortcut(block, h, x), block.last_neuron(), outputs_of(block))

    def sew(self, block: SewBlock, x: Maps) -> Maps:
        x = self.enter(block, x)
        h = self.branch(block, x, [block.neuron1, block.neuron2])
        skip, shortcut = x, block.shortcut
        extra = block.neuron3 if block.conv3 is None else block.neuron4
        if extra is not None:
            assert isinstance(shortcut, nn.Sequential)
            skip, shortcut = self.fire(self.conv_layer(shortcut, x), extra, outputs_of(block)), None
        layer = self.conv_layer(block.last_conv, h)
        layer.after = self.shortcut_from(skip, cast(PadShortcut | None, shortcut))
        return self.fire(layer, block.last_neuron(), outputs_of(block), binary=False)

    def ms(self, block: MsBlock, x: Maps, spikes: Maps, following: MsBlock | None) -> tuple[Maps, Maps]:
        h = self.branch(block, spikes, [block.neuron2, cast(Neuron, block.neuron3)])
        return self.arrive(self.sum_with_shortcut(block, h, x), outputs_of(block), following)

    def make(self, rates: int, places: int) -> EnginePlan:
        """Return the plan of the whole network; its first `rates` neuron layers report rates in places."""
        network, (layer, channels) = self.network, self.stem()
        if network.config.block == "ms":
            blocks = cast(list[MsBlock], list(network.blocks))
            x, spikes = self.arrive(layer, channels, blocks[0])
            for block, following in zip(blocks, [*blocks[1:], None]):
                x, spikes = self.ms(block, x, spikes, following)
        else:
            spikes = self.fire(layer, cast(Neuron, network.neuron), channels)
            for block in cast(list[PlainBlock | SewBlock], list(network.blocks)):
                spikes = self.sew(block, spikes) if isinstance(block, SewBlock) else self.plain(block, spikes)
        self.write_readout(spikes, network.readout.weight, network.readout.bias, network.reach)
        self.number_outputs(rates, places)
        return self.plan


def make_plan(
    network: SpikingResNet, height: int, width: int, *, rounded: bool, rates: int = 0, places: int = 1
) -> EnginePlan:
    """Return the native plan of an evaluated SpikingResNet for inputs [*, *, C, height, width]."""
    return ResNetPlanner(network, height, width, rounded).make(rates, places)
