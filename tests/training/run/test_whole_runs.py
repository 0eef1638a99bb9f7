"""Whole runs and their parts: the loop, ends and resumptions."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from spikesight.model import load
from spikesight.training.config import TrainConfig
from spikesight.training.data import load_data
from spikesight.training.distributed import ProcessGroup
from spikesight.training.flags import from_mapping
from spikesight.training.run.evaluate import Evaluation
from spikesight.training.run.fit import dry_run, fit, run_folder
from spikesight.training.run.loop import Run, TrainingError, learning_rate
from spikesight.training.run.resume import load_progress, save_progress
from tests.support.inputs.data_sets import small_config, write_nmnist
from tests.support.refusals import refusal

ROWS = np.arange(4)


def loop_made(root: Path, name: str = "x", **settings: Any) -> Run:
    return Run(load_data(small_config(root, **settings)), root / "runs" / name)


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in run.network.named_parameters()}


@pytest.mark.parametrize("clip", [1e9, 0.01])
def test_a_step_goes_by_its_rate_and_no_further_than_the_clipped_gradient(root: Path, clip: float) -> None:
    run = loop_made(root, optimiser="sgd", lr=0.5, weight_decay=0.0, clip_norm=clip, epochs=4)
    run.progress.step = 3
    before = weights_of(run)
    run.train_batch(ROWS)
    went = float(torch.stack([(p - before[n]).norm() for n, p in weights_of(run).items()]).norm())
    longest = learning_rate(run.config, 3, run.steps_an_epoch) * 0.01
    assert (went == pytest.approx(longest, rel=1e-3)) if clip < 1 else (went > 2 * longest)


@pytest.mark.parametrize("carry", [0.0, 0.25])
def test_membranes_are_kept_for_the_next_step_where_they_are_carried(root: Path, carry: float) -> None:
    run = loop_made(root, carry=carry)
    run.train_batch(ROWS)
    assert (run.last_state is not None) == bool(carry)
    assert not any(tensor.requires_grad for tensor in (run.last_state or {}).values())


def test_a_loss_that_is_not_finite_stops_the_run_before_it_changes_a_weight(root: Path) -> None:
    run = loop_made(root, "nan")
    with torch.no_grad():
        run.network.get_parameter("readout.bias").fill_(float("nan"))
    before = weights_of(run)
    refusal(lambda: run.train(), "lower --lr", TrainingError)
    assert all(torch.equal(tensor.nan_to_num(), before[name].nan_to_num()) for name, tensor in weights_of(run).items())


def test_every_epoch_has_an_order_of_its_own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, orders = loop_made(root, "orders"), list[list[int]]()
    monkeypatch.setattr(run, "train_batch", lambda rows, _: (orders[-1].extend(rows.tolist()), (0.0, 0))[1])
    for _ in range(2):
        orders.append([])
        run.train_epoch()
        run.progress.next_epoch()
    assert len(orders[0]) == len(set(orders[0])) == len(orders[1])
    assert orders[0] != orders[1]


def test_of_equal_accuracies_the_lower_loss_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, best = loop_made(root, "ties"), []
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
    run = loop_made(root, lr=0.5)
    card = run.card({"accuracy": 0.5})
    recipe, data = card.training["recipe"], run.data
    assert recipe == {k: v for k, v in vars(run.config).items() if k not in ("root", "cache", "output")}
    assert card.training["samples"] == {"train": len(data.train), "val": len(data.val), "test": len(data.test)}
    assert card.training["recordings"] == list(data.digests)
    assert "outliers" not in card.training
    run.data = replace(data, outliers=data.val, outlier_kinds=("letters",))
    assert card.training | {"outliers": ["letters"]} == run.card({}).training
    assert (card.labels, card.contract, card.metrics) == (data.labels, data.contract, {"accuracy": 0.5})


def test_a_write_that_stops_half_way_keeps_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = nn.Linear(3, 2), tmp_path / "last.safetensors"
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    save_progress(path, model, optimiser, {}, {"step": 1})

    def half(_: object, target: Path, __: object) -> None:
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("spikesight.training.run.resume.save_file", half)
    refusal(lambda: save_progress(path, model, optimiser, {}, {"step": 2}), "disk full", OSError)
    assert load_progress(path, model, optimiser)[1] == {"step": 1}


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_resumed_run_is_one_never_stopped(tmp_path: Path, optimiser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root, options = write_nmnist(tmp_path), {"carry": 0.5, "ema": 0.9, "optimiser": optimiser, "lr": 0.01}
    whole, step, folder = fit(small_config(root, **options), root / "runs" / "whole"), Run.train_batch, root / "broken"

    def breaking(self: Run, *rows: np.ndarray) -> tuple[float, int]:
        if self.progress.step == 4:
            raise MemoryError
        return step(self, *rows)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "train_batch", breaking)
        patch.setattr("spikesight.training.run.loop.SAVE_S", 0.0)
        with pytest.raises(MemoryError):
            fit(small_config(root, **options), folder)
    with safe_open(folder / "checkpoints" / "last.safetensors", "pt") as file:
        stopped = json.loads(file.metadata()["counters"])
    assert (stopped["epoch"], stopped["batch"], stopped["step"]) == (1, 1, 4)
    resumed = fit(small_config(root, **options), folder, resume=True)
    runs = root / "runs" / "whole", folder
    ours, theirs = (load_file(run / "checkpoints" / "last.safetensors") for run in runs)
    assert set(ours) == set(theirs)
    assert {"carry", "average"} <= {key.split("/")[0] for key in ours}
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert resumed["test"] == whole["test"]
    lines = ((run / "metrics.jsonl").read_text().splitlines() for run in runs)
    expected, rows = ([{**json.loads(line), "seconds": 0} for line in each] for each in lines)
    assert rows == expected


def test_the_same_seed_gives_the_same_run_and_another_seed_another(root: Path) -> None:
    assert len({dry_run(small_config(root, seed=seed)) for seed in (0, 0, 1)}) == 2
    assert dry_run(small_config(root, batch_size=None)) > 0  # as without the flag


def test_a_new_run_has_a_new_folder_of_its_name_also_before_another_has_written(tmp_path: Path) -> None:
    config = small_config(tmp_path, data="some/nmnist")
    for name in ("nmnist-event-small", "nmnist-event-small-2", "nmnist-event-small-3"):
        assert run_folder(config) == tmp_path / "runs" / name
    assert run_folder(replace(config, name="mine")) == tmp_path / "runs" / "mine"


@pytest.mark.parametrize("own", [False, True])
def test_rare_classes_count_more_in_a_folder_of_ones_own(root: Path, own: bool) -> None:
    data = load_data(small_config(root))
    train = data.train.take(np.concatenate([np.flatnonzero(data.train.labels == 0), [data.train.labels.argmax()]]))
    run = Run(replace(data, train=train, own=own), root / "runs" / "x")
    assert (run.weights is not None) == own
    if run.weights is not None:
        assert run.weights[1] > run.weights[0]


class Joint(ProcessGroup):
    """One of two processes; the other wishes to stop or not, and has the same sums."""

    def __init__(self, rank: int, stops: bool) -> None:
        super().__init__(torch.device("cpu"), rank, 2)
        self.stops = stops

    def wrap(self, module: torch.nn.Module) -> torch.nn.Module:
        return module

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor + (float(self.stops) if tensor.ndim == 0 else tensor)


@pytest.mark.parametrize("rank", [0, 1])
def test_what_one_process_wishes_is_done_by_all_and_the_first_goes_on_from_the_sums(root: Path, rank: int) -> None:
    config = small_config(root)
    alone = Run(load_data(config), root / "runs" / "x", Joint(rank, False))
    alone.train_epoch()
    assert alone.progress.batch == alone.steps_an_epoch, "nobody wishes to stop"
    run = Run(load_data(config), root / "runs" / f"joint-{rank}", Joint(rank, True))
    with pytest.raises(KeyboardInterrupt):
        run.train_epoch()
    assert run.progress.batch == 1
    assert (run.progress.loss_sum > 0) == (rank == 0)
    assert run.progress_path.is_file() == (rank == 0)
    first = Run(load_data(config), root / "runs" / "x", Joint(rank, False))
    first.steps_an_epoch = 1
    first.train_epoch()
    assert run.progress.loss_sum == pytest.approx(2 * first.progress.loss_sum if rank == 0 else 0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    root = write_nmnist(tmp_path_factory.mktemp("report"))
    config = small_config(root, name="r")
    return root / "runs" / "r", fit(config, root / "runs" / "r")


def test_metrics_and_result_agree(finished: tuple[Path, dict[str, object]]) -> None:
    folder, metrics = finished
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    best = max(row["val_accuracy"] for row in rows)
    assert metrics["val_accuracy"] == best
    config = from_mapping(TrainConfig(), yaml.safe_load((folder / "config.yaml").read_text()), "config.yaml")
    assert (config.name, config.steps) == ("r", 3)
    assert json.loads((folder / "result.json").read_text()) == json.loads(json.dumps(metrics))
    matrix = (folder / "confusion.csv").read_text().splitlines()
    assert matrix[0] == "truth,0,1"
    assert sum(int(v) for line in matrix[1:] for v in line.split(",")[1:]) == 6


def test_a_card_tells_what_the_model_shows(finished: tuple[Path, dict[str, object]]) -> None:
    folder, metrics = finished
    data, model = load_data(small_config(folder.parent.parent)), load(folder / "model")
    answers = [model.predict(item.path) for item in data.test_items]
    shown = sum(answer.label == data.labels[item.label] for answer, item in zip(answers, data.test_items))
    guess = sum(answer.index == item.label for answer, item in zip(answers, data.test_items))
    test: dict = metrics["test"]  # type: ignore[assignment]
    assert (test["correct"], test["best_guess"]["correct"]) == (shown, guess)
    assert test["count"] == len(data.test_items)
    card = (folder / "model" / "README.md").read_text()
    rows = {"right on test data, as shown": test, "best guess right, known or not": test["best_guess"]}
    for words, column in rows.items():
        assert f"| {words} | {100 * column['accuracy']:.2f} % of {column['count']}" in card
