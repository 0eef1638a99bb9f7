"""What a request counts for in the statistics of its model."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from spikesight.service.scheduler.statistics import Statistics


def result(tick: int, ms: float = 0.0) -> Any:
    """Of a sample whose last step was this tick of the scheduler."""
    return SimpleNamespace(queue_ms=ms, infer_ms=2 * ms, tick=tick)


FAST, SLOW = result(7, 1.0), result(9, 30.0)


@pytest.mark.parametrize("results", [[FAST, SLOW], [SLOW, FAST], [FAST, SLOW, FAST]])
def test_the_slowest_of_a_requests_samples_is_its_time(results: list[Any]) -> None:
    statistics = Statistics()
    decoded = time.perf_counter() - 1
    statistics.success(results, decoded - 0.25, decoded)
    body = statistics.body("digits")
    ms = {name: one["ns"] / 1e6 for name, one in body["inference_stats"].items()}
    assert ms["queue"] == pytest.approx(SLOW.queue_ms)
    assert ms["compute_infer"] == pytest.approx(SLOW.infer_ms)
    assert ms["compute_input"] == pytest.approx(250)
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    assert ms["success"] == pytest.approx(sum(ms[name] for name in parts), abs=1e-3)
    assert ms["success"] >= 1250, "from the request's begin to its answer"
    assert (body["inference_count"], body["execution_count"]) == (len(results), 2), "two ticks ended all of them"


def test_a_batch_that_answers_two_requests_is_one_execution() -> None:
    counts, executions = Statistics(), []
    for ticks in ((4,), (4,), (4, 5, 6), (6,)):
        counts.success([result(tick) for tick in ticks], 0, 0)
        executions.append(counts.body("")["execution_count"])
    assert executions == [1, 1, 3, 3]
    assert counts.body("")["inference_count"] == 6


def test_an_answer_that_took_no_time_of_its_own_is_never_less_than_none() -> None:
    counts, now = Statistics(), time.perf_counter()
    counts.success([result(1, 1e6)], now, now)
    assert counts.body("digits")["inference_stats"]["compute_output"]["ns"] == 0
