"""`spikesight models`: every network, with the parameters it really has."""

import json

import pytest

from app.cli import main
from models.resnet import NETWORKS, SpikingResNet


def test_the_table_names_every_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(NETWORKS)


def test_counts_are_those_of_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["networks"]}
    network = SpikingResNet(NETWORKS["event-small"])
    assert rows["event-small"]["parameters"] == sum(p.numel() for p in network.parameters())
    assert rows["resnet50"]["parameters"] == 25_557_032
