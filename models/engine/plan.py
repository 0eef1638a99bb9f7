"""Translate a network into native layers: batch norms folded, neurons and shortcuts fused into their convolution.

`Writer` appends layers; plan_resnet and plan_converted decide which layers a network needs.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, cast

import torch
from torch import Tensor, nn

from spikesight.encoders.native.build import library
from spikesight.models.engine.structs import (
    NO_SHORTCUT,
    NativeBuffer,
    NativeConvolution,
    NativeLayer,
    NativeReadout,
    NativeShortcut,
)
from spikesight.models.networks.folding import Folded
from spikesight.models.networks.metering import reach
from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.pace import pace

POOLS = {"max": 1, "avg": 2, "halve": 3}  # max and avg: 3x3 with padding 1; halve: 2x2 with ceil_mode
KINDS = {"lif": 0, "clif": 1, "psn": 2, "paced": 3}  # neuron models


Product = Literal["float", "pairs", "matrix", "matrix in three"]
"""How dense frames are multiplied: floats; pairs of bfloat16; a matrix unit with one or three bfloat16 a weight."""


def break_even(channels: int, kernel: int, *, binary: bool, product: Product) -> float:
    """Return the share of a convolution's multiply-adds that meet an event below which visiting events is faster.

    The product follows from the instruction set. Those without a matrix unit were measured on a Zen 5 core with
    AVX-512, those with one on a Xeon with AMX (family 6, model 143), 64 to 512 channels, rounded down so that a near
    tie is dense. On another Xeon with AMX (model 167) single layers broke even at twice these shares, but whole
    networks were no faster by them.
    """
    if product == "matrix":
        return 0.04 if channels < 128 else 0.03
    if product == "matrix in three":  # in wide layers the matrix unit waits for weights
        return 0.2 if channels >= 512 else 0.11 if channels >= 256 else 0.1 if channels >= 128 else 0.13
    if product == "pairs":
        return 0.2 if kernel > 1 else 0.08
    if kernel == 1:
        return 0.4 if binary else 0.2
    if channels >= 128:
        return 0.36
    return 0.5 if binary else 0.42


def has_matrix_unit() -> bool:
    """Return whether the kernels use a matrix unit on this machine."""
    lib = library()
    return lib is not None and bool(lib.engine_has_matrix_unit())


def set_pace(layer: NativeLayer, span: float) -> None:
    """Set a layer of LIF neurons to steps of `span` times the trained length."""
    layer.kind = KINDS["paced"]
    layer.beta, layer.charge, layer.theta = pace(layer.beta, layer.theta, span, delay=bool(layer.delay))


def padded(channels: int) -> int:
    """Round a channel count up to a multiple of 16, as the engine lays channels out."""
    return -(-channels // 16) * 16


def split(weight: Tensor, parts: int) -> list[Tensor]:
    """Split weights into bfloat16 numbers that sum to them: exactly with three parts, rounded with one."""
    found: list[Tensor] = []
    for _ in range(parts):
        found.append(weight.bfloat16())
        weight = weight - found[-1].float()
    return found


def pack(weight: Tensor, inputs: int, chunk: int, parts: int) -> tuple[Tensor, Tensor]:
    """Lay weights [Co, Ci, K, K] out for events, [chunk][Ci][K K][CH], and for dense frames, [chunk][K K][Ci][CH]. With
    `parts` the latter are bfloat16 with channel pairs side by side, [parts][chunk][K K][Ci / 2][CH][2].
    """
    outputs, channels, kernel, _ = weight.shape
    full = torch.zeros(padded(outputs), inputs, kernel * kernel, dtype=torch.float32)
    full[:outputs, :channels] = weight.flatten(2)
    chunks = full.unflatten(0, (-1, chunk))
    by_tap = chunks.permute(0, 3, 2, 1)
    if parts:
        by_tap = torch.stack([part.unflatten(2, (-1, 2)).transpose(3, 4) for part in split(by_tap, parts)])
    return chunks.permute(0, 2, 3, 1).contiguous(), by_tap.contiguous()


@dataclass(frozen=True)
class Maps:
    """A buffer of feature maps between layers: its number, channels before padding, and size."""

    number: int
    channels: int
    height: int
    width: int


@dataclass
class EnginePlan:
    """Everything that the native side needs, and the tensors behind its pointers."""

    layers: list[NativeLayer] = field(default_factory=list)
    buffers: list[NativeBuffer] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # names of the layers
    states: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)  # by key: offset, channels, H, W
    spike_layers: int = 0
    held: list[Tensor] = field(default_factory=list)
    readout: NativeReadout = field(default_factory=NativeReadout)
    scales: dict[str, Tensor] = field(default_factory=dict)  # by neuron: network units per engine membrane unit, [C]
    shape: tuple[int, int, int] = (0, 0, 0)  # of the input
    classes: int = 0
    places: tuple[int, int] = (1, 1)  # rows and columns of places that have logits of their own
    state_size: int = 0
    neurons: list[str] = field(default_factory=list)  # names of the neuron layers, in the network's order
    fired_size: int = 0  # bytes of a bit mask over all neurons
    rates_size: int = 0

    def hold(self, tensor: Tensor) -> int:
        """Keep a tensor alive as long as the plan; return its address."""
        tensor = tensor.contiguous()
        self.held.append(tensor)
        return tensor.data_ptr()


def can_fuse(layers: list[NativeLayer], i: int) -> bool:
    """Return whether layer i pools the sums of the convolution before it, which no other layer reads: in one pass they
    stay in the cache (those of a large image's stem are megabytes).
    """
    conv, buffer = layers[i - 1], layers[i].main.buffer
    lone = not (conv.pool or conv.neuron) and conv.side.buffer < 0 and conv.before.buffer < 0
    takers = sum((one.main.buffer, one.side.buffer, one.before.buffer).count(buffer) for one in layers)
    return bool(layers[i].pool) and lone and conv.current == buffer and takers == 1


class Writer:
    """Writes a plan layer by layer; subclasses and callers know which layers a kind of network needs."""

    def __init__(self, network: nn.Module, shape: tuple[int, int, int], classes: int, rounded: bool) -> None:
        self.rounded, self.plan = rounded, EnginePlan(shape=shape, classes=classes)
        self.names = {id(module): name for name, module in network.named_modules()}
        self.slots = [name for name, module in network.named_modules() if isinstance(module, Neuron)]
        self.plan.spike_layers = len(self.slots)
        self.input = self.buffer(*shape, binary=False, laid_out=False)

    def buffer(
        self,
        channels: int,
        height: int,
        width: int,
        *,
        is_float: bool = False,
        binary: bool = True,
        laid_out: bool = True,
    ) -> Maps:
        """Append a buffer of the scratch memory; layers refer to it by its number."""
        shape = (height, width, padded(channels) if laid_out else channels)
        self.plan.buffers.append(NativeBuffer(int(is_float), *shape, int(binary)))
        return Maps(len(self.plan.buffers) - 1, channels, height, width)

    def convolution(self, source: Maps, weight: Tensor, conv: nn.Conv2d, chunk: int) -> NativeConvolution:
        """Return a native convolution of `source`: weights laid out for the kernels, stride, padding, channels."""
        buffer = self.plan.buffers[source.number]
        halves = self.rounded and not buffer.is_float and source is not self.input
        matrix = has_matrix_unit() and source is not self.input and not buffer.is_float
        matrix = matrix and buffer.channels % 32 == 0 and chunk == 32
        parts = 1 if halves else 3 if matrix else 0
        weight = weight.bfloat16().float() if halves else weight
        by_channel, dense = pack(weight, buffer.channels, chunk, parts)
        kernel, stride, pad = (cast(tuple[int, int], v)[0] for v in (conv.kernel_size, conv.stride, conv.padding))
        product: Product = (
            "matrix" if matrix and halves else "matrix in three" if matrix else "pairs" if halves else "float"
        )
        density = break_even(source.channels, kernel, binary=bool(buffer.binary), product=product)
        return NativeConvolution(
            source.number,
            kernel,
            stride,
            pad,
            self.plan.hold(by_channel),
            None if parts else self.plan.hold(dense),
            self.plan.hold(dense) if parts else None,
            parts,
            dense[0].numel() // 2 if parts else 0,
            int(matrix),
            self.plan.hold(reach(conv, source.height, source.width).to(torch.int32)),
            conv.out_channels,
            density,
        )

    def layer(self, name: str, channels: int, height: int, width: int, bias: Tensor | None) -> NativeLayer:
        """Append a layer with these output maps; the caller sets its inputs, outputs and neuron."""
        laid_out = padded(channels)
        layer = NativeLayer(0, height=height, width=width, channels=laid_out, chunk=self.chunk(channels))
        layer.main.buffer = layer.side.buffer = layer.current = layer.spikes = -1
        layer.before, layer.after = NativeShortcut(*NO_SHORTCUT), NativeShortcut(*NO_SHORTCUT)
        if bias is not None:
            layer.bias = self.plan.hold(nn.functional.pad(bias, (0, laid_out - channels)))
        self.plan.layers.append(layer)
        self.plan.names.append(name)
        return layer

    @staticmethod
    def chunk(channels: int) -> int:
        """Return how many output channels a kernel handles together."""
        return 32 if padded(channels) % 32 == 0 else 16

    def sum_layer(
        self, name: str, source: Maps, folded: Folded, side: tuple[Maps, Folded] | None = None
    ) -> NativeLayer:
        """Append a convolution of `source`, plus the shortcut's convolution `side` if there is one."""
        weight, bias, conv = folded
        kernel, stride, pad = (cast(tuple[int, int], v)[0] for v in (conv.kernel_size, conv.stride, conv.padding))
        height, width = ((size + 2 * pad - kernel) // stride + 1 for size in (source.height, source.width))
        bias = bias if side is None else bias + side[1][1]
        layer = self.layer(name, conv.out_channels, height, width, bias)
        layer.main = self.convolution(source, weight, conv, layer.chunk)
        if side is not None:
            layer.side = self.convolution(side[0], side[1][0], side[1][2], layer.chunk)
        return layer

    def pool_layer(self, name: str, source: Maps, kind: str) -> NativeLayer:
        """Append a pooling of currents or spikes with stride 2."""
        height, width = ((size + 1) // 2 for size in (source.height, source.width))
        layer = self.layer(name, source.channels, height, width, None)
        layer.pool, layer.main.buffer, layer.main.fan_out = POOLS[kind], source.number, source.channels
        return layer

    def keep_current(self, layer: NativeLayer, channels: int) -> Maps:
        """Have the layer write its currents to a new buffer; return the buffer."""
        out = self.buffer(channels, layer.height, layer.width, is_float=True, binary=False)
        layer.current = out.number
        return out

    def attach(
        self,
        layer: NativeLayer,
        name: str,
        channels: int,
        *,
        parts: Iterable[str] = ("",),
        binary: bool = True,
    ) -> Maps:
        """Append the neuron layer `name` driven by `layer`'s currents and return its spikes. The state has one entry
        for each of `parts`, a suffix of its key. The caller sets the neuron model.
        """
        plan = self.plan
        out = self.buffer(channels, layer.height, layer.width, binary=binary)
        layer.spikes, layer.neuron = out.number, self.slots.index(name) + 1
        layer.state = plan.state_size
        for part in parts:
            plan.states[name + part] = (plan.state_size, channels, layer.height, layer.width)
            plan.state_size += layer.height * layer.width * layer.channels
        return out

    def write_readout(self, spikes: Maps, weight: Tensor, bias: Tensor | None, reach: int = 0) -> None:
        """Set the linear read-out, weight [K, C], of the spikes' mean over the map; with `reach`, over the reach x
        reach pixels of each place.
        """
        classes, wide = weight.shape[0], padded(weight.shape[0])
        full = torch.zeros(padded(spikes.channels), wide, dtype=torch.float32)
        offsets = full.new_zeros(wide)
        full[: spikes.channels, :classes] = weight.detach().T
        if bias is not None:
            offsets[:classes] = bias.detach()
        held = self.plan.hold(full), self.plan.hold(offsets)
        if reach:
            self.plan.places = spikes.height - reach + 1, spikes.width - reach + 1
        outputs = classes * self.plan.places[0] * self.plan.places[1]
        self.plan.readout = NativeReadout(spikes.number, classes, wide, reach, outputs, *held)

    def number_outputs(self, rates: int, places: int = 1) -> None:
        """Order the fired bits by the network's neuron layers, not by the pass; have the first `rates` layers report
        their channels' rates in `places` x `places` parts of the map (`in_places`). Pools take the convolution before
        them along where they can.
        """
        for i in range(1, len(self.plan.layers)):
            self.plan.layers[i].fused = can_fuse(self.plan.layers, i)
        by_slot = sorted((layer for layer in self.plan.layers if layer.neuron), key=lambda layer: layer.neuron)
        for layer in by_slot[:rates]:
            layer.rate_channels = self.plan.states[self.slots[layer.neuron - 1]][1]
            layer.rate_first = self.plan.rates_size
            layer.rate_places = places
            self.plan.rates_size += layer.rate_channels * places**2
        for layer in by_slot:
            self.plan.neurons.append(self.slots[layer.neuron - 1])
            layer.fired = self.plan.fired_size
            self.plan.fired_size += layer.height * layer.width * layer.channels // 8
