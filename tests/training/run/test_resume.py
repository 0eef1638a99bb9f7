"""The resume state: exact, whole or absent."""

from pathlib import Path

import pytest
import torch
from torch import nn

from spikesight.training.run.resume import load_progress, save_progress


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def step(model: nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))
    optimiser.zero_grad()
    model(x).square().sum().backward()
    optimiser.step()


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_going_on_equals_never_having_stopped(tmp_path: Path, kind: str) -> None:
    def make(model: nn.Module) -> torch.optim.Optimizer:
        if kind == "sgd":
            return torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        return torch.optim.AdamW(model.parameters(), 0.1)

    model = network()
    optimiser = make(model)
    for seed in range(3):
        step(model, optimiser, seed)
    save_progress(tmp_path / "a" / "last.safetensors", model, optimiser, {"carry": {"x.y": torch.ones(2)}}, {"step": 3})
    for seed in range(3, 6):
        step(model, optimiser, seed)
    torch.manual_seed(9)
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    second = make(other)
    groups, counters = load_progress(tmp_path / "a" / "last.safetensors", other, second)
    assert counters == {"step": 3}
    assert groups["carry"]["x.y"].tolist() == [1, 1]
    for seed in range(3, 6):
        step(other, second, seed)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_a_write_that_stops_half_way_keeps_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = network(), tmp_path / "last.safetensors"
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    save_progress(path, model, optimiser, {}, {"step": 1})

    def half(_: object, target: Path, __: object) -> None:
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("spikesight.training.run.resume.save_file", half)
    with pytest.raises(OSError, match="disk full"):
        save_progress(path, model, optimiser, {}, {"step": 2})
    assert load_progress(path, model, optimiser)[1] == {"step": 1}
