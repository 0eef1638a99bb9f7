"""Reports: what a run leaves behind, and the interval."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spikesight.models.checkpoint import load
from spikesight.models.classifier import Stepper
from spikesight.models.statistics import interval
from spikesight.models.steps import Input, Prediction, Step, Track
from spikesight.training.config import TrainConfig
from spikesight.training.flags import from_mapping
from spikesight.training.run import report
from spikesight.training.run.evaluate import Evaluation
from spikesight.training.run.fit import fit
from spikesight.training.run.report import stream_accuracy, write_whole
from tests.support.inputs.data_sets import small_config, write_nmnist


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    root = write_nmnist(tmp_path_factory.mktemp("report"))
    config = small_config(root, name="r")
    return root / "runs" / "r", fit(config, root / "runs" / "r")


class Board:
    """TensorBoard, that writes down what it is told."""

    told: ClassVar[list[Any]] = []

    def __init__(self, folder: str) -> None:
        self.told.append(Path(folder).name)

    def add_scalar(self, name: str, value: float, epoch: int) -> None:
        self.told.append((name, value, epoch))

    def flush(self) -> None:
        self.told.append("flushed")


def test_every_epoch_goes_to_the_board_where_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Board, "told", [])
    monkeypatch.setattr(report, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"spikesight\[logging\]"):
        report.MetricsLog(tmp_path, "tensorboard")
    monkeypatch.setattr(report, "find_spec", lambda _: 1)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Board))
    rows = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
    report.MetricsLog(tmp_path, "").write(rows)
    assert not Board.told
    log = report.MetricsLog(tmp_path, "tensorboard")
    log.write(rows[:1])
    log.write(rows)
    first, second = [("epoch", 1, 1), ("loss", 0.5, 1), "flushed"], [("epoch", 2, 2), ("loss", 0.25, 2), "flushed"]
    assert Board.told == ["tensorboard", *first, *second]


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
    assert "root" not in card.training["recipe"]
    text = (folder / "model" / "README.md").read_text()
    assert text.startswith("---\nlicense:")
    assert f"| parameters | {metrics['parameters']} |" in text
    assert str(folder.parent.parent) not in text + (folder / "model" / "config.json").read_text()


def test_the_settings_written_are_the_settings(finished: tuple[Path, dict[str, object]]) -> None:
    folder, _ = finished
    config = from_mapping(TrainConfig(), yaml.safe_load((folder / "config.yaml").read_text()), "config.yaml")
    assert config.name == "r"
    assert config.steps == 3


def test_streamed_accuracy_is_reported(finished: tuple[Path, dict[str, object]]) -> None:
    stream = finished[1]["stream"]
    assert isinstance(stream, dict)
    assert set(stream) == {"fresh", "carried", "count"}


@pytest.mark.parametrize(("correct", "count"), [(0, 10), (10, 10), (98, 100), (1, 3)])
def test_the_interval_holds_the_share_and_stays_within_0_and_1(correct: int, count: int) -> None:
    low, high = interval(correct, count)
    assert 0 <= low <= correct / count <= high <= 1


def test_write_whole_leaves_nothing_behind(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.txt", "one")
    write_whole(tmp_path / "a.txt", "two")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "two"


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


@pytest.mark.parametrize(("classes", "named"), [(3, True), (30, True), (31, False)])
def test_the_picture_of_a_run(classes: int, named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, ticks = list[Any](), list[Any]()
    monkeypatch.setattr(Figure, "savefig", lambda own, path, dpi: drawn.extend((own, path.name, dpi)))
    for axis in ("set_xticks", "set_yticks"):
        monkeypatch.setattr(Axes, axis, lambda _, at, names, **how: ticks.append(([*at], names, how)))
    rows = [{"epoch": n, "train_accuracy": n / 4, "val_accuracy": n / 8} for n in (1, 2)]
    labels = tuple(f"c{n}" for n in range(classes))
    test = Evaluation(0.5, 1.0, 9, np.eye(classes, dtype=np.int64), [0.5], {}, 0.0)
    report._plot(tmp_path, rows, test, labels)
    figure, *saved = drawn
    curves, matrix, bar = figure.axes
    assert (saved, figure.get_size_inches().tolist(), bar.get_label()) == (["report.png", 110], [11, 4], "<colorbar>")
    assert [(line.get_label(), *map(list, line.get_data())) for line in curves.get_lines()] == [
        ("train accuracy", [1, 2], [0.25, 0.5]), ("val accuracy", [1, 2], [0.125, 0.25]),
    ]  # fmt: skip
    words = [(axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) for axes in (curves, matrix)]
    assert words == [("epoch", "accuracy", "Chosen on validation"), ("predicted", "truth", "Test, 9 samples")]
    assert curves.get_legend() is not None
    at, names = ([*range(classes)], list(labels)) if named else ([], [])
    assert ticks == [(at, names, {"rotation": 90}), (at, names, {})]


def test_the_environment_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run(command: list[str], **how: Any) -> SimpleNamespace:
        asked.append((command, how))
        if len(asked) > 1:
            raise subprocess.TimeoutExpired(command, 10)
        return SimpleNamespace(stdout="abc\n")

    monkeypatch.setattr(report.subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["/opt/bin/train-dvs", "--lr", "1"])
    monkeypatch.setattr(report, "version", lambda name: f"of {name}")
    found = []
    for gpu in (False, True):
        monkeypatch.setattr("torch.cuda.is_available", lambda gpu=gpu: gpu)
        monkeypatch.setattr("torch.cuda.get_device_name", lambda: "H100")
        report.write_environment(tmp_path, TrainConfig(), SimpleNamespace(split={"data": "d"}))  # type: ignore[arg-type]
        found.append(json.loads((tmp_path / "env.json").read_text()))
    how = {"capture_output": True, "text": True, "timeout": 10, "check": True}
    assert asked == [(["git", "rev-parse", "HEAD"], how)] * 2
    assert [(env["command"], env["commit"], env["gpu"]) for env in found] == [
        (["train-dvs", "--lr", "1"], "abc", None), (["train-dvs", "--lr", "1"], "", "H100"),
    ]  # fmt: skip
    assert found[0]["threads"] == torch.get_num_threads()
    assert found[0]["versions"] == {n: f"of {n}" for n in ("spikesight", "torch", "numpy", "tonic", "numba")}
    assert (tmp_path / "split.json").read_text() == '{\n "data": "d"\n}\n'
    assert (tmp_path / "env.json").read_text().startswith('{\n "command"')
