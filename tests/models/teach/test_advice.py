"""Figures and sentences on what was taught, from scores made by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from spikesight.models.statistics import interval
from spikesight.models.teach import advice
from spikesight.models.teach.advice import report
from spikesight.models.teach.head import Judged

K = 3


def taught(chosen: list[int], truth: list[int], goes: int = 9, noticed: float | None = None) -> Any:
    """Examples that a head took for `chosen` (-1: judged by none)."""
    scores = np.full((len(truth), K), np.nan)
    for row, label in enumerate(chosen):
        if label >= 0:
            scores[row] = np.eye(K)[label]
    labels = ("cup", "key", "pen")
    told = dict.fromkeys(labels, goes)
    unknown = None if noticed is None else SimpleNamespace(noticed=noticed, interval=interval(noticed * K, K))
    return SimpleNamespace(
        judged=Judged(scores, 1.0), truth=np.array(truth), labels=labels,
        piece_counts=told, unknown=unknown,
    )  # fmt: skip


def test_another_day_is_between_chance_and_what_is_certain() -> None:
    truth, bounds = [0, 1, 2] * 10, []
    for right in (6, 18, 24, 30):
        told = report(taught([t if n < right else (t + 1) % K for n, t in enumerate(truth)], truth))
        bounds.append(told["another_day"])
        assert 1 / K <= told["another_day"] <= max(1 / K, told["interval"][0])
    assert bounds[0] == 1 / K < bounds[1] < bounds[2] < bounds[3]


def test_how_many_other_things_are_noticed() -> None:
    truth = [0, 1, 2] * 4
    assert report(taught(truth, truth))["noticed"] is None
    told = report(taught(truth, truth, noticed=2 / 3))
    assert told["noticed"] == [2 / 3, *interval(2, 3)]
    assert told["advice"] == [advice.DONE]
    (few,) = report(taught(truth, truth, noticed=0.3))["advice"]
    assert few.endswith("30% of other things are called unknown")


def test_pairs_that_are_taken_for_each_other_the_worst_first() -> None:
    truth = [0] * 20 + [1] * 20 + [2] * 20
    chosen = [0] * 19 + [1] + [1] * 19 + [0] + [2] * 16 + [1] * 4
    confused = report(taught(chosen, truth))["confused"]
    assert confused == [["key", "pen", 4 / 40], ["cup", "key", 2 / 40]]
    chosen[19] = 0
    assert report(taught(chosen, truth))["confused"] == [["key", "pen", 4 / 40]], "one of forty is below a twentieth"
