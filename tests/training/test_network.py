"""The start of a network: its neurons, weights of another run, and its teacher."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spikesight.models.checkpoint import load, save
from spikesight.models.contract import Card, Contract
from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.networks.taught import TaughtConfig, TaughtNetwork
from spikesight.models.neurons.config import RECTIFIER
from spikesight.models.shipped import find, shipped
from spikesight.models.teach.few_shot import backbone
from spikesight.training.config import UNSET, TrainConfig
from spikesight.training.data import load_data
from spikesight.training.data.start import weights_path, with_network, with_schedule
from spikesight.training.network import build_network, load_teacher, neuron_config, start_from
from spikesight.training.run.loop import Run
from tests.support.inputs.data_sets import write_takes

CPU = torch.device("cpu")


def events(steps: int = 6) -> Tensor:
    return (torch.rand(steps, 4, 2, 9, 9, generator=torch.Generator().manual_seed(1)) < 0.4).float()


@pytest.mark.parametrize("kind", ["lif", "if", "plif", "clif", "psn"])
def test_every_kind_of_neuron_is_made_as_it_was_asked_for(kind: str) -> None:
    config = neuron_config(TrainConfig(neuron=kind, theta=0.5, surrogate="triangular", slope=2.0, beta=0.8))
    assert (config.theta, config.surrogate, config.slope) == (0.5, "triangular", 2.0)
    assert (config.beta == 0.8) == (kind not in ("if", "psn"))
    assert config.learn_beta == (kind == "plif")
    assert neuron_config(TrainConfig(neuron="lif", learn_beta=True)).learn_beta


def test_weights_of_another_run_and_a_new_head(tmp_path: Path) -> None:
    config = TrainConfig(network="event-small")
    source = build_network(replace(config, seed=3), 5)
    contract = Contract("events", 2, 9, 9, 4, "binary", 9, 9, 1000)
    save(tmp_path / "m", source, Card(contract, tuple("abcde")))
    same, other = build_network(config, 5), build_network(config, 7)
    assert start_from(same, tmp_path / "m") == []
    assert all(torch.equal(a, b) for a, b in zip(same.state_dict().values(), source.state_dict().values()))
    assert start_from(other, tmp_path / "m") == ["readout.weight", "readout.bias"]
    with pytest.raises(ValueError, match="another network than the one to train"):
        start_from(build_network(replace(config, network="event-medium"), 5), tmp_path / "m")


def test_a_model_with_a_head_gives_its_backbone(tmp_path: Path) -> None:
    config = TrainConfig(network="event-small")
    source, new = build_network(replace(config, seed=3), 5), build_network(config, 7)
    taught = TaughtNetwork(TaughtConfig(source.config, 3, 4, height=9, width=9))
    taught.backbone.load_state_dict(source.state_dict())
    save(tmp_path / "m", taught, Card(Contract("events", 2, 9, 9, 4, "binary", 9, 9, 1000, readout=1), tuple("abc")))
    assert start_from(new, tmp_path / "m") == ["readout.weight", "readout.bias"]
    assert torch.equal(new.state_dict()["stem.0.weight"], source.state_dict()["stem.0.weight"])
    assert torch.equal(backbone(str(tmp_path / "m")).readout.weight, source.readout.weight)
    with pytest.raises(ValueError, match="another network than the one to train"):
        start_from(build_network(replace(config, network="event-medium"), 5), tmp_path / "m")


@pytest.mark.parametrize("steps", [1, 6])
def test_a_model_teacher_answers_by_its_mean_logits_and_one_of_one_step_sees_the_mean(
    steps: int, tmp_path: Path
) -> None:
    torch.manual_seed(2)
    neuron = {"neuron": RECTIFIER} if steps == 1 else {}
    network = SpikingResNet(ResNetConfig("ms", (1,), (4,), classes=2, **neuron)).eval()  # type: ignore[arg-type]
    contract = Contract("events", 2, 9, 9, steps, "binary", sensor_width=9, sensor_height=9, bin_us=1000)
    save(tmp_path / "m", network, Card(contract, ("a", "b")))
    x_seq = events()
    with torch.no_grad():
        answer = load_teacher(tmp_path / "m", contract, CPU)(x_seq)
        fed = x_seq if steps > 1 else x_seq.mean(0, keepdim=True)
        torch.testing.assert_close(answer, network(fed)[0].mean(0))


def test_a_shipped_name_means_the_shipped_model_whatever_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `export --format c` and the data set of that name make a folder "nmnist"."""
    assert weights_path("nowhere") == Path("nowhere")
    monkeypatch.chdir(tmp_path)
    Path("nmnist").mkdir()
    for name, folder in shipped().items():
        assert weights_path(name) == find(name) == folder
    Path("motions").mkdir()
    assert with_network(TrainConfig(), own=True, images=False).network == "event-medium"
    assert weights_path("./nmnist") == Path("nmnist"), "what lies here is given as a path"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_takes(tmp_path_factory.mktemp("own"), ["a/cup.npz", "b/cup.npz", "a/pen.npz", "b/pen.npz"], 4)


def own(folder: Path, **settings: Any) -> TrainConfig:
    return TrainConfig(data=str(folder), cache=str(folder.parent / f"{folder.name}-cache"), device="cpu", **settings)


@pytest.mark.parametrize("name", ["nmnist", "motions"])
def test_a_model_to_start_from_brings_its_network_and_its_contract(folder: Path, name: str) -> None:
    network, card = load(shipped()[name])
    run = Run(load_data(own(folder, init_from=name)), folder / "runs")
    assert replace(run.network.config, classes=len(card.labels)) == network.config  # type: ignore[arg-type]
    ours, theirs = run.data.contract, card.contract
    for what in ("steps", "bin_us", "height", "width", "encoding", "filter_us"):
        assert getattr(ours, what) == getattr(theirs, what), what
    given, taken = network.state_dict(), run.network.state_dict()
    assert all(torch.equal(given[key], taken[key]) for key in given if not key.startswith("readout"))


def test_what_was_asked_for_stays_when_a_model_is_brought() -> None:
    plain = with_network(TrainConfig(init_from="motions"), own=True, images=False)
    asked = with_network(TrainConfig(init_from="motions", beta=0.7, steps=5, window_ms=200), own=True, images=False)
    assert (asked.beta, asked.steps, asked.network) == (0.7, 5, plain.network)
    cropped = with_network(TrainConfig(init_from="motions", crop="object"), own=True, images=False)
    assert cropped.height is cropped.width is None, "a crop has its own size"
    named = with_network(TrainConfig(init_from="motions", network="event-small"), own=True, images=False)
    assert named == TrainConfig(init_from="motions", network="event-small")
    pictures = with_network(TrainConfig(init_from="motions"), own=False, images=True)
    assert (pictures.bin_us, pictures.encoding, pictures.network) == (None, None, plain.network)


def test_own_recordings_start_from_a_shipped_network_unless_said_otherwise(folder: Path) -> None:
    start = load_data(own(folder)).config.init_from
    assert start in shipped()
    for settings in ({"network": "event-medium"}, {"beta": 0.9}, {"loss": "mean"}):
        assert with_network(own(folder, **settings), own=True, images=False).init_from is None, settings
    assert with_network(own(folder, init_from="motions"), own=True, images=False).init_from == "motions"
    assert with_network(TrainConfig(), own=False, images=False).init_from is None, "a data set by name"


def test_few_samples_get_as_many_steps_as_more_and_each_as_often(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, more, many = (with_schedule(TrainConfig(), count, 34, own=True) for count in (20, 200, 200_000))
    assert few.epochs * few.epoch_steps == more.epochs * more.epoch_steps > 10 * 200 / more.batch_size
    assert many.epoch_steps == 200_000 // many.batch_size, "one pass"
    assert with_schedule(TrainConfig(), 20, 34, own=False).epoch_steps is None
    run, seen = Run(load_data(own(folder, network="event-medium")), folder / "runs"), Counter[int]()
    monkeypatch.setattr(run, "train_batch", lambda rows, _: (seen.update(rows.tolist()), (0.0, 0))[1])
    run.train_epoch()
    assert run.progress.seen == run.steps_an_epoch * run.config.batch_size > 2 * len(run.data.train)
    assert set(seen) == set(range(len(run.data.train)))
    assert np.ptp(list(seen.values())) <= 1


def test_from_random_weights_the_rate_is_higher_but_for_named_images_unless_one_is_given() -> None:
    for own, images in ((True, False), (False, False), (True, True)):
        configs = (TrainConfig(init_from=model) for model in (UNSET, "nmnist"))
        scratch, start = (with_schedule(config, 500, 34, own=own, images=images).lr for config in configs)
        assert scratch > start == with_schedule(TrainConfig(), 500, 34, own=False, images=True).lr > 0
        assert with_schedule(TrainConfig(lr=0.1), 500, 34, own=own, images=images).lr == 0.1


def test_a_read_out_is_taken_for_the_same_classes_alone() -> None:
    from spikesight.training.network import start_from

    network, card = load(shipped()["nmnist"])
    for labels, fresh in ((card.labels, []), (tuple("abcdefghij"), ["readout.weight", "readout.bias"])):
        new = build_network(TrainConfig(network="event-medium"), len(labels))
        assert start_from(new, shipped()["nmnist"], labels) == fresh
        assert torch.equal(new.state_dict()["readout.weight"], network.state_dict()["readout.weight"]) == (not fresh)
