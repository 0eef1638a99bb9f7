"""The shipped image model sees digits: a drawn one everywhere, real ones where MNIST lies."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.checkpoint import find
from models.classifier import Classifier
from training.data import read_idx

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(find("mnist-direct"))


def test_a_drawn_one_is_a_one(classifier: Classifier) -> None:
    paper = np.full((60, 48, 3), 250, np.uint8)
    paper[10:50, 22:27] = 15
    predictions = classifier.predict_image(paper)
    assert len(predictions) == classifier.contract.steps
    assert predictions[-1].label == "1"


def test_real_digits(classifier: Classifier, shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("mnist")
    images = read_idx(next(folder.glob("t10k-images*")))[:100]
    labels = read_idx(next(folder.glob("t10k-labels*")))[:100]
    right = sum(classifier.predict_image(image)[-1].index == label for image, label in zip(images, labels))
    assert right >= 95


def test_its_card_says_what_was_measured(classifier: Classifier) -> None:
    result = json.loads((ROOT / "training" / "results" / "mnist-direct" / "result.json").read_text())
    assert classifier.card.metrics["test"]["correct"] == result["test"]["correct"]
    assert classifier.card.contract.kind == "image"
    assert result["test"]["count"] == 10_000
