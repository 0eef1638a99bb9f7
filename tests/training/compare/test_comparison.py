"""The jobs of a comparison: the ANN and how it learns, STDP, pieces of a curve, stored results."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spikesight.models.networks.ann import ANNS, SmallCnn
from spikesight.models.networks.stdp import StdpConfig, StdpLayer, rates_of
from spikesight.training.compare import comparison
from spikesight.training.compare.ann import accuracy, ann_settings, fit_ann, prepare
from spikesight.training.compare.comparison import Comparison
from spikesight.training.compare.config import CompareConfig
from spikesight.training.compare.results import Cost, Curve, Store
from spikesight.training.data.images import Images
from tests.support.inputs.data_sets import write_idx, write_stripes


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stripes(tmp_path_factory.mktemp("pictures"))


def small(pictures: Path, output: Path, **changes: Any) -> Comparison:
    config = CompareConfig(
        data=str(pictures), output=str(output), held=6, images=8, calibration=8, steps=4, seed=5,
        train_images=50, ann_epochs=7, tune_images=40,
    )  # fmt: skip
    return Comparison(replace(config, **changes), lambda _: None)


@pytest.mark.parametrize(
    "spec", ["direct/arctan", "direct/arctan/0", "direct/arc/4", "morse/arctan/4", "rate/arctan/4/1"]
)
def test_what_is_no_direct_training_is_said_before_any_training(spec: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"encoding/surrogate/T.*not {spec}"):
        small(tmp_path / "nothing", tmp_path, direct=("direct/arctan/4", spec))


def saved_ann(path: Path, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    ann = ANNS["cifar-resnet8"].build(3, 2)
    torch.save(ann.state_dict(), path)
    return ann


def alike(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))


@pytest.mark.parametrize(
    ("weights", "tune", "count", "epochs"), [(False, 0, 50, 7), (True, 2, 40, 2), (True, 0, 0, 0)]
)  # fmt: skip
def test_an_ann_is_trained_tuned_or_taken_as_it_is(
    weights: bool, tune: int, count: int, epochs: int, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []

    def fit(network: nn.Module, images: Images, _: object, __: object, settings: Any, ___: object) -> nn.Module:
        asked.append((len(images), settings.epochs))
        return network.eval()

    monkeypatch.setattr(comparison, "fit_ann", fit)
    given = saved_ann(tmp_path / "ann.pt", seed=3 if weights else 5)
    words: dict[str, Any] = {"weights": str(tmp_path / "ann.pt") if weights else "", "tune_epochs": tune}
    compared = small(pictures, tmp_path, **words)
    network, result = compared.ann()
    assert asked == ([(count, epochs)] if epochs else [])
    assert alike(network, given), "that of the file, or a fresh one of the seed"
    right = comparison.hits(network, compared.prepared(compared.test), compared.test.labels)
    assert (result.images, result.images_here) == (24, 8)
    assert (result.accuracy, result.accuracy_here) == (100 * right.mean(), 100 * right[:8].mean())
    again, other = small(pictures, tmp_path, images=9, **words).ann()
    assert alike(again, network), "trained before, and read on other images"
    assert (len(asked), other.images_here) == (bool(epochs), 9)


def test_the_anns_recipe_learns() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 256)
    pixels = random.integers(0, 80, (256, 1, 8, 8)).astype(np.uint8)
    pixels[labels == 1, :, :4] += 120
    torch.manual_seed(0)
    said: list[str] = []
    config = replace(ann_settings(3, shift=1), batch_size=32)
    network = fit_ann(SmallCnn(1, 2, 4), Images(pixels, labels), (0.3,), (0.2,), config, report=said.append)
    assert [line.partition(": loss ")[0] for line in said] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all(0 < float(line.partition(": loss ")[2]) < 1.5 for line in said), "a mean over images"
    assert accuracy(network, prepare(pixels, (0.3,), (0.2,)), labels) > 90


def test_other_weights_of_the_same_name_are_another_comparison(pictures: Path, tmp_path: Path) -> None:
    keys = []
    for seed, folder in ((0, "a"), (1, "b"), (1, "c")):
        (tmp_path / folder).mkdir()
        saved_ann(tmp_path / folder / "ann.pt", seed)
        keys.append(small(pictures, tmp_path / "out", weights=str(tmp_path / folder / "ann.pt")).ann_key())
    assert keys[0] != keys[1]
    assert keys[1] == keys[2], "the same weights elsewhere"


def test_other_pictures_in_a_folder_of_the_same_name_are_another_comparison(tmp_path: Path) -> None:
    first, same, other = (write_stripes(tmp_path / place / "mine") for place in "abc")
    picture = next((other / "test").rglob("*.png"))
    picture.write_bytes(next((other / "train").rglob("*.png")).read_bytes())
    keys = [small(folder, tmp_path / "out").data_key() for folder in (first, same, other)]
    assert keys[0] == keys[1] != keys[2]


def test_stdp_names_its_neurons_by_training_images_and_reads_test_images(tmp_path: Path) -> None:
    write_idx(tmp_path)
    config = CompareConfig(
        data="mnist", root=str(tmp_path), output=str(tmp_path / "out"), network="small-cnn", direct=(), held=4,
        images=5, stdp_neurons=6, stdp_images=15, calibration=4,
    )  # fmt: skip
    compared = Comparison(config, lambda _: None)
    found = compared.stdp(2)
    train, test = compared.train.subset(15, 2), compared.test[:5]
    layer = StdpLayer(StdpConfig(inputs=784, neurons=6), 2)
    layer.learn(rates_of(train.pixels))
    layer.name(rates_of(train.pixels), train.labels, 10)
    right = int((layer.predict(rates_of(test.pixels)) == test.labels).sum())
    assert (found.right, found.images, found.seed, found.train_images) == (right, 5, 2, 15)


def test_pieces_of_a_curve_are_the_whole(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = saved_ann(tmp_path / "ann.pt").eval()
    whole = small(pictures, tmp_path / "whole").conversion(ann, "ours", 6, 4, 24)
    monkeypatch.setattr(comparison, "BLOCK", 7)
    found = small(pictures, tmp_path / "pieces").conversion(ann, "ours", 6, 4, 24)
    assert len(list((tmp_path / "pieces" / "results").glob("convert-*.json"))) == 4
    assert (found.correct, found.images, found.work) == (whole.correct, 24, whole.work)
    assert found.ann_accuracy == pytest.approx(whole.ann_accuracy)
    for confidence, pair in whole.exits.items():
        assert found.exits[confidence] == pytest.approx(pair)


def test_results_stored_by_earlier_versions_are_read(tmp_path: Path) -> None:
    cost = {"macs": 2.0, "acs": 3.0, "rate": 0.1, "spikes": 4.0, "updates": 5.0}
    old = {
        "name": "convert/ours", "method": "ours", "correct": [1, 2], "images": 4, "ann_accuracy": 75.0, "gone": 1,
        "exits": {"0.9": [1.5, 50.0]}, "work": {"2": cost}, "summary": "words", "seconds": 1.2,
    }  # fmt: skip
    store = Store(tmp_path, lambda _: None)
    store.get(Curve, "convert/ours", {}, lambda: Curve(method="ours", correct=[1], images=1))
    (path,) = store.folder.iterdir()
    assert json.loads(path.read_text()).keys() == old.keys() - {"gone"}
    path.write_text(json.dumps(old))
    curve = store.get(Curve, "convert/ours", {}, lambda: pytest.fail("it is kept"))
    assert (curve.correct, curve.exits["0.9"], curve.work["2"]) == ([1, 2], (1.5, 50.0), Cost(**cost))
