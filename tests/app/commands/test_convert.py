"""`spikesight convert`: weights on disk to a checkpoint that the classifier loads, and every way to get it wrong."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from app.cli import main
from models.classifier import Classifier
from models.networks.ann import CifarResNet, SmallCnn


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
    assert "layer1.0.relu1" in capsys.readouterr().out
    classifier = Classifier.load(tmp_path / "out")
    assert classifier.labels == tuple(names.split(","))
    assert classifier.card.training["ann"] == "cifar-resnet20"
    picture = cv2.imread(str(pictures / "0.png"))
    assert picture is not None
    answers = classifier.predict_image(picture)
    assert [a.step for a in answers] == [1, 2, 3, 4]
    assert classifier.layer_names[0] == "layers.relu"


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
