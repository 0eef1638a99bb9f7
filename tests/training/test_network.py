"""The start of a network: its neurons, weights of another run, and its teacher."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from spikesight.models.checkpoint import save
from spikesight.models.contract import Card, Contract
from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.networks.taught import TaughtConfig, TaughtNetwork
from spikesight.models.neurons.config import RECTIFIER
from spikesight.models.shipped import find, shipped
from spikesight.models.teach.few_shot import backbone
from spikesight.training.config import TrainConfig
from spikesight.training.data.start import weights_path, with_network
from spikesight.training.network import build_network, load_teacher, neuron_config, start_from

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
