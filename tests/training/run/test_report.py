"""The files that a run leaves behind, and what its card says."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from spikesight.model import load
from spikesight.training.config import TrainConfig
from spikesight.training.data import load_data
from spikesight.training.flags import from_mapping
from spikesight.training.run.fit import fit
from tests.support.inputs.data_sets import small_config, write_nmnist


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    root = write_nmnist(tmp_path_factory.mktemp("report"))
    config = small_config(root, name="r")
    return root / "runs" / "r", fit(config, root / "runs" / "r")


def test_metrics_and_result_agree(finished: tuple[Path, dict[str, object]]) -> None:
    folder, metrics = finished
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2]
    best = max(float(row["val_accuracy"]) for row in rows)
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
    for words, column in (
        ("right on test data, as shown", test),
        ("best guess right, known or not", test["best_guess"]),
    ):
        assert f"| {words} | {100 * column['accuracy']:.2f} % of {column['count']}" in card
