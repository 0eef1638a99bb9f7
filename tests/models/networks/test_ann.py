"""ANN twins: their sizes, and state dictionaries by name."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from spikesight.models.contract import CheckpointError
from spikesight.models.networks.ann import (
    ANNS,
    CifarResNet,
    as_ann,
    build_for,
    fits,
    guess_name,
    read_state,
)
from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.neurons.config import IF, RECTIFIER


@pytest.mark.parametrize(
    ("name", "millions"),
    [("cifar-resnet20", 0.27), ("cifar-resnet32", 0.46), ("cifar-resnet56", 0.85), ("resnet18", 11.69)],
)
def test_parameter_counts_are_the_published_ones(name: str, millions: float) -> None:
    network = ANNS[name].build(3, 1000 if name == "resnet18" else 10)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)


def test_an_ann_of_blocks_is_its_twin_step_by_step() -> None:
    torch.manual_seed(0)
    config = ResNetConfig("plain", (2, 1), (4, 8), pool="max", in_channels=3, classes=5, neuron=RECTIFIER)
    for options in ({}, {"bottleneck": True}, {"downsample": "max"}, {"shortcut": "pad"}):
        network = SpikingResNet(replace(config, **options)).eval()
        x = torch.randn(2, 3, 17, 20)
        with torch.no_grad():
            torch.testing.assert_close(as_ann(network)(x), network(x[None])[0][0])
    for other, says in ((replace(config, neuron=IF), "only an ANN"), (replace(config, block="sew"), "sew blocks")):
        with pytest.raises(CheckpointError, match=says):
            as_ann(SpikingResNet(other))
    with pytest.raises(CheckpointError, match="only an ANN"):
        as_ann(nn.Linear(2, 2))


@pytest.mark.parametrize("name", ["a.th", "a.safetensors"])
def test_files_that_are_no_weights(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=f"no file {name}"):
        read_state(tmp_path / name)
    (tmp_path / name).write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match=r"not a state dictionary|is not read"):
        read_state(tmp_path / name)
    for held in ({}, {"a": 1}, [torch.zeros(1)], {"state_dict": {"a": "b"}}):
        torch.save(held, tmp_path / "b.pt")
        with pytest.raises(CheckpointError, match="not a state dictionary of tensors"):
            read_state(tmp_path / "b.pt")
    torch.save(nn.Linear(1, 1), tmp_path / "b.pt")  # a whole module: needs its classes to be run
    with pytest.raises(CheckpointError, match="more than tensors"):
        read_state(tmp_path / "b.pt")


def test_weights_are_read_by_either_file(tmp_path: Path) -> None:
    tensors = {"module.conv.weight": torch.rand(2, 3, 1, 1), "fc.bias": torch.rand(4)}
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save({"model": tensors}, tmp_path / "a.pt")
    torch.save(tensors, tmp_path / "b.pt")
    assert set(read_state(tmp_path / "a.safetensors")) == set(tensors)
    for file in ("a.pt", "b.pt"):
        assert set(read_state(tmp_path / file)) == {"conv.weight", "fc.bias"}


def test_weights_of_another_network_are_refused() -> None:
    state = CifarResNet(1).state_dict()
    with pytest.raises(CheckpointError, match="not a small-cnn"):
        build_for("small-cnn", state)
    with pytest.raises(CheckpointError, match="do not fit cifar-resnet20"):
        build_for("cifar-resnet20", state)
    counters = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert fits(CifarResNet(1), counters)
    assert not fits(CifarResNet(1, 1), state)


def test_names_are_found_by_shapes(tmp_path: Path) -> None:
    network = CifarResNet(1, 1, 7)
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "a.th")
    state = read_state(tmp_path / "a.th")
    assert guess_name(state) == "cifar-resnet8"
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(build_for("cifar-resnet8", state)(x), network.eval()(x))
    with pytest.raises(CheckpointError, match="fit none"):
        guess_name({"w": torch.zeros(1)})
