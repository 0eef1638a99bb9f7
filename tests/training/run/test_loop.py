"""Parts of the training loop: one step, what an epoch reports and keeps, the card."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spikesight.training.config import TrainConfig
from spikesight.training.distributed import Processes
from spikesight.training.run import loop
from spikesight.training.run.evaluate import Evaluation, LayerActivity
from spikesight.training.run.loop import Run
from spikesight.training.run.resume import Progress
from spikesight.training.step.optimiser import learning_rate
from tests.support.models import EVENT_CONTRACT, LABELS


def bare(rank: int = 0, **settings: Any) -> Any:
    """A run of which only what a test needs is there."""
    run: Any = Run.__new__(Run)
    run.config, run.network, run.device = TrainConfig.of(**settings), nn.Linear(1, 1), torch.device("cpu")
    run.processes, run.progress, run.stop_asked = Processes(run.device), Progress(), False
    run.processes.rank, run.average, run.last_state, run.weights = rank, None, None, None
    return run


@pytest.mark.parametrize(("carry", "clip"), [(0.0, 0.0), (0.25, 2.5)])
def test_a_step_sets_its_rate_clips_and_keeps_membranes_as_it_was_told(
    carry: float, clip: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked, clipped = bare(carry=carry, clip_norm=clip, epochs=4), list[Any](), list[float]()
    run.progress.step, run.steps_an_epoch = 7, 5
    run.optimiser = torch.optim.SGD(run.network.parameters(), 1.0)
    targets = torch.tensor([0, 1, 1])
    logits = torch.tensor([[[0.0, 1.0], [0.0, 1.0], [3.0, 0.0]], [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]])
    state = {"v": torch.ones(3, requires_grad=True)}
    run.batches = SimpleNamespace(take=lambda _, step: (step, "x_seq", targets, "generator"))
    run._forward_backward = lambda *_: (0.5, logits, state)
    monkeypatch.setattr(nn.utils, "clip_grad_norm_", lambda _, norm: clipped.append(norm))
    monkeypatch.setattr(loop, "carried_state", lambda *given: asked.append(given) or {})
    assert run.train_batch(np.arange(3)) == (1.5, 1)
    assert clipped == ([clip] if clip else [])
    assert run.optimiser.param_groups[0]["lr"] == learning_rate(run.config, 7, 5)
    assert asked == [({}, None, carry, "generator")]
    assert (run.last_state is None) == (not carry)
    if carry:
        assert not run.last_state["v"].requires_grad


def measured(accuracy: float, rate: float) -> Evaluation:
    layers = {"stem": LayerActivity(rate, 0.25, 0.125)}
    return Evaluation(accuracy, 0.6, 8, np.eye(2, dtype=np.int64), [accuracy], layers, 123.0)


@pytest.mark.parametrize("rank", [0, 1])
def test_an_epochs_row_its_words_and_the_best_network(
    rank: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, found, saved = bare(rank, epochs=5), iter([measured(0.75, 0.0), measured(0.5, 0.5)]), list[Any]()
    written: list[int] = []
    run.data = SimpleNamespace(val="val", labels=("a", "b"), contract="contract")
    run.steps_an_epoch, run.folder = 10, Path("runs")
    run.shipped_network, run.card, run.save = lambda: "network", lambda metrics: metrics, lambda: saved.append("state")
    run.log = None if rank else SimpleNamespace(write=lambda rows: written.append(len(rows)))
    monkeypatch.setattr(loop, "evaluate", lambda *_: next(found))
    monkeypatch.setattr(loop, "save", lambda *given: saved.append(given))
    for epoch in (2, 3):
        assert run.progress.epoch == (epoch if epoch == 3 else 0)
        run.progress = Progress(**{**vars(run.progress), "epoch": epoch, "step": 10 * epoch + 10, "loss_sum": 4.0})
        run.progress.correct, run.progress.seen = 6, 8
        run.finish_epoch(12.3456)
    best = (Path("runs/checkpoints/best"), "network", {"val_accuracy": 0.75})
    assert saved == [*([] if rank else [best]), "state", "state"]
    assert (run.progress.best_epoch, run.progress.best_val, run.progress.best_loss) == (2, 0.75, 0.6)
    assert written == ([] if rank else [1, 2])
    assert run.progress.rows[0] == {
        "epoch": 3, "train_loss": 0.5, "train_accuracy": 0.75, "val_loss": 0.6, "val_accuracy": 0.75,
        "lr": learning_rate(run.config, 29, 10), "seconds": 12.35, "synops": 123.0, "rate/stem": 0.0,
        "dead/stem": 0.25, "saturated/stem": 0.125,
    }  # fmt: skip
    said = [
        "epoch 3/5  loss 0.5000  train 0.7500  val 0.7500  (12 s)  WARNING: silent layers: stem "
        "(longer windows, --theta 0.5 or --init-from wake them)",
        "epoch 4/5  loss 0.5000  train 0.7500  val 0.5000  (12 s)",
    ]
    assert capsys.readouterr().out.splitlines() == ([] if rank else said)


def test_the_card_has_the_recipe_without_the_places_it_ran_at() -> None:
    run = bare(root="r", cache="c", output="o", threads=3, data="x", init_from="some/net", teacher="runs/t", lr=0.5)
    run.data = SimpleNamespace(
        split={"data": "mine"}, train=range(5), val=range(3), test=range(2), digests=("d",), contract=EVENT_CONTRACT,
        labels=LABELS,
    )  # fmt: skip
    card = run.card({"accuracy": 0.5})
    recipe = card.training["recipe"]
    assert set(recipe) == set(run.config.flat()) - {"root", "cache", "output", "threads"}
    assert [recipe[name] for name in ("data", "init_from", "teacher", "lr")] == ["mine", "net", "t", 0.5]
    assert card.training["samples"] == {"train": 5, "val": 3, "test": 2}
    assert (card.training["recordings"], card.labels, card.contract) == (["d"], LABELS, EVENT_CONTRACT)
    assert card.metrics == {"accuracy": 0.5}
