"""A training pass: checkpointing and truncation in time, compilation, the firing rate."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.neurons.layers import Neuron
from spikesight.training.config import TrainConfig
from spikesight.training.data import load_data
from spikesight.training.run.fit import fit
from spikesight.training.run.loop import Run
from spikesight.training.step.forward import Trainee
from tests.support.inputs.data_sets import small_config

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("no_curves")


def network() -> SpikingResNet:
    torch.manual_seed(0)
    return SpikingResNet(ResNetConfig("sew", (1, 1), (4, 8), in_channels=2, classes=3))


def events(steps: int = 6) -> Tensor:
    return (torch.rand(steps, 4, 2, 9, 9, generator=torch.Generator().manual_seed(1)) < 0.4).float()


def gradients(config: TrainConfig, *, frozen: bool = True) -> tuple[Tensor, list[Tensor], SpikingResNet]:
    """Logits and gradients of one pass; with frozen norms, pieces in time compute what the whole does."""
    net = network()
    net.train()
    if frozen:
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
    out = Trainee(net, config, CPU)(events(), {})
    (out.logits.square().mean() + 0.1 * out.firing_rate).backward()
    return out.logits.detach(), [p.grad for p in net.parameters() if p.grad is not None], net


@pytest.mark.parametrize("steps", [1, 4, 9])
@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_checkpointing_over_time_computes_the_same(steps: int, penalty: float) -> None:
    logits, expected, _ = gradients(TrainConfig(spike_penalty=penalty))
    again, got, _ = gradients(TrainConfig(checkpoint_steps=steps, spike_penalty=penalty))
    torch.testing.assert_close(again, logits)
    assert len(got) == len(expected)
    for a, b in zip(got, expected):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_recomputed_pass_counts_once_in_running_statistics() -> None:
    _, _, plain = gradients(TrainConfig(), frozen=False)
    _, _, recomputed = gradients(TrainConfig(checkpoint_steps=6), frozen=False)
    for name, tensor in plain.named_buffers():
        if "running" in name:
            torch.testing.assert_close(dict(recomputed.named_buffers())[name], tensor)
    assert all(m.momentum for m in recomputed.modules() if isinstance(m, torch.nn.BatchNorm2d)), "thawed again"


def test_the_firing_rate_is_the_mean_of_the_layers() -> None:
    net, seen = network().eval(), []
    for module in net.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _, __, spikes: seen.append(float(spikes.detach().mean())))
    out = Trainee(net, TrainConfig(spike_penalty=0.1), CPU)(events(), {})
    assert float(out.firing_rate.detach()) == pytest.approx(sum(seen) / len(seen))
    assert float(Trainee(net, TrainConfig(), CPU)(events(), {}).firing_rate) == 0


OPTIONS = {
    "truncated": {"truncate": 2, "label_smoothing": 0.1},
    "checkpointed": {"checkpoint_steps": 2, "loss": "ce_count"},
    "bf16": {"precision": "bf16", "channels_last": True, "log_to": "tensorboard"},
    "random-steps": {"random_steps": 1, "carry": 0.5, "loss": "mse_count", "neuron": "plif"},
    "sgd-step": {
        "optimiser": "sgd",
        "schedule": "step",
        "lr": 0.05,
        "step_epochs": 1,
        "loss": "mse_rate",
        "neuron": "if",
    },
    "clif": {"neuron": "clif", "shear": 10.0, "flip": True},
    "psn": {"neuron": "psn", "loss": "mean", "carry": 0.5},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_trains_an_epoch(name: str, root: Path) -> None:
    logs = "log_to" in OPTIONS[name]
    if logs:
        pytest.importorskip("tensorboard")
    config = small_config(root, epochs=1, name=f"option-{name}", **OPTIONS[name])
    metrics = fit(config, root / "runs" / config.name)
    assert metrics["test"]["count"] == 6
    assert (root / "runs" / config.name / "model" / "config.json").is_file()
    assert (root / "runs" / config.name / "tensorboard").is_dir() == logs


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")  # torch's own
def test_compiled_training_gives_the_same_losses(root: Path) -> None:
    losses = []
    for compiled in (False, True):
        run = Run(load_data(small_config(root, compile=compiled)), root / "runs" / "x")
        run.network.train()
        losses.append(run.train_batch(torch.arange(4).numpy())[0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_truncation_sees_every_step_and_stops_gradients_between_pieces(root: Path) -> None:
    """With one piece it is plain training; with pieces the loss is the same (TET is a mean over steps)."""
    runs = [Run(load_data(small_config(root, truncate=t)), root / "runs" / "x") for t in (0, 3, 1)]
    values, norms = [], []
    for run in runs:
        for module in run.network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        _, x_seq, targets, _ = run.batches.make(torch.arange(4).numpy(), 0)
        values.append(run.forward_backward(x_seq, targets, {})[0])
        norms.append(run.network.get_parameter("stem.0.weight").grad)
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    assert values[0] == pytest.approx(values[2], rel=1e-5)
    torch.testing.assert_close(norms[0], norms[1])
    assert not torch.allclose(norms[0], norms[2])  # type: ignore[arg-type]
