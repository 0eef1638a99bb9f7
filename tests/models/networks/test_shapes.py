"""Every network that has a name has the shape it had: weights that were saved must fit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from spikesight.models.networks.ann import ANNS
from spikesight.models.networks.resnet import NETWORKS, ResNetConfig, SpikingResNet
from spikesight.models.neurons.layers import Neuron
from tests.support.kept import compare

HERE = Path(__file__).parent


def shape_of(network: nn.Module) -> list[Any]:
    """Parameters, neurons or rectifiers, norms' scales; kernels, strides and widths of all convolutions in a row."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    pools = [type(module).__name__ for module in network.modules() if isinstance(module, nn.MaxPool2d | nn.AvgPool2d)]
    return [
        sum(p.numel() for p in network.parameters()),
        sum(isinstance(module, Neuron | nn.ReLU) for module in network.modules()),
        "".join(str(c.kernel_size[0]) for c in convolutions),
        "".join(str(c.stride[0]) for c in convolutions),
        "".join(str(c.padding[0]) for c in convolutions),  # type: ignore[arg-type]
        " ".join(str(c.out_channels) for c in convolutions),
        " ".join(pools),
    ]


def test_spiking_networks() -> None:
    with torch.device("meta"):
        made = {name: shape_of(SpikingResNet(config)) for name, config in NETWORKS.items()}
    compare(HERE / "spiking.json", made, rel=0, abs=0)


def test_anns() -> None:
    with torch.device("meta"):
        made = {name: shape_of(entry.build(entry.channels, 10)) for name, entry in ANNS.items()}
    for name, entry in ANNS.items():
        made[name] += [entry.size, *entry.mean, *entry.std, entry.head]
    compare(HERE / "anns.json", made, rel=0, abs=0)


@pytest.mark.parametrize(
    "good",
    [
        {"depths": (256,), "widths": (8,)},
        {"depths": (128, 128), "widths": (8, 8192)},
        {"in_channels": 8192},
        {"in_channels": 1},
        {"classes": 100_000},
        {"classes": 1},
        {"bottleneck": True, "widths": (4, 8, 12, 16)},
    ],
)
def test_the_largest_and_the_smallest(good: dict[str, Any]) -> None:
    ResNetConfig(**good)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"depths": (), "widths": ()}, "one entry a stage"),
        ({"depths": (1, 1)}, "one entry a stage"),
        ({"depths": (0, 1, 1, 1)}, "must be positive"),
        ({"widths": (8, 8, 8, 0)}, "must be positive"),
        ({"in_channels": 0}, "must be positive"),
        ({"classes": 0}, "must be positive"),
        ({"depths": (257,), "widths": (8,)}, "at most 256 blocks"),
        ({"depths": (129, 128), "widths": (8, 8)}, "at most 256 blocks"),
        ({"widths": (8, 8, 8, 8193)}, "8192 channels"),
        ({"in_channels": 8193}, "8192 channels"),
        ({"classes": 100_001}, "100000 classes"),
        ({"bottleneck": True, "widths": (4, 8, 12, 18)}, "multiples of 4"),
        ({"stem": "large"}, "stem must be one of"),
        ({"shortcut": "none"}, "shortcut must be one of"),
    ],
)
def test_what_is_beyond_them(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ResNetConfig(**wrong)
