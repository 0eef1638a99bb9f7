"""Evaluation: accuracy, loss, rates and operations against a plain recomputation."""

from typing import Any

import numpy as np
import pytest
import torch

from spikesight.models.networks.metering import Meter
from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.neurons.layers import Neuron
from spikesight.training.data import Frames
from spikesight.training.run.evaluate import batches, evaluate

T, COUNT = 4, 9


@pytest.fixture
def network() -> SpikingResNet:
    torch.manual_seed(0)
    return SpikingResNet(ResNetConfig("sew", (1,), (4,), in_channels=2, classes=3)).eval()


@pytest.fixture
def frames() -> Frames:
    random = np.random.default_rng(0)
    return Frames((random.random((COUNT, T, 2, 9, 8)) < 0.4).astype(np.uint8), random.integers(0, 3, COUNT))


def keep(name: str, spikes: dict[str, torch.Tensor]) -> Any:
    def hook(_: torch.nn.Module, __: Any, out: torch.Tensor) -> None:
        spikes[name] = out

    return hook


def test_against_a_plain_pass(network: SpikingResNet, frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    spikes: dict[str, torch.Tensor] = {}
    for name, module in network.named_modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(keep(name, spikes))
    with torch.no_grad():
        logits, _ = network(torch.from_numpy(frames.frames).transpose(0, 1).float())
    labels = torch.from_numpy(frames.labels)
    rates = {name: float((s != 0).float().mean()) for name, s in spikes.items()}
    monkeypatch.setattr("spikesight.training.run.evaluate.EVALUATION_BATCH", 4)  # an uneven last batch
    result = evaluate(network, frames, 3, torch.device("cpu"))
    correct = logits.mean(0).argmax(1) == labels
    assert result.accuracy == pytest.approx(float(correct.float().mean()))
    assert result.loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits.mean(0), labels)), rel=1e-5)
    assert result.count == COUNT
    assert result.confusion.sum() == COUNT
    assert result.confusion.sum(1).tolist() == np.bincount(frames.labels, minlength=3).tolist()
    for name, rate in rates.items():
        assert result.firing_rates[name] == pytest.approx(rate)
    running = [logits[: t + 1].mean(0).argmax(1) == labels for t in range(T)]
    assert result.accuracy_by_step == pytest.approx([float(right.float().mean()) for right in running])
    meter = Meter(network)
    with torch.no_grad():
        network(torch.from_numpy(frames.frames).transpose(0, 1).float())
    assert result.synops == pytest.approx(float(meter.read().synops.sum()) / COUNT)
    meter.close()


def test_dead_and_saturated_channels_are_counted_and_named(network: SpikingResNet, frames: Frames) -> None:
    state = network.state_dict()
    with torch.no_grad():  # the stem's norm: two channels never fire, two always do
        state["stem.1.weight"].zero_()
        state["stem.1.bias"].copy_(torch.tensor([-1.0, -1.0, 9.0, 9.0]))
        state["blocks.0.conv2.1.weight"].zero_()
        state["blocks.0.conv2.1.bias"].fill_(-1)
    result = evaluate(network, frames, 3, torch.device("cpu"))
    stem, last = result.layers["neuron"], result.layers["blocks.0.neuron2"]
    assert (stem.rate, stem.dead, stem.saturated) == (0.5, 0.5, 0.5)
    assert (last.rate, last.dead) == (0, 1)
    assert result.warnings() == ["silent layers: blocks.0.neuron2"], "half is not more than half"
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


@pytest.mark.parametrize(("rank", "rows"), [(0, [0, 1, 4, 5, 8]), (1, [2, 3, 6, 7])])
def test_every_second_batch_is_the_second_processs(rank: int, rows: list[int], frames: Frames) -> None:
    parts = list(batches(Frames(frames.frames, np.arange(COUNT)), 2, rank, 2))
    assert [int(label) for _, labels in parts for label in labels] == rows
    assert torch.equal(torch.cat([x for x, _ in parts]), torch.from_numpy(frames.frames[rows]))
