"""ANN twins: their sizes, the QCFS activation, and state dictionaries by name."""

from pathlib import Path

import pytest
import torch
from torch import nn

from models.contract import CheckpointError
from models.networks.ann import ANNS, CifarResNet, Qcfs, build_for, guess_name, read_state, with_qcfs


@pytest.mark.parametrize(
    ("name", "millions"),
    [("cifar-resnet20", 0.27), ("cifar-resnet32", 0.46), ("cifar-resnet56", 0.85), ("resnet18", 11.69)],
)
def test_parameter_counts_are_the_published_ones(name: str, millions: float) -> None:
    network = ANNS[name].build(3, 1000 if name == "resnet18" else 10)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)


def test_qcfs_learns_its_level() -> None:
    activation = Qcfs(4, 1.0)
    z = torch.tensor([-1.0, 0.3, 5.0], requires_grad=True)
    activation(z).sum().backward()
    assert z.grad is not None
    assert z.grad.tolist() == [0, 1, 0]  # straight through inside, nothing outside
    assert float(activation.level.grad) > 0  # type: ignore[arg-type]


def test_with_qcfs_replaces_every_relu() -> None:
    network = with_qcfs(CifarResNet(1), 8, 2.0)
    assert not any(isinstance(m, nn.ReLU) for m in network.modules())
    assert sum(isinstance(m, Qcfs) for m in network.modules()) == 7


def test_names_are_found_by_shapes(tmp_path: Path) -> None:
    network = CifarResNet(1, 1, 7)
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "a.th")
    state = read_state(tmp_path / "a.th")
    assert guess_name(state) == "cifar-resnet8"
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(build_for("cifar-resnet8", state)(x), network.eval()(x))
    with pytest.raises(CheckpointError, match="fit none"):
        guess_name({"w": torch.zeros(1)})
