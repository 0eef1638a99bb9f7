"""Every network takes an optimiser step; every data set by name, but one of large files, gives a batch to train on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spikesight.models.classifier import Classifier
from spikesight.models.networks.resnet import NETWORKS
from spikesight.models.neurons.layers import spikes_at_all
from spikesight.training.config import TrainConfig
from spikesight.training.data.load import DATA_NAMES
from spikesight.training.network import build_network
from spikesight.training.run.fit import dry_run, fit
from spikesight.training.run.loop import Trainee
from spikesight.training.step.losses import total_loss
from tests.support.inputs import data_sets
from tests.support.inputs.data_sets import small_config, write_idx, write_pictures


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_a_step(name: str) -> None:
    config = TrainConfig(network=name, loss="tet")
    network = build_network(config, 3, channels=2).train()
    trainee = Trainee(network, config, torch.device("cpu"))
    x_seq = (torch.rand(2, 2, 2, 16, 16, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    before = network.get_parameter("stem.0.weight").detach().clone()
    loss = total_loss(trainee(x_seq, {}).logits, torch.tensor([0, 2]), config)
    loss.backward()
    optimiser.step()
    assert loss.isfinite()
    assert not torch.equal(before, network.get_parameter("stem.0.weight"))
    missing = [n for n, p in network.named_parameters() if p.grad is None]
    assert not missing


EVENT_SETS = ("nmnist", "dvsgesture", "cifar10dvs", "ncaltech101", "asldvs", "tonic:POKERDVS", "tonic:DVSLip")
WRITERS: dict[str, Callable[[Path], object]] = {
    **{name: getattr(data_sets, f"write_{name.lower().removeprefix('tonic:')}") for name in EVENT_SETS},
    "mnist": lambda root: write_idx(root / "mnist"),
    "fashionmnist": lambda root: write_idx(root / "fashion-mnist"),
    "cifar10": data_sets.write_cifar10,
    "cifar100": data_sets.write_cifar100,
    "imagenet": lambda root: write_pictures(root / "imagenet"),
    "folder": lambda root: write_pictures(root / "mine"),
}


def config_of(name: str, root: Path, **options: object) -> TrainConfig:
    data = str(root / "mine") if name == "folder" else name
    side = None if name in ("mnist", "fashionmnist", "cifar10", "cifar100") else 14
    return small_config(root, data=data, steps=2, bin_us=None, height=side, width=side, epochs=1, name=name, **options)


def train(name: str, root: Path, **options: object) -> Path:
    metrics = fit(config_of(name, root, **options), root / "runs" / name)
    assert metrics["test"]["count"] > 0
    return root / "runs" / name / "model"


@pytest.mark.parametrize("name", WRITERS)
def test_a_batch_of_every_set_is_trained_on(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_sets.take_any_cifar(monkeypatch)
    assert set(DATA_NAMES) <= {*WRITERS}, "a set by name is left out here"
    WRITERS[name](tmp_path)
    assert dry_run(config_of(name, tmp_path)) > 0


def test_a_spiking_network_starts_from_its_ann_twin(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist")
    ann = train("mnist", tmp_path, neuron="relu")
    config = small_config(
        tmp_path, data="mnist", neuron="if", init_from=str(ann), teacher=str(ann), steps=2, bin_us=None
    )
    fit(replace(config, height=None, width=None, epochs=1), tmp_path / "runs" / "spiking")
    assert not spikes_at_all(Classifier.load(ann).network)
    assert spikes_at_all(Classifier.load(tmp_path / "runs" / "spiking" / "model").network)
