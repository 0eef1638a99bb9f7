"""Figures from answers: counted by hand."""

from dataclasses import replace

import numpy as np
import pytest

from spikesight.models.novelty import NOTHING, UNKNOWN
from spikesight.training.run.assessment import assess, auroc
from spikesight.training.run.readings import Readings
from tests.support.models import PREDICTION


def readings(*, known: bool = True) -> Readings:
    """Four recordings of a model's classes a and b, two of a class c that it does not have."""
    labels, sure = ["a", UNKNOWN, NOTHING, "b", "a", UNKNOWN], [0.9, 0.8, 0.6, 0.2, 0.7, 0.4]
    familiar = [0.9, 0.4, 0.0, 0.8, 0.6, 0.1] if known else [None] * 6
    answers = [
        replace(PREDICTION, label=label, index=int(a < 0.5), probabilities=(a, 1 - a), known=score)
        for label, a, score in zip(labels, sure, familiar)
    ]
    p = np.array([0.9, 0.4, 0.8, 0.6, 0.2, 0.7, 0.4])
    return Readings(
        labels=("a", "b"), classes=("a", "b", "c"), kind="events",
        truth=np.array([0, 0, 1, 1, 2, 2]),
        answers=tuple(answers),
        recording=np.array([0, 0, 1, 2, 3, 4, 5]),
        begin_us=np.zeros(7, int),
        probabilities=np.stack([p, 1 - p], 1),
        counts=np.zeros((7, 1), np.float32),
        quiet=3,
    )  # fmt: skip


def test_right_is_what_is_shown_and_the_best_guess_another_column() -> None:
    found = assess(readings())
    assert (found["right"]["correct"], found["right"]["count"], found["right"]["accuracy"]) == (2, 4, 0.5)
    assert (found["best_guess"]["correct"], found["best_guess"]["count"]) == (3, 4)
    assert found["per_class"]["a"]["right"]["correct"] == found["per_class"]["b"]["right"]["correct"] == 1
    assert found["per_class"]["a"]["best_guess"]["correct"] == 2
    assert found["confusion"] == [[1, 0, 1, 0], [0, 1, 0, 1]], "the last two: unknown and nothing"
    assert (found["windows"]["correct"], found["windows"]["count"]) == (3, 5)
    assert found["quiet"] == 3


def test_calibration_is_the_mean_gap_between_confidence_and_accuracy() -> None:
    gaps = [0.1, 0.2, 0.2, 0.6 - 0.6 / 2]  # twice 0.6, of which both are wrong
    assert assess(readings())["calibration_error"] == pytest.approx((sum(gaps[:3]) + 1.2) / 5, abs=1e-4)


def test_classes_that_the_model_does_not_have_stand_apart() -> None:
    judged, plain = (assess(readings(known=known))["unknown"] for known in (True, False))
    assert (judged["classes"], judged["count"], judged["shown"]) == (["c"], 2, {"a": 1, UNKNOWN: 1})
    assert judged["auroc"] == pytest.approx(5 / 8)
    assert (plain["score"], plain["auroc"]) == ("highest probability", pytest.approx(6.5 / 8))


def test_nothing_of_the_models_classes() -> None:
    found = assess(replace(readings(), classes=("p", "q", "r")))
    assert found["right"]["accuracy"] is found["best_guess"]["accuracy"] is None
    assert found["unknown"]["auroc"] is None
    assert "calibration_error" not in found


def test_auroc_is_the_share_of_pairs() -> None:
    random = np.random.default_rng(0)
    high, low = random.integers(0, 10, 40) / 10.0, random.integers(0, 8, 30) / 10.0
    pairs = [(a > b) + 0.5 * (a == b) for a in high for b in low]
    assert auroc(high, low) == pytest.approx(np.mean(pairs))
