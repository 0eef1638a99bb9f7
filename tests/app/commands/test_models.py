"""`spikesight models`: every network, with the parameters it really has, and every shipped model."""

import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from spikesight.app.cli import main
from spikesight.models.classifier import Classifier
from spikesight.models.networks.resnet import NETWORKS, SpikingResNet
from spikesight.models.shipped import find, shipped


def test_the_tables_name_every_network_and_every_shipped_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    networks, _, trained = capsys.readouterr().out.partition("\nshipped, for --model:\n")
    assert [line.split()[0] for line in networks.splitlines()[1:] if line] == list(NETWORKS)
    assert [line.split()[0] for line in trained.splitlines()[1:]] == list(shipped())


def test_what_programs_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    networks = {row["name"]: row for row in found["networks"]}
    for name in ("event-small", "resnet50"):
        network = SpikingResNet(NETWORKS[name])
        assert networks[name]["parameters"] == sum(p.numel() for p in network.parameters())
    for row in found["shipped"]:
        folder = find(row["name"])
        classifier = Classifier.load(folder)
        assert (row["origin"], row["labels"]) == (classifier.origin, list(classifier.labels))
        assert (row["known"] is None) == (classifier.card.novelty is None)
        digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        assert row["sha256"] == digest == json.loads((folder / "config.json").read_text()).get("sha256")
        assert row["licence"] == "apache-2.0"
        assert 0.9 < row["accuracy"] <= 1


def test_a_broken_shipped_model_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(find("mnist-ann"), tmp_path / "mnist-ann")
    weights = tmp_path / "mnist-ann" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"ruin")
    cv2.imwrite(str(tmp_path / "digit.png"), np.zeros((28, 28), np.uint8))
    monkeypatch.setattr("spikesight.models.shipped.SHIPPED", tmp_path)
    assert main(["predict", "--model", "mnist-ann", str(tmp_path / "digit.png")]) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert "model.safetensors of mnist-ann is damaged" in said
