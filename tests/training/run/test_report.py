"""The files that a run leaves behind, and accuracy in one endless stream."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from spikesight.models.classifier import Classifier, Stepper
from spikesight.training.config import TrainConfig
from spikesight.training.data import load_data, read_item
from spikesight.training.flags import from_mapping
from spikesight.training.run.fit import fit
from spikesight.training.run.report import stream_accuracy
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
    assert set(metrics["stream"]) == {"fresh", "carried", "count"}  # type: ignore[call-overload]
    assert json.loads((folder / "result.json").read_text()) == json.loads(json.dumps(metrics))
    matrix = (folder / "confusion.csv").read_text().splitlines()
    assert matrix[0] == "truth,0,1"
    assert sum(int(v) for line in matrix[1:] for v in line.split(",")[1:]) == 6


def test_a_stream_carries_its_membranes_from_recording_to_recording(finished: tuple[Path, dict[str, object]]) -> None:
    folder, metrics = finished
    data, classifier = load_data(small_config(folder.parent.parent)), Classifier.load(folder / "model")
    found = stream_accuracy(folder / "model", data)
    assert found["count"] == len(data.test_items)
    assert found["fresh"] == metrics["test"]["accuracy"], "from zero state, as it was evaluated"  # type: ignore[index]
    endless, right = Stepper(classifier), 0
    for index in np.random.default_rng(0).permutation(len(data.test_items)):
        inputs = classifier.event_inputs(*read_item(data.test_items[index]))
        answers = [endless.step(given._replace(reset=False)) for given in inputs]
        right += answers[-1].prediction.index == data.test_items[index].label
    assert found["carried"] == right / len(data.test_items)
