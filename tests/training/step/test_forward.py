"""A training pass: the firing rate, every option."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.neurons.layers import Neuron
from spikesight.training.config import TrainConfig
from spikesight.training.run.fit import fit
from spikesight.training.step.forward import Trainee
from tests.support.inputs.data_sets import small_config

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("no_curves")


def network() -> SpikingResNet:
    torch.manual_seed(0)
    return SpikingResNet(ResNetConfig("sew", (1, 1), (4, 8), in_channels=2, classes=3))


def events(steps: int = 6) -> Tensor:
    return (torch.rand(steps, 4, 2, 9, 9, generator=torch.Generator().manual_seed(1)) < 0.4).float()


def test_the_firing_rate_is_the_mean_of_the_layers() -> None:
    net, seen = network().eval(), []
    for module in net.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _, __, spikes: seen.append(float(spikes.detach().mean())))
    out = Trainee(net, TrainConfig(spike_penalty=0.1), CPU)(events(), {})
    assert float(out.firing_rate.detach()) == pytest.approx(sum(seen) / len(seen))
    assert float(Trainee(net, TrainConfig(), CPU)(events(), {}).firing_rate) == 0


OPTIONS = {
    "smooth": {"label_smoothing": 0.1},
    "counts": {"loss": "ce_count"},
    "bf16": {"precision": "bf16"},
    "plif": {"carry": 0.5, "loss": "mse_count", "neuron": "plif"},
    "sgd-step": {"optimiser": "sgd", "schedule": "step", "lr": 0.05, "loss": "mse_rate", "neuron": "if"},
    "clif": {"neuron": "clif", "scale": 0.3, "flip": True},
    "psn": {"neuron": "psn", "loss": "mean", "carry": 0.5},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_trains_an_epoch(name: str, root: Path) -> None:
    config = small_config(root, epochs=1, name=f"option-{name}", **OPTIONS[name])
    metrics = fit(config, root / "runs" / config.name)
    assert metrics["test"]["count"] == 6
    assert (root / "runs" / config.name / "model" / "config.json").is_file()
