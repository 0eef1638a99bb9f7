"""Parts of the training loop: one step, what an epoch keeps and orders, the card."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spikesight.training.corpora.others import KINDS
from spikesight.training.data import load_data
from spikesight.training.run.evaluate import Evaluation
from spikesight.training.run.loop import Run, TrainingError, learning_rate
from spikesight.training.run.resume import load_progress, save_progress
from tests.support.inputs.data_sets import small_config

ROWS = np.arange(4)


def made(root: Path, name: str = "x", **settings: Any) -> Run:
    return Run(load_data(small_config(root, **settings)), root / "runs" / name)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in run.network.named_parameters()}


@pytest.mark.parametrize("clip", [1e9, 0.01])
def test_a_step_goes_by_its_rate_and_no_further_than_the_clipped_gradient(root: Path, clip: float) -> None:
    run = made(root, optimiser="sgd", lr=0.5, weight_decay=0.0, clip_norm=clip, epochs=4)
    run.progress.step = 3
    before = weights(run)
    run.train_batch(ROWS)
    went = float(torch.stack([(p - before[n]).norm() for n, p in weights(run).items()]).norm())
    longest = learning_rate(run.config, 3, run.steps_an_epoch) * 0.01
    assert (went == pytest.approx(longest, rel=1e-3)) if clip < 1 else (went > 2 * longest)


@pytest.mark.parametrize("carry", [0.0, 0.25])
def test_membranes_are_kept_for_the_next_step_where_they_are_carried(root: Path, carry: float) -> None:
    run = made(root, carry=carry)
    run.train_batch(ROWS)
    assert (run.last_state is not None) == bool(carry)
    assert not any(tensor.requires_grad for tensor in (run.last_state or {}).values())


def test_a_loss_that_is_not_finite_stops_the_run_before_it_changes_a_weight(root: Path) -> None:
    run = made(root, "nan")
    with torch.no_grad():
        run.network.get_parameter("readout.bias").fill_(float("nan"))
    before = weights(run)
    with pytest.raises(TrainingError, match="lower --lr"):
        run.train()
    assert all(torch.equal(tensor.nan_to_num(), before[name].nan_to_num()) for name, tensor in weights(run).items())


def test_every_epoch_has_an_order_of_its_own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, orders = made(root, "orders"), list[list[int]]()
    monkeypatch.setattr(run, "train_batch", lambda rows, _: (orders[-1].extend(rows.tolist()), (0.0, 0))[1])
    for _ in range(2):
        orders.append([])
        run.train_epoch()
        run.progress.next_epoch()
    assert len(orders[0]) == len(set(orders[0])) == len(orders[1])
    assert orders[0] != orders[1]


def test_of_equal_accuracies_the_lower_loss_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, best = made(root, "ties"), []
    losses = iter([0.5, 0.7, 0.3, 0.3])

    def measured(*_: object) -> Evaluation:
        return Evaluation(0.5, next(losses), 2, np.eye(2, dtype=np.int64), [0.5], {}, 0.0, np.zeros(2, int))

    monkeypatch.setattr("spikesight.training.run.loop.evaluate", measured)
    for _ in range(4):
        run.progress.seen = run.progress.step = 1
        run.finish_epoch(0.0)
        best.append(run.progress.best_epoch)
    assert best == [0, 0, 2, 2]


def test_the_card_has_the_recipe_without_the_places_it_ran_at(root: Path) -> None:
    run = made(root, lr=0.5)
    card = run.card({"accuracy": 0.5})
    recipe, data = card.training["recipe"], run.data
    assert recipe == {k: v for k, v in vars(run.config).items() if k not in ("root", "cache", "output")}
    assert card.training["samples"] == {"train": len(data.train), "val": len(data.val), "test": len(data.test)}
    assert card.training["recordings"] == list(data.digests)
    assert "outliers" not in card.training
    run.data = replace(data, outliers=data.val)
    assert card.training | {"outliers": list(KINDS)} == run.card({}).training
    assert (card.labels, card.contract, card.metrics) == (data.labels, data.contract, {"accuracy": 0.5})


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
