"""ANN counterparts: ReLU networks to be trained, loaded and converted. State dictionaries keep their publishers' names.

cifar-resnet20 ... 56   He et al. 2016, option A shortcuts; names of akamaster/pytorch_resnet_cifar10
resnet18, resnet34      torchvision's names; `pool="none"` is the seed paper's ResNet18* and ResNet34*
small-cnn               a few convolutions for digits
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from spikesight.models.contract import CheckpointError
from spikesight.models.networks.resnet import PadShortcut, PlainBlock, SpikingResNet
from spikesight.models.neurons.layers import spikes_at_all


class BasicBlock(nn.Module):
    """relu(bn(conv(relu(bn(conv x)))) + shortcut(x)); the shortcut has its published name `downsample`."""

    def __init__(self, inputs: int, outputs: int, stride: int, kind: Literal["pad", "conv"]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm2d(outputs), nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2, self.relu2 = nn.BatchNorm2d(outputs), nn.ReLU()
        self.downsample: nn.Module | None = None
        if (stride != 1 or inputs != outputs) and kind == "pad":
            self.downsample = PadShortcut(inputs, outputs, stride)
        elif stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        return self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))) + skip)


def stage(inputs: int, outputs: int, depth: int, stride: int, kind: Literal["pad", "conv"]) -> nn.Sequential:
    """Return `depth` blocks, the first of which changes the shape."""
    blocks = [BasicBlock(inputs, outputs, stride, kind)]
    return nn.Sequential(*blocks, *(BasicBlock(outputs, outputs, 1, kind) for _ in range(depth - 1)))


class CifarResNet(nn.Module):
    """ResNet for small images, [N, C, H, W] to logits [N, K]: 6 depth + 2 layers, widths 16, 32, 64."""

    def __init__(self, depth: int, in_channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, 1, 1, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(16), nn.ReLU()
        self.layer1 = stage(16, 16, depth, 1, "pad")
        self.layer2 = stage(16, 32, depth, 2, "pad")
        self.layer3 = stage(32, 64, depth, 2, "pad")
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class ResNet(nn.Module):
    """The ImageNet ResNet of basic blocks. `pool`: "max" as published, "avg", or "none" as in the seed paper's *."""

    def __init__(
        self,
        depths: tuple[int, ...],
        in_channels: int = 3,
        classes: int = 1000,
        pool: Literal["max", "avg", "none"] = "max",
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(64), nn.ReLU()
        self.maxpool = {"max": nn.MaxPool2d(3, 2, 1), "avg": nn.AvgPool2d(3, 2, 1), "none": nn.Identity()}[pool]
        self.layer1 = stage(64, 64, depths[0], 1, "conv")
        self.layer2 = stage(64, 128, depths[1], 2, "conv")
        self.layer3 = stage(128, 256, depths[2], 2, "conv")
        self.layer4 = stage(256, 512, depths[3], 2, "conv")
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layer4(self.layer3(self.layer2(self.layer1(x))))), 1))


class SmallCnn(nn.Module):
    """Three convolutions, two max-pools and a linear read-out: enough for digits."""

    def __init__(self, in_channels: int = 1, classes: int = 10, width: int = 16) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 4 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.readout = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.features(x))


class ReluBlock(nn.Module):
    """A plain block whose neurons are ReLUs, on images; it shares the layers of `block`."""

    def __init__(self, block: PlainBlock) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = block.conv1, block.conv2, block.conv3
        self.pool, self.shortcut = block.pool, block.shortcut
        self.relu1, self.relu2, self.relu3 = nn.ReLU(), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.pool is None else self.pool(x)
        h = self.conv2(self.relu1(self.conv1(x)))
        h = h if self.conv3 is None else self.conv3(self.relu3(h))
        return self.relu2(h + (x if self.shortcut is None else self.shortcut(x)))


class ReluResNet(nn.Module):
    """A SpikingResNet whose neurons are ReLUs (kind "relu") as an ANN on images [N, C, H, W]; it shares the layers."""

    def __init__(self, network: SpikingResNet) -> None:
        super().__init__()
        self.stem, self.pool, self.relu = network.stem, network.pool, nn.ReLU()
        self.blocks = nn.ModuleList(ReluBlock(block) for block in network.blocks)  # type: ignore[arg-type]
        self.readout = network.readout

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.pool(self.stem(x)))
        for block in self.blocks:
            h = block(h)
        return self.readout(h.mean((2, 3)))


def as_ann(network: nn.Module) -> ReluResNet:
    """Return a checkpoint's ReLU network as an ANN on images. Raises CheckpointError for any other network."""
    if not isinstance(network, SpikingResNet) or spikes_at_all(network):
        raise CheckpointError("only an ANN is converted: train one with --neuron relu --steps 1")
    if network.config.block != "plain":
        raise CheckpointError(f"an ANN of {network.config.block} blocks is not converted: train one of plain blocks")
    return ReluResNet(network).eval()


@dataclass(frozen=True)
class AnnEntry:
    """The constructor of a named ANN, and the input that it was published for."""

    build: Callable[[int, int], nn.Module]  # (in_channels, classes)
    size: int  # pixels, height and width
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    head: str  # state-dict name of the last layer's weight


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

ANNS: dict[str, AnnEntry] = {
    "cifar-resnet8": AnnEntry(lambda c, k: CifarResNet(1, c, k), 32, 3, *IMAGENET, "linear.weight"),
    "cifar-resnet20": AnnEntry(lambda c, k: CifarResNet(3, c, k), 32, 3, *IMAGENET, "linear.weight"),
    "cifar-resnet32": AnnEntry(lambda c, k: CifarResNet(5, c, k), 32, 3, *IMAGENET, "linear.weight"),
    "cifar-resnet44": AnnEntry(lambda c, k: CifarResNet(7, c, k), 32, 3, *IMAGENET, "linear.weight"),
    "cifar-resnet56": AnnEntry(lambda c, k: CifarResNet(9, c, k), 32, 3, *IMAGENET, "linear.weight"),
    "resnet18": AnnEntry(lambda c, k: ResNet((2, 2, 2, 2), c, k), 224, 3, *IMAGENET, "fc.weight"),
    "resnet34": AnnEntry(lambda c, k: ResNet((3, 4, 6, 3), c, k), 224, 3, *IMAGENET, "fc.weight"),
    "resnet18-nopool": AnnEntry(lambda c, k: ResNet((2, 2, 2, 2), c, k, "none"), 224, 3, *IMAGENET, "fc.weight"),
    "resnet34-nopool": AnnEntry(lambda c, k: ResNet((3, 4, 6, 3), c, k, "none"), 224, 3, *IMAGENET, "fc.weight"),
    "small-cnn": AnnEntry(lambda c, k: SmallCnn(c, k), 28, 1, (0.1307,), (0.3081,), "readout.weight"),
}
"""ANNs by name. The CIFAR weights were trained with ImageNet's mean and standard deviation."""


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dictionary from safetensors, or from a torch file with weights_only (nothing is executed)."""
    if not path.is_file():
        raise CheckpointError(f"no file {path.name}: give a state dictionary (.safetensors, .pt, .pth or .th)")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        data: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path.name} is not a state dictionary of safetensors or of torch.save") from error
    except Exception as error:  # the unpickler's refusals have their own types
        raise CheckpointError(
            f"{path.name} is not read: torch.save did not write it, or it holds more than tensors"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(data, Mapping) and isinstance(data.get(key), Mapping):
            data = data[key]
    if not isinstance(data, Mapping) or not data or not all(isinstance(v, Tensor) for v in data.values()):
        raise CheckpointError(f"{path.name} is not a state dictionary of tensors")
    return {str(name).removeprefix("module."): tensor for name, tensor in data.items()}


def fits(network: nn.Module, state: Mapping[str, Tensor]) -> bool:
    """Return whether the state dictionary has exactly the network's names and shapes (batch counters aside)."""
    own = {n: t.shape for n, t in network.state_dict().items() if not n.endswith("num_batches_tracked")}
    given = {n: t.shape for n, t in state.items() if not n.endswith("num_batches_tracked")}
    return own == given


def build_for(name: str, state: Mapping[str, Tensor]) -> nn.Module:
    """Build the named ANN with the state dictionary's channel and class counts, and load the weights."""
    entry = ANNS[name]
    first = next((t for t in state.values() if t.ndim == 4), None)
    head = state.get(entry.head)
    if first is None or head is None:
        raise CheckpointError(f"these weights are not a {name}: it needs convolutions and {entry.head}")
    network = entry.build(first.shape[1], head.shape[0])
    if not fits(network, state):
        raise CheckpointError(f"these weights do not fit {name}: names or shapes differ")
    network.load_state_dict(dict(state), strict=False)
    return network.eval()


def guess_name(state: Mapping[str, Tensor]) -> str:
    """Return the name of the ANN that the state dictionary fits. Raises CheckpointError if none does."""
    for name, entry in ANNS.items():
        if entry.head in state:
            try:
                build_for(name, state)
            except CheckpointError:
                continue
            return name
    raise CheckpointError(f"these weights fit none of the networks known here: {', '.join(ANNS)}")
