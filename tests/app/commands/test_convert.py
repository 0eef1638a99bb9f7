"""`spikesight convert`, from weights on disk to a checkpoint, and `export`; every way to get them wrong."""

import argparse
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from spikesight.app.cli import main
from spikesight.app.commands import convert
from spikesight.app.commands.convert import ConversionSource, configure, read_pictures
from spikesight.models.checkpoint import load, save
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Card, Contract
from spikesight.models.conversion.methods import METHODS
from spikesight.models.networks.ann import CifarResNet, SmallCnn
from spikesight.models.statistics import interval
from spikesight.training.data.images import Images, Pictures
from tests.app.conftest import Ask
from tests.support.exporting import CARD, CONFIG
from tests.support.models import lively


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    ann = CifarResNet(3).train()
    for module in ann.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        ann(torch.randn(8, 3, 32, 32))
    path = tmp_path / "resnet20.th"
    torch.save({"state_dict": {f"module.{k}": v for k, v in ann.state_dict().items()}, "best": 1.0}, path)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(6):
        cv2.imwrite(str(folder / f"{i}.png"), random.integers(0, 256, (40, 50, 3), np.uint8))
    return folder


def test_state_dictionary_to_a_served_checkpoint(weights: Path, pictures: Path, tmp_path: Path, ask: Ask) -> None:
    names = "a,b,c,d,e,f,g,h,i,j"
    words = ["convert", str(weights), "--to", str(tmp_path / "out"), "--data", str(pictures)]
    said = ask(*words, "--steps", "4", "--labels", names, "--method", "ltb").out
    first, *_, same, last = said.splitlines()
    assert first == "cifar-resnet20: ltb on 6 pictures"
    assert same.startswith("the ANN's answer on 6 calibration pictures: T = 1: ")
    assert last.endswith(f"serve it with: spikesight serve --model {tmp_path / 'out'}")
    classifier = Classifier.load(tmp_path / "out")
    assert classifier.labels == tuple(names.split(","))
    assert classifier.card.training == {
        "origin": "conversion", "ann": "cifar-resnet20", "weights": "resnet20.th", "method": "ltb",
        "source": METHODS["ltb"].source, "calibration": {"data": "pictures", "images": 6}, "steps": 4,
    }  # fmt: skip
    picture = cv2.imread(str(pictures / "0.png"))
    assert picture is not None
    answers = classifier.predict_image(picture)
    assert [a.step for a in answers] == [1, 2, 3, 4]
    assert classifier.layer_names[0] == "layers.relu"


def named_set(channels: int) -> Pictures:
    """A set for a network of ten classes."""
    random = np.random.default_rng(1)
    train, test = (Images(random.integers(0, 256, (n, channels, 32, 32), np.uint8), np.arange(n) % 10) for n in (40, 9))
    return Pictures("cifar10", tuple("abcdefghij"), (0.4,) * channels, (0.2,) * channels, train, test)


def arguments(tmp_path: Path, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    configure(parser)
    return parser.parse_args(["weights", "--to", str(tmp_path), "--data", "cifar10", *words])


@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
def test_a_models_own_set_is_split_as_in_training(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, own = named_set(3), named_set(3)
    monkeypatch.setattr(convert, "pictures_of", lambda *_: own)
    monkeypatch.setattr(convert, "load_images", lambda *_: found)
    contract = Contract("image", 3, 32, 32, 1, "direct")
    card = Card(contract, found.classes, {"recipe": {"data": data}})
    source = ConversionSource(SmallCnn(), "own", contract, card.labels, card)
    given = read_pictures(arguments(tmp_path, "--calibration", "30"), source)
    assert (given.test is own.test) == (data == "cifar10")
    assert (len(given.calibration), given.scale) == (30, None), "a model folder knows its own scale"
    monkeypatch.setattr(convert, "load_images", lambda *_: named_set(1))
    with pytest.raises(ValueError, match="cifar10 has 1 channels, the network takes 3"):
        read_pictures(arguments(tmp_path), replace(source, card=None))


def test_a_named_set_calibrates_and_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    found = named_set(1)
    monkeypatch.setattr(convert, "load_images", lambda *_: found)
    torch.manual_seed(0)
    ann = SmallCnn(classes=10).eval()
    torch.save(ann.state_dict(), tmp_path / "w.pt")
    (tmp_path / "names.txt").write_text("\n\n".join(f" n{k} " for k in range(10)))
    words = ["--data", "mnist", "--steps", "6", "--calibration", "30", "--test", "9"]
    words += ["--labels", str(tmp_path / "names.txt")]
    said = ask("convert", tmp_path / "w.pt", "--to", tmp_path / "to", *words).out
    classifier = Classifier.load(tmp_path / "to")
    card, contract, measured = classifier.card, classifier.contract, classifier.card.metrics
    assert (card.labels, contract.mean, contract.std) == (tuple(f"n{k}" for k in range(10)), found.mean, found.std)
    assert (contract.shape, contract.steps, contract.still) == ((1, 32, 32), 6, "digit")
    assert card.training["calibration"] == {"data": "mnist", "images": 30}
    test = found.test.subset(9)
    x = (torch.from_numpy(test.pixels) / 255 - found.mean[0]) / found.std[0]
    right = int((ann(x).argmax(1).numpy() == test.labels).sum())
    chosen = [classifier.predict_image(image[0])[-1].index for image in test.pixels]
    spiking = int((np.array(chosen) == test.labels).sum())
    assert (measured["test_images"], measured["correct"]) == (9, spiking)
    assert measured["ann_accuracy"] == pytest.approx(100 * right / 9, abs=0.01)
    assert measured["accuracy"] == measured["accuracy_at"]["6"] == pytest.approx(100 * spiking / 9, abs=0.01)
    assert list(measured["accuracy_at"]) == ["1", "2", "4", "6"]
    low, high = (round(bound, 2) for bound in interval(spiking, 9))
    assert measured["interval_95"] == [low, high]
    assert f"before: the ANN is right on {measured['ann_accuracy']:.2f} % of 9 test pictures" in said
    assert f"T = 6: {measured['accuracy']:.2f} % (" in said


NETS = """
import torch
from torch import nn

class Mine(nn.Module):
    def __init__(self, branches=False):
        super().__init__()
        self.conv, self.norm, self.relu, self.drop = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout()
        self.head, self.auxiliary, self.branches = nn.Linear(6, 4), nn.Linear(6, 2), branches

    def forward(self, x):
        if self.branches and x.sum() > 0:
            return x
        return self.head(self.drop(self.relu(self.norm(self.conv(x)))).mean((2, 3)))

def branching():
    return Mine(branches=True)
"""


def test_own_modules(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    (tmp_path / "own_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(0)
    ann = import_module("own_nets").Mine().train()
    ann.norm.momentum = None
    with torch.no_grad():
        ann(torch.randn(8, 3, 12, 12))
    torch.save(ann.eval().state_dict(), tmp_path / "mine.pt")
    words = ["convert", "mine.pt", "--to", "out", "--data", str(pictures), "--steps", "8"]
    assert "--size says how large" in ask(*words, "--network", "own_nets:Mine", code=2).err
    said = ask(*words, "--network", "own_nets:Mine", "--size", "12").out
    assert "left alone: drop (Dropout), auxiliary (Linear)" in said
    network, card = load(tmp_path / "out")
    assert (card.contract.shape, card.labels) == ((3, 12, 12), ("0", "1", "2", "3"))
    assert card.training["ann"] == "own_nets:Mine"
    images = torch.rand(5, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = ann(images)
    found = network(images[None], None, 200)[0].mean(0)
    assert (found - expected).abs().max() < 0.2 * expected.abs().max()
    said = ask(*words, "--network", "own_nets:branching", "--size", "12", code=2).err
    assert "torch.fx cannot trace the network, its flow depends on its data" in said


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "m"
    save(path, lively(CONFIG), replace(CARD, contract=replace(CARD.contract, shortest_bin_us=1000)))
    return path


@pytest.mark.parametrize(("words", "bin_us"), [("", 10_000), ("--bin-ms 5", 5_000)])
def test_flags_of_export(words: str, bin_us: int, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def export(network: Any, card: Any, out: Path) -> str:
        spans = {neuron.span for neuron in network.modules() if hasattr(neuron, "span")} or {1.0}
        asked.append((card.contract.bin_us, spans, out))
        out.touch()
        return "alike"

    monkeypatch.setattr("spikesight.app.commands.export.export", export)
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(model), "--out", str(tmp_path / "f.onnx"), *words.split()]) == 0
    assert main(["export", str(model), "--format", "nir", *words.split()]) == 0
    assert main(["export", str(model), "--format", "nir", "--out", "f.onnx", *words.split()]) == 2
    outs = tmp_path / "f.onnx", Path("m.nir")  # else the file has the model's name
    assert asked == [(bin_us, {bin_us / 10_000}, out) for out in outs]
