"""What a request counts for in the statistics of its model."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from spikesight.service.protocol_v2.infer import account
from spikesight.service.scheduler.statistics import Statistics

FAST, SLOW = (SimpleNamespace(queue_ms=ms, infer_ms=2 * ms, tick=tick) for ms, tick in ((1.0, 7), (30.0, 9)))


@pytest.mark.parametrize("results", [[FAST, SLOW], [SLOW, FAST], [FAST, SLOW, FAST]])
def test_the_slowest_of_a_requests_samples_is_its_time(results: list[Any]) -> None:
    statistics = Statistics()
    found = SimpleNamespace(statistics=statistics)
    decoded = time.perf_counter() - 1
    account(found, results, len(results), decoded - 0.25, decoded)  # type: ignore[arg-type]
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
    for samples, ticks in ((1, {4}), (1, {4}), (2, {4, 5, 6}), (1, {6})):
        counts.success(samples, ticks=ticks, queue_s=0, input_s=0, infer_s=0, output_s=0)
        executions.append(counts.body("")["execution_count"])
    assert executions == [1, 1, 3, 3]
    assert counts.body("")["inference_count"] == 5


def test_an_answer_that_took_no_time_of_its_own_is_never_less_than_none() -> None:
    found = SimpleNamespace(statistics=Statistics())
    now = time.perf_counter()
    account(found, [SimpleNamespace(queue_ms=1e6, infer_ms=1e6, tick=1)], 1, now, now)  # type: ignore[arg-type, list-item]
    assert found.statistics.body("digits")["inference_stats"]["compute_output"]["ns"] == 0
