"""Counts as the Open Inference Protocol has them: a batch is one execution, however many requests it answered."""

import time

from spikesight.service.scheduler.statistics import Statistics


def success(counts: Statistics, samples: int, *ticks: int) -> None:
    counts.success(samples, ticks=set(ticks), queue_s=0.001, input_s=0.002, infer_s=0.004, output_s=0.008)


def test_times_and_counts_of_requests() -> None:
    counts = Statistics()
    before = int(time.time() * 1e3)
    success(counts, 3, 0)
    counts.fail(0.5)
    body = counts.body("digits")
    assert (body["name"], body["version"], body["batch_stats"]) == ("digits", "1", [])
    assert before <= body["last_inference"] <= int(time.time() * 1e3)
    assert (body["inference_count"], body["execution_count"]) == (3, 1)
    stats = body["inference_stats"]
    assert {name: (one["count"], one["ns"]) for name, one in stats.items()} == {
        "success": (1, 15_000_000),
        "fail": (1, 500_000_000),
        "queue": (1, 1_000_000),
        "compute_input": (1, 2_000_000),
        "compute_infer": (1, 4_000_000),
        "compute_output": (1, 8_000_000),
        "cache_hit": (0, 0),
        "cache_miss": (0, 0),
    }


def test_a_batch_that_answers_two_requests_is_one_execution() -> None:
    counts = Statistics()
    success(counts, 1, 4)
    success(counts, 1, 4)
    assert counts.body("")["execution_count"] == 1
    success(counts, 2, 4, 5, 6)
    assert counts.body("")["execution_count"] == 3
    success(counts, 1, 6)
    assert (counts.body("")["execution_count"], counts.body("")["inference_count"]) == (3, 5)
