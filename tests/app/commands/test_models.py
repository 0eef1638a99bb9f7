"""`spikesight models`: every network, with the parameters it really has."""

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


def test_the_table_names_every_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    networks = lines[1 : lines.index("")] if "" in lines else lines[1:]
    assert [line.split()[0] for line in networks] == list(NETWORKS)


def test_trained_models_and_their_roads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["shipped"]}
    assert list(rows) == list(shipped())
    for name, row in rows.items():
        classifier = Classifier.load(find(name))
        assert row["origin"] == classifier.origin
        assert row["labels"] == list(classifier.labels)
        assert (row["known"] is None) == (classifier.card.novelty is None)
        assert row["sha256"] == hashlib.sha256((find(name) / "model.safetensors").read_bytes()).hexdigest()
        assert row["sha256"] == json.loads((find(name) / "config.json").read_text()).get("sha256"), (
            f"{name} was saved by a version before the SHA-256 of weights: load and save it anew"
        )
        assert row["licence"] == "apache-2.0"
        assert 0.9 < row["accuracy"] <= 1


def test_the_table_of_trained_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.partition("\nshipped, for --model:\n")[2].splitlines()
    assert "accuracy" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == list(shipped())


def test_a_broken_shipped_model_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(find("mnist-ann"), tmp_path / "mnist-ann")
    weights = tmp_path / "mnist-ann" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"ruin")
    picture = tmp_path / "digit.png"
    cv2.imwrite(str(picture), np.zeros((28, 28), np.uint8))
    monkeypatch.setattr("spikesight.models.shipped.SHIPPED", tmp_path)
    assert main(["predict", "--model", "mnist-ann", str(picture)]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "model.safetensors of mnist-ann is damaged" in said[0]


def test_counts_are_those_of_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["networks"]}
    network = SpikingResNet(NETWORKS["event-small"])
    assert rows["event-small"]["parameters"] == sum(p.numel() for p in network.parameters())
    assert rows["resnet50"]["parameters"] == 25_557_032
