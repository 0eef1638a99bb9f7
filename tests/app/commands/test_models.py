"""`spikesight models`: every network, with the parameters it really has."""

import json

import pytest

from app.cli import main
from models.classifier import Classifier
from models.networks.resnet import NETWORKS, SpikingResNet
from models.shipped import find, shipped


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
        assert row["classes"] == len(classifier.labels)


def test_counts_are_those_of_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["networks"]}
    network = SpikingResNet(NETWORKS["event-small"])
    assert rows["event-small"]["parameters"] == sum(p.numel() for p in network.parameters())
    assert rows["resnet50"]["parameters"] == 25_557_032
