"""`spikesight models`: every network, with the parameters it really has, and every shipped model."""

import hashlib
import json

import pytest

from spikesight.app.cli import main
from spikesight.models.classifier import Classifier
from spikesight.models.networks.resnet import NETWORKS, SpikingResNet
from spikesight.models.shipped import find


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
        assert 0.9 < row["accuracy"] <= 1
