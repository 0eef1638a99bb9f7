"""Figures from answers: counted by hand."""

from dataclasses import replace

import numpy as np
import pytest

from spikesight.training.run.assessment import assess, auroc
from spikesight.training.run.readings import Readings


def readings(known: bool = False) -> Readings:
    """Two recordings of a model's classes a and b, one of a class c that it does not have."""
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.45, 0.55], [0.3, 0.7], [0.6, 0.4], [0.55, 0.45]])
    return Readings(
        labels=("a", "b"), classes=("a", "b", "c"),
        truth=np.array([0, 0, 0, 1, 1, 2, 2]),
        recording=np.array([0, 0, 0, 1, 1, 2, 2]),
        begin_us=np.array([0, 500_000, 1_000_000, 0, 1_200_000, 0, 900_000]),
        probabilities=p,
        counts=np.zeros((7, 1), np.float32),
        streamed=p[:, ::-1],
        known=np.array([0.9, 0.8, 0.7, 0.4, 0.9, 0.1, 0.6]) if known else None,
        quiet=3,
    )  # fmt: skip


def test_windows_seconds_recordings_and_stream() -> None:
    found = assess(readings())
    assert (found["correct"], found["count"], found["accuracy"]) == (4, 5, 0.8)
    low, high = found["interval"]
    assert (round(low, 3), round(high, 3)) == (0.376, 0.964)
    assert (found["seconds"]["correct"], found["seconds"]["count"]) == (4, 4)
    assert (found["recordings"]["correct"], found["recordings"]["count"]) == (2, 2)
    assert found["stream"]["correct"] == 1
    assert found["confusion"] == [[2, 1], [0, 2]]
    assert found["per_class"]["a"]["correct"] == 2
    assert found["quiet"] == 3


def test_calibration_is_the_mean_gap_between_confidence_and_accuracy() -> None:
    gaps = [0.1, 0.2, 0.45, 0.3]  # 0.6 (wrong) lies in a bin of its own
    assert assess(readings())["calibration_error"] == pytest.approx((sum(gaps) + 0.6) / 5, abs=1e-4)


def test_unknown_classes_stand_apart() -> None:
    plain, judged = (assess(readings(known))["unknown"] for known in (False, True))
    assert plain["classes"] == ["c"]
    assert (plain["count"], plain["taken_for"]) == (2, {"a": 2})
    assert plain["auroc"] == pytest.approx(8 / 10)  # two ties of 0.6 and 0.55
    assert judged["auroc"] == pytest.approx(9 / 10)
    assert judged["refused"]["correct"] == 1
    assert judged["refused_of_own"]["correct"] == 1


def test_nothing_of_the_models_classes() -> None:
    found = assess(replace(readings(), labels=("x", "y")))
    assert found["accuracy"] is None
    assert found["seconds"]["count"] == 0
    assert found["unknown"]["auroc"] is None
    assert "calibration_error" not in found


def test_auroc_is_the_share_of_pairs() -> None:
    random = np.random.default_rng(0)
    high, low = random.integers(0, 10, 40) / 10.0, random.integers(0, 8, 30) / 10.0
    pairs = [(a > b) + 0.5 * (a == b) for a in high for b in low]
    assert auroc(high, low) == pytest.approx(np.mean(pairs))
