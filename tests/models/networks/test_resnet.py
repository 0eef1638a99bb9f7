"""Spiking ResNets: parameter counts, binary inputs, chunking, gradients, equality with the ANN's arithmetic."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from spikesight.models.networks.resnet import NETWORKS, ResNetConfig, SpikingResNet
from spikesight.models.neurons.config import CLIF, PLIF, SLIDING_PSN
from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.state import State, zero_state

TINY = ResNetConfig("ms", (1, 1), (4, 8), pool="max", in_channels=2, classes=3)
BLOCKS = pytest.mark.parametrize("block", ["plain", "sew", "ms"])


def tiny(block: str = "ms", **options: object) -> SpikingResNet:
    """A small network with weights large enough to fire."""
    torch.manual_seed(0)
    network = SpikingResNet(replace(TINY, block=block, **options))  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -0.2, 0.8)
    return network.eval()


def events(steps: int = 6, batch: int = 2, height: int = 12, width: int = 15) -> Tensor:
    return (torch.rand(steps, batch, 2, height, width, generator=torch.Generator().manual_seed(7)) < 0.3).float()


@pytest.mark.parametrize(
    ("name", "millions", "neurons"),
    [
        ("resnet18", 11.69, 17), ("resnet34", 21.80, 33), ("sew-resnet18", 11.69, 20), ("ms-resnet18", 11.69, 17),
        ("cifar-resnet18", 11.17, 20), ("cifar-resnet20", 0.27, 19), ("cifar-resnet32", 0.46, 31),
        ("cifar-resnet44", 0.66, 43), ("cifar-resnet56", 0.85, 55), ("resnet50", 25.56, 49),
        ("sew-resnet50", 25.56, 53), ("ms-resnet50", 25.56, 49), ("max-resnet18", 11.17, 17),
        ("cifar-resnet19", 12.57, 17),
    ],
)  # fmt: skip
def test_parameters_and_neuron_layers(name: str, millions: float, neurons: int) -> None:
    with torch.device("meta"):
        network = SpikingResNet(NETWORKS[name])
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.006)
    assert sum(isinstance(m, Neuron) for m in network.modules()) == neurons


OPTIONS: list[dict[str, object]] = [
    *({"pool": pool, "stem": stem} for pool in ("max", "avg", "none") for stem in ("imagenet", "small")),
    {"bottleneck": True},
    {"downsample": "max"},
    {"tdbn": True},
    *({"neuron": neuron} for neuron in (CLIF, SLIDING_PSN, PLIF)),
]


@BLOCKS
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_steps_with_carried_state_equal_the_whole_sequence(block: str, options: dict[str, object]) -> None:
    network, x, parts = tiny(block, **options), events(height=17, width=22), []
    state: State | None = None
    with torch.no_grad():
        whole, whole_state = network(x)
        for chunk in x.split([1, 2, 3]):
            logits, state = network(chunk, state)
            parts.append(logits)
    assert whole.shape == (6, 2, 3)
    torch.testing.assert_close(torch.cat(parts), whole)
    assert state is not None
    for key, tensor in whole_state.items():
        torch.testing.assert_close(state[key], tensor)
    zeros = zero_state(network, 2, 17, 22, batch=2)
    assert {key: value.shape for key, value in zeros.items()} == {key: v.shape for key, v in whole_state.items()}
    assert not any(value.any() for value in zeros.values())
    network.train()(x)[0].sum().backward()
    gradient = network.get_parameter("stem.0.weight").grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_tdbn_starts_summed_branches_lower() -> None:
    torch.manual_seed(0)
    state = SpikingResNet(replace(TINY, block="sew", tdbn=True)).state_dict()
    weights = [float(state[f"blocks.1.{name}.1.weight"][0]) for name in ("conv1", "conv2", "shortcut")]
    assert weights == pytest.approx([1, 0.5**0.5, 0.5**0.5])


def test_the_network_keeps_no_state() -> None:
    network, x = tiny(), events()
    with torch.no_grad():
        first, state = network(x)
        before = {k: v.clone() for k, v in state.items()}
        again, _ = network(x)
        network(x, state)
    assert torch.equal(first, again)
    assert all(torch.equal(before[k], state[k]) for k in state)


@pytest.mark.parametrize("training", [True, False])
def test_asking_for_a_zero_state_changes_nothing_of_a_network(training: bool) -> None:
    network = tiny().train(training)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    zero_state(network, 2, 12, 15)
    assert {module.training for module in network.modules()} == {training}
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"depths": (1, 1)}, {"depths": (1, 0)}),
        ({"in_channels": 1}, {"in_channels": 0}),
        ({"classes": 1}, {"classes": 0}),
        ({"depths": (128, 128)}, {"depths": (128, 129)}),
        ({"widths": (1, 8192)}, {"widths": (8193, 1)}),
        ({"widths": (4096, 4096)}, {"widths": (8192, 8192)}),
        ({"in_channels": 8192}, {"in_channels": 8193}),
        ({"classes": 100_000}, {"classes": 100_001}),
        ({"bottleneck": True, "widths": (4, 8)}, {"bottleneck": True, "widths": (6, 8)}),
        ({"bottleneck": False, "widths": (6, 9)}, {"depths": (), "widths": ()}),
    ],
)
def test_each_number_of_a_shape_has_its_bounds(good: dict[str, object], bad: dict[str, object]) -> None:
    made = replace(TINY, **good)  # type: ignore[arg-type]
    assert {name: getattr(made, name) for name in good} == good
    with pytest.raises(ValueError, match=r"positive|at most|multiples of 4|one entry a stage"):
        replace(TINY, **bad)  # type: ignore[arg-type]


def test_input_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="x_seq must be"):
        tiny()(torch.zeros(1, 3, 8, 8))
