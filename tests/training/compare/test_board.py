"""Rows that were asked the same windows are compared by recordings."""

from typing import Any

from spikesight.models.statistics import mcnemar
from spikesight.training.compare.board import pairs


def row(name: str, wrong: dict[str, int], split: str = "a") -> dict[str, Any]:
    return {"name": name, "figures": {"split": split, "count": 60, "wrong": wrong}}


def test_recordings_count_and_not_their_windows() -> None:
    one, two = row("one", {"0": 1, "7": 2}), row("two", {"0": 3, "1": 1, "7": 2})
    (pair,) = pairs([one, two])
    assert (pair.first, pair.second, pair.better, pair.worse) == ("one", "two", 2, 0)
    assert pair.p == mcnemar(2, 0)
    assert "no difference can be told" in pair.sentence()


def test_rows_of_other_windows_and_rows_that_were_not_run_are_not_compared() -> None:
    assert not pairs([row("one", {}), row("two", {}, "b"), {"name": "three", "figures": None}])


def test_many_comparisons_ask_more_of_each() -> None:
    worse = {str(n): 1 for n in range(7)}
    rows = [row("best", {}), row("worse", worse), row("another", {"30": 1}), row("a third", {"31": 1})]
    found = {(pair.first, pair.second): pair for pair in pairs(rows)}
    alone = mcnemar(7, 0)
    assert found["best", "worse"].p == 6 * alone
    assert "is better than" in pairs(rows[:2])[0].sentence()
    assert "no difference" in found["best", "worse"].sentence()
    assert all(alone <= pair.p <= 1 for pair in found.values())
