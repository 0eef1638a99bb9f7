"""Batches follow from seed and step alone, whether they are made ahead or not."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spikesight.models.contract import Contract
from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.neurons.layers import Neuron
from spikesight.training.config import TrainConfig
from spikesight.training.data.sets import Frames
from spikesight.training.distributed import Processes
from spikesight.training.run.fit import fit
from spikesight.training.run.loop import Trainee
from spikesight.training.step.batches import Batches, carried_state, evaluation_input, seeded
from tests.support.inputs.data_sets import small_config

EVENTS = Contract("events", 2, 5, 6, 3, "binary", 6, 5, 1000)
IMAGES = Contract("image", 3, 4, 4, 2, "direct", mean=(0.5, 0.25, 0.0), std=(0.25, 0.5, 1.0))
PROCESSES = Processes(torch.device("cpu"))


class OnDisk:
    """Rows that are decoded when they are read, and which were."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.read, self.shape = rows, list[list[int]](), rows.shape

    def __getitem__(self, rows: Any) -> np.ndarray:
        self.read.append(rows.tolist())
        return self.rows[rows]


def data(slow: bool = False, **settings: Any) -> Any:
    frames = np.random.default_rng(0).integers(0, 2, (8, 3, 2, 5, 6)).astype(np.uint8)
    train = Frames(OnDisk(frames) if slow else frames, np.arange(8))
    config = TrainConfig(**{"shift": 1, "rotate": 10.0, "scale": 0.0, "drop": 0.2, **settings})
    return SimpleNamespace(train=train, outliers=None, config=config, contract=EVENTS, labels=tuple("abcdefgh"))


def test_a_batch_follows_from_seed_and_step() -> None:
    rows = np.array([5, 1, 3])
    first, again = (Batches(data(), PROCESSES).make(rows, 4) for _ in range(2))
    assert torch.equal(first.x_seq, again.x_seq)
    assert first.targets.tolist() == [1, 3, 5], "rows are read in order"
    assert first.x_seq.shape == (3, 3, 2, 5, 6)
    assert not torch.equal(first.x_seq, Batches(data(), PROCESSES).make(rows, 5).x_seq)
    assert not torch.equal(first.x_seq, Batches(data(seed=1), PROCESSES).make(rows, 4).x_seq)


def test_outliers_join_each_batch() -> None:
    given = data(rotate=0.0, drop=0.0)
    given.outliers = Frames(np.ones((4, 3, 2, 5, 6), np.uint8), np.full(4, 8))
    batch = Batches(given, PROCESSES).make(np.array([2, 7, 0, 4]), 1)
    assert batch.targets.tolist() == [0, 2, 4, 7, 8, 8]
    assert batch.x_seq.shape == (3, 6, 2, 5, 6)
    assert bool(batch.x_seq[:, 4:, :, 1:-1, 1:-1].all()), "all of what they show, but for the shift"
    alone = Batches(data(rotate=0.0, drop=0.0), PROCESSES).make(np.array([2, 7, 0, 4]), 1)
    assert alone.targets.tolist() == [0, 2, 4, 7]


def test_slow_rows_are_read_one_step_ahead_and_give_the_same() -> None:
    slow = data(slow=True)
    ahead, plain = Batches(slow, PROCESSES), Batches(data(), PROCESSES)
    order = [np.array([n, n + 1]) for n in range(4)]
    for step, rows in enumerate(order):
        later = order[step + 1] if step + 1 < len(order) else None
        taken, wanted = ahead.take(rows, step, later), plain.take(rows, step, later)
        assert taken.step == step
        assert torch.equal(taken.x_seq, wanted.x_seq)
        assert torch.equal(taken.targets, wanted.targets)
    assert slow.train.frames.read == [rows.tolist() for rows in order], "each once"
    ahead.take(order[0], 0, order[1])
    assert ahead.take(order[3], 5).targets.tolist() == [3, 4], "what was made for another step is not taken"


def test_images_are_scaled_then_normalised_where_they_are_fed_as_they_are() -> None:
    stored = torch.full((1, 1, 3, 4, 4), 255, dtype=torch.uint8)
    x_seq = evaluation_input(stored, IMAGES)
    assert x_seq.shape == (2, 1, 3, 4, 4)
    assert x_seq[0, 0, :, 0, 0].tolist() == pytest.approx([2.0, 1.5, 1.0])
    spikes = evaluation_input(stored, replace(IMAGES, encoding="rate"))
    assert spikes.unique().tolist() == [1.0], "a code of spikes is not normalised"


@pytest.mark.parametrize("chance", [-1.0, 0.0, 0.5, 1.0])
def test_membranes_of_other_samples_are_carried_by_chance(chance: float) -> None:
    state = {"v": torch.full((600, 2), 9.0)}
    last = {"v": torch.arange(1.0, 601).view(600, 1).expand(600, 2), "w": torch.arange(1.0, 601).view(600, 1, 1)}
    got = carried_state(state, last, chance, seeded(0))
    if chance <= 0:
        assert got is state
        return
    first = got["v"][:, 0]
    kept = first[first > 0]
    assert len(kept) / 600 == pytest.approx(chance, abs=0.1)
    assert len(kept.unique()) == len(kept), "each of another sample"
    assert (first != last["v"][:, 0]).float().mean() > 0.9
    assert torch.equal(got["v"][:, 1], first)
    assert torch.equal(got["w"].flatten(), first)
    assert carried_state(state, None, chance, seeded(0)) is state


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
    "bf16": {"precision": "bf16"},
    "plif": {"carry": 0.5, "neuron": "plif"},
    "sgd-step": {"optimiser": "sgd", "schedule": "step", "lr": 0.05, "neuron": "if"},
    "clif": {"neuron": "clif", "scale": 0.3, "flip": True},
    "psn": {"neuron": "psn", "loss": "mean", "carry": 0.5},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_trains_an_epoch(name: str, root: Path) -> None:
    config = small_config(root, epochs=1, name=f"option-{name}", **OPTIONS[name])
    metrics = fit(config, root / "runs" / config.name)
    assert metrics["test"]["count"] == 6
    assert (root / "runs" / config.name / "model" / "config.json").is_file()
