"""Spiking residual networks: plain, SEW and MS blocks, with and without a max-pool in the stem.

A network maps x_seq [T, N, C, H, W] to logits [T, N, K]; convolutions and batch norms see the merged [T N, ...] batch
(so batch norm takes its statistics over time as well, as tdBN does), neurons step along T.

  plain   SN(BN(Conv(SN(BN(Conv x)))) + shortcut(x))                 the seed paper's block, ReLU -> SN
  sew     SN(BN(Conv(SN(BN(Conv x))))) + shortcut(x)                 Fang et al. 2021, element-wise ADD
  ms      x + BN(Conv(SN(BN(Conv(SN(x))))))                          Hu et al. 2024, membrane shortcut

A bottleneck block has three convolutions (1x1, 3x3, 1x1) instead. With `downsample="max"` a stage begins with a 2x2
max-pool in place of its stride, after the idea of Max-ResNet (Fang et al. 2025): spikes stay binary and currents stay
currents.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from spikesight.models.networks.converted.graph import MAX_WEIGHTS
from spikesight.models.networks.output_cells import CELL_WINDOW, STRIDE, pool_output_cells
from spikesight.models.neurons.config import NeuronConfig
from spikesight.models.neurons.layers import Neuron, make_neuron, name_states
from spikesight.models.neurons.state import State


@dataclass(frozen=True)
class ResNetConfig:
    """The shape of a spiking ResNet."""

    block: Literal["plain", "sew", "ms"] = "sew"
    depths: tuple[int, ...] = (2, 2, 2, 2)  # blocks in each stage
    widths: tuple[int, ...] = (64, 128, 256, 512)  # output channels of each stage
    stem: Literal["imagenet", "small"] = "small"  # 7x7 stride 2, or 3x3 stride 1
    pool: Literal["max", "avg", "none"] = "none"  # in the stem, before its neuron
    shortcut: Literal["conv", "pad"] = "conv"  # if the shape changes: 1x1 convolution, or strided and zero-padded
    in_channels: int = 2
    classes: int = 10
    neuron: NeuronConfig = field(default_factory=NeuronConfig)
    bottleneck: bool = (
        False  # blocks of 1x1, 3x3 and 1x1 convolutions; `widths` are their outputs, the middle a quarter
    )
    downsample: Literal["stride", "max"] = "stride"  # at the begin of a stage
    spiking_readout: bool = False  # the logits are the spikes of a last neuron layer (for losses on spike counts)
    read: Literal["mean", "places"] = "mean"  # the read-out's input: the last map's mean, or places of it (places.py)
    tdbn: bool = False  # Zheng et al. 2021: norms of summed branches start at theta / sqrt 2, the others at theta

    def __post_init__(self) -> None:
        if len(self.depths) != len(self.widths) or not self.depths:
            raise ValueError("depths and widths need one entry a stage")
        if min(*self.depths, *self.widths, self.in_channels, self.classes) < 1:
            raise ValueError("depths, widths, in_channels and classes must be positive")
        if sum(self.depths) > 256 or max(*self.widths, self.in_channels) > 8192 or self.classes > 100_000:
            raise ValueError("at most 256 blocks, 8192 channels and 100000 classes")
        stages = zip((self.widths[0], *self.widths), self.widths, self.depths)
        pairs = sum(width * (before + (2 * depth - 1) * width) for before, width, depth in stages)
        if pairs * (0.5 if self.bottleneck else 9) > MAX_WEIGHTS:  # of the blocks' convolutions
            raise ValueError(f"at most {MAX_WEIGHTS} weights")
        if self.bottleneck and any(width % 4 for width in self.widths):
            raise ValueError("the widths of bottleneck blocks must be multiples of 4")
        halved = (self.stem == "imagenet") + (self.pool != "none") + len(self.depths) - 1
        if self.read == "places" and (2**halved != STRIDE or self.spiking_readout):
            raise ValueError(f"places are read with a stride of {STRIDE} by a linear read-out")
        for name, value, known in (
            ("block", self.block, BLOCKS),
            ("stem", self.stem, ("imagenet", "small")),
            ("pool", self.pool, ("max", "avg", "none")),
            ("shortcut", self.shortcut, ("conv", "pad")),
            ("downsample", self.downsample, ("stride", "max")),
            ("read", self.read, ("mean", "places")),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")


def per_step(layer: Callable[[Tensor], Tensor], x_seq: Tensor) -> Tensor:
    """Apply a stateless layer to every step at once: [T, N, ...] through the merged batch [T N, ...]."""
    return layer(x_seq.flatten(0, 1)).unflatten(0, x_seq.shape[:2])


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return a bias-free convolution with padding kernel // 2, and its batch norm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


class PadShortcut(nn.Module):
    """The parameter-free shortcut of He et al. (2016, option A): every second pixel, zero channels on both sides."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, before = stride, (outputs - inputs) // 2
        self.channels = (before, outputs - inputs - before)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.channels))


def make_shortcut(inputs: int, outputs: int, stride: int, kind: str) -> nn.Module | None:
    """Return a block's shortcut; None (the identity) if the shape does not change."""
    if stride == 1 and inputs == outputs:
        return None
    return PadShortcut(inputs, outputs, stride) if kind == "pad" else conv_bn(inputs, outputs, 1, stride)


class ResidualBlock(nn.Module):
    """The convolutions, neurons and shortcut of a residual block; the kinds of block differ in `forward`."""

    def __init__(self, inputs: int, outputs: int, stride: int, config: ResNetConfig) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, ceil_mode=True) if stride == 2 and config.downsample == "max" else None
        stride = 1 if self.pool else stride
        middle = outputs // 4 if config.bottleneck else outputs
        self.conv1 = conv_bn(inputs, middle, 1) if config.bottleneck else conv_bn(inputs, middle, 3, stride)
        self.conv2 = conv_bn(middle, middle, 3, stride if config.bottleneck else 1)
        self.conv3 = conv_bn(middle, outputs, 1) if config.bottleneck else None
        self.neuron1, self.neuron2 = make_neuron(config.neuron), make_neuron(config.neuron)
        self.neuron3 = make_neuron(config.neuron) if config.bottleneck else None
        self.shortcut = make_shortcut(inputs, outputs, stride, config.shortcut)

    @property
    def last_conv(self) -> nn.Sequential:
        return self.conv2 if self.conv3 is None else self.conv3

    def enter(self, x_seq: Tensor) -> Tensor:
        """Return the block's input, pooled if the block begins a stage with a max-pool."""
        return x_seq if self.pool is None else per_step(self.pool, x_seq)

    def skip(self, x_seq: Tensor) -> Tensor:
        """Return the shortcut's output."""
        return x_seq if self.shortcut is None else per_step(self.shortcut, x_seq)

    def currents(self, x_seq: Tensor, state: State) -> Tensor:
        """Return the branch's current before its last neuron: convolution, neuron, ..., convolution."""
        h = per_step(self.conv2, self.neuron1(per_step(self.conv1, x_seq), state))
        return h if self.conv3 is None else per_step(self.conv3, self.neuron2(h, state))

    def last_neuron(self) -> Neuron:
        return self.neuron2 if self.neuron3 is None else self.neuron3


class PlainBlock(ResidualBlock):
    def forward(self, x_seq: Tensor, state: State) -> Tensor:
        x_seq = self.enter(x_seq)
        return self.last_neuron()(self.currents(x_seq, state) + self.skip(x_seq), state)


class SewBlock(ResidualBlock):
    """A SEW block, whose outputs are sums of spikes: 0, 1, 2, ..."""

    def __init__(self, inputs: int, outputs: int, stride: int, config: ResNetConfig) -> None:
        super().__init__(inputs, outputs, stride, config)
        extra = make_neuron(config.neuron) if isinstance(self.shortcut, nn.Sequential) else None
        if config.bottleneck:
            self.neuron4 = extra
        else:
            self.neuron3 = extra

    def last_neuron(self) -> Neuron:
        return self.neuron2 if self.conv3 is None else super().last_neuron()

    def forward(self, x_seq: Tensor, state: State) -> Tensor:
        x_seq = self.enter(x_seq)
        current = self.currents(x_seq, state)
        skip = self.skip(x_seq)
        extra = self.neuron3 if self.conv3 is None else self.neuron4
        if extra is not None:
            skip = extra(skip, state)
        return self.last_neuron()(current, state) + skip


class MsBlock(ResidualBlock):
    """An MS block: the shortcut carries currents, and all convolutions of the branch see binary spikes."""

    def forward(self, x_seq: Tensor, state: State) -> Tensor:
        x_seq = self.enter(x_seq)
        h = per_step(self.conv1, self.neuron1(x_seq, state))
        h = per_step(self.conv2, self.neuron2(h, state))
        if self.conv3 is not None and self.neuron3 is not None:
            h = per_step(self.conv3, self.neuron3(h, state))
        return h + self.skip(x_seq)


BLOCKS: dict[str, type[PlainBlock | SewBlock | MsBlock]] = {"plain": PlainBlock, "sew": SewBlock, "ms": MsBlock}


def _scale_norm(branch: nn.Module | None, scale: float) -> None:
    """Set the weight of a branch's batch norm if there is one."""
    for module in branch.children() if branch is not None else ():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, scale)


class SpikingResNet(nn.Module):
    """A spiking ResNet with a linear read-out. The network takes and returns its state and stores none."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        width = config.widths[0] // 4 if config.bottleneck else config.widths[0]
        self.stem = conv_bn(
            config.in_channels, width, 7 if config.stem == "imagenet" else 3, 1 + (config.stem == "imagenet")
        )
        self.pool = {"max": nn.MaxPool2d(3, 2, 1), "avg": nn.AvgPool2d(3, 2, 1), "none": nn.Identity()}[config.pool]
        self.neuron = None if config.block == "ms" else make_neuron(config.neuron)
        blocks: list[ResidualBlock] = []
        for stage, (depth, outputs) in enumerate(zip(config.depths, config.widths)):
            for number in range(depth):
                stride = 2 if stage > 0 and number == 0 else 1
                blocks.append(BLOCKS[config.block](width, outputs, stride, config))
                width = outputs
        self.blocks = nn.ModuleList(blocks)
        self.last_neuron = make_neuron(config.neuron) if config.block == "ms" else None
        self.readout = nn.Linear(width, config.classes)
        self.readout_neuron = make_neuron(config.neuron) if config.spiking_readout else None
        self._initialise()
        name_states(self)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.weight, self.config.neuron.theta)
        for block in self.blocks:
            assert isinstance(block, ResidualBlock)
            if self.config.tdbn:
                _scale_norm(block.last_conv, self.config.neuron.theta / math.sqrt(2))
                _scale_norm(block.shortcut, self.config.neuron.theta / math.sqrt(2))
            if self.config.block == "ms":  # each block starts as the identity (Hu et al. 2024)
                _scale_norm(block.last_conv, 0.0)

    def features(self, x_seq: Tensor, state: State) -> Tensor:
        """Return the spikes of the last neuron layer, [T, N, widths[-1], H', W']."""
        h = per_step(self.pool, per_step(self.stem, x_seq))
        if self.neuron is not None:
            h = self.neuron(h, state)
        for block in self.blocks:
            h = block(h, state)
        return h if self.last_neuron is None else self.last_neuron(h, state)

    @property
    def reach(self) -> int:
        """Pixels of the last map, a side, that the read-out reads at each place; 0: all at once."""
        return CELL_WINDOW if self.config.read == "places" else 0

    def forward(self, x_seq: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run x_seq [T, N, C, H, W] from a state (None: zeros); return logits [T, N, K] and the new state.

        A network that reads places gives those of each of the view's P places, [T, N, P K].
        """
        if x_seq.ndim != 5 or x_seq.shape[2] != self.config.in_channels:
            raise ValueError(f"x_seq must be [T, N, {self.config.in_channels}, H, W], not {tuple(x_seq.shape)}")
        after = dict(state or {})
        spikes = self.features(x_seq.to(self.readout.weight.dtype), after)
        logits = self.readout(pool_output_cells(spikes)).flatten(2) if self.reach else self.readout(spikes.mean((3, 4)))
        return logits if self.readout_neuron is None else self.readout_neuron(logits, after), after


def _cifar(depth: int) -> ResNetConfig:
    return ResNetConfig("plain", (depth,) * 3, (16, 32, 64), shortcut="pad", in_channels=3)


def _imagenet(
    block: Literal["plain", "sew", "ms"], depth: int, pool: Literal["max", "avg", "none"] = "max"
) -> ResNetConfig:
    depths = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}[depth]
    widths = (256, 512, 1024, 2048) if depth == 50 else (64, 128, 256, 512)
    return ResNetConfig(
        block, depths, widths, stem="imagenet", pool=pool, in_channels=3, classes=1000, bottleneck=depth == 50
    )


NETWORKS: dict[str, ResNetConfig] = {
    "event-small": ResNetConfig("ms", (1, 1, 1), (16, 32, 64), pool="max"),
    "event-medium": ResNetConfig("ms", (2, 2, 2), (16, 32, 64), pool="max"),
    "event-large": ResNetConfig("ms", (2, 2, 2, 2), (32, 64, 128, 256), pool="max"),
    "event-sew": ResNetConfig("sew", (2, 2, 2), (16, 32, 64), pool="max"),
    "image-small": ResNetConfig("ms", (2, 2), (32, 64), pool="max", in_channels=1),
    "image-medium": ResNetConfig("ms", (2, 2, 2), (32, 64, 128), pool="max", in_channels=1),
    "image-wide": ResNetConfig("ms", (1, 1, 1), (64, 128, 256), pool="max", in_channels=1),
    "resnet18": _imagenet("plain", 18),
    "resnet18-nopool": _imagenet("plain", 18, "none"),
    "resnet18-avgpool": _imagenet("plain", 18, "avg"),
    "resnet34": _imagenet("plain", 34),
    "resnet34-nopool": _imagenet("plain", 34, "none"),
    "resnet34-avgpool": _imagenet("plain", 34, "avg"),
    "resnet50": _imagenet("plain", 50),
    "sew-resnet18": _imagenet("sew", 18),
    "sew-resnet34": _imagenet("sew", 34),
    "sew-resnet50": _imagenet("sew", 50),
    "ms-resnet18": _imagenet("ms", 18),
    "ms-resnet34": _imagenet("ms", 34),
    "ms-resnet50": _imagenet("ms", 50),
    "max-resnet18": ResNetConfig("ms", in_channels=3, downsample="max"),
    "cifar-resnet18": ResNetConfig("sew", in_channels=3),
    "cifar-ms-resnet18": ResNetConfig("ms", in_channels=3),
    "cifar-resnet19": ResNetConfig("plain", (3, 3, 2), (128, 256, 512), in_channels=3, tdbn=True),
    "cifar-resnet8": _cifar(1),
    "cifar-resnet20": _cifar(3),
    "cifar-resnet32": _cifar(5),
    "cifar-resnet44": _cifar(7),
    "cifar-resnet56": _cifar(9),
}
"""Shapes by name; `dataclasses.replace` sets in_channels, classes and the neuron."""
