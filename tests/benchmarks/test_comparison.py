"""A comparison: curves, stored results, resuming, a report of what was measured."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.compare.comparison import CompareConfig, Comparison
from experiments.compare.report import write_report
from spikesight.models.contract import Card
from spikesight.training.config import TrainConfig
from spikesight.training.conversion import pictures_of, prepare
from spikesight.training.data import load_data
from tests.support.inputs.data_sets import write_idx, write_stripes


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stripes(tmp_path_factory.mktemp("pictures"))


def test_comparison_runs_resumes_and_reports(pictures: Path, tmp_path: Path) -> None:
    said: list[str] = []
    config = CompareConfig(
        data=str(pictures), output=str(tmp_path), train_images=90, ann_epochs=3, direct_epochs=1,
        direct=("direct/arctan/2",),
        methods=("rueckauer", "ours"), steps=12, aim=8, images=20,
        long=("rueckauer",), long_steps=20, long_images=8, calibration=32, held=6, chosen_images=24,
    )  # fmt: skip
    results = Comparison(config, said.append).run()
    sizes = {
        name: [(curve.method, curve.steps, curve.images) for curve in getattr(results, name)]
        for name in ("chosen", "converted", "direct", "long")
    }
    best = max(results.trials, key=lambda t: t.correct[-1]).method
    assert sizes == {
        "chosen": [(best, 8, 24)],
        "converted": [("rueckauer", 12, 20), ("ours", 12, 20)],
        "direct": [("direct/arctan/2", 2, 20)],
        "long": [("rueckauer", 20, 8)],
    }
    assert [(t.method, t.steps) for t in results.trials] == [("rueckauer", 8), ("ours", 8)]
    assert (results.ann.images, results.stdp) == (24, []), "STDP reads grey images"
    assert results.direct[0].work["2"].macs > 0
    assert results.converted[1].work["8"].acs > 0
    text = write_report(results, tmp_path).read_text()
    assert all(words in text for words in ("Two ways to a spiking network", "<td>ours</td>", "45 nm", "<svg"))
    said.clear()
    assert Comparison(config, said.append).run() == results
    assert all("kept" in line for line in said)
    Comparison(replace(config, seed=1), said.append).direct("direct/arctan/2")
    assert len(list(tmp_path.glob("direct-*"))) == 2  # no run goes on with one of other settings


def test_pixels_are_normalised_by_channel() -> None:
    images = np.array([0, 51, 255], np.uint8).reshape(1, 3, 1, 1)
    made = prepare(images, (0.0, 0.1, 0.5), (1.0, 0.5, 0.25))
    assert made.dtype == torch.float32
    assert made.flatten().tolist() == pytest.approx([0.0, 0.2, 2.0])


def test_the_pictures_are_those_of_the_training(tmp_path: Path) -> None:
    write_idx(tmp_path, train=40, test=10)
    config = TrainConfig(data="mnist", root=str(tmp_path), network="cifar-resnet8", neuron="relu", steps=1)
    data = load_data(config)
    recipe = {"data": "mnist", "network": "cifar-resnet8", "neuron": "relu", "steps": 1, "seed": 0}
    pictures = pictures_of(Card(data.contract, data.labels, {"recipe": recipe}), tmp_path)
    assert np.array_equal(pictures.train.pixels, data.train.frames[:][:, 0])
    assert np.array_equal(pictures.test.labels, data.test.labels)
    assert pictures.mean == data.contract.mean
