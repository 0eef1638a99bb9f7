"""Layers that went silent fire again."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.neurons.layers import Neuron
from spikesight.training.data import load_data
from spikesight.training.run.loop import Run
from spikesight.training.run.revive import revive
from tests.support.inputs.data_sets import small_config

SHAPE = ResNetConfig("ms", (1, 1), (4, 8), pool="max", classes=2)


def events() -> Tensor:
    return (torch.rand(5, 6, 2, 16, 16, generator=torch.Generator().manual_seed(0)) < 0.2).float()


def rates(network: nn.Module) -> dict[str, Tensor]:
    """Spikes a neuron a step, by channel of each layer."""
    found: dict[nn.Module, Tensor] = {}
    names: dict[nn.Module, str] = {m: name for name, m in network.named_modules() if isinstance(m, Neuron)}

    def keep(module: nn.Module, _: object, spikes: Tensor) -> None:
        found[module] = spikes.mean((0, 1, 3, 4))

    handles = [module.register_forward_hook(keep) for module in names]
    with torch.no_grad():
        network.eval()(events())
    for handle in handles:
        handle.remove()
    return {names[module]: rate for module, rate in found.items()}


def silence(network: nn.Module, which: str, weight: float, bias: float) -> None:
    with torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, nn.BatchNorm2d) and which in name:
                module.weight.fill_(weight)
                module.bias.fill_(bias)


@pytest.mark.parametrize("block", ["plain", "sew", "ms"])
@pytest.mark.parametrize(("weight", "bias"), [(0.0, 0.0), (1.0, -20.0)])
def test_every_silent_layer_fires_again_and_not_always(block: str, weight: float, bias: float) -> None:
    torch.manual_seed(0)
    network = SpikingResNet(replace(SHAPE, block=block))
    silence(network, "", weight, bias)
    silent = [name for name, rate in rates(network).items() if not rate.any()]
    revived = revive(network, events())
    assert revived[0] == silent[0]
    assert set(revived) <= set(silent), "some wake with those before them"
    for name, rate in rates(network).items():
        assert (rate > 0).float().mean() > 0.5, name
        assert rate.mean() < 0.9, name


def test_a_network_that_fires_is_left_as_it_is() -> None:
    torch.manual_seed(0)
    network = SpikingResNet(SHAPE)
    silence(network, "", 1.0, 1.0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert revive(network, events()) == []
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_run_wakes_its_silent_layers_and_says_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(load_data(small_config(root, epochs=4, lr=1e-9)), root / "runs" / "revived")
    silence(run.network, "blocks.1.conv1", 0.0, -20.0)
    run.train()
    first, later = run.progress.rows[0], run.progress.rows[-1]
    assert first["dead/blocks.1.neuron2"] == 1
    assert later["dead/blocks.1.neuron2"] < 0.5
    assert "revived: " in capsys.readouterr().out.partition("epoch 2/4")[0]
