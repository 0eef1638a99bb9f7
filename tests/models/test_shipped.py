"""The shipped image models see digits: a drawn one everywhere, real ones where MNIST lies."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikesight.models.checkpoint import save
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Card
from spikesight.models.shipped import find
from spikesight.models.shipped.index import describe, licence_of
from spikesight.training.data.images import read_idx
from tests.support.models import EVENT_CONTRACT, LABELS, tiny
from tests.support.processes import ROOT

ORIGINS = {"mnist-direct": "direct", "mnist-converted": "converted", "mnist-ann": "ann"}


@pytest.fixture(scope="module", params=list(ORIGINS))
def classifier(request: pytest.FixtureRequest) -> Classifier:
    return Classifier.load(find(request.param))


def test_a_drawn_one_is_a_one(classifier: Classifier) -> None:
    paper = np.full((60, 48, 3), 250, np.uint8)
    paper[10:50, 22:27] = 15
    predictions = classifier.predict_image(paper)
    assert len(predictions) == classifier.contract.steps
    assert classifier.labels[predictions[-1].index] == "1"
    assert predictions[-1].label in ("1", "unknown"), "a bar with sharp corners is no handwriting"


def test_real_digits(classifier: Classifier, shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("mnist")
    images = read_idx(next(folder.glob("t10k-images*")))[:100]
    labels = read_idx(next(folder.glob("t10k-labels*")))[:100]
    right = sum(classifier.predict_image(image)[-1].index == label for image, label in zip(images, labels))
    assert right >= 95


def test_its_card_says_what_was_measured(classifier: Classifier) -> None:
    result = json.loads((ROOT / "training" / "results" / classifier.name / "result.json").read_text())
    card = classifier.card
    assert card.contract.kind == "image"
    assert classifier.origin == ORIGINS[classifier.name]
    if classifier.origin == "converted":
        assert card.metrics["correct"] == result["correct"]
        assert result["test_images"] == 10_000
        assert card.metrics["val_accuracy"] == result["val_accuracy"]
    else:
        assert card.metrics["test"]["correct"] == result["test"]["correct"]
        assert result["test"]["count"] == 10_000


def test_what_they_cost() -> None:
    direct, converted, ann = (Classifier.load(find(name)) for name in ORIGINS)
    digit = np.zeros((28, 28), np.uint8)
    digit[4:24, 13:16] = 255
    costs = {c.origin: sum(p.synops for p in c.predict_image(digit)) for c in (direct, converted, ann)}
    assert costs["direct"] < costs["ann"] == ann.ann_macs == converted.ann_macs
    assert all(p.spikes == 0 for p in ann.predict_image(digit))
    for name in ORIGINS:
        assert (find(name) / "model.safetensors").stat().st_size <= 1_000_000


def test_a_record_of_events_that_was_never_tested(tmp_path: Path) -> None:
    save(tmp_path / "mine", tiny().network, Card(EVENT_CONTRACT, LABELS, metrics={"known": {"a": 1}}))
    found = describe(tmp_path / "mine")
    assert (found["task"], found["origin"]) == ("3 classes from events", "direct")
    assert found["input"] == "events of a 24x32 sensor as 2x16x12"
    assert (found["steps"], found["accuracy"], found["tested"], found["licence"]) == ("4 of 10 ms", None, None, "")
    assert found["known"] == {"a": 1}


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlicense: mit\n---\n# a", "mit"),
        ("# a\n---\nlicense: mit\n---\n", ""),
        ("---\nlicense: mit\n---\na\n---\nb", "mit"),
    ],
)
def test_a_licence_stands_in_the_head_of_the_card(tmp_path: Path, text: str, licence: str) -> None:
    assert licence_of(tmp_path) == ""
    (tmp_path / "README.md").write_text(text)
    assert licence_of(tmp_path) == licence
