"""`spikesight convert`: weights on disk to a checkpoint that the classifier loads, and every way to get it wrong."""

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from spikesight.app.cli import main
from spikesight.app.commands import convert
from spikesight.app.commands.convert import (
    Given,
    Source,
    configure,
    measure,
    of,
    read_labels,
    read_pictures,
    read_source,
)
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Card, Contract
from spikesight.models.conversion import ann_to_snn as conversion
from spikesight.models.conversion.methods import METHODS
from spikesight.models.conversion.simulate import curve as conversion_curve
from spikesight.models.networks.ann import CifarResNet, SmallCnn
from spikesight.models.statistics import interval
from spikesight.training.data.pictures import Images, Pictures


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


def test_state_dictionary_to_a_served_checkpoint(weights: Path, pictures: Path, tmp_path: Path, capsys) -> None:
    names = "a,b,c,d,e,f,g,h,i,j"
    words = ["convert", str(weights), "--to", str(tmp_path / "out"), "--data", str(pictures)]
    code = main([*words, "--steps", "4", "--labels", names, "--method", "multi"])
    assert code == 0
    first, *table, last = capsys.readouterr().out.splitlines()
    assert (first, last) == ("cifar-resnet20: multi on 6 pictures", f"wrote {tmp_path / 'out'}")
    assert any("layer1.0.relu1" in line for line in table)
    classifier = Classifier.load(tmp_path / "out")
    assert classifier.labels == tuple(names.split(","))
    assert classifier.card.training == {
        "origin": "conversion", "ann": "cifar-resnet20", "weights": "resnet20.th", "method": "multi",
        "source": METHODS["multi"].source, "calibration": {"data": "pictures", "images": 6}, "steps": 4,
    }  # fmt: skip
    picture = cv2.imread(str(pictures / "0.png"))
    assert picture is not None
    answers = classifier.predict_image(picture)
    assert [a.step for a in answers] == [1, 2, 3, 4]
    assert classifier.layer_names[0] == "layers.relu"


@pytest.mark.parametrize("wrong", [["--steps", "-1"], ["--calibration", "0"], ["--test", "-1"]])
def test_numbers_that_cannot_be(wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "w.pt", "--to", str(tmp_path), "--data", "mnist", *wrong]) == 2
    assert "--calibration must be positive, --steps and --test not negative" in capsys.readouterr().err


def test_mistakes_are_one_sentence(weights: Path, pictures: Path, tmp_path: Path, capsys) -> None:
    def said(*arguments: str) -> str:
        assert main(["convert", *arguments, "--to", str(tmp_path / "out")]) == 2
        text = capsys.readouterr().err
        assert text.count("\n") == 1
        return text

    data = ["--data", str(pictures)]
    assert "no file" in said(str(tmp_path / "none.pt"), *data)
    assert "labels for 10 classes" in said(str(weights), *data, "--labels", "a,b")
    assert "do not fit" in said(str(weights), *data, "--network", "cifar-resnet32")
    assert "needs convolutions" in said(str(weights), *data, "--network", "resnet18")
    assert "no pictures" in said(str(weights), "--data", str(tmp_path / "nowhere"))
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no pictures" in said(str(weights), "--data", str(empty))
    odd = tmp_path / "odd.safetensors"
    save_file({"w": torch.zeros(2, 2)}, odd)
    assert "fit none of the networks" in said(str(odd), *data)
    text = tmp_path / "text.pt"
    text.write_text("not a checkpoint")
    assert "text.pt" in said(str(text), *data)
    pickled = tmp_path / "code.pt"
    torch.save(SmallCnn(), pickled)  # a whole module: needs its classes to be run
    assert "more than tensors" in said(str(pickled), *data)
    broken = torch.load(weights, weights_only=True)
    broken["state_dict"]["module.layer2.1.conv1.weight"][0] = float("nan")
    torch.save(broken, tmp_path / "nan.th")
    assert "layer2.1.conv1.weight has values that are not finite" in said(str(tmp_path / "nan.th"), *data)


def test_names_of_classes(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\n\n dog \n")
    assert read_labels(str(tmp_path / "names.txt"), 2, ()) == ("cat", "dog")
    assert read_labels("cat, dog", 2, ("a", "b")) == ("cat", "dog")
    assert read_labels(None, 2, ("a", "b")) == ("a", "b")
    assert read_labels(None, 3, ("a", "b")) == ("0", "1", "2")
    with pytest.raises(ValueError, match="1 labels for 2 classes"):
        read_labels("cat", 2, ())


def test_one_value_a_channel() -> None:
    assert of((0.1, 0.2, 0.3), 3) == (0.1, 0.2, 0.3)
    assert of((0.2, 0.4), 1) == pytest.approx((0.3,))
    assert of((0.5,), 3) == (0.5, 0.5, 0.5)


def test_steps_are_not_chosen_on_pictures_without_labels(
    weights: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["convert", str(weights), "--to", str(tmp_path / "out"), "--data", str(pictures), "--steps", "0"]
    assert main(words) == 2
    assert "--steps 0 chooses T on labelled pictures" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def named_set(channels: int) -> Pictures:
    """A set for a network of ten classes."""
    random = np.random.default_rng(1)
    train, test = (Images(random.integers(0, 256, (n, channels, 32, 32), np.uint8), np.arange(n) % 10) for n in (40, 9))
    return Pictures("cifar10", tuple("abcdefghij"), (0.4,) * channels, (0.2,) * channels, train, test)


def arguments(tmp_path: Path, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    configure(parser)
    return parser.parse_args(["weights", "--to", str(tmp_path), "--data", "cifar10", *words])


def test_a_named_set_is_split_into_calibration_and_held_out(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = named_set(3)
    monkeypatch.setattr(convert, "load_images", lambda *_: found)
    args = arguments(tmp_path, "--calibration", "30")
    args.source = weights
    source = read_source(args)
    given = read_pictures(args, source)
    assert (len(given.calibration), len(given.held or ()), len(given.test or ())) == (30, 10, 9)
    both = np.concatenate([given.calibration, given.held.pixels])  # type: ignore[union-attr]
    assert sorted(map(bytes, both)) == sorted(map(bytes, found.train.pixels))  # each once
    assert given.scale == (found.mean, found.std)
    args.calibration = 40
    assert read_pictures(args, source).held is None
    monkeypatch.setattr(convert, "load_images", lambda *_: named_set(1))
    with pytest.raises(ValueError, match="cifar10 has 1 channels, the network takes 3"):
        read_pictures(args, source)


def test_a_models_own_set_is_split_as_its_training_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, held = named_set(3), Images(np.zeros((2, 3, 32, 32), np.uint8), np.zeros(2, int))
    monkeypatch.setattr(convert, "splits_of", lambda *_: (found, held))
    monkeypatch.setattr(convert, "load_images", lambda *_: found)
    args = arguments(tmp_path, "--calibration", "30")
    contract = Contract("image", 3, 32, 32, 1, "direct")

    def given(data: str) -> Given:
        card = Card(contract, found.classes, {"recipe": {"data": data}})
        return read_pictures(args, Source(SmallCnn(), "own", contract, card.labels, 10, card))

    own, other = given("cifar10"), given("cifar100")
    assert own.held is held
    assert (len(own.calibration), own.scale) == (30, None)
    assert other.held is not held
    assert other.scale is None  # a model folder knows its own


def test_what_is_measured_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    ann = SmallCnn().eval()
    x = torch.rand(12, 1, 28, 28)
    test = Images((x * 255).byte().numpy(), np.arange(12) % 10)
    measured = measure(conversion.convert(ann, [x], "ours", steps=6), ann, test, x, 6)
    assert measured["test_images"] == 12
    assert list(measured["accuracy_at"]) == ["1", "2", "4", "6"]  # type: ignore[call-overload]
    assert measured["accuracy"] == round(100 * measured["correct"] / 12, 2)  # type: ignore[operator]
    right = (ann(x).argmax(1).numpy() == test.labels).sum()
    assert measured["ann_accuracy"] == round(100 * right / 12, 2)
    correct = conversion_curve(conversion.convert(ann, [x], "ours", steps=6), x, torch.arange(12) % 10, 6).correct
    at = [round(100 * int(correct[t - 1]) / 12, 2) for t in (1, 2, 4, 6)]
    assert list(measured["accuracy_at"].values()) == at  # type: ignore[attr-defined]
    low, high = measured["interval_95"]  # type: ignore[misc]
    assert 0 <= low <= measured["correct"] / 12 <= high <= 1  # type: ignore[operator]
    bounds = interval(measured["correct"], 12)  # type: ignore[arg-type]
    assert [low, high] == [round(bound, 2) for bound in bounds]
    said = f"T = 6: {measured['accuracy']:.2f} % ({bounds[0]:.1%} to {bounds[1]:.1%})"
    assert capsys.readouterr().out == f"test: ANN {measured['ann_accuracy']:.2f} %, {said}\n"


def test_a_weights_file_is_an_image_of_one_step_in_the_anns_own_scale(tmp_path: Path) -> None:
    ann = SmallCnn(2, 5)
    torch.save(ann.state_dict(), tmp_path / "w.pt")
    found = read_source(argparse.Namespace(source=tmp_path / "w.pt", network=None))
    assert (found.name, found.labels, found.classes, found.card) == ("small-cnn", (), 5, None)
    expected = Contract("image", 2, 28, 28, 1, "direct", mean=(0.1307,) * 2, std=(0.3081,) * 2)
    assert found.contract == expected


@pytest.mark.parametrize("force", [False, True])
def test_what_the_audit_finds_ends_a_conversion_unless_it_is_forced(
    force: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    class Bad:
        problems = ("layer a is dead",)

        def table(self) -> str:
            return "the table"

        def raise_if_bad(self) -> None:
            raise ValueError("it is bad")

    def audited(network: object, x: torch.Tensor, steps: int, graph: object) -> Bad:
        asked.append((network, len(x), steps, graph))
        return Bad()

    monkeypatch.setattr(convert, "audit", audited)
    monkeypatch.setattr(convert, "graph_of", lambda ann, x: (ann, len(x)))
    source: Any = argparse.Namespace(ann="ann")
    network: Any = "network"
    for steps in (8, 65):
        if force:
            convert.check(argparse.Namespace(force=True), source, network, torch.zeros(99, 1), steps)
        else:
            with pytest.raises(ValueError, match="it is bad"):
                convert.check(argparse.Namespace(force=False), source, network, torch.zeros(99, 1), steps)
    assert asked == [("network", convert.AUDITED, steps, ("ann", 1)) for steps in (64, 65)]
    out, err = capsys.readouterr()
    assert (out, err) == ("the table\n" * 2, "audit: layer a is dead\n" * 2)


def test_a_named_set_calibrates_is_tested_on_and_gives_the_card_its_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = named_set(1)
    monkeypatch.setattr(convert, "load_images", lambda *_: found)
    torch.manual_seed(0)
    torch.save(SmallCnn(classes=10).state_dict(), tmp_path / "w.pt")
    words = ["--data", "mnist", "--steps", "4", "--calibration", "30", "--test", "5", "--force"]
    assert main(["convert", str(tmp_path / "w.pt"), "--to", str(tmp_path / "to"), *words]) == 0
    card = Classifier.load(tmp_path / "to").card
    contract = card.contract
    assert (card.labels, contract.mean, contract.std) == (found.classes, found.mean, found.std)
    assert (contract.shape, contract.steps, contract.still) == ((1, 32, 32), 4, "digit")
    assert card.metrics["test_images"] == 5
    assert card.training["calibration"] == {"data": "mnist", "images": 30}
