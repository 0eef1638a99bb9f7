"""The files that a run leaves behind, and accuracy in one endless stream."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from spikesight.models.checkpoint import load
from spikesight.models.classifier import Stepper
from spikesight.models.steps import Input, Prediction, Step, Track
from spikesight.training.config import TrainConfig
from spikesight.training.flags import from_mapping
from spikesight.training.run.fit import fit
from spikesight.training.run.report import stream_accuracy
from tests.support.inputs.data_sets import small_config, write_nmnist


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    root = write_nmnist(tmp_path_factory.mktemp("report"))
    config = small_config(root, name="r")
    return root / "runs" / "r", fit(config, root / "runs" / "r")


def test_all_files_are_there(finished: tuple[Path, dict[str, object]]) -> None:
    names = {str(p.relative_to(finished[0])) for p in finished[0].rglob("*") if p.is_file()}
    assert {
        "config.yaml", "env.json", "split.json", "metrics.csv", "metrics.jsonl", "confusion.csv", "report.png",
        "result.json", "model/config.json", "model/model.safetensors", "model/README.md",
        "checkpoints/last.safetensors", "checkpoints/best/model.safetensors",
    } <= names  # fmt: skip
    assert not [n for n in names if ".partial" in n]


def test_metrics_and_result_agree(finished: tuple[Path, dict[str, object]]) -> None:
    folder, metrics = finished
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2]
    best = max(float(row["val_accuracy"]) for row in rows)
    assert metrics["val_accuracy"] == best
    config = from_mapping(TrainConfig(), yaml.safe_load((folder / "config.yaml").read_text()), "config.yaml")
    assert (config.name, config.steps) == ("r", 3)
    assert set(metrics["stream"]) == {"fresh", "carried", "count"}  # type: ignore[call-overload]
    assert json.loads((folder / "result.json").read_text()) == json.loads(json.dumps(metrics))
    matrix = (folder / "confusion.csv").read_text().splitlines()
    assert matrix[0] == "truth,0,1"
    assert sum(int(v) for line in matrix[1:] for v in line.split(",")[1:]) == 6


def test_the_model_loads_and_says_how_it_was_made(finished: tuple[Path, dict[str, object]]) -> None:
    folder, metrics = finished
    _, card = load(folder / "model")
    assert card.labels == ("0", "1")
    assert (card.contract.steps, card.contract.bin_us, card.contract.height) == (3, 30_000, 17)
    assert card.metrics["test"]["count"] == 6
    assert card.training["recipe"]["seed"] == 0
    text = (folder / "model" / "README.md").read_text()
    assert text.startswith("---\nlicense:")
    assert f"| parameters | {metrics['parameters']} |" in text
    assert str(folder.parent.parent) not in text + (folder / "model" / "config.json").read_text()


class Counting:
    """A classifier that counts the steps in its state: its answer is how many came before, this one included."""

    labels, contract = tuple(map(str, range(11))), SimpleNamespace(horizon=1)

    @staticmethod
    def load(_: Path) -> "Counting":
        return Counting()

    def track(self) -> Track:
        return Track(self.labels, self.contract.horizon)

    def initial_state(self) -> dict[str, torch.Tensor]:
        return {"steps": torch.zeros(1)}

    def event_inputs(self, events: np.ndarray, _: object) -> list[Input]:
        return [Input(np.zeros(1, np.uint8), 0, 1, 0, n == 0) for n in range(len(events))]

    def step(self, _: torch.Tensor, state: dict[str, torch.Tensor]) -> Step:
        steps = state["steps"] + 1
        logits = 9 * torch.nn.functional.one_hot(steps.long(), 11).float()
        return Step(logits, {"steps": steps}, torch.zeros(1, 1), torch.zeros(1), torch.zeros(1, 1), torch.zeros(1, 0))

    def predict(self, inputs: list[Input]) -> list[Prediction]:
        stepper = Stepper(self)  # type: ignore[arg-type]
        return [stepper.step(given).prediction for given in inputs]


def test_the_endless_stream_is_never_reset_and_reads_each_recording_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikesight.training.run.report.Classifier", Counting)
    monkeypatch.setattr("spikesight.training.run.report.read_item", lambda item: (np.zeros(item.path), None))
    lengths, ends, seen = [2, 3, 4], [0, 0, 0], 0
    for index in np.random.default_rng(0).permutation(3):
        seen += lengths[index]
        ends[index] = seen
    stream = SimpleNamespace(test_items=[SimpleNamespace(path=n, label=end) for n, end in zip(lengths, ends)])
    assert stream_accuracy(Path(), stream) == {"fresh": 1 / 3, "carried": 1.0, "count": 3}  # type: ignore[arg-type]
    alone = SimpleNamespace(test_items=[SimpleNamespace(path=n, label=n) for n in lengths])
    assert stream_accuracy(Path(), alone) == {"fresh": 1.0, "carried": 1 / 3, "count": 3}  # type: ignore[arg-type]
